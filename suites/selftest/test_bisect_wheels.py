"""Bisects end to end over folders of real wheels: uv resolves, installs and layers, offline."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path

import pytest

from harness.errors import StackBroken
from harness.judging.bisect import noisy, swap
from harness.judging.bisect.search import Answer, Outcome, search
from harness.judging.environments import build as environments
from harness.judging.environments import overlay, releases
from suites.selftest.wheels import wheel


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty environment: the base that everything is layered over."""
    folder = tmp_path_factory.mktemp("base") / "env"
    subprocess.run(
        [environments.uv_binary(), "venv", "--quiet", "--python", sys.executable, str(folder)],
        check=True,
    )
    return folder / "bin" / "python"


@dataclass(frozen=True)
class Releases:
    """What a folder holds. edges: where it turns. broken: how, by position. companion: from here
    on a newer one is needed."""

    count: int
    edges: frozenset[int]
    broken: Mapping[int, str]
    companion: int


def drawn(seed: int) -> Releases:
    """A folder by chance."""
    draw = random.Random(seed)
    count = draw.randint(10, 60)
    edges = {draw.randint(1, count - 1)}
    if draw.random() < 0.3 and count > 20:
        edges = set(draw.sample(range(1, count), 3))
    inner = range(1, count - 1)
    kinds = draw.choice([(), ("import",), ("install",), ("import", "install")])
    broken = {p: draw.choice(kinds) for p in inner if kinds and draw.random() < 0.15}
    return Releases(count, frozenset(edges), broken, draw.randint(1, count - 1))


class Registry:
    """A folder of releases of `tiny`; what each shows is decided here, by its module's text."""

    def __init__(self, folder: Path, python: Path, releases: Releases) -> None:
        self.folder, self.python, self.calls = folder, python, 0
        self.count, self.edges = releases.count, releases.edges
        self.broken, self.companion = releases.broken, releases.companion
        for version in ("1.0", "2.0"):
            wheel(folder, "helper", version, f"version = {version!r}\n")
        for position in range(self.count):
            broken = self.broken.get(position)
            source = "raise ImportError('broken release')\n" if broken == "import" else ""
            source += f"value = {'bad' if self.is_bad(position) else 'good'!r}\n"
            needs = ["helper>=2" if position >= self.companion else "helper<2"]
            needs += ["nowhere==1"] if broken == "install" else []
            wheel(folder, "tiny", self.version(position), source, needs)

    def version(self, position: int) -> str:
        """1.0, 1.1, …: position 10 is 1.10, which only a version order puts after 1.9."""
        return f"1.{position}"

    def is_bad(self, position: int) -> bool:
        return sum(edge <= position for edge in self.edges) % 2 == 1

    def evaluate(self, span: tuple[releases.Release, ...], position: int) -> Mapping[str, Outcome]:
        self.calls += 1
        place = self.folder / f"layer-{position}"
        try:
            layer = overlay.plan(
                "current", self.python, [span[position].requirement("tiny")], self.folder
            )
            overlay.install(layer, self.python, place, self.folder)
        except StackBroken as error:
            return {"x": Outcome(Answer.SKIP, str(error))}
        assert layer.moved == {"helper": "2.0" if position >= self.companion else "1.0"}
        done = subprocess.run(
            [str(self.python), "-c", "import tiny, helper; print(tiny.value, helper.version)"],
            env={**os.environ, **overlay.variables(place)},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            return {"x": Outcome(Answer.SKIP, done.stderr.strip().splitlines()[-1])}
        value, helper = done.stdout.split()
        assert helper == layer.moved["helper"]
        return {"x": Outcome(Answer.BAD if value == "bad" else Answer.GOOD, value)}


def check(tmp_path: Path, python: Path, drawn: Releases) -> set[int]:
    """Bisects the folder; returns the positions that were looked at."""
    registry = Registry(tmp_path, python, drawn)
    assert registry.is_bad(registry.count - 1)
    span = releases.between(
        releases.in_folder("tiny", tmp_path), "tiny", "1.0", registry.version(registry.count - 1)
    )
    assert len(span) == registry.count
    result = search(
        len(span), ["x"], lambda p: registry.evaluate(span, p), exhaustive=len(registry.edges) > 1
    )["x"]
    decided = [p for p in range(registry.count) if p not in registry.broken]
    wanted = [(a, b) for a, b in pairwise(decided) if registry.is_bad(a) is not registry.is_bad(b)]
    assert [(b.before, b.after) for b in result.boundaries] == wanted
    for position, outcome in result.outcomes.items():
        broken = registry.broken.get(position)
        assert (outcome.answer is Answer.SKIP) is (broken is not None)
        if broken:
            assert ("broken release" if broken == "import" else "nowhere") in outcome.reason
    return set(result.outcomes)


def test_a_folder_of_wheels(tmp_path: Path, python: Path) -> None:
    """Version 1.10 after 1.9; in the middle one that cannot be installed, and then one that cannot
    be imported; a companion that changes before the edge does."""
    broken = {6: "install", 5: "import"}
    looked_at = check(tmp_path, python, Releases(12, frozenset({10}), broken, 8))
    assert set(broken) <= looked_at


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(21))
def test_many_folders_of_wheels(tmp_path: Path, python: Path, seed: int) -> None:
    check(tmp_path, python, drawn(seed))


