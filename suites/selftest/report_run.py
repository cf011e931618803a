"""A run's records, judgement and folder as the tests of its report use them."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from harness.errors import Lack
from harness.judging.goldens.expected import Expected
from harness.judging.goldens.golden import Band, BandKind, Golden
from harness.judging.goldens.judgement import Judgement
from harness.judging.goldens.verdicts import judge
from harness.records.failure import Failure
from harness.records.files import write_json
from harness.records.record import How, Metric, Provenance, Record, Status, write_record
from harness.records.seals import seal
from harness.records.typed import Json

VOID = {"meta", "img", "br", "hr", "col"}


HOSTILE = (
    "</style><script>alert(1)</script>",
    '" onload="alert(1)" x=\'',
    "]]></title><img src=x onerror=alert(1)>",
    "nul\x00 esc\x1b[31mred\x1b[0m bell\x07 c1\x9b",
    "\u202egnp.exe\u2066 zero\u200bwidth \ufeff \u2028line",
    "[red]markup[/red] [link=https://evil.example]x[/link]",
    "<!-- comment --> &lt;b&gt; &#60;script&#62;",
    "javascript:alert(1) data:text/html,<script>",
    "lone \ud800 surrogate",
)


@dataclass
class Page(HTMLParser):
    """Collects what the tests ask about; fails on an unbalanced element."""

    ids: list[str] = field(default_factory=list)
    elements: list[tuple[str, dict[str, str | None]]] = field(default_factory=list)
    text: list[str] = field(default_factory=list)
    stack: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__(convert_charrefs=True)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len({k for k, _ in attrs}) == len(attrs), f"an attribute twice in <{tag}>"
        self.elements.append((tag, dict(attrs)))
        if (anchor := dict(attrs).get("id")) is not None:
            self.ids.append(anchor)
        if tag not in VOID:
            self.stack.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.stack
        assert self.stack.pop() == tag

    def handle_data(self, data: str) -> None:
        if not self.stack or self.stack[-1] != "style":
            self.text.append(data)


def parsed(path: Path) -> Page:
    page = Page()
    page.feed(path.read_text(encoding="utf-8"))
    page.close()
    assert page.stack == []
    return page


def png(width: int, height: int, colour: tuple[int, int, int]) -> bytes:
    """A one-coloured PNG, made by hand."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + check

    line = b"\0" + bytes(colour) * width
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(line * height)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


PROVENANCE = Provenance(
    stack="reference",
    model="stand-in",
    data="catalogue",
    device_key="cpu-x86_64-avx512",
    recipe="0f4c3a1b2d5e6f70",
    samples="s",
    vocabulary="stand-in",
    python="3.11.2",
    platform="linux-x86_64-2.36",
    commit="0123456789ab",
    created="2026-01-02T03:04:05Z",
    versions={"torch": "2.4.0", "transformers": "4.45.1", "trl": "0.11.1", "rich": "13.9.4"},
    family="qwen2_vl",
)


def record(rung: str, *metrics: Metric) -> Record:
    return Record(rung, PROVENANCE, metrics, 1.25)


def metric(rung: str, name: str, value: Json, case: str | None = None, **more: Any) -> Metric:
    return Metric(rung, name, case, value, **more)


def records() -> dict[str, Record]:
    """A small run with every kind of value."""
    g, m = "generation", "model"
    parts = {"language": 1_400_000, "vision": 400_000, "embed_tokens": 250_000, "lm_head": 250_000}
    all_records = [
        record("environment", metric("environment", "declared", "2.4.0", "torch", unit="text")),
        record(
            "interface",
            Metric(
                "interface",
                "call",
                "trl_import",
                status=Status.BROKEN,
                failure=Failure("ModuleNotFoundError", "No module named 'rich'", "trl/x.py:12"),
            ),
            Metric(
                "interface",
                "call",
                "load_4bit",
                status=Status.NOT_RUN,
                reason="needs CUDA: bitsandbytes 0.44.0 cannot quantise on a CPU",
                lack=Lack.CUDA,
            ),
            metric("interface", "call", "PASS", "lora_config", unit="text"),
        ),
        record(
            "text",
            metric("text", "rendered", "<|im_start|>user\nSee: <|im_end|>\n", "short", unit="text"),
            metric(
                "text", "rendered", "the quick brown fox jumps over a dog\n", "long", unit="text"
            ),
        ),
        record(
            "labels",
            metric("labels", "supervised", 86, "assistant", unit="tokens"),
            metric("labels", "prompt_share", 0.612, note="contradiction 6"),
        ),
        record(
            m,
            metric(
                m,
                "bytes_by_component",
                dict(parts),
                "model.nf4_double",
                unit="bytes",
                how=How.PREDICTED,
            ),
            metric(m, "bytes", 2_300_000, "model.nf4_double", unit="bytes", how=How.PREDICTED),
            *[metric(m, "bytes_gap", 0, part, unit="bytes", how=How.EMULATED) for part in parts],
        ),
        record("forward", metric("forward", "loss", 2.51), metric("forward", "pad_gap", 3e-7)),
        record(
            g,
            metric(g, "rouge_l", 0.31, "base.greedy", samples=(0.30, 0.32, 0.31, 0.31)),
            metric(g, "rouge_l", 0.62, "tuned.greedy", samples=(0.60, 0.64, 0.62, 0.62)),
            metric(g, "rouge_l", 0.5, "template"),
            metric(g, "gain", [0.25, 0.31, 0.37], "rouge_l.greedy"),
            metric(g, "grounding", 0.83, "tuned.greedy.colour", note="chance 0.125"),
            metric(g, "grounding", 0.14, "tuned.shuffled.colour", note="chance 0.125"),
            metric(g, "grounding_drop", [0.5, 0.6, 0.7], "tuned", note="own minus another's"),
        ),
    ]
    return {r.rung: r for r in all_records}


