"""Qwen3.5: what the recipe's ladder must show of any conversations, by the publications of its
parts (arXiv 2412.06464, 2511.21631) and the numbers of its config.json."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import regex

from . import bpe, held, labels, ladder, qwen3_vl
from .architecture import Architecture, Shape
from .ladder import Sample, Turns
from .qwen3_5_forward import DECODER, decoder
from .qwen3_5_known import ABSENT as ABSENT
from .qwen3_5_known import KNOWN as KNOWN
from .qwen3_5_planted import PLANTED as PLANTED
from .qwen3_vl_forward import SEES

WORDS = replace(
    qwen3_vl.WORDS, template="suites/oracles/qwen3_5.py", model="suites/oracles/qwen3_5_forward.py"
)
SHARED: Mapping[str, int] = {
    "head_dim": 256,
    "linear_conv_kernel_dim": 4,
    "linear_key_head_dim": 128,
    "linear_num_key_heads": 16,
    "linear_value_head_dim": 128,
    "vocab_size": 248320,
}
TOWERS: Mapping[int, Mapping[str, int]] = {
    768: {"depth": 12, "intermediate_size": 3072, "num_heads": 12},
    1024: {"depth": 24, "intermediate_size": 4096, "num_heads": 16},
    1152: {"depth": 27, "intermediate_size": 4304, "num_heads": 16},
}


def sizes_of(numbers: Sequence[int], sees: int, *, tied: bool) -> Mapping[str, Any]:
    """A published size's numbers. numbers: width, inner width, layers, heads, key heads, value
    heads of the delta networks. sees: width of the tower."""
    hidden, inner, layers, heads, keys, values = numbers
    return {
        "tie_word_embeddings": tied,
        "text_config": {
            **SHARED,
            "hidden_size": hidden,
            "intermediate_size": inner,
            "layer_types": [*["linear_attention"] * 3, "full_attention"] * (layers // 4),
            "num_hidden_layers": layers,
            "num_attention_heads": heads,
            "num_key_value_heads": keys,
            "linear_num_value_heads": values,
        },
        "vision_config": {
            **TOWERS[sees],
            "hidden_size": sees,
            "deepstack_visual_indexes": [],
            "in_channels": 3,
            "num_position_embeddings": 2304,
            "out_hidden_size": hidden,
            "patch_size": 16,
            "spatial_merge_size": 2,
            "temporal_patch_size": 2,
        },
    }


SIZES = {
    "0.8b": sizes_of((1024, 3584, 24, 8, 2, 16), 768, tied=True),
    "2b": sizes_of((2048, 6144, 24, 8, 2, 16), 1024, tied=True),
    "4b": sizes_of((2560, 9216, 32, 16, 4, 32), 1024, tied=True),
    "9b": sizes_of((4096, 12288, 32, 16, 4, 32), 1152, tied=False),
}
# The hub's own count of the checkpoints' tensors (its model API says `safetensors.total`), as it is
# quoted on GitHub.
TOTALS = {
    "0.8b": 873_438_784,
    "2b": 2_274_069_824,
    "4b": 4_659_865_088,
    "9b": 9_653_104_368,
}
FAULTS: Mapping[str, Mapping[str, Any]] = {
    "frequencies given to other axes": {
        "text_config": {"rope_parameters": {"mrope_section": [6, 1, 1]}}
    },
    "every frequency by time": {"text_config": {"rope_parameters": {"mrope_section": [8, 0, 0]}}},
    "half of a head turned": {"text_config": {"rope_parameters": {"partial_rotary_factor": 0.5}}},
    "angles of another base": {"text_config": {"rope_parameters": {"rope_theta": 10_000_000}}},
    "norms of another epsilon": {"text_config": {"rms_norm_eps": 1e-2}},
    "another activation in the tower": {"vision_config": {"hidden_act": "quick_gelu"}},
    "fewer blocks in the tower": {"vision_config": {"depth": 1}},
    # Of the tied sizes: a head that nothing was loaded into.
    "a head of its own": {
        "tie_word_embeddings": False,
        "text_config": {"tie_word_embeddings": False},
    },
}
IDLE: Mapping[str, str] = {}
HEADER = "<|im_start|>assistant"


class Family(qwen3_vl.Family):
    """Its pictures, positions and tower are those of the family before; its template, its split of
    texts and its decoder are its own."""

    words = WORDS

    @cached_property
    def encoder(self) -> bpe.Encoder:
        """Marks stand with the letters. What opens and closes a thought is a token, no control."""
        return bpe.Encoder.from_folder(self.folder, words)

    def render(self, turns: Turns, **switches: bool) -> str:
        """By the template's behaviour."""
        text = self.config["text_config"]
        # The smaller two, of one value head a key head, do not think unless they are told to.
        thinks = text["linear_num_value_heads"] > text["linear_num_key_heads"]
        return render(turns, thinks=thinks, **switches)

    def roles(self, ids: Sequence[int]) -> list[str]:
        """By turns; a thought is part of its answer."""
        names = {role: self.encode(role) for role in ladder.ROLES}
        control = {t: i for t, i in self.encoder.control.items() if t not in THOUGHT}
        return labels.roles(ids, control, names)

    def forward(self, sample: Sample, patches: Sequence[tuple[Any, tuple[int, int, int]]]) -> Any:
        """float64 (tokens, vocabulary)."""
        seen = [self.towered(*each) for each in patches]
        return decoder(self.weights, self.config, sample, self.picture, seen)


