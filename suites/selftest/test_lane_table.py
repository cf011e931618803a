"""What the lane measured: the README says what the files say, they what their raw steps say."""

from __future__ import annotations

import json
import math
import statistics
from pathlib import Path
from typing import Any

import pytest

from harness.errors import BadInput
from harness.lane import published, table
from harness.record import write_json
from suites.oracles import flops
from suites.oracles import footprint as shapes

DEVICES = sorted(folder.name for folder in published.FOLDER.iterdir())
RECORDS = [
    (device, name, raw)
    for device in DEVICES
    for name, raw in published.read(published.FOLDER / device).items()
]
PAIRS = [(name, raw) for _, name, raw in RECORDS if "speed_up" in raw]
SIDES = [
    pytest.param(raw[side], raw["variant"] if side == "changed" else {}, id=f"{name}-{side}")
    for name, raw in PAIRS
    for side in ("recipe", "changed")
]


def test_the_readme_holds_what_the_script_writes() -> None:
    text = table.README.read_text(encoding="utf-8")
    assert table.replaced(text, table.document()) == text, "python -m harness.lane.table --write"


def test_every_record_says_where_it_comes_from() -> None:
    assert len(PAIRS) >= 10
    for device, name, raw in RECORDS:
        assert raw["device_key"] == device, name
        assert raw["created"][:4] >= "2026"
        assert raw["commit"]
        assert raw["versions"]["torch"]
        assert raw["how"] == "measured"


@pytest.mark.parametrize(("name", "raw"), PAIRS, ids=[n for n, _ in PAIRS])
def test_a_pair_follows_from_its_raw_steps(name: str, raw: dict[str, Any]) -> None:
    recipe, changed = raw["runs"]["A"], raw["runs"]["B"]
    assert len(recipe) == len(changed) == raw["speed_up"]["pairs"] + 2
    # The first two steps of each side only warm up.
    logs = [
        math.log(a["seconds"] / b["seconds"]) for a, b in zip(recipe[2:], changed[2:], strict=True)
    ]
    assert raw["speed_up"]["pairs"] >= 20
    assert raw["speed_up"]["median"] == pytest.approx(math.exp(statistics.median(logs)))
    # 95 % of a binomial: the true median of 20 lies between the 6th and the 15th value; a
    # bootstrap of the median stays a rank or two around that.
    ordered = sorted(math.exp(x) for x in logs)
    assert ordered[3] <= raw["speed_up"]["low"] <= ordered[7]
    assert ordered[12] <= raw["speed_up"]["high"] <= ordered[16]
    gap = max(abs(b["loss"] / a["loss"] - 1) for a, b in zip(recipe, changed, strict=True))
    assert raw["loss_gap"] == pytest.approx(gap)
    assert raw["safe"] is (gap <= 1e-3 and raw["cosine"] >= 0.999)
    assert published.pair(raw).safe is raw["safe"]
    for side, runs in (("recipe", recipe), ("changed", changed)):
        middle = statistics.median(run["seconds"] for run in runs[2:])
        assert raw[side]["seconds"] == pytest.approx(middle)


@pytest.mark.parametrize(("side", "variant"), SIDES)
def test_flops_and_mfu_are_the_formulas(side: dict[str, Any], variant: dict[str, Any]) -> None:
    batch = side["batch"]
    samples, seven = batch["samples"], shapes.SEVEN_B
    pictures = [round(batch["patches_per_sample"])] * samples
    useful = flops.useful(
        seven, round(samples * batch["tokens_per_sample"]),
        round(samples * batch["supervised_per_sample"]), pictures,
    )  # fmt: skip
    if variant.get("tower") == "cached":
        useful -= flops.vision_forward(seven, pictures)
    # Averages over two steps' batches stand for each step's own: under a token a sample.
    assert side["useful_flops"] == pytest.approx(useful, rel=2e-3)
    rate = side["matmul_rate"]
    assert side["mfu"] == pytest.approx(side["useful_flops"] / side["seconds"] / rate)
    assert side["hfu"] == pytest.approx(side["executed_flops"] / side["seconds"] / rate)
    assert side["mfu"] < side["hfu"] < 1
    assert side["samples_per_second"] == pytest.approx(samples / side["seconds"])