def golden(rung: str, name: str, value: Json, case: str = "", **more: Any) -> Golden:
    return Golden(
        rung, "qwen2_vl", name, "truth", "hand", "worked out by hand", {case: value}, **more
    )


GOLDENS = (
    golden("text", "rendered", "<|im_start|>user\nSee: <|im_end|>\n", "short"),
    golden("text", "rendered", "the quick brown cat jumps over the dog\n", "long"),
    golden("forward", "loss", 2.5, band=Band(BandKind.RELATIVE, 0.01, "float32 sums")),
    golden("forward", "pad_gap", 0, band=Band(BandKind.ABSOLUTE, 1e-8, "float32 rounding")),
    golden("forward", "absent", 1, required=False),
)


EXPECTED = (
    Expected(
        "interface.call.trl_import",
        "BROKEN",
        "trl 0.11.1 imports rich undeclared",
        "ModuleNotFoundError",
    ),
    Expected("interface.call.load_4bit", "NOT_RUN", "needs CUDA"),
)


def judgement_of(measured: dict[str, Record]) -> Judgement:
    return judge(measured, GOLDENS, EXPECTED)


def products(text: str = "") -> list[dict[str, Any]]:
    base = "A nice red mug. It is a mug that is good for a home and for an office."
    tuned = "Brighten your day! This red mug has a round body, perfect for home. #RedMug"
    return [
        {
            "id": f"p{i}",
            "name": f"Kestrel Studio No. {i}{text}",
            "category": "Home | Gifts",
            "reference": "Meet the mug." + text,
            "image": f"images/p{i}.png",
            "attributes": {"kind": "mug", "colour": "red" + text},
            "template": "Buy it." + text,
            "base": {"greedy": base + text, "sampled42": base},
            "tuned": {"greedy": tuned, "sampled42": tuned + text, "blank": text},
        }
        for i in range(2)
    ]


def tokens(text: str = "") -> dict[str, Any]:
    def some(kind: str, role: str, *texts: str) -> list[dict[str, str]]:
        return [{"text": t + text, "kind": kind, "role": role} for t in texts]

    return {
        "sample": "the first training product",
        "tokens": [
            *some("trained", "system", "You", " are", " an", " expert", "\n"),
            *some("masked", "control", "<|vision_start|>"),
            *some("image", "control", *["<|image_pad|>"] * 64),
            *some("masked", "control", "<|vision_end|>"),
            *some("trained", "assistant", "Bright", "en", " your", " day", "!"),
            *some("masked", "pad", *["<|endoftext|>"] * 3),
        ],
    }


def write_run(folder: Path, text: str = "") -> Path:
    """A run's folder as `harness run` leaves it."""
    for record in records().values():
        write_record(record, folder)
    curve = [{"step": i + 1, "loss": 3.2 * 0.97**i + 0.05 * (i % 3)} for i in range(70)]
    spec = {"max_steps": 70, "micro_batch": 4, "quantisation": "emulated", "recipe": "reference"}
    write_json(
        folder / "training/run.json", {"curve": curve, "spec": spec, "notes": ["bf16 off" + text]}
    )
    seal(folder / "training", ["run.json"])
    write_json(folder / "work/labels/supervision.json", tokens(text))
    write_json(
        folder / "work/generation/generations.json", {"schema": 1, "products": products(text)}
    )
    (folder / "work/generation/images").mkdir()
    for i in range(2):
        (folder / f"work/generation/images/p{i}.png").write_bytes(
            png(84, 56, (214, 32 + 90 * i, 38))
        )
    (folder / "logs").mkdir()
    (folder / "logs/probe.log").write_bytes(
        b"10%|#\r100%|##########\n\x1b[31mError: " + text.encode("utf-8", "replace") + b"\x1b[0m\n"
    )
    return folder


def shown(page: Page) -> str:
    return " ".join("".join(page.text).split())
