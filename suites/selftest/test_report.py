"""The report on synthetic records: structure, hostile texts, partial runs, contrast, sameness."""

from __future__ import annotations

import base64
import io
import re
import struct
import zlib
from dataclasses import dataclass, field, replace
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from harness.cli import main
from harness.errors import BadInput, Lack
from harness.judging.goldens.expected import Expected
from harness.judging.goldens.golden import Band, BandKind, Golden
from harness.judging.goldens.judgement import Judgement
from harness.judging.goldens.verdicts import judge
from harness.judging.report.html.charts import ticks
from harness.judging.report.html.document import stylesheet
from harness.judging.report.html.markup import clean, escape, tag, without_ansi
from harness.judging.report.html.textdiff import changed_words, difference
from harness.judging.report.html.values import effect, number, size, text_of
from harness.judging.report.run.data import picture_uri
from harness.judging.report.run.findings import findings
from harness.judging.report.run.page import render
from harness.judging.report.run.terminal import terminal
from harness.recipe.published import variant
from harness.records.failure import Failure
from harness.records.files import write_json
from harness.records.recipes import recipe_digest
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


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_run(tmp_path / "20260102-abc")


@pytest.fixture
def page(folder: Path) -> Page:
    return parsed(render(folder, records(), judgement_of(records()), folder / "report.html"))


def shown(page: Page) -> str:
    return " ".join("".join(page.text).split())


def test_the_verdict_comes_first_and_names_its_sources(folder: Path, page: Page) -> None:
    text = (folder / "report.html").read_text(encoding="utf-8")
    title = text.split("<title>")[1].split("</title>")[0]
    for part in ("stand-in", "catalogue", "reference", "2 unexpected findings"):
        assert part in title
    first = text.index("<h1>")
    assert first < text.index('id="findings"')
    assert "model stand-in, data catalogue" in text[first : first + 600]
    assert [e for e, _ in page.elements].count("h1") == 1


def test_known_findings_and_missing_ones_never_read_all_green(tmp_path: Path) -> None:
    some = {r: v for r, v in records().items() if r in {"interface", "text"}}
    some["text"] = record("text", some["text"].metrics[0])
    for each in some.values():
        write_record(each, tmp_path)
    judgement = judge(some, GOLDENS[:1], EXPECTED)
    assert judgement.exit_code == 0
    seen = shown(parsed(render(tmp_path, some, judgement, tmp_path / "r.html")))
    assert "all green" not in seen.lower()
    assert "As expected, with 2 known findings" in seen
    without = judge({"text": some["text"]}, GOLDENS[:1], [])
    assert "All green" in shown(parsed(render(tmp_path, some, without, tmp_path / "r.html")))


def test_ids_are_unique_and_links_arrive(page: Page) -> None:
    assert len(page.ids) == len(set(page.ids))
    for _, attributes in page.elements:
        if (target := attributes.get("href")) is not None:
            assert target.startswith("#")
            assert target[1:] in page.ids
        for name in ("aria-labelledby", "aria-describedby"):
            for one in (attributes.get(name) or "").split():
                assert one in page.ids


def test_it_loads_and_runs_nothing(folder: Path, page: Page) -> None:
    names = {element for element, _ in page.elements}
    assert not names & {"script", "link", "iframe", "object", "embed", "form", "base", "video"}
    for element, attributes in page.elements:
        assert not [a for a in attributes if a.startswith("on")], element
        assert not {"srcset", "background", "action", "poster", "data"} & set(attributes)
        source = attributes.get("src")
        assert source is None or source.startswith("data:image/png;base64,")
    text = (folder / "report.html").read_text(encoding="utf-8")
    assert "url(" not in text
    assert "@import" not in stylesheet()
    policy = next(a["content"] for _, a in page.elements if "http-equiv" in a)
    assert policy is not None
    assert policy.startswith("default-src 'none';")


