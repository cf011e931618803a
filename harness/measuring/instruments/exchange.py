"""Hand this stack's values of the earlier rungs over, and take the other stack's where asked.

A comparison re-runs a later rung with an earlier rung's value from the other stack: if the
difference vanishes, it followed from that value. Everything goes through the collator (texts,
ids, pixels, labels), the model's loading (attention) and forward (positions), and the trainer
(the normaliser), so no probe needs to know. Values are addressed by what went in, never by order.

`<out>/given/` holds `<key>.safetensors` (a batch), `<key>.json` (its texts) and
`positions/<key>.safetensors`; `index/<rung>.json` maps every address to a digest per rung. All of
it is sealed.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from harness.errors import HarnessError
from harness.measuring.instruments.handed import MEND, read_handed, sealed_adapter, write_handed
from harness.measuring.models import Family, canonical_name, of, parts
from harness.records.context import Context
from harness.records.files import json_digest, text_digest
from harness.records.seals import read_sealed, write_sealed

# Pixels are compared to a thousandth of a standard deviation (a level is 14 of them): below it
# lies only the rounding of the normalisation.
PIXEL_STEPS = 1000.0

_CURRENT: ContextVar[Exchange | None] = ContextVar("exchange", default=None)


def current() -> Exchange | None:
    """The exchange of the probe that is running, None where nothing is exchanged."""
    return _CURRENT.get()


@dataclass
class Exchange:
    """folder: where values go. keep: the values themselves, else only their digests. taken: the
    other stack's folder by rung."""

    folder: Path
    keep: bool
    taken: Mapping[str, Path]
    index: dict[str, dict[str, str]] = field(default_factory=dict)

    def _note(self, rung: str, key: str, digest: str) -> None:
        self.index.setdefault(rung, {})[key] = digest

    def texts(self, key: str, texts: Sequence[str]) -> list[str]:
        """The rendered texts of a batch: noted, and the other side's where they are taken."""
        self._note("text", key, json_digest(list(texts)))
        if self.keep:
            write_sealed(self.folder / f"{key}.json", {"schema": 1, "texts": list(texts)})
        if "text" not in self.taken:
            return list(texts)
        path = self.taken["text"] / f"{key}.json"
        return [str(text) for text in read_sealed(_there(path, "text"), MEND)["texts"]]

    def batch(self, key: str, batch: Mapping[str, Any], loader: Family) -> dict[str, Any]:
        """The collated batch: noted, and the other side's tensors in place of the own."""
        import torch

        # What marks pictures among the tokens follows from the ids.
        marks = [name for name, tensor in loader.TENSORS.items() if tensor.holds == "marks"]
        # Rows without a picture have nothing of one.
        tensors = {
            name: tensor
            for name, tensor in loader.TENSORS.items()
            if name in batch and name not in marks
        }
        for name, tensor in tensors.items():
            digest = _digest(batch[name], pixels=tensor.holds == "pixels")
            self._note(tensor.rung, f"{key}.{name}", digest)
        if self.keep:
            plain = {name: batch[name].contiguous() for name in tensors}
            write_handed(self.folder / f"{key}.safetensors", plain)
        answer = dict(batch)
        for name, tensor in tensors.items():
            if tensor.rung in self.taken:
                path = _there(self.taken[tensor.rung] / f"{key}.safetensors", tensor.rung)
                answer[name] = read_handed(path)[name]
        for name in marks:
            if name in answer and "ids" in self.taken:
                types = torch.zeros_like(answer["input_ids"])
                image = batch["input_ids"][batch[name] == 1]
                if len(image):
                    types[answer["input_ids"] == image[0]] = 1
                answer[name] = types
        return answer

    def normaliser(self, items: object) -> object:
        """The number of targets that a training step divides by, None for its own mean."""
        self._note("update", "normaliser", "own mean" if items is None else "targets of the step")
        return None if "update" in self.taken else items

    def keyless_rows(self, what: str) -> None:
        """What attention gives a row that may see no key: `average` of all values, or `zeros`."""
        self._note("attention", "keyless_rows", what)

    def attention(self, own: str | None) -> str | None:
        """The attention to load a model with: `eager`, which averages, where OLD's is taken."""
        return "eager" if own is None and "attention" in self.taken else own

    def adapter(self) -> Path | None:
        """The other side's adapter folder where it is taken."""
        if "trajectory" not in self.taken:
            return None
        return sealed_adapter(_there(self.taken["trajectory"], "trajectory"))


def _there(path: Path, rung: str) -> Path:
    if not path.exists():
        raise HarnessError(f"The other stack handed over no {rung} at {path.name}.")
    return path


def _digest(tensor: Any, *, pixels: bool = False) -> str:
    array = tensor.detach().cpu().numpy()
    if pixels:
        array = np.round(array.astype(np.float64) * PIXEL_STEPS).astype(np.int64)
    return text_digest(np.ascontiguousarray(array).tobytes() + str(array.shape).encode())


@contextlib.contextmanager
def exchanging(context: Context, rung: str) -> Iterator[None]:
    """Everything inside hands over and takes as the context says; the index is written last."""
    if not context.exchange:
        yield
        return
    taken = {name: Path(folder) for name, folder in context.given.items()}
    exchange = Exchange(context.out / "given", context.exchange == "keep", taken)
    token = _CURRENT.set(exchange)
    try:
        yield
    finally:
        _CURRENT.reset(token)
        index = {"schema": 1, "digests": exchange.index}
        write_sealed(exchange.folder / "index" / f"{rung}.json", index)


