"""The command around the search: questions, ends, evidence, companions, the page and the script."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from packaging.version import Version
from rich.console import Console

from harness.cli import main
from harness.commands.bisect import show
from harness.errors import BadInput, NotRunnable
from harness.judging.bisect.answers import (
    Bisection,
    Cause,
    Edge,
    FindingAnswer,
    Shown,
    read_bisection,
)
from harness.judging.bisect.bench import Measured
from harness.judging.bisect.findings import chosen, same_source
from harness.judging.bisect.question import Kind, Question, State, answer, state_of
from harness.judging.bisect.range import search_range
from harness.judging.bisect.search import Answer
from harness.judging.bisect.spec import Search, probe_options, questions, relative_band
from harness.judging.compare.document import FactsEntry, read_comparison
from harness.judging.environments.overlay import Layer
from harness.judging.environments.releases import Release
from harness.judging.goldens.golden import Band, BandKind
from harness.judging.report.bisect.page import headline, page, sentences
from harness.judging.report.bisect.reproduce import script
from harness.judging.workers.resolve import Request
from harness.records.context import Context
from harness.records.failure import Failure
from harness.records.files import write_json
from harness.records.record import Metric, Provenance, Record, Status
from harness.records.seals import read_sealed, write_sealed
from suites.selftest.test_bisect_compare import finding

VERSIONS = ["1.0", "1.1", "1.2", "1.3", "1.4", "1.5"]
SPAN = tuple(Release(Version(v)) for v in VERSIONS)
QUIET = Console(quiet=True)


def record(*metrics: Metric) -> Record:
    provenance = Provenance(
        "reference", "stand-in", "catalogue", "cpu-x", "r", "s", family="qwen2_vl"
    )
    return Record("forward", provenance, metrics)


def metric(value: object, **changes: Any) -> Metric:
    return Metric("forward", "loss", value=value, **changes)  # type: ignore[arg-type]


class Bench:
    """A bench whose releases show what a table says; a companion moves at 1.3."""

    def __init__(self, shows: dict[str, object], by_companion: bool = False) -> None:
        self.shows, self.by_companion = shows, by_companion
        self.asked: list[tuple[Sequence[str], str]] = []
        self.built = self.extra = 0

    def keep(self, needed: Iterable[Measured]) -> None:
        """Nothing is built, so nothing is dropped."""

    def measure(self, asked: Sequence[str], again: str = "") -> Measured:
        assert (asked, again) not in self.asked, "measured twice"
        self.asked.append((asked, again))
        version = asked[0].split("==")[1]
        shown = self.shows[version]
        default = "2" if version >= "1.3" or "helper==2" in asked else "1"
        if len(asked) > 1 and self.by_companion:
            shown = self.shows["1.3"]
        layer = Layer(
            "reference", tuple(asked), {"helper": default, "x": version}, {"helper": default}, {}
        )
        if isinstance(shown, Exception):
            return Measured(version, layer, {}, str(shown))
        shown_metric = shown if isinstance(shown, Metric) else metric(shown)
        return Measured(version, layer, {"forward": record(shown_metric)})


def ask(bench: Bench, question: Question, *, exhaustive: bool = False) -> FindingAnswer:
    how = Search(Request("reference", "stand-in", "catalogue"), exhaustive=exhaustive)
    return search_range("x", [question], SPAN, bench, how, lambda line: None)[question.finding]  # type: ignore[arg-type]


LOSS = Question("forward.loss")


def edges(answer: FindingAnswer) -> list[tuple[str, str]]:
    return [(edge.before, edge.after) for edge in answer.boundaries]


def test_a_value_that_moves() -> None:
    bench = Bench(dict(zip(VERSIONS, [1.0, 1.0, 1.0, 2.0, 2.0, 2.0], strict=True)))
    answer = ask(bench, LOSS)
    assert edges(answer) == [("1.2", "1.3")]
    (edge,) = answer.boundaries
    assert [s.value for s in edge.shows] == [1.0, 2.0]
    # The companion moved in the same step; with it alone nothing moves.
    assert edge.companions == {"helper": ("1", "2")}
    assert edge.cause is Cause.PACKAGE
    assert answer.exact


def test_a_companion_that_is_the_cause_is_told_apart() -> None:
    shows = dict(zip(VERSIONS, [1.0, 1.0, 1.0, 2.0, 2.0, 2.0], strict=True))
    (edge,) = ask(Bench(shows, by_companion=True), LOSS).boundaries
    assert edge.cause is Cause.COMPANIONS


def test_a_band_keeps_rounding_out_and_the_change_in() -> None:
    shows = dict(zip(VERSIONS, [1.0, 1.0001, 0.9999, 1.0001, 1.2, 1.2], strict=True))
    assert edges(ask(Bench(shows), Question("forward.loss", Band(BandKind.RELATIVE, 0.01)))) == [
        ("1.3", "1.4")
    ]
    assert len(edges(ask(Bench(shows), LOSS, exhaustive=True))) == 1


def test_broken_releases_hide_the_boundary_and_are_named() -> None:
    broken = metric(None, status=Status.BROKEN, failure=Failure("OSError", "boom", "f:1"))
    shows: dict[str, object] = dict(
        zip(VERSIONS, [1.0, 1.0, RuntimeError("does not resolve"), broken, 2.0, 2.0], strict=True)
    )
    answer = ask(Bench(shows), LOSS)
    assert edges(answer) == [("1.1", "1.4")]
    assert answer.boundaries[0].skipped == {"1.2": "does not resolve", "1.3": "OSError: boom"}
    assert not answer.exact


def test_an_error_is_bad_where_the_bad_end_has_the_same_one() -> None:
    def gone(kind: str) -> Metric:
        return metric(None, status=Status.BROKEN, failure=Failure(kind, "gone", "f:1"))

    shows = dict(
        zip(
            VERSIONS,
            [1.0, 1.0, 1.0, gone("ImportError"), gone("OSError"), gone("ImportError")],
            strict=True,
        )
    )
    answer = ask(Bench(shows), LOSS, exhaustive=True)
    assert edges(answer) == [("1.2", "1.3")]
    assert answer.evaluated["1.4"].answer is Answer.SKIP


@pytest.mark.parametrize(
    ("first", "last", "sentence"),
    [
        (1.0, 1.0, "the same at both ends, x 1.0 and x 1.5"),
        (RuntimeError("does not resolve."), 2.0, "x 1.0, an end of the range: does not resolve"),
    ],
)
def test_ends_that_do_not_show_it(first: object, last: object, sentence: str) -> None:
    shows = dict(zip(VERSIONS, [first, 1.0, 1.0, 1.0, 1.0, last], strict=True))
    with pytest.raises((BadInput, NotRunnable), match=sentence):
        ask(Bench(shows), LOSS)


def test_a_release_that_cannot_be_measured_is_like_no_end() -> None:
    """NOT_RUN at an end is a state; a release in the middle that does not install is not it."""
    needs = metric(None, status=Status.NOT_RUN, reason="needs a GPU")
    lost = RuntimeError("does not resolve")
    for shows in (
        [needs, needs, lost, 2.0, 2.0, 2.0],
        [2.0, 2.0, lost, needs, needs, needs],
    ):
        answer = ask(Bench(dict(zip(VERSIONS, shows, strict=True))), LOSS, exhaustive=True)
        assert answer.evaluated["1.2"].answer is Answer.SKIP
        assert edges(answer) == [("1.1", "1.3")]


def test_a_process_that_died_decides_nothing_and_is_no_end() -> None:
    died = metric(None, status=Status.BROKEN, failure=Failure("ChildDied", "signal 9", "log"))
    shows: dict[str, object] = dict(zip(VERSIONS, [1.0, 1.0, died, 2.0, 2.0, 2.0], strict=True))
    answer = ask(Bench(shows), LOSS, exhaustive=True)
    assert answer.boundaries[0].skipped == {"1.2": "ChildDied: signal 9"}
    with pytest.raises(NotRunnable, match=r"x 1\.5, an end of the range: ChildDied: signal 9\.$"):
        ask(Bench({**shows, "1.5": died}), LOSS)


def test_a_metric_that_no_end_has_is_unknown_and_near_ones_are_named() -> None:
    with pytest.raises(BadInput, match=r"no forward\.los; near it are forward\.loss\.$"):
        ask(Bench(dict.fromkeys(VERSIONS, 1.0)), Question("forward.los"))


def test_a_finding_without_a_golden_is_not_judged_by_something_else() -> None:
    shows: dict[str, object] = dict(zip(VERSIONS, [1.0, 1.0, 1.0, 2.0, 2.0, 2.0], strict=True))
    with pytest.raises(NotRunnable, match=r"no golden judges forward\.loss here; ask .* --metric"):
        ask(Bench(shows), Question("forward.loss", by_verdict=True))


@pytest.mark.parametrize("band", [-0.1, float("nan"), float("inf")])
def test_a_band_that_is_none(band: float) -> None:
    with pytest.raises(BadInput, match="--band is"):
        relative_band(band)


def test_not_run_at_one_end_is_a_state_of_its_own() -> None:
    missing = metric(None, status=Status.NOT_RUN, reason="needs CUDA")
    good, bad = State(Kind.NONE, reason="needs CUDA"), State(Kind.VALUE, 1.0)
    assert state_of(LOSS, {"forward": record(missing)}) == good
    assert answer(LOSS, bad, good, bad).answer is Answer.BAD
    assert answer(LOSS, good, good, bad).answer is Answer.GOOD
    assert answer(LOSS, State(Kind.NONE), bad, State(Kind.VALUE, 2.0)).answer is Answer.SKIP


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--metric", "nonsense.x"], "'nonsense.x' names no metric"),
        (["--metric", "forward"], "'forward' names no metric"),
        ([], "Say what moved"),
    ],
)
def test_questions_that_ask_nothing(words: list[str], sentence: str) -> None:
    with pytest.raises(BadInput, match=sentence):
        questions((), words[1:], None)


def test_the_command_without_a_range_says_what_to_give(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bisect"]) == 2
    assert "Give PACKAGE, --good and --bad, or --from-compare DIR" in capsys.readouterr().err
    assert (
        main(
            [
                "bisect",
                "x",
                "--good",
                "1",
                "--bad",
                "2",
                "--metric",
                "text.rendered",
                "--wheels",
                "/no/such",
            ]
        )
        == 2
    )
    assert "There is no folder /no/such" in capsys.readouterr().err


@pytest.fixture
def result() -> Bisection:
    shows = dict(zip(VERSIONS, [1.0, 1.0, 1.0, "<b>2</b>", 2.0, 2.0], strict=True))
    return Bisection(
        package="x",
        good="1.0",
        bad="1.5",
        base="reference",
        releases=tuple(VERSIONS),
        environments=5,
        seconds=12.0,
        options=("--model", "stand-in"),
        findings={"forward.loss": ask(Bench(shows), LOSS)},
    )


def test_the_answer_in_words(result: Bisection) -> None:
    text = "\n".join(sentences(result))
    assert "forward.loss moved in x 1.3 (1.2 still has the old value)" in text
    assert "helper 1 → 2; with those alone the finding does not move" in text
    assert "5 environments built, 12 s" in text


def test_findings_with_one_answer_share_its_sentences(result: Bisection) -> None:
    answered = result.findings["forward.loss"]
    names = [f"forward.f{i}" for i in range(6)]
    still = replace(answered, boundaries=(), problem="never moved")
    many = replace(result, findings={**dict.fromkeys(names, answered), "forward.g": still})
    lines = sentences(many)
    assert "forward.f0, forward.f1, forward.f2, forward.f3 and 2 more moved in x 1.3" in lines[0]
    alone = replace(result, findings={"forward.f0": answered})
    assert len(lines) == len(sentences(alone)) + 1
    assert "never moved" in lines
    assert "forward.f3 and 3 more</title>" in page(many)


@pytest.mark.parametrize(
    ("good_first", "new", "sentence"),
    [
        (True, Answer.BAD, "x.y broke in p 1.10 (1.9 is right)."),
        (False, Answer.BAD, "x.y became right in p 1.10 (1.9 is wrong)."),
    ],
)
def test_the_newer_release_is_named_whichever_end_is_good(
    good_first: bool, new: Answer, sentence: str
) -> None:
    before, after = ("1.9", "1.10") if good_first else ("1.10", "1.9")
    edge = Edge(
        package="p",
        before=before,
        after=after,
        old=Answer.GOOD,
        new=new,
        skipped={},
        shows=(Shown(Kind.VALUE, "right"), Shown(Kind.VALUE, "wrong")),
        companions={},
        cause=Cause.PACKAGE,
        cause_note="",
        requirements=((), ()),
    )
    assert headline("x.y", FindingAnswer("p", (edge,), by_verdict=True)) == sentence


def test_the_page_escapes_what_a_release_printed(result: Bisection) -> None:
    html = page(result)
    assert "<b>2</b>" not in html
    assert "&lt;b&gt;2" in html
    assert "<script" not in html
    assert not re.search(r'(?:href|src)="(?!#|data:)', html)


def test_the_script_is_valid_shell_and_names_both_stacks(result: Bisection, tmp_path: Path) -> None:
    path = tmp_path / "reproduce.sh"
    path.write_text(script(result), encoding="utf-8")
    subprocess.run(["bash", "-n", str(path)], check=True)
    text = path.read_text()
    assert "--stack reference,helper==1,x==1.2" in text
    assert "--stack reference,helper==2,x==1.3" in text


def test_the_script_asks_for_the_same_model_data_and_threads(tmp_path: Path) -> None:
    """Else it would show another model's numbers."""
    given = Request("reference", str(tmp_path), "catalogue", device="cpu", threads=1)
    assert probe_options(given) == (
        "--model",
        str(tmp_path),
        "--data",
        "catalogue",
        "--device",
        "cpu",
        "--threads",
        "1",
    )


