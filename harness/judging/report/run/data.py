"""What a report needs of a run's folder, read once. What is missing becomes a reason."""

from __future__ import annotations

import base64
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from harness.errors import BadInput
from harness.judging.report.html.markup import without_ansi
from harness.records.beside import (
    ProductTexts,
    Supervision,
    TrainingCourse,
    course_path,
    generations_path,
    read_course,
    read_generations,
    read_summary,
    read_supervision,
    summary_path,
    supervision_path,
)
from harness.records.record import Metric, Record, Status

# A page of many pictures must still open on a phone; the rest stays in the run's folder.
SHOWN_PRODUCTS = 6
MOST_PICTURE_BYTES = 400_000
MOST_PICTURE_SIDE = 4096
LOG_LINES = 60
NO_COURSE = TrainingCourse((), {})
_PNG = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True)
class Product:
    """One held-out product. texts: (model, decoding) -> text. picture: a data URI or None.

    missing: why there is no picture.
    """

    id: str
    name: str
    category: str
    reference: str
    attributes: Mapping[str, str] = field(default_factory=dict)
    texts: Mapping[tuple[str, str], str] = field(default_factory=dict)
    template: str = ""
    picture: str | None = None
    missing: str = ""


@dataclass(frozen=True)
class Run:
    """A run's folder. reasons: why a part is not there, by part."""

    name: str
    records: Mapping[str, Record]
    facts: Mapping[str, Any] = field(default_factory=dict)
    products: tuple[Product, ...] = ()
    product_count: int = 0
    supervision: Supervision | None = None
    course: TrainingCourse = NO_COURSE
    logs: Mapping[str, str] = field(default_factory=dict)
    reasons: Mapping[str, str] = field(default_factory=dict)

    def metrics(self, rung: str, prefix: str = "") -> tuple[Metric, ...]:
        """The metrics of a rung whose name starts with `prefix`; none where it has no record."""
        record = self.records.get(rung)
        return tuple(m for m in record.metrics if m.name.startswith(prefix)) if record else ()

    def why_not(self, rung: str, part: str = "") -> str:
        """The reason that a rung, or a part of it, is not there."""
        if part in self.reasons:
            return self.reasons[part]
        if rung not in self.records:
            return f"The rung {rung} has no record in this run."
        for metric in self.records[rung].metrics:
            if metric.status is Status.NOT_RUN and metric.reason:
                return metric.reason
            if metric.status is Status.BROKEN and metric.failure:
                return metric.error_without_place
        return f"The record of {rung} holds no {part or 'values'}."


def picture_uri(path: Path, folder: Path) -> str:
    """A PNG or JPEG inside the run's folder as a data URI.

    Raises BadInput where it lies outside, is another format, too heavy or too large.
    """
    try:
        inside = path.resolve()
        is_there = inside.is_file()
    except (OSError, RuntimeError, ValueError) as error:  # a zero byte, a link to itself, too long
        raise BadInput(f"The picture {path.name[:60]!r} has no path; it is not shown.") from error
    if not inside.is_relative_to(folder.resolve()):
        raise BadInput(f"The picture {path.name} lies outside the run's folder; it is not shown.")
    if not is_there:
        raise BadInput(f"The picture {path.name} is not in the run's folder; generate again.")
    if inside.stat().st_size > MOST_PICTURE_BYTES:
        raise BadInput(f"The picture {path.name} is over {MOST_PICTURE_BYTES:,} bytes; not shown.")
    data = inside.read_bytes()
    if data.startswith(_PNG) and data[12:16] == b"IHDR" and len(data) > 24:
        width, height = struct.unpack(">II", data[16:24])
        if max(width, height) > MOST_PICTURE_SIDE:
            raise BadInput(f"The picture {path.name} is {width}×{height} pixels; not shown.")
        kind = "png"
    elif data.startswith(b"\xff\xd8\xff"):
        kind = "jpeg"
    else:
        raise BadInput(f"The picture {path.name} is neither PNG nor JPEG; it is not shown.")
    return f"data:image/{kind};base64,{base64.b64encode(data).decode('ascii')}"


def _product(texts: ProductTexts, folder: Path) -> Product:
    picture, missing = None, "The record names no picture."
    if texts.image:
        try:
            picture = picture_uri(folder / texts.image, folder)
        except BadInput as error:
            missing = str(error)
    return Product(
        id=texts.id,
        name=texts.name,
        category=texts.category,
        reference=texts.reference,
        attributes=texts.attributes or {},
        texts={
            (model, decoding): text
            for model, written in (("base", texts.base), ("tuned", texts.tuned))
            for decoding, text in written.items()
        },
        template=texts.template,
        picture=picture,
        missing=missing,
    )


def _logs(folder: Path) -> dict[str, str]:
    logs = {}
    for path in sorted((folder / "logs").glob("*.log")):
        text = path.read_bytes()[-200_000:].decode("utf-8", errors="replace")
        lines = [line for line in without_ansi(text).splitlines() if line.strip()]
        logs[path.stem] = "\n".join(lines[-LOG_LINES:])
    return logs


def _facts(folder: Path) -> dict[str, Any]:
    """A run's own summary. Raises BadInput naming the file where its parts are no objects, Damaged
    where one that it seals is not as it was written."""
    raw = read_summary(folder)
    path = summary_path(folder)
    context = raw.get("context", {})
    inner = [context.get(k, {}) for k in ("scale", "recipe")] if isinstance(context, dict) else []
    if not all(isinstance(part, dict) for part in (context, *inner)):
        raise BadInput(f"{path} is not complete (its context); run `harness run` again.")
    return raw


def read_run(folder: Path, records: Mapping[str, Record]) -> Run:
    """What lies beside a run's records. Raises BadInput where its own summary is malformed, Damaged
    where a file that it seals is not as it was written; of whatever else is missing or damaged the
    reason is kept."""
    run = Run(folder.name, records, logs=_logs(folder))
    reasons: dict[str, str] = {}
    if summary_path(folder).is_file():
        run = replace(run, facts=_facts(folder))
    if "generation" in records:
        try:
            written = read_generations(folder).products
            pictures = generations_path(folder).parent
            shown = tuple(_product(texts, pictures) for texts in written[:SHOWN_PRODUCTS])
            run = replace(run, products=shown, product_count=len(written))
        except BadInput as error:
            reasons["products"] = str(error)
    if course_path(folder).is_file():
        try:
            run = replace(run, course=read_course(folder))
        except BadInput as error:
            reasons["curve"] = str(error)
    if supervision_path(folder).is_file():
        try:
            run = replace(run, supervision=read_supervision(folder))
        except BadInput as error:
            reasons["tokens"] = str(error)
    elif "labels" in records:
        reasons["tokens"] = "The labels probe left no token map of a sample."
    return replace(run, reasons=reasons)
