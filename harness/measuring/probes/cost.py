"""Rung 13: bytes held by a training step, FLOPs counted, times, tokens per second, MFU.

A bare step: the recipe's collator and LoRA on unpacked weights, one micro-batch forward and
backward, no trainer. FLOPs and bytes are exact and gate; times are volatile and inform.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from harness.data.samples import conversations, pictures_in
from harness.errors import Lack
from harness.measuring.instruments import footprint
from harness.measuring.instruments import meters as measure
from harness.measuring.instruments.recorder import Recorder
from harness.measuring.instruments.work import Lengths, lengths_of, matrices, useful_flops
from harness.measuring.models import Family, family
from harness.measuring.snapshots import loading
from harness.measuring.training import adapter
from harness.measuring.training.collate import make_collator
from harness.recipe.published import Training
from harness.records.components import Component
from harness.records.context import Context
from harness.records.record import Direction, How, Record

# Adam keeps two moments; each is as large as the parameter.
MOMENTS = 2
FP32 = 4
REPEATS = 5
NO_WEIGHTS = "the snapshot has no weights"
MODES = ("forward", "step", "step_checkpointed")


def checkpointing(model: Any, training: Training | None) -> None:
    """As a recipe's training sets it, and inputs that require gradients; None: off."""
    if training:
        model.gradient_checkpointing_enable(
            gradient_checkpointing_kwargs={"use_reentrant": training.use_reentrant}
        )
        model.enable_input_require_grads()
    else:
        model.gradient_checkpointing_disable()
        model.disable_input_require_grads()


def step(model: Any, batch: dict[str, Any], *, backward: bool = True) -> Any:
    """One micro-batch; gradients are dropped first. Returns the model's output."""
    model.zero_grad(set_to_none=True)
    output = model(**batch, use_cache=False)
    if backward:
        output.loss.backward()
    return output


def record_flops(
    recorder: Recorder, model: Any, batches: dict[str, dict[str, Any]], training: Training
) -> int:
    """Counted FLOPs by mode and batch; returns those of the recipe's step on the full batch."""
    executed = 0
    for mode in MODES:
        model.train(mode != "forward")
        if mode == "step_checkpointed":
            checkpointing(model, training)
        for case, batch in batches.items():
            call = partial(step, model, batch, backward=mode != "forward")
            counted = measure.count_flops(call)
            recorder.add(
                "flops",
                counted.total,
                case=f"{mode}.{case}",
                unit="FLOP",
                direction=Direction.LOWER,
                note="eager attention, unpacked weights",
            )
            executed = counted.total
    checkpointing(model, None)
    return executed


def record_bytes(recorder: Recorder, model: Any, batch: dict[str, Any]) -> None:
    """Adapter, gradients and Adam state after one real step, and the logits."""
    import torch

    trainable = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trainable, lr=1e-4)
    logits = step(model.train(), batch).logits
    optimizer.step()
    moments = [
        value
        for state in optimizer.state.values()
        for key, value in state.items()
        if key != "step" and isinstance(value, torch.Tensor)
    ]
    gradients = [p.grad for p in trainable if p.grad is not None]
    for case, tensors in (
        ("adapter", trainable),
        ("gradients", gradients),
        ("optimizer", moments),
        ("logits", [logits]),
    ):
        recorder.add(
            "held_bytes",
            measure.tensor_bytes(tensors),
            case=case,
            unit="bytes",
            direction=Direction.LOWER,
        )
    model.zero_grad(set_to_none=True)


def record_predicted(recorder: Recorder, context: Context, size: str) -> None:
    """A published model's training state, predicted from shapes."""
    published = loading.published_model(context.family, size)
    base = footprint.predict(published, footprint.NF4_DOUBLE)
    trainable = adapter.adapter_size(published, context.recipe)
    parts = {
        f"{size}.base": base.total,
        f"{size}.adapter": FP32 * trainable,
        f"{size}.gradients": FP32 * trainable,
        f"{size}.optimizer": MOMENTS * FP32 * trainable,
    }
    for case, value in parts.items():
        recorder.add("predicted_bytes", value, case=case, unit="bytes", how=How.PREDICTED)
    recorder.add(
        "flops_per_token",
        4 * matrices(published)[Component.LANGUAGE],
        case=size,
        unit="FLOP",
        how=How.PREDICTED,
        note="forward and input gradient of the frozen Linears, no checkpointing, no head",
    )


def record_rate(
    recorder: Recorder, case: str, seconds: tuple[float, ...], lengths: Lengths
) -> None:
    """Raw times of one stage and the rates that follow from their median."""
    middle = measure.median(seconds)
    recorder.add(
        "seconds",
        round(middle, 6),
        case=case,
        unit="s",
        direction=Direction.LOWER,
        samples=seconds,
        volatile=True,
    )
    for name, amount, unit in (
        ("samples_per_s", lengths.batch, "samples/s"),
        ("tokens_per_s", lengths.tokens, "tokens/s"),
        ("supervised_tokens_per_s", lengths.trained, "tokens/s"),
    ):
        recorder.add(
            name,
            round(amount / middle, 3),
            case=case,
            unit=unit,
            volatile=True,
            direction=Direction.HIGHER,
        )


