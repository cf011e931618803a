"""The stand-in's files besides its weights: what is learnt of them, and its prose.

A family's folder here is its stand-in. Configuration, template and preprocessor lie there as they
were written by hand: a narrow model whose Linears are multiples of 64, so that every NF4 block is
whole as in the published one, with the published values of the preprocessor and the family's
template in our own words. A vocabulary of bytes is learnt from our corpus; one of another kind is
the family's tiny model's, whose pairs are those of the recipe's stand-in.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path

from harness.data.catalogue import ATTRIBUTES, Product, make_product, seen_combinations
from harness.measuring.models import family, of_snapshot
from harness.measuring.snapshots.source import STAND_IN
from harness.recipe.published import TUTORIAL_PROMPT, training_messages
from harness.records.files import read_json, write_atomically

# JSON files that were not written by hand: what is learnt, and what training tells.
LEARNT = ("vocab.json", "PROVENANCE.json")
LISTING_SYSTEM = "You write short product listings with hashtags."
NAMING_SYSTEM = "Name what you see."

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


def control_tokens(folder: Path) -> dict[str, int]:
    """Ids of the control tokens of a snapshot: the vocabulary's last ones."""
    added = read_json(folder / "tokenizer_config.json")["added_tokens_decoder"]
    return {entry["content"]: int(number) for number, entry in added.items()}


def learn_vocabulary(size: int, split: str) -> tuple[dict[str, int], list[str]]:
    """Byte-level BPE over the corpus: vocabulary and merges, all 256 bytes included.

    split: the regular expression by which texts are cut before bytes are paired.
    """
    from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(split), behavior="isolated", invert=False),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_corpus(), trainer)
    model = json.loads(tokenizer.to_str())["model"]
    merges = [m if isinstance(m, str) else " ".join(m) for m in model["merges"]]
    return model["vocab"], merges


def write_files(out: Path, source: Path = STAND_IN) -> None:
    """Write everything but the weights. Raises ValueError if the corpus gives too few merges.

    source: the folder that holds what was written by hand.
    """
    for path in sorted(source.glob("*.json")):
        if path.name not in LEARNT:
            write_atomically(out / path.name, path.read_bytes())
    if (source / "tokenizer.json").is_file():
        return
    size = min(control_tokens(source).values())
    vocabulary, merges = learn_vocabulary(size, family(of_snapshot(source)).SPLIT)
    if len(vocabulary) != size:
        raise ValueError(f"{len(vocabulary)} tokens learnt, {size} wanted")
    write_atomically(out / "vocab.json", json.dumps(vocabulary, ensure_ascii=False).encode())
    write_atomically(out / "merges.txt", ("\n".join(["#version: 0.2", *merges]) + "\n").encode())
