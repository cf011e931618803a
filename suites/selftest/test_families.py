"""A family is one file, checked when it is loaded; nothing else knows what only one of them has."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from unittest import mock

import pytest

from harness.errors import BadInput, HarnessError, Lack, NotRunnable
from harness.judging.goldens.judgement import facts_of
from harness.measuring import models, probes
from harness.measuring.child.job import measure
from harness.measuring.models import (
    canonical_name,
    check_runs,
    families,
    family,
    lacking,
    of_recipe,
    of_snapshot,
    of_type,
    qwen2_vl,
)
from harness.measuring.snapshots.source import STAND_IN
from harness.records.context import Context
from harness.records.record import Provenance, Record, Status, from_json, to_json

# Token texts, names of tensors, of modules and of config fields, classes and names, beside those
# that the families say of themselves.
TOKENS = (
    r"<\|\w|\w\|>",
    r"<(start|end)_of_(turn|image)>",
    r"<image_soft_token>|<end_of_utterance>|<fake_token|<global-img>|<row_\d",
    r"<(bos|eos|pad|image|video)>|\[IMG\]",
    r"\badd_vision_id\b",
)
TENSORS = (
    r"\bpixel_(values|attention_mask)",
    r"\b(image|video)_grid_thw\b|\bgrid_thw\b",
    r"\b(mm_)?token_type_ids\b|\bimage_position_ids\b|\bsecond_per_grid",
)
MODULES = (
    r"\blm_head\b|\bembed_tokens\b|\bpatch_embed\b|\bmerger\b|\bdeepstack",
    r"[\"'.](visual|vision_tower|vision_model|language_model|text_model)\b",
    r"\bmulti_modal_projector\b|\bembed_vision\b|\bmodality_projection\b",
    r"\b[qkvo]_proj\b|\b(up|down|gate)_proj\b|\bqkv\b|\bself_attn\b|\blinear_attn\b|\brotary_emb\b",
    r"\bmerge_size\b|\bspatial_merge|\bpatch_size\b|\bscale_factor\b|\bmrope\b|\brope_(index|deltas)",
    r"\bimage_token_(id|index)\b|\bnum_hidden_layers\b.*vision|\bembed_dim\b",
    r"\bsmart_resize\b|\b1176\b|\b14 ?\* ?14\b|\b28 ?\* ?|\* ?28\b|\bfactor=\d",
)
NAMES = (
    r"[Qq]wen|QWEN",
    r"\bgemma|Gemma|\bsmolvlm|SmolVLM|[Ii]defics|\bllava\b|PaliGemma",
)


def words_of(name: str) -> list[str]:
    """A family's own: control tokens, tensors, modules and names."""
    facts = family(name)
    return [
        *(token for token in facts.CHAT.controls if "<" in token),
        *(t for t in facts.TENSORS if t not in {"input_ids", "attention_mask", "labels"}),
        *facts.NOT_QUANTISED,
        *(f".{tower}" for tower in facts.TOWER),
        *facts.MODEL_TYPES,
        facts.TITLE,
        facts.ARCHITECTURE,
    ]


# Whatever family is added widens the search by itself.
OWN = "|".join(sorted({re.escape(word) for name in families() for word in words_of(name)}))
# One by one: a search for all of them at once looks at every place of a text for each.
PATTERNS = [
    re.compile(p) for p in (*TOKENS, *TENSORS, *MODULES, *NAMES, rf"(?<!\w)(?:{OWN})(?!\w)")
]
# Where such a fact has its place: families, the published recipe, and by file what stays.
PLACES = ("measuring/models/", "recipe/")
ALLOWED: dict[str, str] = {
    # Records and goldens have called components so since the first one, whatever the family.
    "records/components.py": r'"(lm_head|embed_tokens|patch_embed|merger)"',
    # Of records that do not name it.
    "records/upgrade.py": r'^FIRST_FAMILY = "qwen2_vl"$',
    # Distributions whose releases are recorded because the recipe pins them.
    "records/machine.py": r'"qwen-vl-utils"',
    "measuring/probes/environment.py": r'"qwen_vl_utils"',
    # What has to be installed beside a stack of one's own: the recipe imports it.
    "judging/environments/build.py": r'^ *"qwen-vl-utils",$',
    # The recipe's import, executed as it is written.
    "measuring/probes/_calls.py": r"from qwen_vl_utils import process_vision_info",
    "measuring/probes/_written.py": r"from qwen_vl_utils import process_vision_info",
    # Parts of module names that TRL 0.11.1 itself looks for, whatever the family.
    "measuring/lane/published.py": r'"(lm_head|embed_tokens)"',
    # Tokens of chat models that are no family here; the families' are theirs.
    "measuring/audit/checks/_foreign.py": r'"<\|(eot_id|begin_of_text|end_of_text|end)\|>"',
    # A way written for the blocks of one tower; it refuses every other by name.
    "measuring/ways/blocks.py": r"Qwen2-VL's|attention\.qkv\(block\.norm1"
    # How that tower is called, and where its patches are embedded.
    r"|grid_thw|tower\.patch_embed|tower\.spatial_merge_size",
}


