"""Labels: what the loss asks for, token by token and by role, and what it must never ask for."""

from __future__ import annotations

import sys
from collections import Counter

from harness.measuring.audit.contents import pictures_of
from harness.measuring.audit.finding import Findings
from harness.measuring.audit.rows import IGNORED, Row, pairs_of, rows_of
from harness.measuring.audit.training import Batch, Training
from harness.measuring.audit.turns import CONTROL, Turn
from harness.records.audit import Basis, DrawnRow
from harness.records.beside import Token

# Rows that are drawn: a reader looks at one or two.
DRAWN = 2
# Characters of a row's first question and answer that name it.
_SAMPLE = 60


def checks(training: Training, findings: Findings) -> None:
    """See the module."""
    if any(batch.labels is None for batch in training.batches):
        if training.has_own_loss:
            reason = "The batches have no labels, and the Trainer's loss is its own: what it learns"
            findings.not_run("there", f"{reason} from is not known.")
        else:
            findings.put("there", False, True, setting="data_collator")
        return
    odd = [batch for batch in training.batches if batch.labels.shape != batch.ids.shape]
    if odd:
        findings.put(
            "shape",
            [int(n) for n in odd[0].labels.shape],
            [int(n) for n in odd[0].ids.shape],
            setting="data_collator",
        )
        return
    if training.prefers:
        _prompts_of_pairs(training, findings)
    _targets(training, findings)
    _never(training, findings)
    _rows_trained(training, findings)
    _turns_trained(training, findings)
    _shares(training, findings)
    for row in rows_of(training)[:DRAWN]:
        findings.rows.append(_drawn(training, row))


def _targets(training: Training, findings: Findings) -> None:
    """A target is its own token: the model shifts, the collator does not; what is ignored is
    -100 and nothing else."""
    others, shifted, foreign, trained = 0, 0, Counter[int](), 0
    vocabulary = training.vocabulary or sys.maxsize
    for batch in training.batches:
        ids, labels = batch.ids, batch.labels
        asked = labels != IGNORED
        inside = asked & (labels >= 0) & (labels < vocabulary)
        for label in labels[asked & ~inside].tolist():
            foreign[int(label)] += 1
        trained += int(inside.sum())
        others += int((inside & (labels != ids)).sum())
        shifted += int((inside[:, :-1] & (labels[:, :-1] == ids[:, 1:])).sum())
    findings.put(
        "outside_vocabulary",
        foreign.total(),
        0,
        unit="tokens",
        evidence=[f"{label} × {count}" for label, count in foreign.most_common()],
        setting="data_collator",
    )
    if not type(training.core).__module__.startswith("transformers"):
        findings.not_run(
            "other_than_ids",
            "The model is of your own class: whether it shifts labels itself is not known.",
        )
        return
    is_shifted = bool(others) and shifted > trained - others
    findings.put(
        "other_than_ids",
        others,
        0,
        unit="tokens",
        basis=Basis.IDENTITY,
        evidence=["each is the next token: shifted by one"] if is_shifted else (),
        setting="data_collator",
    )


def _prompts_of_pairs(training: Training, findings: Findings) -> None:
    """Both answers of a pair stand behind the same prompt."""
    apart = [one.name for one, other in pairs_of(training) if _prompt(one) != _prompt(other)]
    findings.put(
        "prompts_apart",
        len(apart),
        0,
        unit="pairs",
        basis=Basis.IDENTITY,
        evidence=apart,
        setting="data_collator",
    )


def _prompt(row: Row) -> list[int]:
    """What stands before the first token that is scored."""
    first = next((i for i in range(len(row.ids)) if row.is_trained(i)), len(row.ids))
    return row.ids[:first]


def _never(training: Training, findings: Findings) -> None:
    """Padding and what stands for pictures is never a target."""
    padded, asked = 0, Counter[str]()
    for batch in training.batches:
        trained = batch.labels != IGNORED
        if batch.mask is not None:
            padded += int((trained & (batch.mask == 0)).sum())
        for token_id, token in training.never_trained.items():
            asked[token] += int((trained & (batch.labels == token_id)).sum())
    findings.put("padding_trained", padded, 0, unit="tokens", setting="data_collator")
    if training.never_trained:
        findings.put(
            "image_tokens_trained",
            sum(asked.values()),
            0,
            unit="tokens",
            evidence=[f"{token} × {count}" for token, count in asked.items() if count],
            setting="data_collator",
        )


def _rows_trained(training: Training, findings: Findings) -> None:
    masked = [row for row in rows_of(training) if not _is_any_trained(row)]
    findings.put(
        "rows_all_masked",
        len(masked),
        0,
        unit="rows",
        evidence=[row.name for row in masked],
        setting="data_collator",
    )


def _is_any_trained(row: Row) -> bool:
    return any(row.is_trained(token) for token in range(len(row.ids)))