def record_data_rates(
    recorder: Recorder,
    processor: Any,
    collate: Callable[..., dict[str, Any]],
    rows: Sequence[Any],
    loader: Family,
) -> dict[str, Any]:
    """Image processor alone, then the whole collator; returns the collated batch."""
    batch = collate(rows)
    lengths = lengths_of(batch, loader)
    pictures = [p.convert("RGB") for messages in rows for p in pictures_in(messages)]

    def process() -> object:
        return processor.image_processor(images=pictures, return_tensors="pt")

    for case, call in (("processor", process), ("collator", lambda: collate(rows))):
        seconds = measure.time_calls(call, device="cpu", repeats=REPEATS)
        record_rate(recorder, case, seconds, lengths)
    return batch


def record_step(
    recorder: Recorder, context: Context, model: Any, batch: dict[str, Any], executed: int
) -> None:
    """Times of the bare step, MFU, HFU and memory."""
    lengths = lengths_of(batch, family(context.family))
    device, dtype = context.device, str(next(model.parameters()).dtype).removeprefix("torch.")
    measure.reset_cuda_memory(device)
    model.train()
    checkpointing(model, context.recipe.training)
    seconds = measure.time_calls(lambda: step(model, batch), device=device, repeats=REPEATS)
    checkpointing(model, None)
    record_rate(recorder, "step", seconds, lengths)
    rate = measure.matmul_rate(device=device, dtype=dtype)
    useful = useful_flops(model, lengths)
    recorder.add("useful_flops", useful, case="four", unit="FLOP", how=How.PREDICTED)
    recorder.add(
        "matmul_rate", rate, unit="FLOP/s", volatile=True, direction=Direction.HIGHER, note=dtype
    )
    for name, work in (("mfu", useful), ("hfu", executed)):
        share = work / (measure.median(seconds) * rate)
        recorder.add(name, round(share, 5), volatile=True, direction=Direction.HIGHER)
    if device.startswith("cuda"):
        memory = measure.cuda_memory(device)
        recorder.add("cuda_allocated", memory.allocated, unit="bytes", direction=Direction.LOWER)
        recorder.add(
            "cuda_reserved",
            memory.reserved,
            unit="bytes",
            volatile=True,
            direction=Direction.LOWER,
        )


STEP_METRICS = (
    ("seconds", "step"),
    ("samples_per_s", "step"),
    ("tokens_per_s", "step"),
    ("supervised_tokens_per_s", "step"),
    ("useful_flops", "four"),
    ("matmul_rate", None),
    ("mfu", None),
    ("hfu", None),
    *(("held_bytes", part) for part in ("adapter", "gradients", "optimizer", "logits")),
    *(("flops", f"{mode}.{case}") for mode in MODES for case in ("one", "four")),
)


def run(context: Context) -> Record:
    """Predicted bytes, then the step on the model at hand where it has weights."""
    recorder = Recorder("cost")
    loader = family(context.family)
    for size in loader.PUBLISHED:
        record_predicted(recorder, context, size)
    processor = loading.load_processor(context.snapshot)
    collate = make_collator(processor, context.recipe, loader)
    samples = context.recipe.training.per_device_train_batch_size
    rows = conversations(context, context.recipe, samples)
    batch = record_data_rates(recorder, processor, collate, rows, loader)
    if not context.device.startswith("cuda"):
        for name in ("cuda_allocated", "cuda_reserved"):
            recorder.not_run(name, "needs CUDA; the CPU has no such allocator", Lack.CUDA)
    if context.has_weights:
        cuda = context.device.startswith("cuda")
        model = loading.load_model(
            context.snapshot,
            device=context.device,
            dtype="bfloat16" if cuda else "float32",
            attention="eager",
        )
        wrapped = adapter.add_lora(model, context.recipe, dropout=False)
        batches = {
            case: {k: v.to(context.device) for k, v in data.items()}
            for case, data in (("one", collate(rows[:1])), ("four", batch))
        }
        executed = record_flops(recorder, wrapped, batches, context.recipe.training)
        record_bytes(recorder, wrapped, batches["four"])
        record_step(recorder, context, wrapped, batches["four"], executed)
    else:
        for name, case in STEP_METRICS:
            recorder.not_run(name, NO_WEIGHTS, Lack.WEIGHTS, case=case)
    recorder.add(
        "peak_rss",
        measure.peak_rss_bytes(),
        unit="bytes",
        volatile=True,
        direction=Direction.LOWER,
        note="of the whole process, other rungs included",
    )
    return recorder.finish(context.provenance(len(rows)), context.out)