def is_of_one(text: str) -> bool:
    """Whether a text, a line or many, knows one family."""
    return any(pattern.search(text) for pattern in PATTERNS)


def of_one_family(path: Path, root: Path) -> list[str]:
    """The lines of a file that know one family, but for what it may know."""
    name = path.relative_to(root).as_posix()
    allowed = ALLOWED.get(name)
    text = path.read_text(encoding="utf-8")
    lines = text.splitlines() if is_of_one(text) else []
    kept = [(n, re.sub(allowed, "", line) if allowed else line) for n, line in enumerate(lines, 1)]
    return [f"{name}:{n}: {line.strip()}" for n, line in kept if is_of_one(line)]


def test_nothing_outside_the_families_knows_one_of_them(repository: Path) -> None:
    root = repository / "harness"
    files = [
        path
        for path in sorted(root.rglob("*.py"))
        if not path.relative_to(root).as_posix().startswith(PLACES)
    ]
    assert len(files) > 150
    assert [line for path in files for line in of_one_family(path, root)] == []


@pytest.mark.parametrize(
    "line",
    [
        'header = "<|im_start|>assistant"',
        "turn = '<start_of_turn>model'",
        'batch["pixel_values"]',
        'inputs.get("image_grid_thw")',
        'batch["token_type_ids"]',
        "core.visual.blocks",
        "model.vision_tower",
        'name.endswith("q_proj")',
        "side = 28 * rows",
        "processor.image_processor.merge_size",
        'family: str = "qwen2_vl"',
        "from transformers import Gemma3ForConditionalGeneration",
    ],
)
def test_the_search_finds_what_it_is_for(line: str) -> None:
    assert is_of_one(line)


def test_the_patterns_find_every_name_of_the_families_that_are_here() -> None:
    for name in families():
        assert [word for word in words_of(name) if not is_of_one(word)] == []


def test_what_may_stay_is_still_there(repository: Path) -> None:
    for name, allowed in ALLOWED.items():
        assert re.search(
            allowed, (repository / "harness" / name).read_text("utf-8"), re.MULTILINE
        ), name


def test_every_family_is_whole_and_short(repository: Path) -> None:
    for name in families():
        assert inspect.ismodule(family(name))
        path = repository / "harness" / "measuring" / "models" / f"{name}.py"
        assert len(path.read_text("utf-8").splitlines()) <= 350


def copied(without: str = "", **more: object) -> ModuleType:
    module = ModuleType("copied")
    vars(module).update({k: v for k, v in vars(qwen2_vl).items() if k != without})
    vars(module).update(more)
    return module


def test_a_file_that_lacks_a_fact_or_a_function_is_refused_with_its_name() -> None:
    assert lacking(copied()) == []
    assert lacking(copied(without="CHAT")) == ["CHAT"]
    assert lacking(copied(without="parts")) == ["parts(model)"]
    wrong: Callable[..., int] = lambda size: 28  # noqa: E731
    assert lacking(copied(picture_side=wrong)) == ["picture_side(image_tokens)"]
    family.cache_clear()
    with (
        mock.patch.object(models.importlib, "import_module", return_value=copied(without="MASK")),
        pytest.raises(HarnessError, match=r"family qwen2_vl is not whole: its file lacks MASK"),
    ):
        family("qwen2_vl")


def test_the_family_is_found_from_the_snapshots_model_type(tmp_path: Path) -> None:
    assert of_snapshot(STAND_IN) == "qwen2_vl"
    assert of_recipe() == ("qwen2_vl", "7b")
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "llava"}), encoding="utf-8")
    with pytest.raises(BadInput, match=r"holds a 'llava' model\. .*are .*qwen2_vl") as error:
        of_snapshot(tmp_path)
    assert str(tmp_path) in str(error.value)
    with pytest.raises(BadInput, match="does not exist"):
        of_snapshot(tmp_path / "absent")
    with pytest.raises(BadInput, match="no family for a None model"):
        of_type(None)


