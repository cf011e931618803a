"""The actions for a library's maintainers: their own steps, run here, without a container."""

from __future__ import annotations

import json
import re
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from suites.commands import ROOT
from suites.selftest.checkouts import git
from suites.selftest.record_folders import records
from suites.selftest.runner import ACTIONS, Runner, action
from suites.selftest.test_wheel import built, uv  # noqa: F401 - a fixture

# What the runner finds as `harness`: the real command, the sides' names replaced by records of
# theirs, for no environment is built here.
SHIM = """\
#!{python}
import json, sys
sys.path.insert(0, {root!r})
from pathlib import Path
from harness.cli import main
asked = sys.argv[1:]
Path({told!r}).write_text(json.dumps(asked))
sides = {sides!r}
sys.exit(main([sides.get(word, word) for word in asked]))
"""
OLD = "latest,tiny-thing==1.2.0"


@pytest.fixture
def ladder(tmp_path: Path, checkout: Path, monkeypatch: pytest.MonkeyPatch) -> Runner:
    """The runner on a tagged checkout, whose NEW differs from its OLD in one value."""
    for name in ("GITHUB_STEP_SUMMARY", "GITHUB_ACTIONS"):
        monkeypatch.delenv(name, raising=False)
    git(checkout, "tag", "v1.2.0")
    old, new = records(tmp_path / "a", 1.0), records(tmp_path / "b", 2.0)
    sides = {OLD: f"{old}/", f"latest,tiny-thing @ file://{checkout}": f"{new}/"}
    program = tmp_path / "bin" / "harness"
    program.parent.mkdir()
    told = str(tmp_path / "told.json")
    program.write_text(SHIM.format(python=sys.executable, root=str(ROOT), told=told, sides=sides))
    program.chmod(0o755)
    temp = tmp_path / "temp"
    temp.mkdir()
    return Runner("ladder", checkout, temp, [str(program.parent)])


def test_a_finding_fails_the_job_and_the_summary_says_it_first(
    ladder: Runner, tmp_path: Path
) -> None:
    assert ladder.run(library="tiny-thing", harness="") == 1, ladder.said
    outputs = ladder.outputs()
    assert outputs["code"] == "1"
    summary = Path(outputs["summary"]).read_text("utf-8")
    assert summary.startswith("### ❌ ")
    assert "forward.trained_tokens.left" in summary
    folder = Path(outputs["folder"])
    assert (folder / "report.html").is_file()
    assert (ladder.temp / "ladder.xml").is_file()
    asked = json.loads((tmp_path / "told.json").read_text())
    assert asked[:3] == ["compare", OLD, f"latest,tiny-thing @ file://{ladder.place}"]
    assert asked[asked.index("--rungs") + 1] == "1-10"


def test_what_is_acknowledged_in_a_pull_request_raises_nothing(ladder: Runner) -> None:
    """The lines that the summary gives, put where it says, are all that it takes."""
    asked = {"library": "tiny-thing", "harness": "", "rungs": "forward"}
    assert ladder.run(**asked, fail="false") == 0, ladder.said
    summary = Path(ladder.outputs()["summary"]).read_text("utf-8")
    (block,) = re.findall(r"```text\n(.*?)```", summary, re.S)
    place = ladder.place / ".github" / "harness-accepted.txt"
    place.parent.mkdir()
    place.write_text(f"# known since 1.2\n{block}")
    again = Runner("ladder", ladder.place, ladder.temp / "again", ladder.path)
    again.temp.mkdir()
    assert again.run(**asked) == 0, again.said
    assert Path(again.outputs()["summary"]).read_text("utf-8").startswith("### ✅ ")


def test_no_verdict_is_said_as_such(ladder: Runner) -> None:
    assert ladder.run(library="tiny-thing", harness="", rungs="none") == 2
    assert ladder.outputs()["code"] == "2"
    summary = Path(ladder.outputs()["summary"]).read_text("utf-8")
    assert summary.startswith("### ⚠️ The ladder gave no verdict (exit code 2)")


def test_a_checkout_without_a_tag_is_refused_in_words(ladder: Runner) -> None:
    git(ladder.place, "tag", "-d", "v1.2.0")
    assert ladder.run(library="tiny-thing", harness="") == 2
    assert "::error::There is no tag before ." in ladder.said
    assert "compare" not in ladder.steps


def test_a_git_reference_and_another_side_are_taken_as_they_are(
    ladder: Runner, tmp_path: Path
) -> None:
    source = "git+https://example.org/tiny@main"
    code = ladder.run(
        library="tiny-thing", harness="", source=source, against="latest", model="m x"
    )
    assert code == 2  # the sides that the shim knows are others, and nothing is built of these
    assert ladder.steps["sides"] == {"old": "latest", "new": f"latest,tiny-thing @ {source}"}
    words = json.loads((tmp_path / "told.json").read_text())
    assert words[words.index("--model") + 1] == "m x"


