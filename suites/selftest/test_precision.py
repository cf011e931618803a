"""What rungs compare in float32 is float32 on a GPU too, whatever ran before in the same process.

torch's own default lets cuDNN round a convolution's inputs to TF32, and transformers' `tf32` sets
every product of the process to it. On an H200 that moved `forward.plain_loss.right_one` by 2.2e-5,
just what rounding the patch embedding's inputs and weights to ten bits gives on a CPU.
"""

from __future__ import annotations

import os
import tempfile
import traceback
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from harness.measuring import _compat, probes  # noqa: E402
from harness.measuring.audit import run as audit  # noqa: E402
from harness.measuring.child import job  # noqa: E402
from harness.measuring.instruments import precision  # noqa: E402
from harness.measuring.instruments.recorder import Recorder  # noqa: E402
from harness.pytest_plugin import measured_once  # noqa: E402
from harness.records.context import Context  # noqa: E402

NEW = hasattr(torch.backends, "fp32_precision")


def settings() -> dict[str, Any]:
    """What torch would multiply and convolve in, by both of its interfaces; 'refused' where torch
    says that the two contradict one another."""

    def told(read: Callable[[], Any]) -> Any:
        try:
            return read()
        except RuntimeError:
            return "refused"

    seen = {
        "matmul.allow": told(lambda: torch.backends.cuda.matmul.allow_tf32),
        "cudnn.allow": told(lambda: torch.backends.cudnn.allow_tf32),
    }
    if NEW:
        seen |= {
            "generic": torch.backends.fp32_precision,
            "matmul": torch.backends.cuda.matmul.fp32_precision,
            "conv": torch.backends.cudnn.conv.fp32_precision,
            "rnn": torch.backends.cudnn.rnn.fp32_precision,
        }
    return seen


def rounding() -> set[str]:
    """Of products and convolutions those that may be rounded to TF32."""
    seen = settings()
    if NEW:
        return {name for name in ("matmul", "conv", "rnn") if seen[name] != "ieee"}
    return {name for name in ("matmul.allow", "cudnn.allow") if seen[name]}


def nothing() -> None:
    """As torch starts."""


def by_library() -> None:
    """As TrainingArguments(tf32=True) does where torch has a setting for all."""
    if NEW:
        torch.backends.fp32_precision = "tf32"
    else:
        by_flags()


def by_flags() -> None:
    """As TrainingArguments(tf32=True) did before, and users do."""
    torch.backends.cuda.matmul.allow_tf32 = True
    torch.backends.cudnn.allow_tf32 = True


WAYS = [nothing, by_library, by_flags]


def in_a_process(check: Callable[[], None]) -> None:
    """A check in a forked process: not all of torch's settings can be taken back by who set them.

    Raises AssertionError with what went wrong there.
    """
    with tempfile.TemporaryFile("w+") as words:
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                check()
                status = 0
            except BaseException:  # noqa: BLE001 - told to the test, whose process this is not
                traceback.print_exc(file=words)
                words.flush()
            finally:
                os._exit(status)
        ended = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        words.seek(0)
        assert ended == 0, words.read()


@pytest.mark.parametrize("before", WAYS)
def test_exact_is_exact_and_taken_back(before: Callable[[], None]) -> None:
    def check() -> None:
        before()
        at_first = settings()
        with precision.exact():
            assert rounding() == set()
        assert settings() == at_first

    in_a_process(check)


@pytest.mark.parametrize("inside", WAYS)
def test_what_is_set_inside_is_taken_back(inside: Callable[[], None]) -> None:
    def check() -> None:
        at_first = settings()
        with precision.restored():
            inside()
        assert settings() == at_first

    in_a_process(check)


def test_a_training_after_another_sets_its_arithmetic_again() -> None:
    """transformers 5 remembers that it set it, and would leave it taken back."""
    import_utils = pytest.importorskip("transformers.utils.import_utils")
    if not hasattr(import_utils, "enable_tf32"):
        pytest.skip("NOT_RUN: this transformers sets torch's flags itself, each time")

    def check() -> None:
        seen = []
        for _ in range(2):
            with precision.restored():
                import_utils.enable_tf32(True)
                seen.append(settings())
        assert seen[0] == seen[1] != settings()

    in_a_process(check)


@pytest.mark.parametrize("measure", [job.measure, measured_once])
@pytest.mark.parametrize("rung", ["forward", "trajectory"])
def test_a_rung_on_a_gpu(
    rung: str,
    measure: Callable[[Context, str], Any],
    context: Context,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """A rung that trains or generates does so as its user would; the others are exact, in a process
    of its own and in pytest's."""

    def check() -> None:
        at_first, inside = settings(), []

        def probe(given: Context) -> Any:
            inside.append(rounding())
            by_library()
            return Recorder(rung).finish(given.provenance(), given.out)

        monkeypatch.setattr(probes, "probe", lambda _: probe)
        measure(replace(context, device="cuda:0", out=tmp_path), rung)
        assert bool(inside[0]) == (rung == "trajectory")
        assert settings() == at_first

    in_a_process(check)


@pytest.mark.parametrize("rung", ["forward", "update"])
def test_an_audits_rung_on_a_gpu(rung: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps are the user's own, in what the user's script set; losses of the same rows, padded or
    among others, are compared in float32. A step's tolerance knows which it was."""

    def check() -> None:
        at_first, inside, asked = settings(), [], []

        def checks(training: Any, findings: Any) -> None:
            inside.append((bool(rounding()), _compat.rounds_products()))
            by_library()
            asked.append(_compat.rounds_products())

        monkeypatch.setattr(audit, "checker", lambda _: SimpleNamespace(checks=checks))
        weight = SimpleNamespace(device="cuda:0")
        core = SimpleNamespace(parameters=lambda: iter([weight]))
        result = audit._measured(rung, SimpleNamespace(core=core))
        assert not result.checks
        assert inside == [(rung == "update", False)]  # as torch starts: convolutions alone
        assert asked == [True]
        assert settings() == at_first

    in_a_process(check)