def test_a_config_that_hands_out_its_text_models_type_is_still_of_its_family() -> None:
    """As transformers 4.57.1 does for one that was saved and read again."""

    class Saved:
        model_type = "qwen2_vl"

        def __getattribute__(self, name: str) -> str:
            return "qwen2_vl_text" if name == "model_type" else str(super().__getattribute__(name))

    assert models.of(SimpleNamespace(config=Saved())) is qwen2_vl
    # A class that names none has it on the instance.
    assert models.of(SimpleNamespace(config=SimpleNamespace(model_type="qwen2_vl"))) is qwen2_vl


def test_a_release_that_cannot_run_a_family_is_not_run_and_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(models, "version", lambda _: "4.44.2")
    with pytest.raises(NotRunnable, match=r"Qwen2-VL needs transformers>=4\.45, here is 4\.44\.2"):
        check_runs("qwen2_vl")
    monkeypatch.setattr(models, "version", lambda _: "5.24.0.dev0")
    check_runs("qwen2_vl")


def test_a_release_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(family("qwen2_vl"), "NEEDS", {"no-such-package": ">=1.2"})
    with pytest.raises(NotRunnable, match=r"needs no-such-package>=1\.2, which is not installed"):
        check_runs("qwen2_vl")


def test_there_every_rung_but_the_first_is_not_run(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(models, "version", lambda _: "4.44.2")
    monkeypatch.setattr(
        probes, "probe", lambda rung: lambda context: pytest.fail(f"{rung} was measured")
    )
    context = Context("s", "m", "catalogue", STAND_IN, True, tmp_path, family="qwen2_vl")
    (metric,) = measure(context, "text").metrics
    assert (metric.name, metric.status) == ("probe", Status.NOT_RUN)
    assert str(metric.reason).startswith("Qwen2-VL needs transformers>=4.45, here is 4.44.2")
    assert metric.lack is Lack.LIBRARY
    with pytest.raises(BaseException, match="environment was measured"):
        measure(context, "environment")


def test_a_record_keeps_the_family_that_it_names() -> None:
    place = Provenance("s", "stand-in", "catalogue", "cpu-x", "r", "s", family="gemma3")
    raw = to_json(Record("ids", place, ()))
    assert from_json(raw).provenance.family == "gemma3"
    assert from_json({**raw, "schema": 1}).provenance.family == "gemma3"


def test_records_of_two_families_are_not_of_one_run() -> None:
    def of_family(name: str, rung: str) -> Record:
        return Record(rung, Provenance("s", "m", "catalogue", "cpu-x", "r", "s", family=name), ())

    assert facts_of({"ids": of_family("gemma3", "ids")}).family == "gemma3"
    with pytest.raises(BadInput, match=r"family is 'gemma3' in ids\.json and 'qwen2_vl'"):
        facts_of({"ids": of_family("gemma3", "ids"), "text": of_family("qwen2_vl", "text")})


def test_a_conversation_is_spelled_by_the_familys_facts() -> None:
    chat = qwen2_vl.CHAT
    assert chat.header("assistant") == "<|im_start|>assistant"
    assert set(chat.masked) <= set(chat.controls)
    assert len(set(chat.controls)) == len(chat.controls)
    assert set(chat.controls) <= set(qwen2_vl.PUBLISHED["7b"].control_ids)


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("model.layers.0.mlp.up_proj.weight", "model.layers.0.mlp.up_proj.weight"),
        (
            "model.language_model.layers.0.input_layernorm.weight",
            "model.layers.0.input_layernorm.weight",
        ),
        ("model.visual.merger.mlp.0.bias", "visual.merger.mlp.0.bias"),
        (
            "base_model.model.model.language_model.layers.1.self_attn.q_proj.lora_A.default.weight",
            "model.layers.1.self_attn.q_proj.lora_A.weight",
        ),
        (
            "base_model.model.model.layers.1.self_attn.q_proj.base_layer.weight",
            "model.layers.1.self_attn.q_proj.weight",
        ),
        ("lm_head.weight", "lm_head.weight"),
    ],
)
def test_a_parameter_has_one_name_on_every_stack(name: str, wanted: str) -> None:
    assert canonical_name(name, qwen2_vl) == wanted