def test_a_keyboard_and_a_screen_reader_find_their_way(page: Page) -> None:
    names = [element for element, _ in page.elements]
    for landmark in ("header", "nav", "main", "footer"):
        assert landmark in names
    assert "lang" in page.elements[0][1]
    first_link = next(a for e, a in page.elements if e == "a")
    assert first_link["href"] == "#main"
    levels = [int(e[1]) for e in names if re.fullmatch("h[1-6]", e)]
    assert all(b - a <= 1 for a, b in pairwise(levels))
    assert names.count("table") == names.count("caption")
    for element, attributes in page.elements:
        if element == "th":
            assert attributes.get("scope") in {"row", "col"}
        if element == "img":
            assert attributes.get("alt")
        if element == "svg":
            assert attributes.get("aria-hidden") == "true" or attributes.get("role") == "img"
        if attributes.get("class") == "scroll":
            assert attributes.get("tabindex") == "0"
            assert attributes.get("aria-label")
    assert names.count("section") == sum(
        e == "section" and bool(a.get("aria-labelledby")) for e, a in page.elements
    )


def test_every_part_shows_its_content(page: Page) -> None:
    seen = shown(page)
    for part in (
        "ModuleNotFoundError: No module named 'rich'",
        "70 points from 3.2 at step 1",
        "emulated",
        "predicted",
        "<|image_pad|> × 64",
        "+0.310 (+0.250 to +0.370), above zero",
        "Grounding lost with another product's picture",
        "0.125",
        "The first 2 of 2 held-out products",
        "harness run --stack reference --model stand-in --data catalogue",
        "git checkout 0123456789ab",
        "trl 0.11.1",
    ):
        assert part in seen, part
    marks = [e for e, _ in page.elements]
    assert "ins" in marks
    assert "del" in marks


@pytest.mark.parametrize("text", HOSTILE)
def test_outside_text_never_becomes_markup(tmp_path: Path, text: str) -> None:
    """The page of hostile texts has exactly the elements of the page of harmless ones."""

    def skeleton(folder: Path, word: str) -> tuple[list[tuple[str, tuple[str, ...]]], str]:
        # JSON files can carry a lone surrogate only as an escape; records refuse to write one.
        stored = word.encode("utf-8", "replace").decode("utf-8")
        write_run(folder, stored)
        hostile = {
            rung: replace(
                r,
                metrics=tuple(replace(m, note=(m.note or "") + word) for m in r.metrics),
                provenance=replace(r.provenance, platform=word),
            )
            for rung, r in records().items()
        }
        judgement = judgement_of(hostile)
        spoilt = tuple(replace(i, reason=i.reason + word, evidence=word) for i in judgement.items)
        out = render(folder, records(), replace(judgement, items=spoilt), folder / "report.html")
        raw = out.read_text(encoding="utf-8")
        page = parsed(out)
        shape = [
            (e, tuple(sorted(a)))
            for e, a in page.elements
            # Word differences follow the words, so their number may differ.
            if e not in {"ins", "del", "b", "span"}
        ]
        return shape, raw

    plain, _ = skeleton(tmp_path / "a", "harmless")
    spoilt, raw = skeleton(tmp_path / "b", text)
    assert spoilt == plain
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b\u202a-\u202e\u2066-\u2069]", raw)
    assert "<script" not in raw.lower()


@pytest.mark.parametrize("text", HOSTILE)
def test_escaping(text: str) -> None:
    escaped = escape(text)
    assert not set(escaped) & set("<>\"'")
    escaped.encode("utf-8")
    assert tag("p", text, title=text).count("<") == 2


def test_text_that_people_write_stays_as_it_is() -> None:
    for text in ("상품 설명", "👩‍👩‍👧 ❤️", "Café № 5 — “x”", "a\n\tb"):
        assert clean(text) == text


def test_logs_lose_colours_and_keep_the_last_state_of_a_line() -> None:
    assert without_ansi("1%\r50%\r100%\n\x1b[1;31mred\x1b[0m\x1b]8;;https://x\x07l") == (
        "100%\nredl"
    )