def test_nothing_that_somebody_writes_becomes_shell(ladder: Runner, tmp_path: Path) -> None:
    """Expressions stand in `env` alone; a branch may be called anything."""
    for name in ("ladder", "comment"):
        for step in action(name)["runs"]["steps"]:
            assert "${{" not in step["run"]
    hostile = 'tiny"; touch hacked; `touch hacked` $(touch hacked) #'
    ladder.run(library=hostile, harness="", against="latest")
    assert ladder.steps["sides"]["new"] == f"latest,{hostile} @ file://{ladder.place}"
    assert not list(tmp_path.rglob("hacked"))


class Comments(BaseHTTPRequestHandler):
    """The comments of one pull request, as the API has them: pages of a hundred."""

    kept: list[dict[str, Any]]
    asked: list[str]

    def _answer(self, body: object) -> None:
        data = json.dumps(body).encode()
        self.send_response(200)
        self.end_headers()
        self.wfile.write(data)

    def _body(self) -> str:
        assert self.headers["Authorization"] == "Bearer token-of-the-job"
        text: str = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["body"]
        return text

    def do_GET(self) -> None:
        page = int(re.search(r"[?&]page=(\d+)", self.path)[1])  # type: ignore[index]
        assert self.path.startswith("/repos/some/library/issues/7/comments?per_page=100&")
        self._answer(self.kept[100 * (page - 1) : 100 * page])

    def do_POST(self) -> None:
        assert self.path == "/repos/some/library/issues/7/comments"
        mine = {"id": len(self.kept), "user": {"type": "Bot"}, "body": self._body()}
        self.kept.append(mine)
        self._answer(mine)

    def do_PATCH(self) -> None:
        number = int(self.path.rpartition("/")[2])
        self.kept[number]["body"] = self._body()
        self._answer(self.kept[number])

    def log_message(self, *words: object) -> None:
        """Nobody reads it."""


@pytest.fixture
def server() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    handler = type("Mine", (Comments,), {"kept": []})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", handler.kept
        server.shutdown()
        thread.join()


def test_one_comment_whose_first_line_is_the_verdict(
    server: tuple[str, list[dict[str, Any]]], tmp_path: Path
) -> None:
    address, kept = server
    mark = "<!-- ladder of the harness -->"
    # A person who quotes it, among more comments than a page has.
    kept += [{"id": i, "user": {"type": "User"}, "body": f"as I said {mark}"} for i in range(105)]
    variables = {"GITHUB_API_URL": address, "GITHUB_REPOSITORY": "some/library"}
    runner = Runner("comment", tmp_path, tmp_path, variables=variables)
    for verdict in ("### ❌ one thing moved", "### ✅ all the same"):
        (tmp_path / "ladder.md").write_text(f"{verdict}\n\nmore\n", encoding="utf-8")
        assert runner.run(summary="ladder.md", number="7") == 0, runner.said
        bots = [comment["body"] for comment in kept if comment["user"]["type"] == "Bot"]
        (body,) = bots
        assert body.splitlines()[0] == verdict
        assert body.rstrip().endswith(mark)
    assert kept[3]["body"] == f"as I said {mark}"


def test_the_example_uses_what_the_actions_have() -> None:
    workflow = yaml.safe_load((ACTIONS / "example.yml").read_text("utf-8"))
    jobs = workflow["jobs"]
    used = []
    for job in jobs.values():
        for step in job["steps"]:
            named = re.fullmatch(
                r"OWNER/HARNESS/\.github/actions/(\w+)@COMMIT", step.get("uses", "")
            )
            if named:
                used.append(named[1])
                assert set(step["with"]) <= set(action(named[1])["inputs"])
    assert used == ["ladder", "comment"]
    # Where code of a pull request runs nothing may be written.
    assert jobs["ladder"]["permissions"] == {"contents": "read"}
    assert "checkout" not in str(jobs["comment"]["steps"])


@pytest.mark.slow
def test_the_harness_is_installed_and_on_the_path(
    built: Path,  # noqa: F811 - the fixture
    checkout: Path,
    tmp_path: Path,
) -> None:
    """The install step itself, by pip, from the wheel; bad input then ends with 2 in words."""
    git(checkout, "tag", "v1.2.0")
    runner = Runner("ladder", checkout, tmp_path)
    code = runner.run(library="tiny-thing", harness=str(built), rungs="none")
    assert code == 2
    assert "error: --rungs 'none' is no rung" in runner.said
