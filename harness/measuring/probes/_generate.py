"""Descriptions for held-out products with the recipe's prompt and decoding, batch by batch.

Every finished batch is written atomically and never computed twice, and each batch seeds its own
sampling, so a resumed run gives the same texts as an uninterrupted one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from harness.measuring.models import Family, of
from harness.measuring.training.collate import encoded
from harness.recipe.published import Recipe, generation_messages
from harness.records.files import json_digest
from harness.records.recipes import recipe_digest
from harness.records.seals import read_sealed, write_sealed

MEND = "delete it, then go on"


@dataclass(frozen=True)
class Decoding:
    """How to decode: greedy, or the recipe's sampling with a seed. max_new_tokens: per text."""

    sample: bool
    max_new_tokens: int
    seed: int = 42

    def arguments(self, recipe: Recipe) -> dict[str, Any]:
        """model.generate arguments; sampling's are exactly the recipe's."""
        if not self.sample:
            return {"max_new_tokens": self.max_new_tokens, "do_sample": False}
        wanted = recipe.generation
        return {
            "max_new_tokens": self.max_new_tokens,
            "do_sample": wanted.do_sample,
            "temperature": wanted.temperature,
            "top_p": wanted.top_p,
        }


@dataclass(frozen=True)
class Generated:
    """One text and its new token ids, padding after the end removed."""

    text: str
    ids: tuple[int, ...]


def encode(
    processor: Any, rows: Sequence[Mapping[str, Any]], recipe: Recipe, loader: Family
) -> dict[str, Any]:
    """Left-padded inputs of the recipe's generation prompt for a batch of rows."""
    messages = [generation_messages(row, recipe) for row in rows]
    texts = [
        processor.apply_chat_template(m, tokenize=False, add_generation_prompt=True)
        for m in messages
    ]
    images = [loader.pictures(m) for m in messages]
    # New tokens are appended on the right, so the padding must be on the left.
    side, processor.tokenizer.padding_side = processor.tokenizer.padding_side, "left"
    try:
        return dict(encoded(processor, texts, images))
    finally:
        processor.tokenizer.padding_side = side


def new_tokens(whole: Any, inputs: Mapping[str, Any]) -> Any:
    """What model.generate added: int64 (batch, new) out of (batch, prompt + new)."""
    return whole[:, inputs["input_ids"].shape[1] :]


def trim(ids: Sequence[int], tokenizer: Any) -> tuple[int, ...]:
    """Drop the padding that follows a text which ended before others of its batch."""
    pad, end = tokenizer.pad_token_id, list(ids)
    while end and end[-1] == pad:
        end.pop()
    return tuple(end)


def generate_batch(
    model: Any,
    processor: Any,
    rows: Sequence[Mapping[str, Any]],
    recipe: Recipe,
    decoding: Decoding,
) -> list[Generated]:
    """Texts of one batch: prompt tokens cut off, special tokens skipped, spaces left alone."""
    import torch

    inputs = encode(processor, rows, recipe, of(model))
    device = next(model.parameters()).device
    arguments = decoding.arguments(recipe)
    torch.manual_seed(decoding.seed)
    with torch.no_grad():
        whole = model.generate(**{k: v.to(device) for k, v in inputs.items()}, **arguments)
    new = [trim(row, processor.tokenizer) for row in new_tokens(whole, inputs).tolist()]
    texts = processor.batch_decode(
        [list(ids) for ids in new], skip_special_tokens=True, clean_up_tokenization_spaces=False
    )
    return [Generated(text, ids) for text, ids in zip(texts, new, strict=True)]


def is_a_tie(scores: Any, one: int, other: int, dtype: Any) -> bool:
    """Whether two tokens are as good as equal: closer than eight roundings of the largest score.

    scores: (vocabulary,), -inf for forbidden tokens; dtype: what the model computes in.
    """
    import torch

    largest = float(scores[torch.isfinite(scores)].abs().max())
    return abs(float(scores[one] - scores[other])) <= 8 * torch.finfo(dtype).eps * largest


