"""What lies in the cache: written by eight at once, killed half way, damaged on the disk."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.errors import BadInput, Damaged
from harness.judging.environments.overlay import Layer, read_layer, write_layer
from harness.measuring.snapshots import random_weights, tiny, weights
from harness.measuring.snapshots.source import STAND_IN, resolve
from harness.records.scratch import Scratch
from harness.records.seals import file_digest
from suites.reliability.counts import count
from suites.reliability.damage import flip
from suites.reliability.killed import CONTEXT, kill_after, strays

pytestmark = pytest.mark.usefixtures("no_variables")

TINY = "tiny:qwen2_vl@2b"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_variables: None) -> Path:
    """A cache of one's own."""
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def eight(work: Callable[..., Any], *words: Any) -> list[Any]:
    """What eight processes at once answer; each is told its number first."""
    with CONTEXT.Pool(8) as pool:
        return pool.starmap(work, [(number, *words) for number in range(8)])


def digests(folder: Path) -> dict[str, str]:
    return {path.name: file_digest(path) for path in sorted(folder.iterdir())}


def assert_refused_or_same(path: Path, places: int, read: Callable[[], object]) -> None:
    """Flip so many bits of a file, one after the other."""
    whole, meant, dice, refused = path.read_bytes(), read(), random.Random(path.name), 0
    for _ in range(places):
        flip(path, dice.randrange(len(whole)))
        try:
            assert read() == meant
        except BadInput as error:
            assert path.name in str(error)  # noqa: PT017 - either outcome is right
            refused += 1
        path.write_bytes(whole)
    assert refused > places / 3


def _work_many(number: int, root: Path, times: int) -> None:
    for i in range(times):
        with Scratch(root) as work:
            (work / "half").write_text(f"{number}-{i}")
            assert (work / "half").read_text() == f"{number}-{i}"


@pytest.mark.slow
def test_eight_processes_work_beside_one_another(
    tmp_path: Path, tried: Callable[[int], None]
) -> None:
    """Each in a folder of its own, which no other takes for a dead one's; nothing is left."""
    times = count(25, 100)
    eight(_work_many, tmp_path / "work", times)
    assert [path.name for path in (tmp_path / "work").iterdir()] == ["all.lock"]
    tried(8 * times)


def _digest_many(number: int, folder: Path, files: int) -> None:
    for i in range(files):
        weights.sha256(folder / f"{number}-{i}")


def test_eight_processes_lose_no_digest(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tried: Callable[[int], None]
) -> None:
    """Of large files, which are hashed once: none of the others' is forgotten."""
    files = count(10, 100)
    monkeypatch.setattr(weights, "LARGE", 4)
    for number in range(8):
        for i in range(files):
            (tmp_path / f"{number}-{i}").write_bytes(b"%05d" % i)
    eight(_digest_many, tmp_path, files)
    monkeypatch.setattr(weights, "_hash", lambda path: pytest.fail(f"{path} was forgotten"))
    for number in range(8):
        _digest_many(number, tmp_path, files)
    tried(8 * files)
    assert strays(cache) == []


@pytest.mark.slow
def test_a_killed_writer_of_digests_leaves_no_stray(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tried: Callable[[int], None]
) -> None:
    """Nobody is ever alone with a cache; what a dead process left goes with the next digest."""
    monkeypatch.setattr(weights, "LARGE", 4)
    large, dice = tmp_path / "large", random.Random(43)

    def write() -> None:
        large.write_bytes(b"%020d" % dice.randrange(10**15))
        weights.sha256(large)

    for number in range(count(20, 200)):
        kill_after(write, dice.random() * 0.05)
        last = tmp_path / str(number)
        last.write_bytes(b"12345")
        weights.sha256(last)
        assert strays(cache) == []
        assert len([path for path in cache.rglob("*.json") if path.is_file()]) <= number + 2
        tried(1)


def test_a_damaged_digest_is_refused(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tried: Callable[[int], None]
) -> None:
    """It would stand for weights that nobody looks at again."""
    monkeypatch.setattr(weights, "LARGE", 4)
    (tmp_path / "large").write_bytes(b"12345")
    weights.sha256(tmp_path / "large")
    (kept,) = [path for path in cache.rglob("*.json") if path.is_file()]
    places = count(40, 300)
    assert_refused_or_same(kept, places, lambda: weights.sha256(tmp_path / "large"))
    tried(places)