def test_links_out_and_handlers_are_refused() -> None:
    for attributes in ({"href": "https://x"}, {"src": "x.png"}, {"onclick": "x"}):
        with pytest.raises(ValueError, match=r"must start|may not"):
            tag("a", attributes=attributes)


def test_equal_input_gives_equal_bytes(folder: Path) -> None:
    one = render(folder, records(), judgement_of(records()), folder / "a.html").read_bytes()
    two = render(folder, records(), judgement_of(records()), folder / "b.html").read_bytes()
    assert one == two


def test_a_known_finding_says_why_it_is_known() -> None:
    measured = records()
    note = metric("forward", "pad_gap", 3e-7, note="one batch padded left")
    measured["forward"] = record("forward", note)
    wish = Expected("forward.pad_gap", "CHANGED", "upstream sums in another order")
    judgement = judge(measured, GOLDENS, (*EXPECTED, wish))
    seen = findings(judgement, {wish.finding: wish.reason})
    assert "one batch padded left" in seen
    assert "upstream sums in another order" in seen


def test_reasons_of_several_known_findings_stand_apart() -> None:
    measured = records()
    gaps = [metric("forward", "pad_gap", 3e-7, case, note=case) for case in ("left", "right")]
    measured["forward"] = record("forward", *gaps)
    wanted = golden("forward", "pad_gap", 0)
    wanted = replace(wanted, cases={"left": 0, "right": 0})
    wishes = [
        Expected(f"forward.pad_gap.{case}", "CHANGED", f"the {case} is cut off")
        for case in ("left", "right")
    ]
    judgement = judge(measured, [wanted], (*EXPECTED, *wishes))
    seen = findings(judgement, {w.finding: w.reason for w in wishes})
    assert "the left is cut off; the right is cut off" in seen
    # What is to be done about known ones is said once, not on every card.
    assert seen.count("golden/expected/reference.json") == 1


def test_numbers_that_another_device_has_are_one_card_with_one_command() -> None:
    seen = [
        replace(
            golden("forward", name, 1.0),
            kind="observed",
            device_key="cpu-other",
            stack=PROVENANCE.stack,
            model=PROVENANCE.model,
            required=False,
        )
        for name in ("loss_share", "layer_norm")
    ]
    judgement = judge(records(), [*GOLDENS, *seen], EXPECTED)
    page = findings(judgement, {})
    command = "harness golden calibrate forward.layer_norm forward.loss_share --stack reference"
    assert page.count("harness golden calibrate") == 1
    assert command in page
    assert "no number was observed on" in page
    assert "harness probe forward" not in page.split("Not run (")[1].split("no number")[1]
    out = io.StringIO()
    terminal(judgement, Console(file=out, width=300))
    assert out.getvalue().count("harness golden calibrate") == 1
    assert f"2 observed values that this device has none of yet: {command}" in out.getvalue()


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ([-0.00334810511519974, 0.0, 12], "[-0.00334811, 0, 12]"),
        ([[1, 2], [0.1234567891]], "[[1, 2], [0.123457]]"),
        (["a", True, None], '["a", true, null]'),
    ],
)
def test_numbers_in_lists_are_rounded_like_others(value: Json, shown: str) -> None:
    assert text_of(value) == shown


def test_an_effect_of_many_times_is_no_per_cent() -> None:
    band = Band(BandKind.ABSOLUTE, 0.05, "rounding")
    for now, shown in ((1.5, "(+50.000%)"), (285_002.0, "(×285,002)")):
        measured = {**records(), "forward": record("forward", metric("forward", "loss", now))}
        judgement = judge(measured, [golden("forward", "loss", 1.0, band=band)], EXPECTED)
        (item,) = [i for i in judgement.items if i.finding == "forward.loss"]
        assert shown in effect(item)


