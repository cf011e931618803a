"""The command line itself: empty values, places that cannot be, what goes wrong unexpectedly."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from harness import cli
from harness.cli import build_parser, main
from harness.commands import report
from harness.errors import BadInput, Diverged, NotRunnable, StackBroken
from harness.records.record import Metric, Provenance, Record, write_record
from suites.commands import HOOKED, ROOT, Command, process

pytestmark = pytest.mark.usefixtures("no_variables")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = Provenance(
        "mine", "stand-in", "catalogue", "cpu-x", "r", "s", {"torch": "2"}, family="qwen2_vl"
    )
    write_record(
        Record("text", place, (Metric("text", "m", value="é"),), 1.0), tmp_path / "records"
    )
    return tmp_path / "records"


@pytest.mark.parametrize(
    ("words", "option"),
    [
        (["probe", "text", "--out", ""], "--out"),
        (["run", "--resume", " "], "--resume"),
        (["run", "--model", ""], "--model"),
        (["compare", "a/", "b/", "--rungs", ""], "--rungs"),
        (["compare", "a/", "b/", "--resume", ""], "--resume"),
        (["compare", "", "b/"], "OLD"),
        (["bisect", "tiny", "--good", "1", "--bad", "2", "--wheels", ""], "--wheels"),
        (["bisect", "--from-compare", ""], "--from-compare"),
        (["report", ""], "DIR"),
        (["report", "a/", "--accept", ""], "--accept"),
        (["doctor", "--stack", ""], "--stack"),
    ],
)
def test_an_empty_value_is_refused(
    harness: Command, words: list[str], option: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    ended = harness(*words)
    assert ended.code == 2
    assert f"{option}: is empty" in ended.sentence
    assert list(tmp_path.iterdir()) == []


def test_a_page_is_not_written_over_a_folder(harness: Command, folder: Path) -> None:
    ended = harness("report", folder, "--out", folder)
    assert ended.code == 2
    assert f"{folder} cannot be written (" in ended.sentence
    assert sorted(p.name for p in folder.parent.iterdir()) == ["records"]
    assert sorted(p.name for p in folder.iterdir()) == ["text.json"]


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs Linux's /proc")
def test_a_folder_that_cannot_be_made(harness: Command) -> None:
    ended = harness("probe", "text", "--out", "/proc/foo")
    assert ended.code == 2
    assert "/proc/foo" in ended.sentence
    assert "cannot be written (" in ended.sentence


LONG = "a" * 300


@pytest.mark.parametrize(
    "words",
    [
        ["report", LONG],
        ["probe", "text", "--out", LONG],
        ["run", "--resume", LONG],
        ["compare", f"./{LONG}", "b/"],
        ["report", "x", "--accept", LONG],
    ],
)
def test_a_name_that_is_too_long_is_one_sentence(harness: Command, words: list[str]) -> None:
    ended = harness(*words)
    assert ended.code == 2
    assert "(File name too long)" in ended.sentence


def test_what_nobody_thought_of_is_no_finding(
    harness: Command, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*words: object) -> None:
        raise ZeroDivisionError("no such luck")

    monkeypatch.setattr("harness.commands.report.judged_folder", broken)
    ended = harness("report", folder)
    assert ended.code == 70
    assert "Traceback" in ended.stderr
    last = ended.stderr.splitlines()[-1]
    assert last.startswith("error: Internal error (ZeroDivisionError: no such luck)")
    assert last.endswith("please report it with the lines above.")


def started(
    *words: str | Path | bytes, stdout: int = subprocess.PIPE, **variables: str
) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "harness", *words],
        stdout=stdout,
        stderr=subprocess.PIPE,
        check=False,
        timeout=120,
        env={**os.environ, "PYTHONPATH": f"{ROOT}:{HOOKED}", **variables},
    )


def test_json_is_valid_whatever_the_encoding(folder: Path) -> None:
    done = started("report", folder, "--json", PYTHONIOENCODING="ascii")
    assert done.returncode in {1, 3}, done.stderr
    assert json.loads(done.stdout.decode("ascii"))["reports"]
    assert b"Traceback" not in done.stderr


def test_a_folder_whose_name_is_no_utf_8(folder: Path, tmp_path: Path) -> None:
    odd = os.fsencode(tmp_path) + b"/caf\xe9"
    os.rename(folder, odd)
    done = started("report", odd, "--json")
    assert done.returncode in {1, 3}, done.stderr
    (report,) = json.loads(done.stdout)["reports"]
    assert os.fsencode(report["directory"]) == odd
    assert b"caf\\udce9/report.html" in done.stderr
    assert os.path.isfile(odd + b"/report.html")
    done = started("compare", odd, odd, "--out", odd + b"/out")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("closed", ["stdout", "stderr"])
def test_a_reader_that_leaves_is_no_error(folder: Path, closed: str) -> None:
    """As `head` does; the exit code still says the verdict."""
    whole = process("report", folder, "--json")
    read, write = os.pipe()
    os.close(read)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "harness", "report", folder, "--json"],
            stdout=write if closed == "stdout" else subprocess.PIPE,
            stderr=write if closed == "stderr" else subprocess.PIPE,
            check=False,
            timeout=120,
            env={**os.environ, "PYTHONPATH": f"{ROOT}:{HOOKED}"},
        )
    finally:
        os.close(write)
    assert done.returncode == whole.code
    output = done.stderr if closed == "stdout" else done.stdout
    assert b"BrokenPipe" not in output
    assert output.decode() == (whole.stderr if closed == "stdout" else whole.stdout)


def test_folders_of_model_and_data_are_the_user_s(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever folder a child or a resumed run is started in."""
    for name in ("mine", "data", "stand-in", "catalogue"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HARNESS_DATA", "data")
    given = build_parser().parse_args(["probe", "--model", "./mine"])
    assert (given.model, given.data) == (str(tmp_path / "mine"), str(tmp_path / "data"))
    monkeypatch.delenv("HARNESS_DATA")
    plain = build_parser().parse_args(["run"])
    assert (plain.model, plain.data) == ("stand-in", "catalogue")
    pinned = f"org/name@{'0' * 40}"
    assert build_parser().parse_args(["compare", "a", "b", "--model", pinned]).model == pinned
    monkeypatch.setenv("HOME", str(tmp_path))
    assert build_parser().parse_args(["run", "--data", "~/data"]).data == str(tmp_path / "data")


@pytest.mark.parametrize("option", ["--max-steps", "--micro-batch", "--accumulation"])
@pytest.mark.parametrize("count", ["0", "-3", "1.5", "many"])
def test_a_training_of_no_steps_is_refused(
    harness: Command,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    option: str,
    count: str,
) -> None:
    monkeypatch.setattr("harness.judging.workers.resolve.run_child", None)
    ended = harness("run", f"{option}={count}", "--out", tmp_path / "out")
    assert ended.code == 2
    assert f"{option}: '{count}' is no whole number above 0" in ended.sentence
    assert not (tmp_path / "out").exists()


def test_every_help_begins_with_what_it_is_for(harness: Command) -> None:
    ended = harness("--help")
    assert ended.code == 0
    assert "wiring" not in ended.stdout
    assert "A reproducibility harness for QLoRA fine-tuning" in ended.stdout
    commands = build_parser()._subparsers._group_actions[0].choices  # type: ignore[union-attr]
    words = [[name] for name in commands]  # type: ignore[union-attr]
    words += [["golden", verb] for verb in ("check", "list", "update", "calibrate")]
    for names in words:
        text = harness(*names, "--help").stdout
        # usage, a blank line, then one sentence.
        described = text.split("\n\n")[1]
        assert described[0].isupper(), text
        assert described.endswith("."), text


def test_the_home_of_nobody_is_a_folder_that_is_not_there(
    harness: Command, folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    ended = harness("compare", "~nobody-at-all/x", folder, "--out", tmp_path / "out")
    assert ended.code == 2
    assert "~nobody-at-all/x holds no records" in ended.sentence
    monkeypatch.setenv("HARNESS_MODEL", "~nobody-at-all/x")
    assert "~nobody-at-all/x is no folder" in harness("doctor").stderr
    ended = harness("probe", "text", "--out", tmp_path / "out")
    assert ended.code == 2
    assert "~nobody-at-all/x does not exist" in ended.sentence


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--columns", "caption=text"], "There is no column 'caption' to be named"),
        (["--columns", "text"], "'text' is not NAME=COLUMN"),
        (["--split", "a,b,c"], "'a,b,c' is not TRAIN or TRAIN,HELDOUT"),
        (["--split", ","], "',' is not TRAIN or TRAIN,HELDOUT"),
    ],
)
def test_how_data_is_read_is_said_in_words_that_mean_something(
    harness: Command, words: list[str], sentence: str
) -> None:
    ended = harness("probe", "text", *words)
    assert ended.code == 2
    assert sentence in ended.sentence


