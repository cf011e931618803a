"""Look through a data source before anything is measured: a bad row must not end a training."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.data.dataset import Chosen, Rows, rows_of
from harness.errors import BadInput
from harness.records.files import json_digest, read_object

# Where a snapshot's files list the tokens added to its vocabulary, special ones and others.
_MEND = "download the snapshot again"


@dataclass(frozen=True)
class Data:
    """Which data a source is asked for, as a user says it (harness/data/dataset.py: Chosen)."""

    data: str
    columns: Mapping[str, str] = field(default_factory=dict)
    splits: tuple[str, ...] = ()


def check_data(chosen: Chosen, snapshot: Path) -> str:
    """Read every row of a data source once and decode its pictures; returns a digest of all that
    was read. Raises BadInput naming row, column and what is wrong, tokens added to the snapshot's
    vocabulary among it.

    The catalogue is our own: it is not read and has no digest.
    """
    if chosen.data == "catalogue":
        if chosen.columns or chosen.splits:
            raise BadInput("--columns and --split say how to read --data; give that too.")
        return ""
    tokens = added_tokens(snapshot)
    parts: list[list[str]] = []
    for split in ("train", "heldout"):
        rows = rows_of(chosen, split, tokens=tokens)
        for _ in rows:
            pass
        parts.append([rows.identity(i) for i in range(len(rows))] if isinstance(rows, Rows) else [])
    return json_digest(parts)


def added_tokens(snapshot: Path) -> tuple[str, ...]:
    """Every token added to the snapshot's vocabulary, special or not: the tokenizer cuts all of
    them out of a text before anything else. Raises BadInput for a damaged file."""
    return tuple(dict.fromkeys(token for token in _listed(snapshot) if token))


def _listed(snapshot: Path) -> Iterator[str]:
    config = _object(snapshot / "tokenizer_config.json")
    yield from _contents(config.get("added_tokens_decoder"), snapshot / "tokenizer_config.json")
    whole = _object(snapshot / "tokenizer.json")
    yield from _contents(whole.get("added_tokens"), snapshot / "tokenizer.json")
    yield from _object(snapshot / "added_tokens.json")
    for entry in _object(snapshot / "special_tokens_map.json").values():
        for token in entry if isinstance(entry, list) else [entry]:
            content = token.get("content") if isinstance(token, Mapping) else token
            if isinstance(content, str):
                yield content


def _contents(entries: object, path: Path) -> Iterator[str]:
    values = list(entries.values()) if isinstance(entries, Mapping) else entries or []
    if not isinstance(values, list):
        raise BadInput(f"{path} lists its added tokens as no list; {_MEND}.")
    for entry in values:
        content = entry.get("content") if isinstance(entry, Mapping) else None
        if not isinstance(content, str):
            raise BadInput(f"{path} has an added token without content; {_MEND}.")
        yield content


def _object(path: Path) -> dict[str, Any]:
    return read_object(path, _MEND) if path.is_file() else {}