def test_a_lone_surrogate_in_a_file_is_shown_as_a_replacement(folder: Path) -> None:
    path = folder / "work/generation/generations.json"
    raw = path.read_text(encoding="utf-8").replace("Meet the mug.", "Meet \\ud800 mug.")
    path.write_text(raw, encoding="utf-8")
    assert "Meet � mug." in shown(
        parsed(render(folder, records(), judgement_of(records()), folder / "r.html"))
    )


def test_options_that_were_given_are_repeated(folder: Path) -> None:
    write_json(folder / "run.json", {"context": {"scale": {"max_steps": 12, "full": False}}})
    masked = replace(PROVENANCE, recipe=recipe_digest(variant("mask-prompt")))
    measured = {rung: replace(r, provenance=masked) for rung, r in records().items()}
    for one in measured.values():
        write_record(one, folder)
    seen = shown(parsed(render(folder, measured, judgement_of(measured), folder / "r.html")))
    assert "--data catalogue --max-steps 12 --recipe mask-prompt --device cpu --threads" in seen
    assert "data catalogue, recipe mask-prompt: " in seen
    assert "harness probe forward --recipe mask-prompt" in seen


def test_incomplete_files_give_reasons_not_errors(folder: Path) -> None:
    write_json(folder / "work/generation/generations.json", {"schema": 1, "products": [{}]})
    write_json(folder / "training/run.json", {"curve": [{"step": 1}]})
    seal(folder / "training", ["run.json"])
    seen = shown(parsed(render(folder, records(), judgement_of(records()), folder / "r.html")))
    assert "generations.json is not complete" in seen
    assert "training/run.json is not complete" in seen


def test_huge_texts_keep_the_page_small(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "big", "word " * 40_000)
    out = render(folder, records(), judgement_of(records()), folder / "report.html")
    assert out.stat().st_size < 1_500_000
    assert "more characters" in out.read_text(encoding="utf-8") or "characters)" in shown(
        parsed(out)
    )


def test_a_partial_run_says_what_was_not_run_and_why(tmp_path: Path) -> None:
    only = {"text": records()["text"]}
    write_record(only["text"], tmp_path)
    seen = shown(parsed(render(tmp_path, only, judge(only, GOLDENS[:1], []), tmp_path / "r.html")))
    assert "The rung trajectory has no record in this run." in seen
    assert "The rung generation has no record in this run." in seen
    assert seen.count("not run") > 8


def test_no_weights_gives_the_probes_own_reason(tmp_path: Path) -> None:
    why = "the snapshot has no weights"
    measured = {
        "generation": record(
            "generation", Metric("generation", "rouge_l", status=Status.NOT_RUN, reason=why)
        )
    }
    write_record(measured["generation"], tmp_path)
    assert why in shown(
        parsed(render(tmp_path, measured, judge(measured, [], []), tmp_path / "r.html"))
    )


def test_a_folder_without_records_is_refused(tmp_path: Path) -> None:
    assert main(["report", str(tmp_path)]) == 2
    assert list(tmp_path.iterdir()) == []


def test_pictures_are_checked(tmp_path: Path) -> None:
    inside = tmp_path / "run"
    inside.mkdir()
    (tmp_path / "out.png").write_bytes(png(2, 2, (0, 0, 0)))
    (inside / "ok.png").write_bytes(png(2, 2, (0, 0, 0)))
    (inside / "no.png").write_bytes(b"<svg onload=alert(1)>")
    (inside / "wide.png").write_bytes(png(5000, 1, (0, 0, 0)))
    (inside / "heavy.png").write_bytes(png(2, 2, (0, 0, 0)) + bytes(500_000))
    uri = picture_uri(inside / "ok.png", inside)
    assert base64.b64decode(uri.split(",")[1]) == png(2, 2, (0, 0, 0))
    for name, why in {
        "../out.png": "outside",
        "gone.png": "not in",
        "no.png": "neither",
        "wide.png": "5000×1",
        "heavy.png": "over",
    }.items():
        with pytest.raises(BadInput, match=why):
            picture_uri(inside / name, inside)


