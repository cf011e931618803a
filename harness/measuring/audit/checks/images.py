"""Images: every row's own pictures, upright, in their colours, at the size that was asked for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from harness.measuring.audit.checks._levels import level_checks
from harness.measuring.audit.contents import is_ordered
from harness.measuring.audit.finding import Findings
from harness.measuring.audit.pictures import Given, Pictures
from harness.measuring.audit.rows import cut, rows_of
from harness.measuring.audit.shapes import changed, judged
from harness.measuring.audit.stated import stated
from harness.measuring.audit.training import Training
from harness.records.audit import Basis, Relation

# Which check a variant of a picture is reported at.
_CHECKS = {
    "not turned": "orientation",
    "upside down": "orientation",
    "transparency dropped": "transparency",
    "palette numbers": "colours",
    "blue for red": "colours",
    "grey": "colours",
    "rescaled twice": "brightness",
}


def checks(training: Training, findings: Findings) -> None:
    """See the module."""
    if training.picture_token_id is None:
        findings.not_run("pictures", "The model sees no pictures.")
        return
    batches = [
        Pictures(training, batch, [row for row in rows_of(training) if row.batch is batch])
        for batch in training.batches
    ]
    if not any(p.pixels is not None or any(p.own) for p in batches):
        findings.not_run("pictures", "The training's rows have no pictures.")
        return
    if _counts(batches, findings):
        _tokens(training, batches, findings)
        _whose(batches, findings)
        _proportions(batches, findings)
    _sizes(training, batches, findings)
    level_checks(training, training.batches, findings)


def _counts(batches: Sequence[Pictures], findings: Findings) -> bool:
    """Whether every batch has the pictures of its rows."""
    if not any(any(p.own) for p in batches):
        reason = (
            "The dataset's rows hold no picture that can be opened: whose the pixels are is not "
            "known."
        )
        findings.not_run("pictures", reason)
        return False
    if any(p.count is None for p in batches):
        why = "it has no family" if batches[0].training.family is None else "a batch has tiles only"
        findings.not_run(
            "pictures", f"Nothing tells this model's pictures in a batch apart: {why}."
        )
        return False
    have = [int(p.count or 0) for p in batches]
    need = [sum(map(len, p.own)) for p in batches]
    findings.put("pictures", [*have], [*need], unit="pictures", setting="data_collator")
    return have == need


def _tokens(training: Training, batches: Sequence[Pictures], findings: Findings) -> None:
    """Every row has as many image tokens as its own pictures take."""
    basis = Basis.ORACLE if training.family else Basis.IDENTITY
    have, need, odd = list[int](), list[int](), list[str]()
    for pictures in batches:
        wanted = findings.attempt("image_tokens", pictures.own_tokens)
        if wanted is None:
            return
        for row, count in zip(pictures.rows, wanted, strict=True):
            there = row.ids.count(training.picture_token_id or -1)
            have.append(there)
            need.append(count)
            if there != count:
                what = ", cut" if cut(training, row) else ""
                odd.append(f"{row.name}: {there} of {count}{what}")
    findings.put(
        "image_tokens",
        [*have],
        [*need],
        unit="tokens",
        basis=basis,
        evidence=odd,
        setting="data_collator",
    )


def _whose(batches: Sequence[Pictures], findings: Findings) -> None:
    """Each picture is its own row's, in the row's order, and as a viewer sees it."""
    whose = [(p, given, p.whose(given)) for p in batches for given in p.given()]
    strange = sum(name == "" for _, _, name in whose)
    if strange:
        findings.not_run(
            "other_rows",
            f"{strange} of {len(whose)} pictures are at a size that their rows' pictures do not "
            "come out at: whose they are is not known.",
        )
    else:
        rows = [(given, name) for _, given, name in whose if name.startswith("row ")]
        _put(findings, "other_rows", rows)
    _order(whose, findings)
    for check in dict.fromkeys(_CHECKS.values()):
        _put(
            findings,
            check,
            [(given, name) for _, given, name in whose if _CHECKS.get(name) == check],
        )


def _proportions(batches: Sequence[Pictures], findings: Findings) -> None:
    """Pictures are as wide for their height as their rows' are, as far as a family keeps that."""
    given = [(p, one) for p in batches for one in p.given() if judged(p, one)]
    if not given:
        reason = "This model's batches do not say how wide a picture is for its height."
        findings.not_run("proportions", reason)
        return
    shapes = findings.attempt("proportions", lambda: [changed(p, one) for p, one in given])
    if shapes is not None:
        pairs = zip(given, shapes, strict=True)
        _put(findings, "proportions", [(one, str(shape)) for (_, one), shape in pairs if shape])