def test_loaded_bytes_are_the_oracles() -> None:
    held = [raw for _, name, raw in RECORDS if raw["case"] == "footprint"]
    assert held
    wanted = shapes.bytes_by_part(shapes.SEVEN_B)
    for raw in held:
        assert raw["total"]["measured"] == sum(wanted.values()) == 5_898_851_352
        assert {n: p["measured"] for n, p in raw["components"].items()} == wanted
        assert raw["differing"] == []


def made(
    name: str, ratio: float, peak: int, *, tokens: int = 800, safe: bool = True, past: str = ""
) -> published.Pair:
    return published.Pair(
        name, name, tokens, 32, ratio, ratio * 0.99, ratio * 1.01, 1e-4 if safe else 2e-3, 1.0,
        (100, peak), 0.4, safe, past,
    )  # fmt: skip


def test_an_unsafe_or_superseded_variant_never_wins() -> None:
    found = [
        made("quick", 3.0, 90, safe=False), made("old", 2.9, 90, past="older code"),
        made("good", 2.0, 90), made("slow", 1.1, 20),
        made("thin", 0.5, 1, tokens=1300, safe=False), made("lean", 0.7, 30, tokens=1300),
        made("easy", 1.2, 60, tokens=1300),
    ]  # fmt: skip
    quick, lean = published.fastest(found), published.leanest(found)
    assert quick is not None
    assert lean is not None
    assert (quick.name, lean.name) == ("good", "lean")
    text = table.winners(found)
    assert "2.00× the recipe's speed (wanted 1.5×: reached)" in text
    assert "MFU 0.400 (wanted 0.45: **not reached**)" in text
    assert "`lean`, 0.30 of the recipe's peak (wanted 0.5: reached) at 0.70× its speed" in text
    assert "`easy`, 0.60 of the recipe's peak at 1.20× its speed" in text


def test_without_a_safe_one_nothing_is_named() -> None:
    assert published.fastest([made("quick", 3.0, 90, safe=False)]) is None
    assert table.winners([made("quick", 3.0, 90, safe=False)]) == ""


def test_what_has_no_file_is_listed_as_not_run() -> None:
    records = published.read(published.FOLDER / "cuda-nvidia-h200")
    left = published.not_run(records)
    assert "trainer" in left[800]
    assert "fastest" not in left[800]
    less = {k: v for k, v in records.items() if k != "cached_vision-800"}
    assert published.not_run(less)[800] == sorted(
        [*left[800], "cached_vision"], key=[*published.not_run({})[800], *left[800]].index
    )


def test_bad_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="holds no measurement"):
        published.read(tmp_path)
    (tmp_path / "x-800.json").write_text(json.dumps({"schema": 1, "how": "guessed"}))
    with pytest.raises(BadInput, match=r"x-800\.json is no measurement"):
        published.read(tmp_path)


def test_two_machines_in_one_folder_are_refused() -> None:
    records = published.read(published.FOLDER / "cuda-nvidia-h200")
    other = {**records["fastest-800"], "versions": {"torch": "1.0"}}
    with pytest.raises(BadInput, match="other versions or elsewhere"):
        table.provenance({**records, "fastest-800": other})


def test_a_readme_without_markers_is_refused() -> None:
    with pytest.raises(BadInput, match="lacks the markers"):
        table.replaced("no markers here", "x")
    assert table.replaced(f"a{table.START}old{table.END}b", "new") == (
        f"a{table.START}\nnew\n{table.END}b"
    )


def test_the_script_prints_the_section(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert table.main([]) == 0
    assert capsys.readouterr().out == table.document() + "\n"
    monkeypatch.setattr(table, "FOLDER", tmp_path)
    write_json(tmp_path / "cuda-x" / "y-800.json", {"how": "measured"})
    assert table.main([]) == 2
    assert "is no measurement" in capsys.readouterr().err
