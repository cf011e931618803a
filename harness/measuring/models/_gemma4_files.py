"""What a tiny Gemma 4 holds beside config and weights: a vocabulary and a template of our own, the
published settings of pictures but their number of tokens."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness.measuring.models._sentence_pieces import vocabulary

# Behaves as the one published with E2B and E4B does for texts and pictures: the begin token, a
# turn for each message, the system's too, texts trimmed, nothing between parts. (That of the larger
# ones writes an empty thought behind the generation prompt.)
TEMPLATE = """
{{- bos_token -}}
{%- for turn in messages -%}
  {{- '<|turn>' ~ ('model' if turn.role == 'assistant' else turn.role) ~ '\\n' -}}
  {%- if turn.content is string -%} {{- turn.content | trim -}}
  {%- else -%}
    {%- for part in turn.content -%}
      {%- if part.type == 'text' -%} {{- part.text | trim -}}
      {%- elif part.type in ('image', 'video', 'audio') -%} {{- '<|' ~ part.type ~ '|>' -}}
      {%- endif -%}
    {%- endfor -%}
  {%- endif -%}
  {{- '<turn|>\\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%} {{- '<|turn>model\\n' -}} {%- endif -%}
"""


def files(tokens: int) -> Mapping[str, Any]:
    """tokens: the most that a picture may take, one of the numbers that the library allows."""
    own = vocabulary(
        first=("<pad>", "<eos>", "<bos>", "<unk>", "<mask>", "<|turn>", "<turn|>"),
        ordinary=("\n\n", "\n\n\n", "\n\n\n\n", "<table>", "</table>", "<td>", "</td>"),
        last=(
            "<|image>",
            "<|audio>",
            "<|image|>",
            "<|audio|>",
            "<image|>",
            "<audio|>",
            "<|video|>",
        ),
    )
    named = {
        "image_token": "<|image|>",
        "boi_token": "<|image>",
        "eoi_token": "<image|>",
        "audio_token": "<|audio|>",
        "boa_token": "<|audio>",
        "eoa_token": "<audio|>",
    }
    cut = {
        "do_convert_rgb": True,
        "do_rescale": True,
        "do_resize": True,
        "image_mean": [0.0, 0.0, 0.0],
        "image_std": [1.0, 1.0, 1.0],
        "max_soft_tokens": tokens,
        "patch_size": 16,
        "pooling_kernel_size": 3,
        "resample": 3,
        "rescale_factor": 1 / 255,
    }
    return {
        "tokenizer.json": own.tokenizer("", "<unk>"),
        "tokenizer_config.json": {
            "tokenizer_class": "GemmaTokenizer",
            "processor_class": "Gemma4Processor",
            "add_bos_token": False,
            "padding_side": "left",
            "clean_up_tokenization_spaces": False,
            "model_max_length": 4096,
            "spaces_between_special_tokens": False,
            **{f"{name}_token": f"<{name}>" for name in ("bos", "eos", "pad", "unk", "mask")},
            **named,
            "extra_special_tokens": named,
            "added_tokens_decoder": own.decoder(),
        },
        "chat_template.jinja": TEMPLATE,
        "processor_config.json": {
            "processor_class": "Gemma4Processor",
            "image_seq_length": tokens,
            "image_processor": {
                "image_processor_type": "Gemma4ImageProcessor",
                "do_normalize": False,
                "image_seq_length": tokens,
                **cut,
            },
            "video_processor": {
                "video_processor_type": "Gemma4VideoProcessor",
                "do_normalize": True,
                **cut,
            },
            "feature_extractor": {"feature_extractor_type": "Gemma4AudioFeatureExtractor"},
        },
        "generation_config.json": {
            "bos_token_id": own.pieces["<bos>"],
            "pad_token_id": own.pieces["<pad>"],
            "eos_token_id": [own.pieces["<eos>"], own.pieces["<turn|>"]],
            "do_sample": True,
            "temperature": 1.0,
            "top_k": 64,
            "top_p": 0.95,
        },
    }