def test_trainings_of_a_comparison_are_reproduced_with_its_masks(
    result: Bisection, tmp_path: Path
) -> None:
    """`harness probe` draws its own; the two sides of a comparison share theirs."""
    of_compare = replace(result, from_compare="reports/x")
    assert "harness compare" not in script(of_compare)
    moved = {"trajectory.loss": result.findings["forward.loss"]}
    trained = replace(of_compare, findings=moved)
    path = tmp_path / "reproduce.sh"
    path.write_text(script(trained), encoding="utf-8")
    subprocess.run(["bash", "-n", str(path)], check=True)
    text = path.read_text()
    assert (
        "echo 'x 1.2'\n"
        "$HARNESS compare reference,helper==1,x==1.2 reference,helper==2,x==1.3 "
        '--out "$out"/trajectory.loss-0 --rungs trajectory --model stand-in || test $? -ne 2\n'
        'python3 -c "$show" "$out"/trajectory.loss-0/old trajectory trajectory.loss\n'
        "echo 'x 1.3'\n"
        'python3 -c "$show" "$out"/trajectory.loss-0/new trajectory trajectory.loss\n'
    ) in text
    assert "harness probe" not in text


def test_what_came_from_a_folder_is_reproduced_from_it(result: Bisection) -> None:
    text = script(replace(result, wheels="/my wheels"))
    assert "--no-index --find-links '/my wheels' helper==1 x==1.2" in text
    assert "-layer${PYTHONPATH:+:$PYTHONPATH} $HARNESS probe --stack reference --out" in text


