"""`harness watch`: what is new against the last good lock, what it remembers, how it ends."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from packaging.version import Version

from harness.commands import watch
from harness.errors import Damaged, NotRunnable
from harness.judging.bisect.imports import broken_imports
from harness.judging.compare.comparison import Comparison
from harness.judging.compare.watched import Watched, read_watched, write_watched
from harness.judging.environments import newest as looking
from harness.judging.environments.newest import Held, Moved, Newest, committed_lock, newest
from harness.judging.environments.releases import Release
from harness.judging.environments.stack import Pin
from harness.records.record import Verdict
from suites.commands import Command
from suites.selftest.comparisons import broken as broken_pair
from suites.selftest.comparisons import comparison, failed, pair
from suites.selftest.wheels import wheel

GOOD = "transformers==4.0\ntrl==1.0\npeft==1.0\ntorch==1.0\nbitsandbytes==1.0\n"
NEW = GOOD.replace("peft==1.0", "peft==1.1")
SEEN = Newest(NEW, (Moved("peft", "1.0", "1.1"),), (Held("trl", "2.0", "1.0", "it needs more"),))
SAME = comparison([pair("inputs.mask_gap.left", Verdict.SAME)])
WORSE = comparison([pair("forward.loss.left")])
UNIMPORTABLE = comparison([broken_pair("environment.imports.trl", "new")])


def test_what_the_index_has_is_resolved_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By uv itself over a folder of wheels: trl's newest release keeps transformers below 5."""
    for name in ("torch", "peft", "bitsandbytes"):
        wheel(tmp_path, name, "1.0", "")
    wheel(tmp_path, "peft", "1.1", "")
    wheel(tmp_path, "trl", "1.0", "", ["transformers<5"])
    for version in ("4.0", "5.0"):
        wheel(tmp_path, "transformers", version, "")
    settings = tmp_path / "uv.toml"
    settings.write_text(f"no-index = true\nfind-links = [{str(tmp_path)!r}]\n")
    monkeypatch.setenv("UV_CONFIG_FILE", str(settings))
    out = {"transformers": ["4.0", "5.0", "6.0rc1"], "peft": ["1.0", "1.1"]}
    monkeypatch.setattr(looking, "pins", lambda name: [Pin(n, "") for n in looking.LIBRARIES])
    monkeypatch.setattr(
        looking, "published", lambda n: [Release(Version(v)) for v in out.get(n, ["1.0"])]
    )
    seen = newest(GOOD, tmp_path / "work")
    assert seen.moved == (Moved("peft", "1.0", "1.1"),)
    (late,) = seen.held
    assert (late.library, late.release, late.kept) == ("transformers", "5.0", "4.0")
    assert "trl" in late.why
    assert newest(seen.lock, tmp_path / "work").moved == ()


def test_the_first_good_lock_is_the_committed_one(tmp_path: Path) -> None:
    assert read_watched(tmp_path / "none.json") == Watched(committed_lock())


def test_a_state_that_was_edited_is_refused(tmp_path: Path, harness: Command) -> None:
    path = tmp_path / "state.json"
    write_watched(Watched(GOOD), path)
    path.write_text(path.read_text().replace("peft==1.0", "peft==0.9"))
    with pytest.raises(Damaged, match=r"state\.json"):
        read_watched(path)
    ended = harness("watch", "--state", path)
    assert ended.code == 2
    assert "state.json" in ended.sentence
    path.write_text("{}")
    assert harness("watch", "--state", path).code == 2


@dataclass
class Night:
    """`harness watch` over an index and a comparison that are given."""

    folder: Path
    harness: Command
    monkeypatch: pytest.MonkeyPatch
    asked: list[str] = field(default_factory=list)

    @property
    def state(self) -> Path:
        return self.folder / "state.json"

    def watched(self, seen: Newest, judged: Comparison, *words: str | Path) -> tuple[int, str, str]:
        """(exit code, summary, stdout)."""

        def measured(spec: object, *rest: object) -> Comparison:
            self.asked.append(Path(spec.old.partition(":")[2]).read_text())  # type: ignore[attr-defined]
            return judged

        for name, value in (
            ("newest", lambda good, folder: seen),
            ("sides_of", lambda *words: ()),
            ("measured", measured),
            ("breaking", lambda out, broken, *rest: dict.fromkeys(broken, "peft 1.1")),
        ):
            self.monkeypatch.setattr(watch, name, value)
        summary, out = self.folder / "today.md", self.folder / f"out{len(self.asked)}"
        ended = self.harness(
            *("watch", "--state", self.state, "--summary", summary, "--out", out), *words
        )
        return ended.code, summary.read_text("utf-8"), ended.stdout


