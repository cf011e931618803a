"""Qwen3-VL: what the recipe's ladder must show of any conversations, by its report (arXiv
2511.21631), DeepStack's (arXiv 2406.04334) and the numbers of its config.json."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from . import held, qwen2_vl, resize
from .architecture import Architecture, Shape
from .ladder import Sample, Turns, Words
from .qwen3_vl_forward import DECODER, SEES, forward, tower
from .qwen3_vl_known import ABSENT as ABSENT
from .qwen3_vl_known import KNOWN as KNOWN
from .qwen3_vl_planted import PLANTED as PLANTED

WORDS = Words(
    template="suites/oracles/qwen3_vl.py",
    vocabulary="suites/oracles/bpe.py over the snapshot's vocab.json and merges.txt",
    pictures="suites/oracles/resize.py",
    positions="suites/oracles/mrope.py",
    labels="suites/oracles/labels.py",
    together="template, resize and BPE oracles together",
    masked="pad, vision_start, vision_end and image_pad",
    encoded="byte-level BPE by its definition",
    kept="byte-level BPE loses nothing else",
    grid="grid over merge²",
    token="one per 32×32 px",
    placed="M-RoPE positions by their definition",
    model="suites/oracles/qwen3_vl.py",
)
CUT = resize.Cut(patch=16, limits=(65_536, 16_777_216), mean=np.full(3, 0.5), std=np.full(3, 0.5))


def sizes_of(
    text: Mapping[str, int], vision: Mapping[str, Any], *, tied: bool
) -> Mapping[str, Any]:
    """A published size's numbers. Shared: heads of 128, 8 key heads, patches of 16 px and two
    frames, four of which make a token, and a table of 48 x 48 positions."""
    return {
        "tie_word_embeddings": tied,
        "text_config": {
            "head_dim": 128,
            "num_key_value_heads": 8,
            "vocab_size": 151936,
            "rope_theta": 5000000,
            **text,
        },
        "vision_config": {
            "in_channels": 3,
            "num_heads": 16,
            "num_position_embeddings": 2304,
            "patch_size": 16,
            "spatial_merge_size": 2,
            "temporal_patch_size": 2,
            "out_hidden_size": text["hidden_size"],
            **vision,
        },
    }


SMALL: Mapping[str, Any] = {
    "depth": 24,
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "deepstack_visual_indexes": [5, 11, 17],
}
LARGE: Mapping[str, Any] = {
    "depth": 27,
    "hidden_size": 1152,
    "intermediate_size": 4304,
    "deepstack_visual_indexes": [8, 16, 24],
}


def decoder_of(hidden: int, inner: int, heads: int, layers: int) -> dict[str, int]:
    """The numbers in which the sizes' decoders differ."""
    return {
        "hidden_size": hidden,
        "intermediate_size": inner,
        "num_attention_heads": heads,
        "num_hidden_layers": layers,
    }


SIZES = {
    "2b": sizes_of(decoder_of(2048, 6144, 16, 28), SMALL, tied=True),
    "4b": sizes_of(decoder_of(2560, 9728, 32, 36), SMALL, tied=True),
    "8b": sizes_of(decoder_of(4096, 12288, 32, 36), LARGE, tied=False),
}
# The hub's own count of the checkpoints' tensors, as it is quoted on GitHub (its model API says
# `safetensors.total` of the 2B and the 8B; loading the 4B counts as many as here).
COUNTS = {"2b": 2_127_532_032, "4b": 4_437_815_808, "8b": 8_767_123_696}
FAULTS: Mapping[str, Mapping[str, Any]] = {
    "every frequency given to time": {
        "text_config": {
            "rope_scaling": {
                "rope_type": "default",
                "mrope_interleaved": True,
                "mrope_section": [16, 0, 0],
            }
        }
    },
    "angles of another base": {"text_config": {"rope_theta": 10_000.0}},
    "norms of another epsilon": {"text_config": {"rms_norm_eps": 1e-2}},
    "another activation in the tower": {"vision_config": {"hidden_act": "quick_gelu"}},
    "the tower's blocks feed each other's layers": {
        "vision_config": {"deepstack_visual_indexes": [1, 0]}
    },
    "a later block feeds the decoder": {"vision_config": {"deepstack_visual_indexes": [0, 2]}},
    "one layer is fed and not two": {"vision_config": {"deepstack_visual_indexes": [0]}},
    "nothing is fed beside the embeddings": {"vision_config": {"deepstack_visual_indexes": []}},
    "fewer blocks in the tower": {"vision_config": {"depth": 2}},
}
IDLE: Mapping[str, str] = {}
NORMS = ("norm1", "norm2")