# Stands for the harness: writes a record whose value says how it was called.
STUB = """
import json, pathlib, sys
out = pathlib.Path(sys.argv[sys.argv.index("--out") + 1])
out.mkdir(parents=True)
value = [{name!r}, sys.argv[sys.argv.index("--stack") + 1]]
metric = {{"rung": "forward", "name": "loss", "status": "OK", "value": value}}
(out / "forward.json").write_text(json.dumps({{"metrics": [metric]}}))
"""


def reproduced(
    result: Bisection, folder: Path, **variables: str
) -> subprocess.CompletedProcess[str]:
    """The script as a process in a folder, with this Python as python3 and no `harness`."""
    tools = folder.parent / "bin"
    tools.mkdir(exist_ok=True)
    if not (tools / "python3").exists():
        (tools / "python3").symlink_to(sys.executable)
    path = folder.parent / "reproduce.sh"
    path.write_text(script(result), encoding="utf-8")
    plain = {k: v for k, v in os.environ.items() if k not in {"HARNESS", "PYTHONPATH"}}
    return subprocess.run(
        ["bash", str(path)],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        env={**plain, "PATH": f"{tools}{os.pathsep}{os.environ['PATH']}", **variables},
    )


def test_the_script_runs_in_a_clone_without_anything_installed(
    result: Bisection, tmp_path: Path
) -> None:
    clone = tmp_path / "clone"
    (clone / "harness").mkdir(parents=True)
    (clone / "harness" / "__init__.py").write_text("")
    (clone / "harness" / "commands.py").write_text("")
    (clone / "harness" / "__main__.py").write_text(STUB.format(name="clone"))
    done = reproduced(result, clone)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "x 1.2",
        "[['clone', 'reference,helper==1,x==1.2']]",
        "x 1.3",
        "[['clone', 'reference,helper==2,x==1.3']]",
    ]