@pytest.fixture
def night(tmp_path: Path, harness: Command, monkeypatch: pytest.MonkeyPatch) -> Night:
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    write_watched(Watched(GOOD), tmp_path / "state.json")
    return Night(tmp_path, harness, monkeypatch)


def test_nothing_new_is_not_measured(night: Night) -> None:
    code, summary, stdout = night.watched(Newest(GOOD, (), ()), WORSE, "--json")
    assert (code, night.asked) == (0, [])
    assert summary.startswith("### ✅ nothing new")
    assert json.loads(stdout)["moved"] == []
    assert read_watched(night.state) == Watched(GOOD)


def test_a_lock_that_nothing_speaks_against_is_the_good_one(night: Night) -> None:
    code, summary, stdout = night.watched(SEEN, SAME, "--json")
    assert (code, night.asked) == (0, [GOOD])
    assert summary.startswith("### ✅")
    assert "- peft 1.0 → 1.1\n" in summary
    assert "trl 2.0 is out and not in the newest lock, which keeps 1.0" in summary
    assert json.loads(stdout)["moved"] == [{"library": "peft", "known": "1.0", "newest": "1.1"}]
    kept = read_watched(night.state)
    assert kept.good == NEW
    assert kept.last is not None
    assert (kept.last.exit_code, bool(kept.since)) == (0, True)


def test_what_was_broken_before_is_no_news(night: Night) -> None:
    """The recipe's own calls do not work with any lock of today: else nothing would ever be good.
    What only the newest lock breaks is a difference."""
    old_call = broken_pair("interface.call.sft_trainer", "both")
    calls = comparison([pair("inputs.mask_gap.left", Verdict.SAME), old_call])
    assert calls.exit_code == 3
    code, summary, _ = night.watched(SEEN, calls)
    assert code == 0
    assert summary.startswith("### ✅ last good lock → newest lock on ")
    assert "- 1 calls and values are broken on both locks, which is no news\n" in summary
    assert read_watched(night.state).good == NEW
    write_watched(Watched(GOOD), night.state)
    new_call = broken_pair("interface.call.other", "new")
    assert night.watched(SEEN, comparison([old_call, new_call]))[0] == 1


def test_a_difference_is_1_and_the_good_lock_stays(night: Night) -> None:
    for _ in range(2):
        code, summary, _ = night.watched(SEEN, WORSE)
        assert code == 1
        assert summary.startswith("### ❌")
        kept = read_watched(night.state)
        assert kept.good == GOOD
        assert kept.last is not None
        assert kept.last.exit_code == 1
    # The next night asks against the same lock.
    assert night.asked == [GOOD, GOOD]


def test_a_release_that_breaks_an_import_is_named(night: Night) -> None:
    code, summary, stdout = night.watched(SEEN, UNIMPORTABLE, "--json")
    assert code == 1
    assert "- environment.imports.trl is broken by: peft 1.1\n" in summary
    assert json.loads(stdout)["broken_by"] == {"environment.imports.trl": "peft 1.1"}


def test_what_is_an_import() -> None:
    """Libraries look for their modules when a class is asked for: `import trl` is not enough."""
    names = ("environment.bare_pins_import", "environment.imports.trl", "interface.call.import_sft")
    pairs = [broken_pair(name, "new") for name in (*names, "interface.call.sft_config")]
    pairs.append(broken_pair("environment.imports.peft", "old"))
    # Their own errors, so that none follows from another.
    own = [replace(p, new=failed(f"E: {i} (x:1)")) for i, p in enumerate(pairs[:-1])]
    assert broken_imports(comparison([*own, pairs[-1]])) == names


@pytest.mark.parametrize("place", ["newest", "measured"])
def test_what_cannot_be_asked_leaves_the_state(night: Night, place: str) -> None:
    before = night.state.read_bytes()

    def refuse(*words: object) -> None:
        raise NotRunnable("The registry did not answer.")

    night.watched(Newest(GOOD, (), ()), SAME)
    night.monkeypatch.setattr(watch, "newest", lambda good, folder: SEEN)
    night.monkeypatch.setattr(watch, place, refuse)
    ended = night.harness("watch", "--state", night.state, "--out", night.folder / "refused")
    assert ended.code == 3
    assert night.state.read_bytes() == before


def test_its_help_has_a_line_for_cron(harness: Callable[..., object]) -> None:
    ended = harness("watch", "--help")
    assert "0 4 * * *  harness watch --state" in ended.stdout  # type: ignore[attr-defined]