def _put(findings: Findings, name: str, items: Sequence[tuple[Given, str]]) -> None:
    findings.put(
        name,
        len(items),
        0,
        unit="pictures",
        basis=Basis.IDENTITY,
        evidence=[f"{given.row.name}, picture {given.place}: {what}" for given, what in items],
        setting="data_collator",
    )


def _order(whose: Sequence[tuple[Pictures, Given, str]], findings: Findings) -> None:
    """Pictures of one row stand in the row's order; in columns, which say none, every row has the
    same."""
    moved = [
        (given, name)
        for _, given, name in whose
        if name.startswith("place ") and is_ordered(given.row.feature)
    ]
    orders: dict[int, tuple[str, ...]] = {}
    for _, given, name in whose:
        if not is_ordered(given.row.feature):
            orders[given.row.number] = (*orders.get(given.row.number, ()), name)
    usual = Counter(orders.values()).most_common(1)
    moved += [
        (given, name)
        for _, given, name in whose
        if given.row.number in orders
        and orders[given.row.number] != usual[0][0]
        and name.startswith("place ")
    ]
    _put(findings, "order", moved)


def _sizes(training: Training, batches: Sequence[Pictures], findings: Findings) -> None:
    """What was asked of sizes in the user's file, against what came out."""
    family = training.family
    if family is None:
        findings.not_run(
            "pixels_most", "The model has no family: how large its pictures are is not known."
        )
        return
    areas = [
        area
        for pictures in batches
        if pictures.pixels is not None
        for area in _areas(training, pictures)
    ]
    if not areas:
        return
    findings.record("pixels", [min(areas), max(areas)], unit="px")
    most, least = stated(training.source, "max_pixels"), stated(training.source, "min_pixels")
    if most:
        findings.put(
            "pixels_most",
            max(areas),
            max(most),
            basis=Basis.DECLARED,
            relation=Relation.AT_MOST,
            unit="px",
            setting="max_pixels",
        )
    if least:
        findings.put(
            "pixels_least",
            min(areas),
            min(least),
            basis=Basis.DECLARED,
            relation=Relation.AT_LEAST,
            unit="px",
            setting="min_pixels",
        )


def _areas(training: Training, pictures: Pictures) -> list[int]:
    """px of every picture of a batch: the family's square of so many tokens, shared out. None of a
    family whose batches say nothing picture by picture: its tiles are all of one size."""
    family: Any = training.family
    if not _only(pictures, 0):
        return []
    patches = family.patches(pictures.batch.inputs)
    count = len(patches)
    tokens = [
        sum(family.image_tokens(training.processor, _only(pictures, i), [1])) for i in range(count)
    ]
    many = 1_000_000
    return [n * family.picture_side(many) ** 2 // many for n in tokens]


def _only(pictures: Pictures, index: int) -> dict[str, Any]:
    """The batch's tensors with one entry a picture, of one picture alone."""
    family: Any = pictures.training.family
    inputs = pictures.batch.inputs
    return {
        name: inputs[name][index : index + 1]
        for name, tensor in family.TENSORS.items()
        if tensor.axis == "picture" and name in inputs
    }
