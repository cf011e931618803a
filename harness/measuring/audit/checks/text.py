"""Text: what a row says once it is tokens, against what its conversation and template say."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from harness.measuring.audit.checks._foreign import foreign_checks
from harness.measuring.audit.checks._pairs import answers_of_pairs
from harness.measuring.audit.contents import digest_of, pictures_of, text_parts_of, texts_of
from harness.measuring.audit.finding import Findings
from harness.measuring.audit.rows import Row, conversation, cut, is_cut_at_start, rows_of
from harness.measuring.audit.training import Training
from harness.measuring.audit.turns import template_errors
from harness.records.audit import Basis, Relation


def checks(training: Training, findings: Findings) -> None:
    """See the module."""
    findings.attempt("evaluation_rows_trained_on", lambda: _evaluation(training, findings))
    findings.attempt("rows_twice", lambda: _twice(training, findings))
    if training.tokenizer is None:
        findings.not_run("rendering", "The Trainer has no tokenizer: no token can be read.")
        return
    if training.prefers:
        answers_of_pairs(training, findings)
    _begins(training, findings)
    _contents(training, findings)
    foreign_checks(training, findings)
    _turns(training, findings)
    _rendering(training, findings)


# Rows of either dataset that are looked at.
_EVALUATED, _TRAINED = 64, 4096
# Rows that are looked at for copies; of a hundred rows one may be one by chance.
_COMPARED, _BY_CHANCE = 512, 100


def _evaluation(training: Training, findings: Findings) -> None:
    """Rows that are evaluated on and not trained on, by their content."""
    trainer = training.trainer
    held_out = getattr(trainer, "eval_dataset", None)
    sets = held_out.values() if isinstance(held_out, Mapping) else [held_out]
    rows = [row for each in sets for row in _first(each, _EVALUATED)]
    if not rows:
        return
    trained = {digest_of(row) for row in _first(trainer.train_dataset, _TRAINED)}
    twice = [i for i, row in enumerate(rows) if digest_of(row) in trained]
    findings.put(
        "evaluation_rows_trained_on",
        len(twice),
        0,
        unit="rows",
        evidence=[f"evaluation row {i}" for i in twice],
        setting="eval_dataset",
    )


def _twice(training: Training, findings: Findings) -> None:
    """Rows that are an earlier one again, to the last pixel."""
    digests = [digest_of(row) for row in _first(training.trainer.train_dataset, _COMPARED)]
    if not digests:
        findings.not_run("rows_twice", "The dataset cannot be asked for a row by its number.")
        return
    first = {digest: i for i, digest in reversed(list(enumerate(digests)))}
    copies = [(i, first[digest]) for i, digest in enumerate(digests) if first[digest] < i]
    findings.put(
        "rows_twice",
        len(copies),
        len(digests) // _BY_CHANCE,
        relation=Relation.AT_MOST,
        unit="rows",
        evidence=[f"row {i} is row {earlier}" for i, earlier in copies],
        setting="train_dataset",
    )


def _first(dataset: Any, count: int) -> list[Any]:
    """As many rows of a dataset that can be asked for a row by its number."""
    if not hasattr(dataset, "__len__") or not hasattr(dataset, "__getitem__"):
        return []
    return [dataset[i] for i in range(min(count, len(dataset)))]


def rows_named(rows: Iterable[Row]) -> list[str]:
    """Evidence."""
    return [row.name for row in rows]


def _begins(training: Training, findings: Findings) -> None:
    """A row begins with one begin token where the tokenizer has one, and never with two."""
    begin = getattr(training.tokenizer, "bos_token_id", None)
    others = {training.picture_token_id, training.pad_token_id} - {begin}
    special = set(training.tokenizer.all_special_ids) - others
    twice = [r for r in rows_of(training) if len(r.ids) > 1 and r.ids[0] == r.ids[1] in special]
    findings.put(
        "begin_token_twice", len(twice), 0, unit="rows", evidence=rows_named(twice), setting="text"
    )
    if begin is None or training.tokenizer("a")["input_ids"][:1] != [begin]:
        return
    without = [r for r in rows_of(training) if r.ids[:1] != [begin]]
    findings.put("begin_token_missing", len(without), 0, unit="rows", evidence=rows_named(without))


def _contents(training: Training, findings: Findings) -> None:
    """The user's own texts hold none of the tokenizer's control tokens."""
    if all(row.feature is None for row in rows_of(training)):
        findings.not_run(
            "control_tokens_in_data", "Nobody could see which rows the batches were made from."
        )
        return
    controls = set(training.tokenizer.all_special_tokens)
    added = getattr(training.tokenizer, "added_tokens_decoder", {}).values()
    controls |= {str(token) for token in added if token.special}
    headers = [*training.spelled.headers.values()] if training.spelled else []
    rows, named = [], []
    for row in rows_of(training):
        texts = texts_of(row.feature)
        if conversation(row) is None:
            texts = [t for t in texts if not _is_rendered(t, headers, controls)]
            texts = [t for t in texts if t.strip() and t.strip() in row.text]
        present = [token for token in controls if any(token in text for text in texts)]
        # Some templates have a picture's token written where the picture goes.
        allowed = training.never_trained.values() if pictures_of(row.feature) else ()
        present = [token for token in present if token not in set(allowed)]
        if present:
            rows.append(row)
            named += [f"{row.name}: {token}" for token in present]
    findings.put(
        "control_tokens_in_data", len(rows), 0, unit="rows", evidence=named, setting="train_dataset"
    )


def _is_rendered(text: str, headers: Sequence[str], controls: Iterable[str]) -> bool:
    """Whether a text has been through a chat template before it came into the dataset."""
    begun = text.lstrip()
    return any(begun.startswith(h.lstrip()) for h in headers if h.strip()) or any(
        begun.startswith(c) for c in controls
    )


def _turns(training: Training, findings: Findings) -> None:
    """Turns are there, are closed, and the last one answers."""
    if training.spelled is None:
        findings.not_run(
            "answers_empty", "There is no chat template that can be read: turns are not known."
        )
        return
    whole = [row for row in rows_of(training) if not is_cut_at_start(training, row)]
    bare = [row for row in whole if row.ids and not row.turns]
    findings.put("template_unused", len(bare), 0, unit="rows", evidence=rows_named(bare))
    opened, empty, unclosed = [], [], []
    again = [row for row in rows_of(training) if _repeats_a_turn(row)]
    inside = [row for row in whole if any(not turn.closed for turn in row.turns[:-1])]
    for row in rows_of(training):
        if not row.turns or cut(training, row):
            continue
        last = row.turns[-1]
        if last.role == "assistant" and not last.closed and not row.own_text(last).strip():
            opened.append(row)
        elif any(turn.closed and not row.own_text(turn).strip() for turn in row.answers):
            empty.append(row)
        elif not last.closed:
            unclosed.append(row)
    for name, rows, setting in (
        ("prompt_left_open", opened, "add_generation_prompt"),
        ("answers_empty", empty, "train_dataset"),
        ("ends_missing", unclosed, "data_collator"),
        ("turns_twice", again, "data_collator"),
        ("turns_inside_turns", inside, "apply_chat_template"),
    ):
        findings.put(name, len(rows), 0, unit="rows", evidence=rows_named(rows), setting=setting)


def _repeats_a_turn(row: Row) -> bool:
    """Whether a role says the same twice, with nobody else in between."""
    pairs = zip(row.turns, row.turns[1:], strict=False)
    return any(
        one.role == other.role and row.turn_text(one).strip() == row.turn_text(other).strip() != ""
        for one, other in pairs
    )


def _rendering(training: Training, findings: Findings) -> None:
    """Rows whose conversation is known say what it says, as the template writes it."""
    whole = [
        r for r in rows_of(training) if not cut(training, r) and not is_cut_at_start(training, r)
    ]
    known = [row for row in whole if conversation(row)]
    if not known or training.spelled is None:
        reason = "No row of the dataset is a conversation: its texts are put together elsewhere."
        if training.spelled is None:
            reason = "There is no chat template that can be read: no row can be rendered."
        findings.not_run("turns_lost", reason)
        findings.not_run("rendering", reason)
        return
    lost = [row for row in known if not _has_turns(row)]
    findings.put(
        "turns_lost",
        len(lost),
        0,
        unit="rows",
        basis=Basis.IDENTITY,
        evidence=rows_named(lost),
        setting="data_collator",
    )
    others = [row for row in known if not _is_as_rendered(training, row)]
    findings.put(
        "rendering",
        len(others),
        0,
        unit="rows",
        basis=Basis.IDENTITY,
        evidence=rows_named(others),
        setting="data_collator",
    )


def _has_turns(row: Row) -> bool:
    """Whether the texts of a conversation stand in the row one after the other."""
    place = 0
    for text in (t.strip() for turn in conversation(row) or () for t in text_parts_of(turn)):
        place = row.text.find(text, place)
        if place < 0:
            return False
        place += len(text)
    return True


def _is_as_rendered(training: Training, row: Row) -> bool:
    """Whether the template and the processor make these ids of the conversation; line breaks and an
    end token after the last turn may be there or not."""
    turns = with_placeholders(conversation(row) or [], len(pictures_of(row.feature)))
    # TRL's column of a row's own switches for its template.
    own = row.feature.get("chat_template_kwargs") if isinstance(row.feature, Mapping) else None
    switches = dict(own or {})
    try:
        text = training.processor.apply_chat_template(turns, tokenize=False, **switches)
    except template_errors():
        return False
    end = getattr(training.tokenizer, "eos_token", None) or ""
    beside = training.family.CHAT.beside if training.family else ()
    tokens = [*training.never_trained.values(), *beside]
    # What the processor puts for a picture's token may begin and end with line breaks of its own.
    written = str(getattr(training.processor, "full_image_sequence", ""))
    apart = written != written.strip()
    return _bare(text, tokens, end, apart=apart) == _bare(row.text, tokens, end, apart=apart)


def with_placeholders(turns: Sequence[Mapping[str, Any]], pictures: int) -> list[Any]:
    """A conversation whose pictures stand in a column of their own, as TRL reads it: their places
    are put before the first question."""
    has_places = any(
        isinstance(part, Mapping) and "image" in str(part.get("type", ""))
        for turn in turns
        if not isinstance(turn["content"], str)
        for part in turn["content"] or ()
    )
    if has_places or not pictures:
        return list(turns)
    placed, rest = [], pictures
    for turn in turns:
        content = turn["content"]
        if rest and turn["role"] == "user":
            parts = [{"type": "text", "text": content}] if isinstance(content, str) else content
            content, rest = [*({"type": "image"} for _ in range(rest)), *(parts or ())], 0
        placed.append({**turn, "content": content})
    return placed


# No template writes it.
_PICTURE = "\0"


def _bare(text: str, pictures: Sequence[str], end: str, *, apart: bool = False) -> str:
    """A text in which one mark stands for each run of pictures' tokens, line breaks between tiles
    included; without what may follow the last turn. apart: line breaks around a run are its own."""
    if pictures:
        token = "|".join(re.escape(name) for name in sorted(pictures, key=len, reverse=True))
        around = r"\s*" if apart else ""
        run = rf"{around}(?:{token})(?:\s*(?:{token}))*{around}"
        text = re.sub(run, _PICTURE, text)
    text = text.strip()
    return text.removesuffix(end).strip() if end else text