def test_a_real_time_is_bisected_by_interleaved_pairs(tmp_path: Path, python: Path) -> None:
    """From one release on the same sum takes four times the work; processor time in fresh
    processes decides. What the machine's load leaves undecided widens the range, never moves it.
    """
    edge, count = 5, 9
    for position in range(count):
        rounds = 4 if position >= edge else 1
        source = f"def work():\n    for _ in range({rounds}):\n        sum(range(400_000))\n"
        wheel(tmp_path, "tiny", f"1.{position}", source)
    code = "import time, tiny; a = time.process_time(); tiny.work(); print(time.process_time() - a)"

    @cache
    def layered(position: int) -> Path:
        layer = overlay.plan("current", python, [f"tiny==1.{position}"], tmp_path)
        place = tmp_path / f"layer-{position}"
        overlay.install(layer, python, place, tmp_path)
        return place

    def timed(position: int) -> float:
        done = subprocess.run(
            [str(python), "-c", code],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, **overlay.variables(layered(position))},
        )
        return float(done.stdout)

    def evaluate(position: int) -> Mapping[str, Outcome]:
        if position == 0:
            return {"x": Outcome(Answer.GOOD)}
        taken: dict[str, list[float]] = {"A": [], "B": []}
        outcome = Outcome(Answer.SKIP)
        # As a bisect looks: more pairs are taken only where the first leave it open.
        for pairs in noisy.LOOKS:
            for side in noisy.order(pairs)[len(taken["A"]) + len(taken["B"]) :]:
                taken[side].append(timed(0 if side == "A" else position))
            outcome = noisy.decide(taken["A"], taken["B"], band=0.5)
            if outcome.answer is not Answer.SKIP:
                break
        return {"x": outcome}

    (boundary,) = search(count, ["x"], evaluate, monotonic=True)["x"].boundaries
    assert boundary.before < edge <= boundary.after


def test_an_interaction_of_two_real_packages(tmp_path: Path, python: Path) -> None:
    """Of four packages that differ, two new ones together change what is computed."""
    names = ["left", "right", "other", "last"]
    for name in names:
        for version in ("1.0", "2.0"):
            wheel(tmp_path, name, version, f"version = {version!r}\n")
    code = (
        "import left, right, other, last; "
        "print('bad' if left.version == right.version == '2.0' else 'good')"
    )
    asked: list[swap.Packages] = []

    def evaluate(chosen: swap.Packages) -> Outcome:
        asked.append(chosen)
        place = tmp_path / f"layer-{len(asked)}"
        wanted = [f"{n}=={'2.0' if n in chosen else '1.0'}" for n in names]
        layer = overlay.plan("current", python, wanted, tmp_path)
        overlay.install(layer, python, place, tmp_path)
        done = subprocess.run(
            [str(python), "-c", code],
            env={**os.environ, **overlay.variables(place)},
            capture_output=True,
            text=True,
            check=True,
        )
        return Outcome(Answer.BAD if done.stdout.strip() == "bad" else Answer.GOOD)

    blame = swap.responsible("x", names, evaluate)
    assert blame.causes == (frozenset({"left", "right"}),)
    assert blame.is_interaction
    assert len(set(asked)) == len(asked)


def test_a_folder_with_other_files_in_it(tmp_path: Path, python: Path) -> None:
    """What uv will not take from the folder is not taken from it by us either."""
    wheel(tmp_path, "tiny", "1.0", "value = 1\n", ["helper"])
    wheel(tmp_path, "helper", "1.0", "")
    (tmp_path / "junk.whl").touch()
    (tmp_path / "helper-1.0-cp27-cp27m-win32.whl").touch()
    layer = overlay.plan("current", python, ["tiny==1.0"], tmp_path)
    assert layer.wheels["helper"] == str(tmp_path / "helper-1.0-py3-none-any.whl")
    overlay.install(layer, python, tmp_path / "layer", tmp_path)
    assert (tmp_path / "layer" / "helper.py").is_file()


def test_an_environment_is_listed_again_once_packages_came_or_went(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheel(tmp_path, "tiny", "1.0", "value = 1\n")
    uv, place = environments.uv_binary(), tmp_path / "env" / "bin" / "python"

    def uv_does(*words: str) -> None:
        subprocess.run([uv, *words, "--quiet"], check=True)

    uv_does("venv", "--python", sys.executable, str(tmp_path / "env"))
    assert overlay.installed(place) == {}
    offline = ("--no-index", "--find-links", str(tmp_path), "--python", str(place))
    uv_does("pip", "install", "tiny", *offline)
    assert overlay.installed(place) == {"tiny": "1.0"}
    with monkeypatch.context() as without:
        without.setattr(environments, "uv_binary", lambda: pytest.fail("listed for nothing"))
        assert overlay.installed(place) == {"tiny": "1.0"}
    uv_does("pip", "uninstall", "tiny", "--python", str(place))
    assert overlay.installed(place) == {}


def test_a_layer_is_all_or_nothing(tmp_path: Path, python: Path) -> None:
    wheel(tmp_path, "tiny", "1.0", "value = 1\n")
    layer = overlay.plan("current", python, ["tiny==1.0"], tmp_path)
    (tmp_path / "tiny-1.0-py3-none-any.whl").unlink()
    place = tmp_path / "layer"
    with pytest.raises(StackBroken, match=r"tiny==1\.0 cannot be installed"):
        overlay.install(layer, python, place, tmp_path)
    assert not place.exists()
    assert not list(tmp_path.glob("*.part"))