def leaves_at_a_tie(
    model: Any,
    processor: Any,
    row: Mapping[str, Any],
    recipe: Recipe,
    decoding: Decoding,
    batched: Generated,
) -> bool:
    """Whether a row's own greedy text first differs from its text in a batch where two tokens tie.

    A GPU chooses its kernels by the shape, so a batch rounds otherwise than one row does; where
    that decides between two tokens, everything after it is another text and nothing is wrong.
    """
    import torch

    inputs = encode(processor, [row], recipe, of(model))
    parameter = next(model.parameters())
    with torch.no_grad():
        output = model.generate(
            **{k: v.to(parameter.device) for k, v in inputs.items()},
            **decoding.arguments(recipe),
            return_dict_in_generate=True,
            output_scores=True,
        )
    own = new_tokens(output.sequences, inputs)[0].tolist()
    for scores, one, other in zip(output.scores, own, batched.ids, strict=False):
        if one != other:
            return is_a_tie(scores[0].float(), one, other, parameter.dtype)
    return False


def generate(
    model: Any,
    processor: Any,
    rows: Sequence[Mapping[str, Any]],
    recipe: Recipe,
    decoding: Decoding,
    parts: Path,
    job: str,
    key: str,
    *,
    batch: int,
) -> list[Generated]:
    """Texts of all rows. parts: folder of finished batches. key: what else determines them
    (model, adapter); a part made under another key is computed again."""
    generated: list[Generated] = []
    for start in range(0, len(rows), batch):
        chunk = rows[start : start + batch]
        seeded = Decoding(decoding.sample, decoding.max_new_tokens, decoding.seed + start)
        names = [str(row["id"]) for row in chunk]
        identity = json_digest([key, recipe_digest(recipe), asdict(seeded), names])
        path = parts / f"{job}-{start:05d}.json"
        part = read_sealed(path, MEND) if path.is_file() else {}
        if part.get("identity") != identity:
            batch_texts = generate_batch(model, processor, chunk, recipe, seeded)
            part = {
                "identity": identity,
                "made": [{"text": g.text, "ids": g.ids} for g in batch_texts],
            }
            write_sealed(path, part)
        generated += [Generated(item["text"], tuple(item["ids"])) for item in part["made"]]
    return generated


def pictures_of(row: Mapping[str, Any]) -> list[Any]:
    """A row's pictures: one of a product, any number of a conversation."""
    return [row["image"], *row.get("more_images", ())]


def with_pictures(row: Mapping[str, Any], pictures: Sequence[Any]) -> dict[str, Any]:
    """The row with other pictures, as many as it has: they begin again where there are fewer."""
    first, *more = (pictures[i % len(pictures)] for i in range(len(pictures_of(row))))
    return {**row, "image": first, **({"more_images": tuple(more)} if "messages" in row else {})}


def shuffled(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Every row with the pictures of another one: turned by half the list."""
    half = len(rows) // 2
    others = [pictures_of(row) for row in rows]
    return [
        with_pictures(row, pictures)
        for row, pictures in zip(rows, others[half:] + others[:half], strict=True)
    ]


def blank(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Every row with grey pictures of its own sizes."""
    from PIL import Image

    return [
        with_pictures(row, [Image.new("RGB", p.size, (236,) * 3) for p in pictures_of(row)])
        for row in rows
    ]


def template_texts(
    rows: Sequence[Mapping[str, Any]], training: Sequence[Mapping[str, Any]]
) -> list[str]:
    """The text-only baseline: the training description nearest in name, its name replaced.

    Nearest is the longest common prefix of the names; no picture is looked at. So its style is
    the dataset's own and its attributes are a blind guess.
    """
    texts = []
    for row in rows:
        name = row["Product Name"]
        near = max(training, key=lambda other: _common(name, other["Product Name"]))
        texts.append(near["description"].replace(near["Product Name"], name))
    return texts


def _common(a: str, b: str) -> int:
    """Length of the common beginning of two names."""
    pairs = enumerate(zip(a, b, strict=False))
    return next((i for i, (x, y) in pairs if x != y), min(len(a), len(b)))


def effective_sampling(model: Any, recipe: Recipe) -> dict[str, Any]:
    """The sampling settings after the snapshot's generation_config met the recipe's arguments.

    The libraries let explicit arguments win and take the rest from generation_config, so a
    top_k of 1 that the recipe does not name survives and turns sampling into greedy decoding.
    """
    config = model.generation_config
    given = Decoding(True, recipe.generation.max_new_tokens).arguments(recipe)
    names = ("do_sample", "temperature", "top_p", "top_k", "repetition_penalty")
    return {name: given.get(name, getattr(config, name, None)) for name in names}