def _turns_trained(training: Training, findings: Findings) -> None:
    """Answers are trained from their first token to their end; headers only with the prompt."""
    if not any(row.turns for row in rows_of(training)):
        findings.not_run("ends_untrained", "No turn of the chat template is in any row.")
        return
    masked, begun, ends, headers = Counter[str](), Counter[str](), Counter[str](), Counter[str]()
    for row in rows_of(training):
        if not _is_any_trained(row):
            continue
        answers = [t for t in row.answers if t.stop > t.start]
        last = answers[-1:] if training.loss_on == "" else answers
        masked[row.name] += sum(not _is_turn_trained(row, turn) for turn in last)
        for turn in answers:
            if _is_turn_trained(row, turn):
                begun[row.name] += not any(_is_at(row, at) for at in (turn.start, turn.begins))
                ends[row.name] += turn.closed and not _is_end_trained(row, turn)
        headers[row.name] += _headers_trained(row)
    for name, counted, unit in (
        ("answers_masked", masked, "turns"),
        ("answer_starts_masked", begun, "turns"),
        ("ends_untrained", ends, "turns"),
        ("headers_trained", headers, "tokens"),
    ):
        findings.put(
            name,
            counted.total(),
            0,
            unit=unit,
            evidence=[row for row, count in counted.items() if count],
            setting="data_collator",
        )


def _is_at(row: Row, token: int) -> bool:
    return token < len(row.ids) and row.is_trained(token)


def _is_turn_trained(row: Row, turn: Turn) -> bool:
    return any(row.is_trained(token) for token in range(turn.start, turn.stop))


def _is_end_trained(row: Row, turn: Turn) -> bool:
    """The first token of the end is what tells a generation to stop."""
    return turn.end[0] < len(row.ids) and row.is_trained(turn.end[0])


def _headers_trained(row: Row) -> int:
    """Trained tokens of the headers before answers, in rows that train no other role."""
    if any(_is_turn_trained(row, turn) for turn in row.turns if turn.role != "assistant"):
        return 0
    count, before = 0, 0
    for turn in row.turns:
        if turn.role == "assistant":
            count += sum(row.is_trained(token) for token in range(before, turn.start))
        before = turn.end[1] if turn.closed else turn.stop
    return count


def _shares(training: Training, findings: Findings) -> None:
    total, trained, by_role = 0, 0, Counter[str]()
    for row in rows_of(training):
        total += len(row.ids)
        for token, role in enumerate(row.roles):
            if row.is_trained(token):
                trained += 1
                by_role[role] += 1
    findings.record("trained_share", trained / total if total else 0.0, unit="share")
    findings.record("trained_by_role", dict(by_role), unit="tokens")
    prompt = sum(n for role, n in by_role.items() if role not in {"assistant", CONTROL})
    # Of pairs it is the answers' probability by definition, given the prompt.
    if training.loss_on in {"assistant", "completion"} or training.prefers:
        findings.put(
            "prompt_trained",
            prompt,
            0,
            basis=Basis.DECLARED,
            unit="tokens",
            setting="data_collator",
        )
    elif not training.loss_on and training.spelled is not None:
        findings.put("prompt_trained_unsaid", prompt, 0, unit="tokens", setting="data_collator")


def _drawn(training: Training, row: Row) -> DrawnRow:
    """The row as it lies in its batch, padding included."""
    batch: Batch = row.batch
    ids, labels = batch.ids[row.index].tolist(), batch.labels[row.index].tolist()
    mask = None if batch.mask is None else batch.mask[row.index].tolist()
    tokens, inside = [], 0
    for place, (token_id, label) in enumerate(zip(ids, labels, strict=True)):
        trained = "trained" if label != IGNORED else "masked"
        if mask is not None and not mask[place]:
            kind = "trained" if label != IGNORED else "padding"
            tokens.append(Token(_named(training, token_id), kind, "padding"))
            continue
        is_image = token_id == training.picture_token_id and trained == "masked"
        kind = "image" if is_image else trained
        tokens.append(Token(row.texts[inside], kind, row.roles[inside]))
        inside += 1
    pictures = pictures_of(row.feature)
    sizes = tuple((int(picture.width), int(picture.height)) for picture in pictures)
    return DrawnRow(row.number, _sample(training, row), tuple(tokens), sizes)


def _named(training: Training, token_id: int) -> str:
    if training.tokenizer is None:
        return f"{token_id} "
    return str(training.tokenizer.convert_ids_to_tokens(token_id))


def _sample(training: Training, row: Row) -> str:
    """A few words of the first question and of its answer; of a row without turns, its start."""
    parts = []
    for role in ("user", "assistant"):
        turn = next((turn for turn in row.turns if turn.role == role), None)
        if turn is not None:
            parts.append(_short(_words(training, row, turn)))
    return " → ".join(words for words in parts if words) or _short(row.text)


def _words(training: Training, row: Row, turn: Turn) -> str:
    """The text of a turn; what stands for pictures is no word of it."""
    inside = range(turn.start, turn.stop)
    return "".join(row.texts[i] for i in inside if row.ids[i] not in training.never_trained)


def _short(text: str) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= _SAMPLE else f"{flat[: _SAMPLE - 1]}…"
