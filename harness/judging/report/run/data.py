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
from harness.records.files import read_json, read_object
from harness.records.record import Metric, Record, Status, read_records
from harness.records.typed import finite

# A page of many pictures must still open on a phone; the rest stays in the run's folder.
SHOWN_PRODUCTS = 6
MOST_PICTURE_BYTES = 400_000
MOST_PICTURE_SIDE = 4096
LOG_LINES = 60
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
    tokens: tuple[Mapping[str, Any], ...] | None = None
    tokens_of: str = ""
    curve: tuple[tuple[float, float], ...] = ()
    spec: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
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
                return f"{metric.failure.type}: {metric.failure.message}"
        return f"The record of {rung} holds no {part or 'values'}."


def picture_uri(path: Path, folder: Path) -> str:
    """A PNG or JPEG inside the run's folder as a data URI.

    Raises BadInput where it lies outside, is another format, too heavy or too large.
    """
    inside = path.resolve()
    if not inside.is_relative_to(folder.resolve()):
        raise BadInput(f"The picture {path.name} lies outside the run's folder; it is not shown.")
    if not inside.is_file():
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


def _product(raw: Mapping[str, Any], folder: Path) -> Product:
    picture, missing = None, "The record names no picture."
    if raw.get("image"):
        try:
            picture = picture_uri(folder / str(raw["image"]), folder)
        except BadInput as error:
            missing = str(error)
    return Product(
        id=str(raw["id"]),
        name=str(raw["name"]),
        category=str(raw["category"]),
        reference=str(raw["reference"]),
        attributes={str(k): str(v) for k, v in (raw.get("attributes") or {}).items()},
        texts={
            (model, str(decoding)): str(text)
            for model in ("base", "tuned")
            for decoding, text in raw[model].items()
        },
        template=str(raw.get("template") or ""),
        picture=picture,
        missing=missing,
    )


def _products(folder: Path) -> tuple[tuple[Product, ...], int]:
    """The first products of `work/generation/generations.json`, and how many there are."""
    path = folder / "work" / "generation" / "generations.json"
    try:
        items = read_json(path)["products"]
        return tuple(_product(item, path.parent) for item in items[:SHOWN_PRODUCTS]), len(items)
    except (KeyError, TypeError, AttributeError) as error:
        raise BadInput(f"{path.name} is not complete ({error!r}); generate again.") from error


def _logs(folder: Path) -> dict[str, str]:
    found = {}
    for path in sorted((folder / "logs").glob("*.log")):
        text = path.read_bytes()[-200_000:].decode("utf-8", errors="replace")
        lines = [line for line in without_ansi(text).splitlines() if line.strip()]
        found[path.stem] = "\n".join(lines[-LOG_LINES:])
    return found


def _curve(raw: Mapping[str, Any]) -> tuple[tuple[float, float], ...]:
    """(step, loss) of a training's `run.json`."""
    points = []
    for index, entry in enumerate(raw["curve"]):
        if isinstance(entry, dict):
            points.append((float(entry.get("step", index + 1)), float(entry["loss"])))
        else:
            points.append((float(index + 1), float(entry)))
    return tuple(points)


def _facts(path: Path) -> dict[str, Any]:
    """A run's own summary. Raises BadInput naming the file where its parts are no objects."""
    raw = read_object(path, "run `harness run` again")
    context = raw.get("context", {})
    inner = [context.get(k, {}) for k in ("scale", "recipe")] if isinstance(context, dict) else []
    if not all(isinstance(part, dict) for part in (context, *inner)):
        raise BadInput(f"{path} is not complete (its context); run `harness run` again.")
    return raw


def read_run(folder: Path) -> Run:
    """Read a run's folder. Raises BadInput where it holds no records or a file is malformed."""
    run = Run(folder.name, read_records(folder), logs=_logs(folder))
    reasons: dict[str, str] = {}
    if (folder / "run.json").is_file():
        run = replace(run, facts=_facts(folder / "run.json"))
    if "generation" in run.records:
        try:
            products, count = _products(folder)
            run = replace(run, products=products, product_count=count)
        except BadInput as error:
            reasons["products"] = str(error)
    trained = folder / "training" / "run.json"
    if trained.is_file():
        raw = read_json(trained)
        try:
            finite(raw, "a value")
            run = replace(
                run, curve=_curve(raw), spec=dict(raw["spec"]), notes=tuple(map(str, raw["notes"]))
            )
        except (KeyError, TypeError, ValueError) as error:
            reasons["curve"] = f"{trained.name} of the training is not complete ({error!r})."
    supervision = folder / "work" / "labels" / "supervision.json"
    if supervision.is_file():
        raw = read_json(supervision)
        try:
            tokens = tuple({**t, "kind": t["kind"], "text": t["text"]} for t in raw["tokens"])
            run = replace(run, tokens=tokens, tokens_of=str(raw["sample"]))
        except (KeyError, TypeError) as error:
            reasons["tokens"] = f"{supervision.name} is not complete ({error!r})."
    elif "labels" in run.records:
        reasons["tokens"] = "The labels probe left no token map of a sample."
    return replace(run, reasons=reasons)
