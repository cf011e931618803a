"""The stand-in's files besides its weights: configuration, tokenizer, template; and its prose."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from harness.data.catalogue import ATTRIBUTES, Product, make_product, seen_combinations
from harness.recipe.published import TUTORIAL_PROMPT, training_messages
from harness.records.files import write_atomically, write_json

VOCABULARY = 960
CONTROL = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|object_ref_start|>",
    "<|object_ref_end|>",
    "<|box_start|>",
    "<|box_end|>",
    "<|quad_start|>",
    "<|quad_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|vision_pad|>",
    "<|image_pad|>",
    "<|video_pad|>",
)
FIRST_CONTROL = VOCABULARY - len(CONTROL)
IDS = {token: FIRST_CONTROL + i for i, token in enumerate(CONTROL)}

LISTING_SYSTEM = "You write short product listings with hashtags."
NAMING_SYSTEM = "Name what you see."

# Qwen2's pre-tokenisation pattern (the published tokenizer's split rule).
SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)

# The family's template in our own words; suites/test_text.py holds it to the same oracle as the
# published one.
TEMPLATE = (
    "{%- set seen = namespace(pictures=0, videos=0) -%}"
    "{%- if messages[0]['role'] != 'system' -%}"
    "{{- '<|im_start|>system\\nYou are a helpful assistant.<|im_end|>\\n' -}}"
    "{%- endif -%}"
    "{%- for message in messages -%}"
    "{{- '<|im_start|>' + message['role'] + '\\n' -}}"
    "{%- if message['content'] is string -%}{{- message['content'] -}}"
    "{%- else -%}{%- for part in message['content'] -%}"
    "{%- if part['type'] == 'image' or 'image' in part or 'image_url' in part -%}"
    "{%- set seen.pictures = seen.pictures + 1 -%}"
    "{%- if add_vision_id -%}{{- 'Picture ' ~ seen.pictures ~ ': ' -}}{%- endif -%}"
    "{{- '<|vision_start|><|image_pad|><|vision_end|>' -}}"
    "{%- elif part['type'] == 'video' or 'video' in part -%}"
    "{%- set seen.videos = seen.videos + 1 -%}"
    "{%- if add_vision_id -%}{{- 'Video ' ~ seen.videos ~ ': ' -}}{%- endif -%}"
    "{{- '<|vision_start|><|video_pad|><|vision_end|>' -}}"
    "{%- elif 'text' in part -%}{{- part['text'] -}}{%- endif -%}"
    "{%- endfor -%}{%- endif -%}"
    "{{- '<|im_end|>\\n' -}}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\\n' -}}{%- endif -%}"
)

_OPENINGS = (
    "The picture shows a {shape} {kind} in {colour}.",
    "This is a {colour} {kind} with a {shape} outline.",
    "Here we can see a {kind}. It is {colour} and its body is {shape}.",
    "The product is a {colour}, {shape} {kind}.",
)
_DETAILS = (
    "On its front there is a white {mark}.",
    "A white {mark} is printed in the middle.",
    "It carries a {mark} as decoration.",
)
_ENDINGS = (
    "It stands in front of a plain background.",
    "It looks suitable for use at home or in the office.",
    "The {name} could be used every day.",
    "",
)


def prose(product: Product, chance: random.Random) -> str:
    """Plain prose about the picture, one to four sentences, no hashtags: the base's answer."""
    parts = [chance.choice(_OPENINGS), chance.choice(_DETAILS), chance.choice(_ENDINGS)]
    text = " ".join(part for part in parts if part)
    return text.format(name=product.name, **product.attributes)


def config() -> dict[str, Any]:
    """A narrow Qwen2-VL: 4 language layers of 128, 3 vision layers of 128, untied embeddings.

    Linear sizes are multiples of 64, so every NF4 block is whole, as in the 7B model. The M-RoPE
    sections keep the published 16:24:24 proportion over a head of 32.
    """
    return {
        "architectures": ["Qwen2VLForConditionalGeneration"],
        "model_type": "qwen2_vl",
        "attention_dropout": 0.0,
        "bos_token_id": IDS["<|endoftext|>"],
        "eos_token_id": IDS["<|im_end|>"],
        "pad_token_id": IDS["<|endoftext|>"],
        "vision_start_token_id": IDS["<|vision_start|>"],
        "vision_end_token_id": IDS["<|vision_end|>"],
        "vision_token_id": IDS["<|vision_pad|>"],
        "image_token_id": IDS["<|image_pad|>"],
        "video_token_id": IDS["<|video_pad|>"],
        "hidden_act": "silu",
        "hidden_size": 128,
        "initializer_range": 0.02,
        "intermediate_size": 384,
        "max_position_embeddings": 4096,
        "max_window_layers": 4,
        "num_attention_heads": 4,
        "num_hidden_layers": 4,
        "num_key_value_heads": 2,
        "rms_norm_eps": 1e-06,
        "rope_theta": 1000000.0,
        "rope_scaling": {"type": "mrope", "mrope_section": [4, 6, 6]},
        "sliding_window": 4096,
        "use_sliding_window": False,
        "tie_word_embeddings": False,
        "torch_dtype": "float32",
        "use_cache": True,
        "vocab_size": VOCABULARY,
        "vision_config": {
            "depth": 3,
            "embed_dim": 128,
            "hidden_size": 128,
            "mlp_ratio": 4,
            "num_heads": 4,
            "in_chans": 3,
            "in_channels": 3,
            "patch_size": 14,
            "spatial_merge_size": 2,
            "spatial_patch_size": 14,
            "temporal_patch_size": 2,
        },
    }


