"""Rung 1: every import and call of the recipe, as written, executed."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from harness.errors import Lack, NotRunnable
from harness.judging.goldens.expected import read_expected
from harness.judging.goldens.golden import read_goldens
from harness.judging.goldens.judgement import Judgement
from harness.judging.goldens.verdicts import judge
from harness.measuring.instruments.recorder import Recorder
from harness.measuring.probes import interface
from harness.measuring.probes._calls import CALLS, CONFIG_ARGUMENTS, Call
from harness.measuring.probes._read_back import tensors_unread
from harness.measuring.probes._written import Bench
from harness.measuring.training.trainer import recipe_arguments
from harness.pytest_plugin import assert_no_unexpected
from harness.recipe.published import REFERENCE
from harness.records.context import Context
from harness.records.failure import Failure
from harness.records.record import Metric, Record, Status, Verdict
from suites import truths_interface as recipe_text


def test_goldens(judgement_of: Callable[[str], Judgement]) -> None:
    assert_no_unexpected(judgement_of("interface"))


def test_the_probe_makes_exactly_the_recipes_calls() -> None:
    wanted = {*recipe_text.IMPORTS, *recipe_text.CALLS, *recipe_text.ARGUMENTS}
    assert {call.name for call in CALLS} == wanted
    assert len(CALLS) == len(wanted)
    assert set(CONFIG_ARGUMENTS) == set(recipe_arguments(REFERENCE))


def test_an_adapter_never_turns_broken_into_pass(record_of: Callable[[str], Record]) -> None:
    record = record_of("interface")
    adapted = {m.case: m for m in record.metrics if m.name == "adapter"}
    for metric in record.metrics:
        if metric.name != "call" or metric.case not in adapted:
            continue
        passed = metric.status is Status.OK
        assert passed == (adapted[metric.case].value == "as written")
        assert adapted[metric.case].status is Status.OK, adapted[metric.case].failure


def changed(record: Record, case: str, metric: Metric) -> Record:
    kept = tuple(metric if (m.name, m.case) == ("call", case) else m for m in record.metrics)
    return replace(record, metrics=kept)


def judged_again(record: Record) -> Judgement:
    stack = record.provenance.stack
    return judge({"interface": record}, read_goldens(), read_expected(stack))


@pytest.fixture
def listed(context: Context) -> None:
    """Only a committed stack says what it is known to do wrong; elsewhere all of it is red."""
    if not read_expected(context.stack):
        pytest.skip(f"NOT_RUN: the stack {context.stack} has no list of expected findings")


@pytest.mark.usefixtures("listed")
def test_one_broken_call_too_many_fails(record_of: Callable[[str], Record]) -> None:
    failure = Failure("TypeError", "planted", "here:1")
    planted = Metric("interface", "call", "load_processor", status=Status.BROKEN, failure=failure)
    judgement = judged_again(changed(record_of("interface"), "load_processor", planted))
    assert [i.finding for i in judgement.red] == ["interface.call.load_processor"]
    assert judgement.red[0].verdict is Verdict.BROKEN
    assert judgement.exit_code == 1


@pytest.mark.usefixtures("listed")
def test_one_expected_finding_too_few_fails(record_of: Callable[[str], Record]) -> None:
    record = record_of("interface")
    case = next(
        m.case for m in record.metrics if m.name == "call" and m.status is not Status.OK and m.case
    )
    planted = Metric("interface", "call", case, value="PASS")
    judgement = judged_again(changed(record, case, planted))
    assert [i.finding for i in judgement.red] == [f"interface.call.{case}"]


def test_another_exception_than_the_expected_one_fails(record_of: Callable[[str], Record]) -> None:
    record = record_of("interface")
    broken = [
        m for m in record.metrics if m.name == "call" and m.status is Status.BROKEN and m.case
    ]
    for metric in broken:
        assert metric.failure is not None
        assert metric.case is not None
        other = replace(metric, failure=replace(metric.failure, type="SystemError"))
        assert judged_again(changed(record, metric.case, other)).red


@pytest.mark.usefixtures("listed")
def test_a_call_left_out_is_missing(record_of: Callable[[str], Record]) -> None:
    record = record_of("interface")
    kept = tuple(m for m in record.metrics if m.case != "collate")
    judgement = judged_again(replace(record, metrics=kept))
    assert [i.finding for i in judgement.missing] == ["interface.call.collate"]
    assert judgement.exit_code == 3


def test_nothing_pickled_and_no_model_is_left_behind(
    context: Context, record_of: Callable[[str], Record]
) -> None:
    record_of("interface")
    left = [p.suffix for p in context.out.rglob("*") if p.is_file()]
    assert not {".pt", ".pth", ".bin", ".pkl"} & set(left)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path, tmp_path, "cpu", REFERENCE, [])


def outcome(call: Call, bench: Bench) -> dict[str, Metric]:
    recorder = Recorder("interface")
    interface.execute(call, bench, recorder, lambda text: text.replace("secret", "…"))
    record = recorder.finish(_provenance(), bench.work)
    return {m.name: m for m in record.metrics}


def _provenance() -> Any:
    from harness.records.record import Provenance

    return Provenance("reference", "stand-in", "catalogue", "cpu-x", "r", "s", family="qwen2_vl")


def _raise(error: Exception) -> Callable[[Bench], Any]:
    def run(bench: Bench) -> Any:
        raise error

    return run


def test_a_refusal_for_want_of_cuda_is_not_run_and_any_other_is_broken(bench: Bench) -> None:
    refused = Call("x", _raise(RuntimeError("No GPU found")), "No GPU")
    assert outcome(refused, bench)["call"].status is Status.NOT_RUN
    other = Call("x", _raise(TypeError("bad secret argument")), "No GPU")
    metric = outcome(other, bench)["call"]
    assert metric.status is Status.BROKEN
    assert metric.failure is not None
    assert metric.failure.type == "TypeError"
    assert metric.failure.message == "bad … argument"
    on_cuda = replace_device(bench, "cuda")
    assert outcome(refused, on_cuda)["call"].status is Status.BROKEN


def replace_device(bench: Bench, device: str) -> Bench:
    return Bench(bench.snapshot, bench.work, device, bench.recipe, bench.rows)


def test_a_call_whose_input_is_broken_says_so(bench: Bench) -> None:
    metric = outcome(Call("x", lambda b: b.results["y"]), bench)["call"]
    assert metric.status is Status.NOT_RUN
    assert "y" in str(metric.reason)
    # It warned about nothing because it never began.
    silent = outcome(Call("x", lambda b: b.results["y"]), bench)["warnings"]
    assert (silent.status, silent.value) == (Status.NOT_RUN, None)
    assert (silent.lack, silent.blocked_by) == (Lack.FINDING, "interface.call.y")
    with pytest.raises(NotRunnable):
        bench.results["z"]


def test_the_adapters_result_is_used_by_the_next_call(bench: Bench) -> None:
    call = Call("x", _raise(TypeError("no")), adapter=lambda b: (7, "seven instead"))
    result = outcome(call, bench)
    assert result["call"].status is Status.BROKEN
    assert result["adapter"].value == "seven instead"
    assert bench.results["x"] == 7


def test_warnings_of_a_call_are_recorded(bench: Bench) -> None:
    def run(bench: Bench) -> None:
        warnings.warn("`a` is deprecated", FutureWarning, stacklevel=1)
        warnings.warn("invalid escape sequence '\\d'", DeprecationWarning, stacklevel=1)

    assert outcome(Call("x", run), bench)["warnings"].value == ["FutureWarning: `a` is deprecated"]


def test_the_printed_lora_config_is_this_stacks(record_of: Callable[[str], Record]) -> None:
    from peft import LoraConfig

    config = LoraConfig(lora_alpha=32, target_modules=["q_proj"], task_type="CAUSAL_LM")
    fields = interface.printed_fields(config)
    assert fields["lora_alpha"] == 32
    assert fields["target_modules"] == ["q_proj"]
    assert {"r", "target_modules", "runtime_config"} <= set(interface.repr_fields(config))


def test_the_probe_leaves_the_process_as_it_found_it() -> None:
    """A leaked ACCELERATE_MIXED_PRECISION would put every later training under autocast."""
    import os

    before, precision = dict(os.environ), torch.get_float32_matmul_precision()
    with interface.process_left_as_found():
        os.environ["ACCELERATE_MIXED_PRECISION"] = "bf16"
        torch.set_float32_matmul_precision("medium")
    assert dict(os.environ) == before
    assert torch.get_float32_matmul_precision() == precision


def test_a_warning_that_prints_a_set_is_the_same_in_every_process() -> None:
    """bitsandbytes' devices, as transformers 4.50 to 4.52 list them."""
    one = "of {'npu', '\"cpu\" (needs more)', 'cuda'}, in {'a': 1} and {not python}"
    another = "of {'cuda', 'npu', '\"cpu\" (needs more)'}, in {'a': 1} and {not python}"
    same = "of {'\"cpu\" (needs more)', 'cuda', 'npu'}, in {'a': 1} and {not python}"
    assert interface.in_order(one) == interface.in_order(another) == same


