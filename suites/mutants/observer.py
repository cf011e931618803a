"""What a short training of the recipe makes, stage by stage, as digests of every bit.

It looks without any probe, truth or golden, so that what acts is not defined by what the judge can
see. Of the harness it takes what builds the recipe's training: its data, loading, collator (without
the checks, which the published one lacks) and trainer call.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

from harness.data.dataset import rows_of
from harness.measuring import _compat
from harness.measuring.models import family, parts
from harness.measuring.snapshots import loading
from harness.measuring.training import trainer as training
from harness.measuring.training.collate import control_ids, encoded, make_collator
from harness.measuring.training.spec import TrainSpec
from harness.recipe.published import generation_messages, training_messages

# An epoch and a half of two steps, of two micro-batches of two each: an epoch, a step and the time
# between two logs end once and are begun again.
ROWS, STEPS, MICRO, ACCUMULATION, LOGGED = 8, 3, 2, 2, 2
TOKENS = 16
ERROR = "error"
SEED = 42
BATCH = ("text", "ids", "images", "labels")
PASSES = ("inputs", "tower", "forward", "backward")


def digest(value: Any) -> str:
    """SHA-256, 16 hex digits, of tensors by type, shape and bytes, of all else as JSON."""
    import torch

    running = hashlib.sha256()

    def add(part: Any) -> None:
        if isinstance(part, torch.Tensor):
            tensor = part.detach().cpu().contiguous()
            running.update(f"{tensor.dtype} {tuple(tensor.shape)} ".encode())
            running.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
        elif isinstance(part, Mapping):
            for name in sorted(part, key=str):
                running.update(f"{name}: ".encode())
                add(part[name])
        elif isinstance(part, list | tuple):
            running.update(f"{len(part)} of ".encode())
            for each in part:
                add(each)
        else:
            running.update(json.dumps(part, sort_keys=True, default=str).encode())

    add(value)
    return running.hexdigest()[:16]


def observe(spec: TrainSpec, folder: Path) -> Iterator[tuple[str, str]]:
    """(stage, digest) of every one, in order. folder: for what is saved; empty.

    Whatever ends the training or the generation with an error is not silent, and is raised.
    """
    import torch

    torch.set_num_threads(1)
    torch.manual_seed(SEED)
    rows = list(rows_of(spec, "train", limit=ROWS))
    processor = read_processor(spec)
    yield from _looks(_batches(spec, processor, rows), BATCH)
    steps: list[Any] = []
    trainer = made_trainer(spec, processor, rows, folder, _listener(steps))
    yield "model", digest(_model(trainer.model))
    yield from _looks(_passes(spec, processor, rows, trainer.model), PASSES)
    torch.manual_seed(SEED)
    trainer.train()
    yield "first step", digest(steps[:1])
    frozen = {n: t for n, t in _model(trainer.model).items() if "lora_" not in n}
    yield "later steps", digest([steps[1:], frozen])
    log = [{k: v for k, v in entry.items() if _is_steady(k)} for entry in trainer.state.log_history]
    yield "log", digest(log)
    save(trainer.model, folder / "adapter")
    yield "saved", digest(_saved(folder / "adapter"))
    tuned = reloaded(spec, folder / "adapter")
    batch = _collated(spec, processor, rows[:MICRO])
    with torch.no_grad():
        yield "reloaded", digest([_model(tuned), tuned(**batch).logits])
    yield "generated", digest(_generated(spec, tuned, processor, rows))


def _looks(stages: Iterator[tuple[str, str]], names: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Stages of one fixed batch. An error in a look of ours is what was seen: it is no error of the
    training, which comes after it."""
    left = list(names)
    try:
        for stage, seen in stages:
            left.remove(stage)
            yield stage, seen
    except Exception as error:  # noqa: BLE001 - whatever a library throws
        yield from ((stage, f"{ERROR}: {type(error).__name__}") for stage in left)


def read_processor(spec: TrainSpec) -> Any:
    """The recipe's."""
    return loading.load_processor(Path(spec.snapshot))


def _batches(spec: TrainSpec, processor: Any, rows: list[Any]) -> Iterator[tuple[str, str]]:
    """Texts, ids, pixels and labels of a training batch and of a prompt's."""
    trained = [training_messages(row, spec.recipe) for row in rows]
    asked = [generation_messages(row, spec.recipe) for row in rows]
    render = partial(processor.apply_chat_template, tokenize=False)
    texts = [render(m) for m in trained]
    prompts = [render(m, add_generation_prompt=True) for m in asked]
    yield "text", digest([texts, prompts])
    batch, prompt = _collated(spec, processor, rows), _prompts(spec, processor, rows)
    pictures = {name for name in batch if "pixel" in name or "image" in name}
    batches = [dict(batch), prompt]
    rest = [
        {n: t for n, t in each.items() if n not in pictures and n != "labels"} for each in batches
    ]
    yield "ids", digest(rest)
    yield "images", digest([{n: each.get(n) for n in pictures} for each in batches])
    yield "labels", digest(batch["labels"])


def _collated(spec: TrainSpec, processor: Any, rows: list[Any]) -> Any:
    collate = make_collator(processor, spec.recipe, family(spec.family), check=False)
    return collate([training_messages(row, spec.recipe) for row in rows])


def _prompts(spec: TrainSpec, processor: Any, rows: list[Any]) -> dict[str, Any]:
    """Padded left, as new tokens are appended on the right."""
    asked = [generation_messages(row, spec.recipe) for row in rows]
    texts = [
        processor.apply_chat_template(m, tokenize=False, add_generation_prompt=True) for m in asked
    ]
    with mock.patch.object(processor.tokenizer, "padding_side", "left"):
        return dict(encoded(processor, texts, [family(spec.family).pictures(m) for m in asked]))