THOUGHT = ("<think>", "</think>")
SPLIT = regex.compile(
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}"
    r"| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def words(text: str) -> list[str]:
    """Of the text's composed form (NFC)."""
    return SPLIT.findall(unicodedata.normalize("NFC", text))


def oracle(folder: Path) -> Family:
    """The oracle of a snapshot."""
    return Family(folder)


def render(
    turns: Turns,
    *,
    thinks: bool,
    add_generation_prompt: bool = False,
    add_vision_id: bool = False,
) -> str:
    """The rendered conversation: what a turn says is trimmed, no system's turn is made up, and an
    answer to the last question begins with its thought, here an empty one."""
    counted = {"Picture": 0, "Video": 0}

    def part(content: Mapping[str, Any]) -> str:
        if content["type"] == "image" or {"image", "image_url"} & set(content):
            word, pad = "Picture", "<|image_pad|>"
        elif content["type"] == "video" or "video" in content:
            word, pad = "Video", "<|video_pad|>"
        else:
            return str(content.get("text", ""))
        counted[word] += 1
        label = f"{word} {counted[word]}: " if add_vision_id else ""
        return f"{label}<|vision_start|>{pad}<|vision_end|>"

    asked = max(place for place, turn in enumerate(turns) if turn["role"] == "user")
    pieces = []
    for place, turn in enumerate(turns):
        role, content = turn["role"], turn["content"]
        whole = isinstance(content, str)
        text = (content if whole else "".join(map(part, content))).strip()
        thought = "<think>\n\n</think>\n\n" if role == "assistant" and place > asked else ""
        pieces.append(f"<|im_start|>{role}\n{thought}{text}<|im_end|>\n")
    if add_generation_prompt:
        pieces.append(f"{HEADER}\n<think>\n" + ("" if thinks else "\n</think>\n\n"))
    return "".join(pieces)


def linears(config: Mapping[str, Any]) -> dict[str, Shape]:
    """Every Linear's (out, in), by canonical name."""
    text = config["text_config"]
    shapes: dict[str, Shape] = {}
    for number, kind in enumerate(text["layer_types"]):
        shapes |= layer(text, f"{DECODER}.layers.{number}", attends=kind == "full_attention")
    shapes |= {n: s for n, s in qwen3_vl.linears(config).items() if n.startswith(SEES)}
    shapes["lm_head"] = (text["vocab_size"], text["hidden_size"])
    return shapes


