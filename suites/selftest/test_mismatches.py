"""Pairs of releases that do not work together, said in one sentence."""

from __future__ import annotations

import sysconfig
from dataclasses import replace
from importlib.metadata import Distribution, distributions
from pathlib import Path

import pytest

from harness.measuring.child import job as child
from harness.measuring.instruments import recorder
from harness.records.context import Context
from harness.records.failure import Mismatch
from harness.records.machine import installed_versions, name_and_version
from harness.records.mismatches import mismatches
from harness.records.record import Status

# What transformers 5.0.0 and trl 0.11.1 declare, as their wheels have it.
METADATA = {
    "transformers": (
        "huggingface-hub<2.0,>=1.3.0",
        'torch>=2.4; extra == "torch"',
        'accelerate>=1.1.0; extra == "torch"',
        'datasets>=99; extra == "testing"',
    ),
    "trl": ('bitsandbytes<=0.41.1; extra == "quantization"', "transformers>=4.40.0"),
}
FITTING = {
    "transformers": "5.0.0",
    "huggingface-hub": "1.3.5",
    "torch": "2.10.0+cu128",
    "accelerate": "1.12.0",
    "datasets": "4.5.0",
    "trl": "0.11.1",
    "bitsandbytes": "0.49.1",
}


def test_a_releases_name_and_version_are_the_librarys() -> None:
    """Read from the head of what it declares, whatever its README says below."""
    wanted: dict[str, str] = {}
    # Other tests' libraries add folders to the path; what was read once was read before them.
    for distribution in distributions(path=[sysconfig.get_path("purelib")]):
        name = distribution.metadata["Name"]
        wanted.setdefault(name.lower().replace("_", "-"), distribution.version)
    have = installed_versions()
    assert {name: have.get(name) for name in wanted} == wanted


@pytest.mark.parametrize(
    "text",
    [
        "Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n\nName: other\nVersion: 9\n",
        "Metadata-Version: 2.1\nVersion:1.0 \nName:\ttiny\n",
    ],
)
def test_a_readme_is_no_head(tmp_path: Path, text: str) -> None:
    folder = tmp_path / "tiny-1.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text(text)
    assert name_and_version(Distribution.at(folder)) == ("tiny", "1.0")


def declared(name: str) -> tuple[str, ...]:
    return METADATA.get(name, ())


def test_what_fits_is_not_mentioned() -> None:
    """Neither a testing extra's wish nor the stale upper bound of another extra counts."""
    assert mismatches(FITTING, declared) == ()


@pytest.mark.parametrize(
    ("package", "version", "asks"),
    [
        ("accelerate", "0.34.2", "accelerate>=1.1.0"),
        ("torch", "2.3.1+cu121", "torch>=2.4"),
        ("huggingface-hub", "0.36.0", "huggingface-hub<2.0,>=1.3.0"),
    ],
)
def test_an_older_one_is_named_with_what_is_asked(package: str, version: str, asks: str) -> None:
    (pair,) = mismatches({**FITTING, package: version}, declared)
    assert pair == Mismatch(
        "transformers", "5.0.0", package, version, asks.removeprefix(package), declared=True
    )
    assert pair.sentence == (
        f"transformers 5.0.0 and {package} {version} do not work together: "
        f"transformers asks for {asks}."
    )


@pytest.mark.parametrize(
    ("package", "version", "other", "other_version", "needs"),
    [
        ("transformers", "4.52.2", "torch", "2.4.0+cu121", "torch>=2.5"),
        ("transformers", "4.52.4", "torch", "2.4.1", "torch>=2.5"),
        ("transformers", "4.56.0", "accelerate", "1.9.0", "accelerate>=1.10.0"),
    ],
)
def test_what_a_release_needs_and_declares_nowhere_is_named(
    package: str, version: str, other: str, other_version: str, needs: str
) -> None:
    (pair,) = mismatches({package: version, other: other_version}, lambda name: ())
    assert (pair.requirement, pair.declared) == (needs, False)
    assert pair.sentence == (
        f"{package} {version} and {other} {other_version} do not work together: "
        f"{package} needs {needs} and declares it nowhere."
    )