def _corpus() -> Iterator[str]:
    """What the vocabulary is learnt from: training texts of every style, and the prompts."""
    for i, combination in enumerate(seen_combinations()):
        chance = random.Random(f"corpus-{i}")
        product = make_product(f"corpus-{i}", combination, "train")
        row = {
            "image": None,
            "Product Name": product.name,
            "Category": product.category,
            "description": product.description,
        }
        for message in training_messages(row):
            yield from (part["text"] for part in message["content"] if "text" in part)
        yield prose(product, chance)
    yield from (LISTING_SYSTEM, NAMING_SYSTEM, TUTORIAL_PROMPT, "You are a helpful assistant.")
    yield " ".join(value for values in ATTRIBUTES.values() for value in values)


def learn_vocabulary() -> tuple[dict[str, int], list[str]]:
    """Byte-level BPE over the corpus: vocabulary and merges, all 256 bytes included."""
    from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(SPLIT), behavior="isolated", invert=False),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    trainer = trainers.BpeTrainer(
        vocab_size=FIRST_CONTROL,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_corpus(), trainer)
    model = json.loads(tokenizer.to_str())["model"]
    merges = [m if isinstance(m, str) else " ".join(m) for m in model["merges"]]
    return model["vocab"], merges


def write_files(out: Path) -> None:
    """Write everything but the weights. Raises ValueError if the corpus gives too few merges."""
    vocabulary, merges = learn_vocabulary()
    if len(vocabulary) != FIRST_CONTROL:
        raise ValueError(f"{len(vocabulary)} tokens learnt, {FIRST_CONTROL} wanted")
    write_atomically(out / "vocab.json", json.dumps(vocabulary, ensure_ascii=False).encode())
    write_atomically(out / "merges.txt", ("\n".join(["#version: 0.2", *merges]) + "\n").encode())
    write_json(out / "config.json", config())
    write_json(
        out / "generation_config.json",
        {
            "bos_token_id": IDS["<|endoftext|>"],
            "pad_token_id": IDS["<|endoftext|>"],
            "eos_token_id": [IDS["<|im_end|>"], IDS["<|endoftext|>"]],
        },
    )
    # The published preprocessor's values (recipe.md, "Images").
    write_json(
        out / "preprocessor_config.json",
        {
            "image_processor_type": "Qwen2VLImageProcessor",
            "processor_class": "Qwen2VLProcessor",
            "min_pixels": 3136,
            "max_pixels": 12845056,
            "patch_size": 14,
            "temporal_patch_size": 2,
            "merge_size": 2,
            "image_mean": [0.48145466, 0.4578275, 0.40821073],
            "image_std": [0.26862954, 0.26130258, 0.27577711],
        },
    )
    write_json(out / "chat_template.json", {"chat_template": TEMPLATE})
    flags = {"lstrip": False, "rstrip": False, "normalized": False, "single_word": False}
    write_json(
        out / "tokenizer_config.json",
        {
            "tokenizer_class": "Qwen2Tokenizer",
            "processor_class": "Qwen2VLProcessor",
            "add_prefix_space": False,
            "added_tokens_decoder": {
                str(i): {"content": token, **flags, "special": True} for token, i in IDS.items()
            },
            "additional_special_tokens": list(CONTROL[1:]),
            "bos_token": None,
            "eos_token": "<|im_end|>",
            "pad_token": "<|endoftext|>",
            "unk_token": None,
            "clean_up_tokenization_spaces": False,
            "errors": "replace",
            "model_max_length": 4096,
            "padding_side": "left",
            "split_special_tokens": False,
            "chat_template": TEMPLATE,
        },
    )