def _tiny(number: int) -> Path:
    return tiny.snapshot(TINY)


@pytest.mark.slow
def test_eight_processes_make_one_tiny_snapshot(
    cache: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, tried: Callable[[int], None]
) -> None:
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "alone"))
    alone = digests(_tiny(0))
    monkeypatch.setenv("HARNESS_CACHE", str(cache))
    for _ in range(count(1, 10)):
        (folder,) = set(eight(_tiny))
        assert digests(folder) == alone
        assert {path.name for path in (cache / "tiny").iterdir()} == {folder.name, "building"}
        assert [path.name for path in (cache / "tiny" / "building").iterdir()] == ["all.lock"]
        shutil.rmtree(folder)
        tried(8)


@pytest.mark.slow
def test_a_killed_tiny_snapshot_is_whole_or_not_there(
    cache: Path, tried: Callable[[int], None]
) -> None:
    whole = resolve(TINY)
    before, digest = digests(whole.snapshot), whole.digest

    def make() -> None:
        shutil.rmtree(whole.snapshot, ignore_errors=True)
        tiny.snapshot(TINY)

    dice = random.Random(17)
    for _ in range(count(4, 100)):
        kill_after(make, dice.random() * 0.6)
        if whole.snapshot.is_dir() and (whole.snapshot / "seal.json").is_file():
            assert resolve(TINY).digest == digest
        shutil.rmtree(whole.snapshot, ignore_errors=True)
        assert digests(tiny.snapshot(TINY)) == before
        assert [p.name for p in (cache / "tiny" / "building").iterdir()] == ["all.lock"]
        tried(1)


@pytest.mark.slow
def test_no_flipped_bit_of_a_tiny_snapshot_goes_unnoticed(
    cache: Path, tried: Callable[[int], None]
) -> None:
    """Its records would tell of another model under the same name."""
    source = resolve(TINY)
    dice = random.Random(19)
    files = sorted(source.snapshot.iterdir())
    assert {path.name for path in source.files} == {p.name for p in files} - {"seal.json"}
    for _ in range(count(15, 300)):
        path = dice.choice(files)
        whole = path.read_bytes()
        flip(path, dice.randrange(len(whole)))
        try:
            assert resolve(TINY).digest == source.digest
            assert path.name == "seal.json"
        except Damaged as error:
            assert path.name in str(error)  # noqa: PT017 - either outcome is right
        path.write_bytes(whole)
        tried(1)
    for path in files:
        whole = path.read_bytes()
        path.unlink()
        with pytest.raises(Damaged, match=path.name):
            resolve(TINY)
        path.write_bytes(whole)


def _draw(number: int, folder: Path, config: dict[str, Any]) -> None:
    for _ in random_weights.write_snapshot(folder, config, STAND_IN, shard_bytes=500_000):
        pass


@pytest.mark.slow
def test_eight_processes_draw_one_random_snapshot(
    tmp_path: Path, tried: Callable[[int], None]
) -> None:
    """No shard is half another's."""
    config = json.loads((STAND_IN / "config.json").read_text("utf-8"))
    config = random_weights.fitted(config, STAND_IN)
    _draw(0, tmp_path / "alone", config)
    for number in range(count(1, 10)):
        eight(_draw, tmp_path / str(number), config)
        assert digests(tmp_path / str(number)) == digests(tmp_path / "alone")
        tried(8)


def test_a_damaged_plan_of_a_bisect_is_refused(
    tmp_path: Path, tried: Callable[[int], None]
) -> None:
    """It says which versions a release is measured with."""
    path = tmp_path / "plan.json"
    layer = Layer("current", ("trl==1.0",), {"trl": "1.0", "torch": "2"}, {"torch": "2"}, {})
    write_layer(path, layer)
    assert read_layer(path) == layer
    places = count(40, 300)
    assert_refused_or_same(path, places, lambda: read_layer(path))
    tried(places)
