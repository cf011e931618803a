"""The rows of the captured batches, each read once: ids, labels, texts, turns, and their origin."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from harness.measuring.audit.contents import conversation_of, text_of, texts_of
from harness.measuring.audit.preferring import ANSWERS, completed
from harness.measuring.audit.stated import stated
from harness.measuring.audit.training import Batch, Training
from harness.measuring.audit.turns import Turn, roles_of

IGNORED = -100


@dataclass
class Row:
    """A row of a batch, padding left out. number: over all captured batches, from 0. index: in its
    batch. feature: the dataset's row that it was made from, None where several share it or nobody
    saw it. labels: None where the batch has none of this shape. turns: none without a template."""

    number: int
    batch: Batch
    index: int
    feature: Any
    ids: list[int]
    labels: list[int] | None
    texts: list[str]
    turns: list[Turn]

    @property
    def name(self) -> str:
        """As evidence has it."""
        if not self.batch.are_pairs:
            return f"row {self.number}"
        pairs = len(self.batch.ids) // 2
        pair = (self.number - self.index) // 2 + self.index % pairs
        return f"row {self.number} ({ANSWERS[self.index // pairs]} of pair {pair})"

    @cached_property
    def text(self) -> str:
        """The whole of it."""
        return "".join(self.texts)

    @cached_property
    def roles(self) -> list[str]:
        """Whose each token is; `control` for headers and ends."""
        return roles_of(len(self.ids), self.turns)

    @property
    def answers(self) -> list[Turn]:
        """The assistant's turns."""
        return [turn for turn in self.turns if turn.role == "assistant"]

    def turn_text(self, turn: Turn) -> str:
        """What stands inside a turn."""
        return "".join(self.texts[turn.start : turn.stop])

    def own_text(self, turn: Turn) -> str:
        """What a generation writes of it: without what its prompt begins it with."""
        return "".join(self.texts[turn.begins : turn.stop])

    def is_trained(self, token: int) -> bool:
        """Whether a token is a target."""
        return self.labels is not None and self.labels[token] != IGNORED

    @cached_property
    def is_cut_at_end(self) -> bool:
        """Whether the row stops inside a text of its own: its last turn has no end, and what is
        there of it is the beginning of a longer text of the dataset's row."""
        if not self.turns or self.turns[-1].closed:
            return False
        last = self.turn_text(self.turns[-1]).strip()
        whole = [text.strip() for text in texts_of(self.feature)]
        return bool(last) and any(t.startswith(last) and len(t) > len(last) for t in whole)


def rows_of(training: Training) -> list[Row]:
    """Every row of the training's batches, in the order in which it would train on them: read
    once, shared by those who ask."""
    read: list[Row] | None = training.memo.get("rows")
    if read is None:
        read = training.memo["rows"] = _read(training)
    return read


def pairs_of(training: Training) -> Iterator[tuple[Row, Row]]:
    """Of batches of preference pairs the rows of each: (chosen, rejected), in order."""
    for batch in training.batches:
        rows = [row for row in rows_of(training) if row.batch is batch]
        if batch.are_pairs:
            half = len(rows) // 2
            yield from zip(rows[:half], rows[half:], strict=True)


def _read(training: Training) -> list[Row]:
    rows: list[Row] = []
    for batch in training.batches:
        known = completed(batch.features) if batch.are_pairs else batch.features
        known = known if len(known) == len(batch.ids) else [None] * len(batch.ids)
        has_labels = batch.labels is not None and batch.labels.shape == batch.ids.shape
        for index, feature in enumerate(known):
            row = Row(
                len(rows),
                batch,
                index,
                feature,
                training.row_ids(batch, index),
                training.row_labels(batch, index) if has_labels else None,
                training.row_texts(batch, index),
                training.row_turns(batch, index),
            )
            rows.append(row)
    return rows


def feature_order(training: Training, batch: Batch) -> list[int]:
    """By row of a batch, the place among its features of the one that it was made from: the same,
    but where the rows' texts say that the collator puts rows into an order of its own."""
    same = list(range(len(batch.ids)))
    if len(batch.features) != len(same):
        return same
    rows = ["".join(training.row_texts(batch, row)) for row in same]
    texts = []
    for feature in batch.features:
        stripped = [text.strip() for text in texts_of(feature)]
        texts.append([t for t in stripped if t and any(t in row for row in rows)])
    fits = [[i for i in same if texts[i] and all(t in row for t in texts[i])] for row in rows]
    if all(i in places for i, places in enumerate(fits)):
        return same
    order = [places[0] for places in fits if len(places) == 1]
    return order if sorted(order) == same else same


def limits(training: Training) -> set[int]:
    """The lengths at which rows are cut, in tokens: of the arguments and of the user's file."""
    names = ("max_length", "max_seq_length")
    declared = (training.declared.get(name) for name in names)
    written = (number for name in names for number in stated(training.source, name))
    return {int(n) for n in (*declared, *written) if isinstance(n, int | float) and n > 0}


def cut(training: Training, row: Row) -> str:
    """What of a row was cut off at its end: `picture`, `answer`, `prompt` (before any answer), ''
    where its end is its own."""
    if not row.ids:
        return ""
    if row.ids[-1] == training.picture_token_id:
        return "picture"
    if not row.turns:
        return ""
    answers, last = row.turns[-1].role == "assistant", row.turns[-1]
    if last.closed:
        # Cut between two turns: a row that fills the limit and has no answer.
        return "" if answers or not _fills_a_limit(training, row) else "prompt"
    if _fills_a_limit(training, row) or row.is_cut_at_end:
        return "answer" if answers else "prompt"
    return ""


def _fills_a_limit(training: Training, row: Row) -> bool:
    """Whether a row is as long as rows may be, or ends where a batch of that width ends."""
    if len(row.ids) in limits(training):
        return True
    mask = row.batch.mask
    reaches = mask is None or bool(mask[row.index, -1])
    return reaches and int(row.batch.ids.shape[1]) in limits(training)


def is_cut_at_start(training: Training, row: Row) -> bool:
    """Whether a turn ends in a row before any begins in it: its own beginning was cut off."""
    if training.spelled is None or not row.ids:
        return False
    places = [row.text.find(header) for header in training.spelled.headers.values()]
    begins = min((place for place in places if place >= 0), default=len(row.text))
    if not row.turns and not _fills_a_limit(training, row):
        return False
    asked = conversation(row)
    if asked and _fills_a_limit(training, row) and text_of(asked[0]).strip() not in row.text:
        return True
    ends = {end.strip() for end in training.spelled.ends.values()}
    return any(end and end in row.text[:begins] for end in ends)


def conversation(row: Row) -> list[Any] | None:
    """The turns of the dataset's row; None where it has none, or is not known."""
    turns = conversation_of(row.feature)
    return None if turns is None else list(turns)