def test_columns_and_splits_go_into_every_verb_that_measures() -> None:
    words = ["--columns", "description=text,product_name=,image=picture", "--split", "train,dev"]
    verbs = (["run"], ["probe"], ["compare", "a", "b"], ["bisect", "p"], ["golden", "check"])
    for verb in verbs:
        parsed = build_parser().parse_args([*verb, *words])
        assert parsed.columns == {"description": "text", "Product Name": "", "image": "picture"}
        assert parsed.split == ("train", "dev")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (
            ["report", "a/", "--nonsense"],
            "error: Unrecognized arguments: --nonsense; see `harness --help`.\n",
        ),
        (
            ["bisect", "tiny", "--threads", "two"],
            "error: Argument --threads: ",
        ),
        (["nonsense"], "error: Argument command: invalid choice: 'nonsense' (choose from "),
    ],
)
def test_wrong_words_are_one_sentence(
    words: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(words)
    told = capsys.readouterr()
    assert (ended.value.code, told.out) == (2, "")
    assert told.err.startswith(sentence)
    assert told.err.endswith("--help`.\n")
    assert told.err.count("\n") == 1


@pytest.mark.parametrize(
    ("error", "code", "sentence"),
    [
        (BadInput("No such thing."), 2, "error: No such thing.\n"),
        (NotRunnable("Needs CUDA."), 3, "error: Needs CUDA.\n"),
        (Diverged("The loss is no number."), 1, "error: The loss is no number.\n"),
        (StackBroken("Nothing resolves."), 2, "error: Nothing resolves.\n"),
        (
            PermissionError(13, "Permission denied", "/place"),
            2,
            "error: /place cannot be read or written (Permission denied).\n",
        ),
        (OSError(5, "Broken disk"), 2, "error: A file cannot be read or written (Broken disk).\n"),
        (OSError("a pipe"), 2, "error: A file cannot be read or written (a pipe).\n"),
        (KeyboardInterrupt(), 130, "error: Interrupted; what was measured is kept.\n"),
        (
            LookupError("first\nsecond"),
            70,
            "error: Internal error (LookupError: first); please report it with the lines above.\n",
        ),
    ],
)
def test_every_way_to_end_has_its_code_and_its_sentence(
    error: BaseException,
    code: int,
    sentence: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fails(arguments: object) -> int:
        raise error

    monkeypatch.setattr(report, "execute", fails)
    assert main(["report", "somewhere"]) == code
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.endswith(sentence)
    # Nothing but a fault of ours comes with a traceback.
    assert ("Traceback" in told.err) is (code == 70)


def test_the_codes_of_a_verb_are_those_of_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    for code in (0, 1, 3):
        monkeypatch.setattr(report, "execute", lambda arguments, code=code: code)
        assert main(["report", "somewhere"]) == code
        monkeypatch.setattr(sys, "argv", ["harness", "report", "somewhere"])
        assert main() == code


def test_only_the_verb_that_is_named_is_imported() -> None:
    for words, others in ((["compare", "--help"], False), (["--help"], True)):
        code = (
            "import sys; from harness.cli import main\n"
            f"try: main({words!r})\n"
            "except SystemExit: print('harness.commands.bisect' in sys.modules)"
        )
        ended = subprocess.run(
            [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
        )
        assert ended.stdout.splitlines()[-1] == str(others)


def test_a_verbs_own_help_begins_with_the_line_that_the_list_has(harness: Command) -> None:
    from harness.commands import verb, verbs

    for name in verbs():
        about = verb(name).ABOUT
        told = " ".join(harness(name, "--help").stdout.split("\n\n")[1].split())
        assert told == f"{about[0].upper()}{about[1:]}."


def test_the_first_word_is_the_verb_wherever_another_verbs_name_stands(
    harness: Command, tmp_path: Path
) -> None:
    ended = harness("report", tmp_path / "nothing", "--accept", "compare")
    assert (ended.code, "compare" in ended.sentence or "nothing" in ended.sentence) == (2, True)
    assert harness("compare", "--help", "report").stdout.startswith("usage: harness compare")


def test_the_parser_of_a_verb_is_that_verbs_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    built: list[list[str] | None] = []

    def build(names: list[str] | None = None) -> object:
        built.append(names)
        return build_parser(names)

    monkeypatch.setattr(cli, "build_parser", build)
    monkeypatch.setattr(report, "execute", lambda arguments: 0)
    assert main(["report", "compare"]) == 0
    for words in (["nonsense"], [], ["--help"]):
        with pytest.raises(SystemExit):
            main(words)
    assert built == [["report"], None, None, None]