def test_the_script_runs_the_command_that_it_is_given(result: Bisection, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(STUB.format(name="mine"))
    (tmp_path / "elsewhere").mkdir()
    command = f"{sys.executable} {tmp_path / 'mine.py'}"
    done = reproduced(result, tmp_path / "elsewhere", HARNESS=command)
    assert done.returncode == 0, done.stderr
    assert "['mine', 'reference,helper==2,x==1.3']" in done.stdout


def test_the_script_says_where_it_must_be_run(result: Bisection, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    done = reproduced(result, tmp_path / "elsewhere")
    assert done.returncode == 2
    assert done.stderr.startswith("error: Run this in a clone of the harness")


def test_a_comparison_of_another_model_is_refused() -> None:
    facts = FactsEntry("snapshot:mine", "catalogue", "a", "cpu-x")
    here = Context(
        "reference",
        "stand-in",
        "catalogue",
        Path(),
        True,
        Path(),
        model_digest="b",
        family="qwen2_vl",
    )
    with pytest.raises(BadInput, match="with model snapshot:mine and data catalogue; give the"):
        same_source(facts, here, Path("c"))
    same_source(replace(facts, model_digest="b"), here, Path("c"))


def test_what_is_written(result: Bisection, tmp_path: Path) -> None:
    """And read back as it was, unless it is damaged or of another schema."""
    assert result.exit_code == 0
    show(result, tmp_path / "o", QUIET)
    assert read_bisection(tmp_path / "o") == result
    raw = read_sealed(tmp_path / "o" / "bisect.json", "mend")
    for damage, sentence in (({"schema": 1}, "has schema 1"), ({"base": 3}, "base is 3, not a")):
        write_sealed(tmp_path / "bisect.json", {**raw, **damage})
        with pytest.raises(BadInput, match=sentence):
            read_bisection(tmp_path)
    assert (tmp_path / "o" / "report.html").is_file()
    assert (tmp_path / "o" / "reproduce.sh").is_file()


def test_a_comparison_gives_its_findings_that_stand_for_themselves(tmp_path: Path) -> None:
    raw = {
        "schema": 1,
        "old": "reference",
        "new": "latest",
        "packages": {},
        "facts": {
            "model": "stand-in",
            "data": "catalogue",
            "model_digest": "m",
            "device_key": "cpu-x",
        },
        "findings": [
            finding("environment.version"),
            finding("images.levels.photo"),
            finding("forward.loss", cause="images.levels.photo"),
            finding("update.loss", accepted=True),
        ],
    }
    write_json(tmp_path / "comparison.json", raw)
    read = read_comparison(tmp_path)
    assert [q.finding for q in chosen(read, [])[0]] == ["images.levels.photo"]
    assert [q.finding for q in chosen(read, ["forward.loss"])[0]] == ["forward.loss"]
    with pytest.raises(BadInput, match="holds no finding 'x'"):
        chosen(read, ["x"])
    with pytest.raises(BadInput, match="holds no comparison"):
        read_comparison(tmp_path / "none")
    assert not read.between_directories
    write_json(tmp_path / "comparison.json", {**raw, "old": "records/old"})
    assert read_comparison(tmp_path).between_directories