@pytest.mark.parametrize(
    ("version", "other", "other_version"),
    [
        ("4.52.1", "torch", "2.4.0"),
        ("4.53.0", "torch", "2.4.0"),
        ("4.52.4", "torch", "2.5.0"),
        ("4.55.4", "accelerate", "1.9.0"),
        ("4.56.1", "accelerate", "1.9.0"),
        ("4.56.0", "accelerate", "1.10.0"),
    ],
)
def test_the_releases_around_it_need_nothing(version: str, other: str, other_version: str) -> None:
    assert mismatches({"transformers": version, other: other_version}, lambda name: ()) == ()


def test_a_rung_that_such_a_pair_breaks_says_so_first(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pair = Mismatch("transformers", "5.0.0", "accelerate", "0.34.2", ">=1.1.0")
    monkeypatch.setattr(recorder, "_around", lambda: (pair,))
    context = Context(
        "current", "stand-in", "catalogue", tmp_path, True, tmp_path, family="qwen2_vl"
    )
    error = ImportError("Using the `Trainer` requires `accelerate>=1.1.0`\nand more")
    (metric,) = child.broken_record(context, "update", error).metrics
    assert metric.status is Status.BROKEN
    assert metric.failure is not None
    assert metric.failure.mismatches == (pair,)
    words = "Using the `Trainer` requires `accelerate>=1.1.0`"
    assert (metric.failure.type, metric.failure.message) == ("ImportError", words)
    assert metric.error.startswith(f"ImportError: {pair.sentence} {words} (")
    # Of a single value's error it is a fact beside it, not what is said first.
    (one, other) = (replace(metric, name=name) for name in ("loss", "probe"))
    assert one.error.startswith(f"ImportError: {words} (")
    assert other == metric


@pytest.mark.parametrize(
    ("version", "fits"),
    [
        ("2.4.0", True),
        ("2.3.9", False),
        # A nightly build, or one of a GPU's, is judged by its number.
        ("2.5.0.dev20240901+cu121", True),
        ("2.5.0a0", True),
        ("2.4.0+cpu", True),
        ("2.4.0rc1", False),
    ],
)
def test_a_build_before_a_release_is_judged_by_its_number(version: str, fits: bool) -> None:
    assert (mismatches({**FITTING, "torch": version}, declared) == ()) is fits


def test_what_is_not_installed_or_not_ours_fits() -> None:
    asks = {"transformers": ("numpy>=99", "torch>=99", "rich>=99")}

    def wishes(name: str) -> tuple[str, ...]:
        return asks.get(name, ())

    here = {"transformers": "5.0.0", "numpy": "1.0", "rich": "1.0"}
    assert [pair.other for pair in mismatches(here, wishes)] == ["numpy"]
    both = mismatches({**here, "torch": "2.0"}, wishes)
    assert [pair.other for pair in both] == ["numpy", "torch"]
    assert mismatches({"numpy": "1.0"}, wishes) == ()


@pytest.mark.parametrize(
    ("line", "asked"),
    [
        ("torch>=99", ">=99"),
        ("torch<99,>=98", "<99,>=98"),
        # Of an extra that the recipe uses the lower bound alone.
        ('torch<1,>=98; extra == "torch"', ">=98"),
        ('torch>=98; extra == "testing"', ""),
        ('torch>=98; python_version < "3"', ""),
        ('torch>=98; python_version >= "3"', ">=98"),
        ("Torch >= 99", ">=99"),
    ],
)
def test_a_wish_counts_where_its_marker_does(line: str, asked: str) -> None:
    unfitting = mismatches(
        {"transformers": "5.0.0", "torch": "2.0"}, lambda name: (line,) * (name == "transformers")
    )
    assert [pair.requirement.removeprefix("torch") for pair in unfitting] == [asked] * bool(asked)


def test_what_a_release_needs_undeclared_is_no_lack_where_it_is_not_there() -> None:
    assert mismatches({"transformers": "4.52.2"}, lambda name: ()) == ()
    assert mismatches({"torch": "2.4.0"}, lambda name: ()) == ()
    (pair,) = mismatches({"transformers": "4.52.2", "torch": "2.4.0"}, lambda name: ())
    assert not pair.declared