class Family(qwen2_vl.Family):
    """Its vocabulary, labels and positions are those of the families before; its template, its
    patches and its model are its own."""

    words = WORDS
    cut = CUT
    constants: Mapping[str, tuple[Any, str]] = {
        # QwenLM/Qwen3-VL#1787.
        "padding_side": ("right", "the snapshot says none, and the library's default is right"),
        "pad_token": ("<|endoftext|>", "not the eos token"),
        "eos_token": ("<|im_end|>", "ends every turn"),
    }

    def render(self, turns: Turns, **switches: bool) -> str:
        """By the template's behaviour."""
        return render(turns, **switches)

    def undecided(self, height: int, width: int) -> bool:
        """Where the rule in doubles is not the rule in whole numbers. Squares are on the edge as
        often as not here, for the processor makes small pictures larger."""
        factor = self.cut.factor
        fetched = self.fetched(height, width)
        doubles = resize.in_doubles(
            height, width, self.cut.fetch_limits, least=factor, factor=factor
        )
        final = resize.in_doubles(*fetched, self.limits, factor=factor)
        return (doubles, final) != (fetched, self.final(*fetched))

    def towered(self, patches: Any, merged: tuple[int, int, int]) -> Any:
        """What enters the decoder, not what its first layers are fed."""
        return tower(self.weights, self.config["vision_config"], patches, merged)[0]

    def forward(self, sample: Sample, patches: Sequence[tuple[Any, tuple[int, int, int]]]) -> Any:
        """float64 (tokens, vocabulary)."""
        return forward(self.weights, self.config, sample, self.picture, patches)


def oracle(folder: Path) -> Family:
    """The oracle of a snapshot."""
    return Family(folder)


def render(
    turns: Turns, *, add_generation_prompt: bool = False, add_vision_id: bool = False
) -> str:
    """The rendered conversation: nothing is trimmed, nothing stands between parts, and no system's
    turn is made up. Pictures and films stand in a user's turn only; a system's turn only first."""
    counted = {"Picture": 0, "Video": 0}

    def part(content: Mapping[str, Any], role: str) -> str:
        shown = role == "user"
        if shown and (content["type"] == "image" or {"image", "image_url"} & set(content)):
            word, pad = "Picture", "<|image_pad|>"
        elif shown and (content["type"] == "video" or "video" in content):
            word, pad = "Video", "<|video_pad|>"
        else:
            return str(content.get("text", ""))
        counted[word] += 1
        label = f"{word} {counted[word]}: " if add_vision_id else ""
        return f"{label}<|vision_start|>{pad}<|vision_end|>"

    pieces = []
    for place, turn in enumerate(turns):
        role, content = turn["role"], turn["content"]
        if role not in ("user", "assistant") and (role, place) != ("system", 0):
            continue
        whole = isinstance(content, str)
        text = content if whole else "".join(part(each, role) for each in content)
        pieces.append(f"<|im_start|>{role}\n{text}<|im_end|>\n")
    return "".join(pieces) + ("<|im_start|>assistant\n" if add_generation_prompt else "")


