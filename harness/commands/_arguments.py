"""Options that several verbs have, and what their words must look like."""

from __future__ import annotations

import argparse
import math
import os
from pathlib import Path
from typing import Any

from harness.data.shapes import canonical
from harness.errors import BadInput
from harness.judging.audit.asking import training_named
from harness.recipe.published import REFERENCE, VARIANTS


def filled(text: str) -> str:
    """A text that says something: an empty one is an unset variable of a script."""
    if not text.strip():
        raise argparse.ArgumentTypeError("is empty")
    if "\0" in text:
        raise argparse.ArgumentTypeError("holds a zero byte")
    return text


def path(text: str) -> Path:
    """A path; an empty one would be the current folder."""
    return Path(filled(text))


# Sources that are no folders, whatever lies in the current one.
NAMED = frozenset({"stand-in", "random-7b", "catalogue"})


def source(text: str) -> str:
    """A model or data source; a folder or a file by its whole path, which holds from everywhere."""
    path = os.path.expanduser(filled(text))
    return os.path.realpath(path) if text not in NAMED and os.path.exists(path) else text


def columns(text: str) -> dict[str, str]:
    """`name=theirs,…`: a source's columns by the recipe's names; nothing after `=` is an empty
    text in every row."""
    pairs = [part.partition("=") for part in filled(text).split(",")]
    if not all(name.strip() and sign for name, sign, _ in pairs):
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=COLUMN,…, as description=text")
    try:
        return {canonical(name): theirs.strip() for name, _, theirs in pairs}
    except BadInput as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def splits(text: str) -> tuple[str, ...]:
    """`TRAIN` or `TRAIN,HELDOUT`."""
    names = tuple(name.strip() for name in filled(text).split(","))
    if not 1 <= len(names) <= 2 or not all(names):
        raise argparse.ArgumentTypeError(f"{text!r} is not TRAIN or TRAIN,HELDOUT")
    return names


def seconds(text: str) -> float:
    """A time limit: finite, above 0."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds above 0")
    return value


# The libraries keep both in 32 bits; a machine has fewer threads than this.
MOST, MOST_THREADS = 2**31 - 1, 1024


def count(text: str, most: int = MOST) -> int:
    """A whole number from 1 on."""
    shown = repr(text[:40])
    # By its length first: Python refuses to read a number of thousands of digits.
    if not (text.isascii() and text.isdigit()) or not text.strip("0"):
        raise argparse.ArgumentTypeError(f"{shown} is no whole number above 0")
    if len(text.lstrip("0")) > len(str(most)) or int(text) > most:
        raise argparse.ArgumentTypeError(f"{shown} is more than {most:,}")
    return int(text)


def threads(text: str) -> int:
    """A number of threads."""
    return count(text, MOST_THREADS)


class Given(argparse.Action):
    """Stores a value as usual and notes in `given` that the user gave the option, which its
    default or a variable does not."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        setattr(namespace, self.dest, self.const if self.nargs == 0 else values)
        namespace.given = (*getattr(namespace, "given", ()), option_string)


def source_options(parser: argparse.ArgumentParser) -> None:
    """`--model`, `--data`, `--recipe`, `--device`, `--threads`; `given`: which the user wrote."""
    parser.set_defaults(given=())
    parser.add_argument(
        "--model",
        action=Given,
        type=source,
        default=os.environ.get("HARNESS_MODEL") or "stand-in",
        help="snapshot directory, org/name@<40 hex>, random-7b, tiny:FAMILY[@SIZE] (random "
        "weights), or stand-in[:FAMILY] (default; also HARNESS_MODEL)",
    )
    parser.add_argument(
        "--data",
        action=Given,
        type=source,
        default=os.environ.get("HARNESS_DATA") or "catalogue",
        help="directory, file, org/name@<40 hex>, or catalogue (default; also HARNESS_DATA)",
    )
    parser.add_argument(
        "--columns",
        action=Given,
        type=columns,
        default={},
        metavar="NAME=COLUMN,…",
        help="the data's columns by the recipe's names, as description=text,image=picture",
    )
    parser.add_argument(
        "--split",
        action=Given,
        type=splits,
        default=(),
        metavar="TRAIN[,HELDOUT]",
        help="the data's splits to train on and to hold out (default: by their names)",
    )
    parser.add_argument(
        "--recipe",
        action=Given,
        default=REFERENCE.name,
        choices=tuple(VARIANTS),
        help="a named variant of the recipe (default: reference, as published)",
    )
    parser.add_argument(
        "--device",
        action=Given,
        default="auto",
        choices=("auto", "cpu", "cuda"),
        help="auto (default), cpu or cuda",
    )
    parser.add_argument(
        "--threads", action=Given, type=threads, help="CPU threads for the libraries (default 2)"
    )


def training_file(text: str) -> tuple[Path, str]:
    """FILE[:FUNCTION]: the file by its whole path, the function or ''."""
    return training_named(filled(text))


def training_option(parser: argparse.ArgumentParser) -> None:
    """`--training`."""
    parser.add_argument(
        "--training",
        type=training_file,
        metavar="FILE[:FUNCTION]",
        help="your own training instead of model, data and recipe, as `harness audit` takes it",
    )


def stack_option(parser: argparse.ArgumentParser) -> None:
    """`--stack`."""
    parser.add_argument(
        "--stack",
        type=filled,
        default="current",
        help="NAME[,REQ…]: current (default, nothing built), reference, latest, newest, "
        "or one varied in place (reference,transformers==4.46.3; latest,./trl); "
        "requirements:FILE, lock:FILE (uv.lock, pylock.toml), python:PATH",
    )


def explained(parser: argparse.ArgumentParser, text: str) -> None:
    """The prose below a verb's options, with its own lines."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = text


def verdict_options(parser: argparse.ArgumentParser) -> None:
    """`--json`, `--accept`, `--junit`, `--summary`, of the verbs that judge."""
    json_option(parser)
    output_options(parser)
    parser.add_argument("--accept", type=path, help="file of finding ids that don't raise the code")


def output_options(parser: argparse.ArgumentParser) -> None:
    """`--junit` and `--summary`."""
    add = parser.add_argument
    add("--junit", type=path, metavar="FILE", help="every judged value as JUnit's XML")
    add(
        "--summary",
        type=path,
        metavar="FILE",
        help="the verdict as Markdown (also to $GITHUB_STEP_SUMMARY, where that is set)",
    )


def json_option(parser: argparse.ArgumentParser) -> None:
    """`--json`."""
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout")