def batch_key(conversations: Sequence[Any], side: str) -> str:
    """Address of a batch: its conversations, pictures by their pixels, and the padding side."""

    def plain(part: Any) -> Any:
        if isinstance(part, dict):
            return {k: plain(v) for k, v in part.items()}
        if isinstance(part, list | tuple):
            return [plain(v) for v in part]
        if hasattr(part, "tobytes"):
            return [part.mode, list(part.size), text_digest(part.tobytes())]
        return part

    return json_digest([side, plain(list(conversations))])


def attach_positions(model: Any) -> Any:
    """Note the positions of every forward that is given none, and hand in the other side's.

    model: a base model, before peft wraps it (peft calls `forward` itself, past all hooks).
    """
    exchange = current()
    if exchange is None:
        return model
    modules = parts(model)
    owner, rotary = modules.owner, modules.rotary
    plain = owner.forward

    @functools.wraps(plain)
    def forward(*args: Any, **kwargs: Any) -> Any:
        ids = kwargs.get("input_ids")
        if ids is None or kwargs.get("position_ids") is not None or kwargs.get("use_cache"):
            return plain(*args, **kwargs)
        key = _ids_key(ids, kwargs.get("attention_mask"))
        if "inputs" in exchange.taken:
            kwargs["position_ids"] = _taken_positions(exchange, key, ids)
        handle = rotary.register_forward_pre_hook(
            functools.partial(_entering, exchange, key), with_kwargs=True
        )
        try:
            return plain(*args, **kwargs)
        finally:
            handle.remove()

    owner.forward = forward
    return model


def _ids_key(ids: Any, mask: Any) -> str:
    arrays = [x.detach().cpu().numpy().astype(np.int64) for x in (ids, mask) if x is not None]
    return text_digest(b"|".join(a.tobytes() + str(a.shape).encode() for a in arrays))


def _taken_positions(exchange: Exchange, key: str, ids: Any) -> Any:
    path = _there(exchange.taken["inputs"] / "positions" / f"{key}.safetensors", "inputs")
    return read_handed(path)["positions"].to(ids.device)


def _entering(exchange: Exchange, key: str, module: Any, args: Any, kwargs: Any) -> None:
    positions = kwargs["position_ids"] if "position_ids" in kwargs else args[1]
    positions = positions.detach().cpu().long().contiguous()
    exchange._note("inputs", key, _digest(positions))
    if exchange.keep:
        folder = exchange.folder / "positions"
        write_handed(folder / f"{key}.safetensors", {"positions": positions})


def with_normaliser(base: Any) -> Any:
    """The trainer class with the step's normaliser noted, and the other side's taken.

    transformers hands `num_items_in_batch` to `training_step` since 4.46; before, and where it
    is None, every micro-batch is averaged by itself.
    """
    running = current()
    if running is None:
        return base
    exchange: Exchange = running

    class Exchanging(base):
        """The trainer, its normaliser exchanged."""

        def training_step(self, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
            items = args[0] if args else kwargs.pop("num_items_in_batch", None)
            chosen = exchange.normaliser(items)
            if items is None:
                return super().training_step(model, inputs, *args, **kwargs)
            return super().training_step(model, inputs, chosen, *args[1:], **kwargs)

    return Exchanging


def put_adapter(model: Any, adapter: Path) -> Any:
    """Copy another stack's adapter into a model that has fresh LoRA, by canonical names.

    Its own loader may not find the tensors under the other release's module names. Raises
    HarnessError where one has no place.
    """
    from safetensors.torch import load_file

    loader = of(model)
    saved = {
        canonical_name(name, loader): tensor
        for name, tensor in load_file(str(adapter / "adapter_model.safetensors")).items()
    }
    places = {canonical_name(n, loader): p for n, p in model.named_parameters() if "lora_" in n}
    if set(saved) != set(places):
        strange = sorted(set(saved) ^ set(places))[:3]
        raise HarnessError(f"The other stack's adapter does not fit this model: {strange}.")
    for name, tensor in saved.items():
        places[name].data.copy_(tensor.to(places[name].dtype))
    return model


def dropout_masks() -> str:
    """Whose dropout masks a training has: `shared` by both sides of a comparison, or the `own`."""
    return "own" if current() is None else "shared"


def same_dropout(model: Any) -> Any:
    """Draw the adapter's dropout masks from `torch.rand`, the same numbers on every stack.

    torch's own bernoulli stream changes between releases (trajectory.dropout_stream records
    it), so two stacks would otherwise train on other masks from one seed. Only while values are
    exchanged: a plain run is the recipe's own.
    """
    import torch

    if current() is None:
        return model

    def masked(module: Any, inputs: Any) -> Any:
        if not module.training or module.p == 0:
            return inputs
        kept = torch.rand(inputs.shape).to(inputs.device) >= module.p
        return inputs * kept.to(inputs.dtype) / (1 - module.p)

    for name, module in model.named_modules():
        if isinstance(module, torch.nn.Dropout) and "lora_dropout" in name:
            module.forward = functools.partial(masked, module)
    return model