def linears(config: Mapping[str, Any]) -> dict[str, Shape]:
    """Every Linear's (out, in), by canonical name."""
    text, vision = config["text_config"], config["vision_config"]
    width, inner, head = text["hidden_size"], text["intermediate_size"], text["head_dim"]
    queries, keys = text["num_attention_heads"] * head, text["num_key_value_heads"] * head
    shapes: dict[str, Shape] = {}
    for number in range(text["num_hidden_layers"]):
        at = f"{DECODER}.layers.{number}"
        shapes[f"{at}.self_attn.q_proj"] = (queries, width)
        shapes[f"{at}.self_attn.k_proj"] = (keys, width)
        shapes[f"{at}.self_attn.v_proj"] = (keys, width)
        shapes[f"{at}.self_attn.o_proj"] = (width, queries)
        shapes[f"{at}.mlp.gate_proj"] = (inner, width)
        shapes[f"{at}.mlp.up_proj"] = (inner, width)
        shapes[f"{at}.mlp.down_proj"] = (width, inner)
    seen, wide = vision["hidden_size"], vision["intermediate_size"]
    for number in range(vision["depth"]):
        at = f"{SEES}.blocks.{number}"
        shapes[f"{at}.attn.qkv"] = (3 * seen, seen)
        shapes[f"{at}.attn.proj"] = (seen, seen)
        shapes[f"{at}.mlp.linear_fc1"] = (wide, seen)
        shapes[f"{at}.mlp.linear_fc2"] = (seen, wide)
    merged = seen * vision["spatial_merge_size"] ** 2
    for at in mergers(vision):
        shapes[f"{at}.linear_fc1"] = (merged, merged)
        shapes[f"{at}.linear_fc2"] = (vision["out_hidden_size"], merged)
    shapes["lm_head"] = (text["vocab_size"], width)
    return shapes


def mergers(vision: Mapping[str, Any]) -> list[str]:
    """The last one, and one for each block that feeds the decoder."""
    fed = range(len(vision["deepstack_visual_indexes"]))
    return [f"{SEES}.merger", *(f"{SEES}.deepstack_merger_list.{i}" for i in fed)]


def parameters(config: Mapping[str, Any]) -> dict[str, Shape]:
    """Every parameter's shape, by canonical name. Only the tower's matrices have biases."""
    text, vision = config["text_config"], config["vision_config"]
    width, seen, patch = text["hidden_size"], vision["hidden_size"], vision["patch_size"]
    shapes: dict[str, Shape] = {f"{DECODER}.embed_tokens.weight": (text["vocab_size"], width)}
    for name, shape in linears(config).items():
        shapes[f"{name}.weight"] = shape
        if name.startswith(SEES):
            shapes[f"{name}.bias"] = shape[:1]
    for number in range(text["num_hidden_layers"]):
        at = f"{DECODER}.layers.{number}"
        for norm in ("input_layernorm", "post_attention_layernorm"):
            shapes[f"{at}.{norm}.weight"] = (width,)
        for norm in ("q_norm", "k_norm"):
            shapes[f"{at}.self_attn.{norm}.weight"] = (text["head_dim"],)
    shapes[f"{DECODER}.norm.weight"] = (width,)
    deep = vision["temporal_patch_size"]
    shapes[f"{SEES}.patch_embed.proj.weight"] = (seen, vision["in_channels"], deep, patch, patch)
    shapes[f"{SEES}.patch_embed.proj.bias"] = (seen,)
    shapes[f"{SEES}.pos_embed.weight"] = (vision["num_position_embeddings"], seen)
    blocks = [f"{SEES}.blocks.{i}.{norm}" for i in range(vision["depth"]) for norm in NORMS]
    last, *fed = mergers(vision)
    merged = seen * vision["spatial_merge_size"] ** 2
    for norms, size in (((*blocks, f"{last}.norm"), seen), ([f"{m}.norm" for m in fed], merged)):
        for norm in norms:
            shapes[f"{norm}.weight"] = shapes[f"{norm}.bias"] = (size,)
    if config.get("tie_word_embeddings"):
        del shapes["lm_head.weight"]
    return shapes


def part(name: str) -> str:
    """Component of a parameter."""
    if name.startswith("lm_head"):
        return "lm_head"
    if name.startswith(f"{SEES}."):
        second = name.split(".")[2]
        return {
            "patch_embed": "patch_embed",
            "merger": "merger",
            "deepstack_merger_list": "merger",
        }.get(second, "vision")
    if "embed_tokens" in name:
        return "embed_tokens"
    return "norms" if "norm" in name else "language"


def architecture(config: Mapping[str, Any]) -> Architecture:
    """Every matrix, by canonical name."""
    return Architecture(
        linears(config),
        parameters(config),
        part,
        frozenset({"lm_head"}),
        lambda name: name.startswith(f"{SEES}."),
        f"{DECODER}.layers",
    )


def settings(config: Mapping[str, Any]) -> Mapping[str, held.Settings]:
    """What its modules compute with, by part."""
    text, vision = config["text_config"], config["vision_config"]
    tower = held.merging(vision, vision["hidden_size"], held.GELU_TANH)
    return {"decoder": held.llama(text), "tower": tower}