def _base(spec: TrainSpec) -> Any:
    return loading.load_model(
        Path(spec.snapshot),
        device=spec.device,
        dtype=spec.dtype,
        quantisation=spec.quantisation,
        recipe=spec.recipe,
        attention=_compat.training_attention(spec.device),
    )


def made_trainer(
    spec: TrainSpec, processor: Any, rows: list[Any], folder: Path, *callbacks: Any
) -> Any:
    """The recipe's call; its collator without the harness's checks."""
    unchecked = partial(make_collator, check=False)
    with mock.patch.object(training, "make_collator", unchecked):
        return training.build_trainer(
            _base(spec),
            processor,
            training.Conversations(rows, spec.recipe),
            spec.recipe,
            folder / "trainer",
            max_steps=STEPS,
            micro_batch=MICRO,
            accumulation=ACCUMULATION,
            learning_rate=spec.learning_rate,
            seed=SEED,
            callbacks=callbacks,
            logging_steps=LOGGED,
        ).trainer


def _model(model: Any) -> dict[str, Any]:
    """Every parameter and buffer, whether it trains, and how 4-bit weights are read."""
    named = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    facts: dict[str, Any] = {}
    for name, tensor in named.items():
        state = getattr(tensor, "quant_state", None)
        read = [] if state is None else [state.absmax, state.code, state.quant_type]
        facts[name] = [tensor.requires_grad, tensor.data, read]
    return facts


def _passes(
    spec: TrainSpec, processor: Any, rows: list[Any], model: Any
) -> Iterator[tuple[str, str]]:
    """What goes into the decoder, and a loss and its gradients, in training mode."""
    import torch

    inside = parts(model.get_base_model())
    seen: dict[str, Any] = {}

    def hear(name: str) -> Callable[..., None]:
        def heard(_: Any, args: Any, kwargs: Any) -> None:
            seen[name] = [list(args), {k: v for k, v in kwargs.items() if _is_plain(v)}]

        return heard

    batch = _collated(spec, processor, rows[: 2 * MICRO])
    hooks = [
        module.register_forward_pre_hook(hear(name), with_kwargs=True)
        for name, module in (("tower", inside.tower), ("decoder", inside.decoder))
    ]
    model.train()
    torch.manual_seed(SEED)
    try:
        output = model(**batch)
    finally:
        for hook in hooks:
            hook.remove()
    _, decoder = seen["decoder"]
    embedded = decoder.pop("inputs_embeds")
    chat = family(spec.family).CHAT
    shown = batch["input_ids"] == control_ids(processor.tokenizer, chat)[chat.image]
    yield "inputs", digest([seen, embedded[~shown]])
    yield "tower", digest(embedded[shown])
    yield "forward", digest([output.loss, output.logits])
    output.loss.backward()
    trained = {n: p.grad for n, p in model.named_parameters() if p.requires_grad}
    yield "backward", digest(trained)
    model.zero_grad()


def _is_plain(value: Any) -> bool:
    """None as an argument is as good as none."""
    import torch

    return isinstance(value, torch.Tensor | bool | int | float | str)


def _listener(steps: list[Any]) -> Any:
    """Of every optimizer step the adapter, the optimizer's state and the learning rates after it,
    as a digest."""
    from transformers import TrainerCallback

    class Listener(TrainerCallback):  # type: ignore[misc]
        """Hears of a step's end."""

        def on_step_end(self, args: Any, state: Any, control: Any, **given: Any) -> None:
            adapter = {n: p for n, p in given["model"].named_parameters() if "lora_" in n}
            optimizer = given["optimizer"]
            moments = [dict(kept) for kept in optimizer.state.values()]
            rates = [
                {k: v for k, v in group.items() if k != "params"}
                for group in optimizer.param_groups
            ]
            steps.append(digest([adapter, moments, rates]))

    return Listener()


def _is_steady(name: str) -> bool:
    """No time and no speed, which differ between two runs of the same."""
    return not any(part in name for part in ("runtime", "per_second", "flos", "time"))


def save(model: Any, folder: Path) -> None:
    """As the recipe does."""
    model.save_pretrained(str(folder))


def _saved(folder: Path) -> list[Any]:
    from safetensors.torch import load_file

    config = json.loads((folder / "adapter_config.json").read_text())
    # A set, in the order of this process's hashes.
    config["target_modules"] = sorted(config["target_modules"])
    return [config, load_file(str(folder / "adapter_model.safetensors"))]


def reloaded(spec: TrainSpec, adapter: Path) -> Any:
    """A fresh base with the saved adapter, to generate with."""
    from peft import PeftModel

    return PeftModel.from_pretrained(_base(spec), str(adapter)).eval()


def _generated(spec: TrainSpec, model: Any, processor: Any, rows: list[Any]) -> list[Any]:
    """Texts and ids: greedy, and drawn as the recipe draws."""
    import torch

    wanted = spec.recipe.generation
    names = ("do_sample", "temperature", "top_p")
    drawn = {name: getattr(wanted, name) for name in names}
    prompts = _prompts(spec, processor, rows[:3])
    texts: list[Any] = []
    for arguments in ({"do_sample": False}, drawn):
        torch.manual_seed(SEED)
        with torch.no_grad():
            ids = model.generate(**prompts, max_new_tokens=TOKENS, **arguments)
        texts += [ids, processor.batch_decode(ids, skip_special_tokens=True)]
    return texts