def layer(text: Mapping[str, Any], at: str, *, attends: bool) -> dict[str, Shape]:
    """One of the decoder's. A query comes with its gate."""
    width, inner, head = text["hidden_size"], text["intermediate_size"], text["head_dim"]
    shapes: dict[str, Shape] = {}
    if attends:
        queries, keys = text["num_attention_heads"] * head, text["num_key_value_heads"] * head
        shapes[f"{at}.self_attn.q_proj"] = (2 * queries, width)
        shapes[f"{at}.self_attn.k_proj"] = shapes[f"{at}.self_attn.v_proj"] = (keys, width)
        shapes[f"{at}.self_attn.o_proj"] = (width, queries)
    else:
        mixed, values, count = delta(text)
        shapes[f"{at}.linear_attn.in_proj_qkv"] = (mixed, width)
        shapes[f"{at}.linear_attn.in_proj_z"] = (values, width)
        shapes[f"{at}.linear_attn.in_proj_a"] = (count, width)
        shapes[f"{at}.linear_attn.in_proj_b"] = (count, width)
        shapes[f"{at}.linear_attn.out_proj"] = (width, values)
    shapes[f"{at}.mlp.gate_proj"] = shapes[f"{at}.mlp.up_proj"] = (inner, width)
    shapes[f"{at}.mlp.down_proj"] = (width, inner)
    return shapes


def delta(text: Mapping[str, Any]) -> tuple[int, int, int]:
    """Widths of queries, keys and values together and of values alone; heads of these."""
    count = text["linear_num_value_heads"]
    values = count * text["linear_value_head_dim"]
    keys = text["linear_num_key_heads"] * text["linear_key_head_dim"]
    return 2 * keys + values, values, count


def parameters(config: Mapping[str, Any]) -> dict[str, Shape]:
    """Every parameter's shape, by canonical name."""
    text = config["text_config"]
    width = text["hidden_size"]
    shapes: dict[str, Shape] = {
        n: s for n, s in qwen3_vl.parameters(config).items() if n.startswith(SEES)
    }
    shapes |= {f"{n}.weight": s for n, s in linears(config).items() if not n.startswith(SEES)}
    shapes[f"{DECODER}.embed_tokens.weight"] = (text["vocab_size"], width)
    shapes[f"{DECODER}.norm.weight"] = (width,)
    for number, kind in enumerate(text["layer_types"]):
        at = f"{DECODER}.layers.{number}"
        for name in ("input_layernorm", "post_attention_layernorm"):
            shapes[f"{at}.{name}.weight"] = (width,)
        if kind == "full_attention":
            for name in ("q_norm", "k_norm"):
                shapes[f"{at}.self_attn.{name}.weight"] = (text["head_dim"],)
            continue
        mixed, _, count = delta(text)
        shapes[f"{at}.linear_attn.conv1d.weight"] = (mixed, 1, text["linear_conv_kernel_dim"])
        shapes[f"{at}.linear_attn.norm.weight"] = (text["linear_value_head_dim"],)
        for name in ("A_log", "dt_bias"):
            shapes[f"{at}.linear_attn.{name}"] = (count,)
    if config["tie_word_embeddings"]:
        del shapes["lm_head.weight"]
    return shapes


def architecture(config: Mapping[str, Any]) -> Architecture:
    """Every matrix, by canonical name."""
    return Architecture(
        linears(config),
        parameters(config),
        qwen3_vl.part,
        frozenset({"lm_head"}),
        lambda name: name.startswith(f"{SEES}."),
        f"{DECODER}.layers",
    )


def settings(config: Mapping[str, Any]) -> Mapping[str, held.Settings]:
    """What its modules compute with, by part."""
    text, vision = config["text_config"], config["vision_config"]
    tower = held.merging(vision, vision["hidden_size"], held.GELU_TANH)
    base = text["rope_parameters"]["rope_theta"]
    return {"decoder": held.llama(text, base), "tower": tower}


def behind(config: Mapping[str, Any]) -> int:
    """Parameters of the checkpoints that predict the token after the next, which the library leaves
    out: a Linear of two widths, one layer that attends, five norms and two of its heads."""
    text = config["text_config"]
    width = text["hidden_size"]
    own = sum(rows * columns for rows, columns in layer(text, "", attends=True).values())
    return int(own + 2 * width * width + 5 * width + 2 * text["head_dim"])


COUNTS = {size: total - behind(SIZES[size]) for size, total in TOTALS.items()}
