"""Requirements files, locks and environments of one's own as stacks."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from harness.errors import BadInput
from harness.judging.environments.build import environment_for, is_built
from harness.judging.environments.identity import identified, stack_label
from harness.judging.environments.inspection import inspect
from harness.judging.environments.stack import Stack, declared, parse
from suites.selftest.checkouts import PROJECT


def requirements(folder: Path, **texts: str) -> Path:
    for name, text in texts.items():
        (folder / f"{name}.txt").write_text(text)
    return folder / f"{next(iter(texts))}.txt"


def test_a_requirements_file_is_known_with_all_that_it_includes(tmp_path: Path) -> None:
    path = requirements(tmp_path, mine="-r other.txt\nsix\n", other="packaging==24.1\n")
    text = f"requirements:{path}"
    assert parse(text) == Stack("requirements", (), str(path))
    label = stack_label(text)
    assert label.startswith(f"requirements:{path}#")
    assert stack_label(label) == label
    requirements(tmp_path, other="packaging==24.2\n")
    assert stack_label(text) != label
    with pytest.raises(BadInput, match="when that was written"):
        stack_label(label)


def test_a_requirements_file_promises_its_exact_pins(tmp_path: Path) -> None:
    mine = (
        "-r other.txt\n# a comment\nTiny_Thing==1.0 \\\n    --hash=sha256:00\nsix>=1\nnumpy==2.*\n"
        "pywin32==1 ; sys_platform == 'win32'\n"
    )
    path = requirements(tmp_path, mine=mine, other="packaging==24.1  # why\n")
    promised = declared(parse(f"requirements:{path}"))
    assert promised == {"packaging": "24.1", "tiny-thing": "1.0"}
    assert declared(parse(f"python:{sys.executable}")) == {}


def test_a_lock_is_known_by_its_content(tmp_path: Path) -> None:
    lock = tmp_path / "uv.lock"
    lock.write_text("version = 1\n")
    with pytest.raises(BadInput, match=r"no pyproject\.toml beside it"):
        parse(f"lock:{lock}")
    (tmp_path / "pyproject.toml").write_text("[project]\nname = 'a'\n")
    before = stack_label(f"lock:{lock}")
    lock.write_text("version = 2\n")
    assert stack_label(f"lock:{lock}") != before
    pylock = tmp_path / "pylock.dev.toml"
    pylock.write_text('lock-version = "1.0"\n')
    assert parse(f"lock:{pylock}").source == str(pylock)


def test_an_environment_is_known_by_what_is_installed_and_not_touched(
    tmp_path: Path, checkout: Path
) -> None:
    def everything() -> dict[str, int]:
        return {str(path): path.lstat().st_mtime_ns for path in (tmp_path / "venv").rglob("*")}

    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "venv"], check=True)
    python = tmp_path / "venv" / "bin" / "python"
    text = f"python:{python}"
    assert parse(text) == parse(f"python:{tmp_path / 'venv'}") == Stack("python", (), str(python))
    before = everything()
    label = stack_label(text)
    assert environment_for(text) == python
    assert is_built(text)
    lines = {line.state: line.found for line in inspect(text, require_cuda=False)[3:5]}
    assert lines["ok"] == f"{label}: nothing of what is measured"
    assert lines["warning"].startswith("it lacks torch, transformers, trl")
    assert everything() == before
    site = next((tmp_path / "venv" / "lib").glob("python*/site-packages"))
    info = site / "tiny_thing-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: tiny-thing\nVersion: 1.0\n")
    installed = stack_label(text)
    assert installed != label
    address = f'{{"url": "{checkout.as_uri()}", "dir_info": {{"editable": true}}}}'
    (info / "direct_url.json").write_text(address)
    editable = stack_label(text)
    (checkout / "tiny_thing.py").write_text("SAYS = 'second'\n")
    assert len({installed, editable, stack_label(text)}) == 3


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("requirements:nowhere.txt", "There is no file nowhere.txt; give requirements:FILE."),
        ("lock:nowhere.lock", "There is no file nowhere.lock; give lock:FILE."),
        ("python:nowhere", "nowhere is no Python; give an environment's interpreter"),
        ("latest,./nowhere", "There is no checkout ./nowhere; give the folder of a package"),
        ("latest,./empty", "has neither pyproject.toml nor setup.py"),
        ("latest,./nameless", "does not say what it is called; write NAME @ file:///"),
        ("latest,./file.tar.gz", "is neither a wheel nor a folder"),
        ("./named", "./named is a checkout; put it on top of a stack: latest,./named"),
        ("lock:other.toml", "is called neither uv.lock nor pylock.toml"),
        ("requirements:named.txt,peft==0.14.0", "`requirements:` is used as it is"),
        ("requirements:", "There is no file"),
    ],
)
def test_what_cannot_be_is_refused_in_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, sentence: str
) -> None:
    monkeypatch.chdir(tmp_path)
    for folder in ("empty", "nameless", "named"):
        (tmp_path / folder).mkdir()
    (tmp_path / "nameless" / "pyproject.toml").write_text("[tool.x]\n")
    (tmp_path / "named" / "pyproject.toml").write_text(PROJECT)
    for name in ("file.tar.gz", "other.toml", "named.txt"):
        (tmp_path / name).write_text("")
    with pytest.raises(BadInput) as caught:
        parse(text)
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("-e ./trl", "Line 2 of .* installs a folder"),
        ("trl @ file:///trl", "Line 2 of .* installs a folder"),
        ("./trl", "Line 2 of .* installs a folder"),
        ("-r mine.txt", "includes itself"),
        ("-r gone.txt", "cannot be read"),
    ],
)
def test_a_requirements_file_that_may_change_unseen_is_refused(
    tmp_path: Path, line: str, sentence: str
) -> None:
    path = requirements(tmp_path, mine=f"six\n{line}\n")
    with pytest.raises(BadInput, match=sentence):
        identified(f"requirements:{path}")


def test_a_repository_that_cannot_be_asked_is_one_sentence(checkout: Path, small: Path) -> None:
    with pytest.raises(BadInput, match="has no branch or tag 'gone'; a commit is written"):
        identified(f"small,tiny-thing @ git+{checkout.as_uri()}@gone")
    with pytest.raises(BadInput, match="cannot be asked for main"):
        identified(f"small,tiny-thing @ git+{(checkout / 'no').as_uri()}@main")


def test_plain_stacks_are_called_as_they_are_written() -> None:
    for text in (
        "reference",
        "reference,transformers==4.49.0",
        "newest",
        "latest,peft>=0.13,<0.14",
    ):
        assert stack_label(text) == text


def distributions(python: Path) -> dict[str, str]:
    code = (
        "from importlib.metadata import distributions as d; "
        "print('\\n'.join(x.metadata['Name'].lower() + ' ' + x.version for x in d()))"
    )
    done = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True)
    return dict(line.split(" ") for line in done.stdout.splitlines())


def uv(folder: Path, *words: str | Path) -> None:
    from harness.judging.environments.build import uv_binary

    environment = {k: v for k, v in os.environ.items() if k != "VIRTUAL_ENV"}
    arguments: Sequence[str | Path] = [uv_binary(), *words]
    done = subprocess.run(
        arguments, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["requirements", "uv.lock", "pylock.toml"])
def test_an_environment_holds_what_the_users_file_says(
    tmp_path: Path, small: Path, kind: str
) -> None:
    place = tmp_path / "project"
    place.mkdir()
    if kind == "requirements":
        (place / "requirements.txt").write_text("packaging==24.0\nnumpy<2.3\n")
        text = f"requirements:{place / 'requirements.txt'}"
    else:
        (place / "pyproject.toml").write_text(
            "[project]\nname = 'mine'\nversion = '1'\nrequires-python = '>=3.11'\n"
            "dependencies = ['packaging==24.0', 'numpy<2.3']\n"
        )
        uv(place, "lock", "--quiet", "--python", sys.executable)
        if kind == "pylock.toml":
            uv(place, "export", "--quiet", "--no-emit-project", "-o", "pylock.toml")
        text = f"lock:{place / kind}"
    before = {path: path.read_bytes() for path in place.rglob("*") if path.is_file()}
    there = distributions(environment_for(text))
    assert there["packaging"] == "24.0"
    assert there["numpy"].split(".")[:2] < ["2", "3"]
    # What measuring needs stands beside it; the project itself is not installed.
    assert {"safetensors", "sacrebleu", "pillow"} <= set(there)
    assert "mine" not in there
    assert {path: path.read_bytes() for path in place.rglob("*") if path.is_file()} == before
    assert is_built(text)