class Adapted(torch.nn.Module):
    """A model with two adapter weights, one in half precision as generation has it."""

    def __init__(self) -> None:
        super().__init__()
        self.lora_A = torch.nn.Linear(3, 2, bias=False).half()
        self.lora_B = torch.nn.Linear(2, 3, bias=False)


def test_an_adapter_that_is_read_leaves_nothing(tmp_path: Path) -> None:
    """By value: the names on disk are peft's, those in the model the library's."""
    model = Adapted()
    saved = {"base.lora_A.weight": torch.rand(2, 3), "base.lora_B.weight": torch.rand(3, 2)}
    save_file(saved, tmp_path / "adapter_model.safetensors")
    assert tensors_unread(tmp_path, model) == 2
    with torch.no_grad():
        model.lora_A.weight.copy_(saved["base.lora_A.weight"])
    assert tensors_unread(tmp_path, model) == 1
    with torch.no_grad():
        model.lora_B.weight.copy_(saved["base.lora_B.weight"])
    assert tensors_unread(tmp_path, model) == 0


def test_a_reader_that_leaves_out_what_it_was_given_is_red(
    record_of: Callable[[str], Record],
) -> None:
    """As transformers 5.5.4 does with Qwen3.5: a report, no error, and weights as they began."""
    record = record_of("interface")
    planted = Metric("interface", "adapter_tensors_unread", None, value=4, unit="tensors")
    kept = tuple(m for m in record.metrics if m.name != planted.name)
    judgement = judged_again(replace(record, metrics=(*kept, planted)))
    assert [i.finding for i in judgement.red] == ["interface.adapter_tensors_unread"]
