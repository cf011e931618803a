"""What Idefics3's lists know, from which golden/expected/ is written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from .known import CONVERTED, IMAGE_URL, PADDING_COUNTED, padded_gradient, rounded, tower_too
from .ladder import Known

_SIZES = (
    "5000x4000",
    "as_it_is",
    "flat",
    "four_to_one",
    "four_to_one_less",
    "four_to_one_more",
    "one_row_tall",
    "photo",
    "portrait",
    "slim",
    "tile",
    "two_to_one",
    "two_to_one_and_more",
)
_SHARE = " (0.36 of eager's norm)"
_TILES = "pictures become tiles of one side: "
KNOWN: Mapping[str, Sequence[Known]] = {
    "latest": (
        IMAGE_URL,
        Known(
            "ids.encoded.before_digits",
            "The library builds GPT2Tokenizer anew from the vocabulary and leaves out "
            "tokenizer.json's own first step, which cuts digits out (kept in 5.0.0, not in "
            "5.17.0): two spaces or line breaks before a digit, as before a numbered line, become "
            "other ids than the model was trained on.",
            "transformers 5.23.0, models/gpt2/tokenization_gpt2.py",
        ),
        *CONVERTED,
        *rounded("Lanczos", *_SIZES),
        Known(
            "images.resize_rule.whole_odd",
            "The shorter side comes out whole and odd here; the library divides by a quotient, "
            "whose last bit is too small: 772 px, not 774.",
            "transformers 5.23.0, _resize_output_size_rescale_to_max_len",
        ),
        Known(
            "images.truncation_refused.library",
            "The processor looks for the tokens of each picture in the truncated row and fails on "
            "the first that is cut off, instead of saying that the text is too short, as it did "
            "until 5.9.0.",
            "transformers 5.23.0, Idefics3Processor.__call__",
            type="TypeError",
            says=r"unsupported operand type\(s\) for -: 'int' and 'NoneType'",
        ),
        *tower_too("transformers 5.23.0, Idefics3VisionAttention"),
        replace(PADDING_COUNTED, reference="transformers 5.23.0, LlamaModel.forward"),
        padded_gradient("cpu+other-model", _SHARE),
        padded_gradient("cuda+other-model", _SHARE),
    ),
}
ABSENT: Mapping[str, Mapping[str, str]] = {
    "latest": {
        "images.pillow_gap.maximum_plus_one": f"{_TILES}there is no such size",
        "images.resize_rule.square_3621": f"{_TILES}no root is rounded",
        "images.resize_rule.one_to_four": f"{_TILES}no root is rounded",
        "generation.sampling_is_greedy": "the published generation_config.json sets no top_k",
    },
}