def test_word_differences() -> None:
    old, new = difference("the quick brown fox", "the slow brown fox jumps")
    assert str(old) == "the <del>quick</del> brown fox"
    assert str(new) == "the <ins>slow</ins> brown fox<ins> jumps</ins>"
    assert changed_words("the quick brown fox", "the slow brown fox jumps") == (1, 2)
    assert difference("a b", "a b") == ("a b", "a b")
    assert difference("a ", "a")[0] == "a<del>␣</del>"


def test_ticks_are_round_and_inside() -> None:
    assert ticks(0, 70, 5) == [0, 20, 40, 60]
    assert ticks(0.42, 3.31) == [1, 2, 3]
    assert ticks(5, 5) == [5]
    for low, high in ((0.0, 1e-6), (1e-3, 12.7), (-5.0, 5.0), (2.4999, 2.5001), (0, 1e9)):
        places = ticks(low, high)
        assert 1 < len(places) <= 6
        assert all(low <= t <= high for t in places)


def test_numbers_are_written_exactly() -> None:
    assert number(8_293_898_752) == "8,293,898,752"
    assert number(0.000030449) == "3.045e-05"
    assert number(2.5) == "2.5"
    assert size(5_898_851_352) == "5.49 GiB"
    assert size(1023) == "1,023 B"


def _luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


PAIRS = [
    *[
        (ink, ground)
        for ink in ("ink", "soft", "link", "good", "bad", "known", "missing")
        for ground in ("paper", "card")
    ],
    ("good", "good-bg"),
    ("bad", "bad-bg"),
    ("known", "known-bg"),
    ("missing", "missing-bg"),
    ("image", "image-bg"),
    ("ink", "code"),
    ("link", "code"),
    ("base", "card"),
    ("tuned", "card"),
    ("screen-ink", "screen"),
]


@pytest.mark.parametrize("mode", ["light", "dark"])
@pytest.mark.parametrize("pair", PAIRS, ids="/".join)
def test_contrast(mode: str, pair: tuple[str, str]) -> None:
    """WCAG 2.2 AA for text, by its own formula."""
    light, dark = stylesheet().split("@media (prefers-color-scheme: dark)")[:2]
    source = light if mode == "light" else dark
    palette = dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6})", source))
    bright, dim = sorted((_luminance(palette[name]) for name in pair), reverse=True)
    assert (bright + 0.05) / (dim + 0.05) >= 4.5


@pytest.mark.parametrize("mode", ["light", "dark"])
def test_console_colours_are_readable(mode: str) -> None:
    colours = re.findall(r"pre\.screen \.\w+ \{ color: (#[0-9a-f]{6})", stylesheet())
    assert len(colours) == 5
    light, dark = stylesheet().split("@media (prefers-color-scheme: dark)")[:2]
    source = light if mode == "light" else dark
    ground = re.search(r"--screen: (#[0-9a-f]{6})", source)
    assert ground is not None
    for colour in colours:
        assert (_luminance(colour) + 0.05) / (_luminance(ground[1]) + 0.05) >= 4.5


@pytest.mark.parametrize("width", [60, 100, 200])
def test_the_terminal_says_the_same(width: int) -> None:
    out = io.StringIO()
    judgement = judgement_of(records())
    item = judgement.red[0]
    spoilt = replace(item, reason="[red]x[/red]\x1b[2J\u202e")
    judgement = replace(judgement, items=tuple(spoilt if i is item else i for i in judgement.items))
    terminal(judgement, Console(file=out, width=width, highlight=False, force_terminal=False))
    text = out.getvalue()
    assert judgement.headline in text
    assert "forward.pad_gap" in text
    assert "ModuleNotFoundError" in text or "imports rich" in text
    assert "\x1b" not in text
    assert "\u202e" not in text
