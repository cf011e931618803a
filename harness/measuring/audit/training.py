"""The training under audit, as the checks see it: one captured set of batches, model, Trainer.

Checks share one process. What one of them changes (weights, random states, modes, settings) it
changes inside `restored`, so that the order of checks decides nothing.
"""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from harness.measuring import _compat
from harness.measuring.audit.preferring import are_pairs, labels_of
from harness.measuring.audit.structure import Structure
from harness.measuring.audit.turns import Spelling, Turn, pieces, spelling, turns_of
from harness.measuring.models import Family
from harness.measuring.models._any import picture_token_id, picture_tokens


@dataclass
class Batch:
    """A batch as the Trainer's own loader gives it, on the model's device. features: the rows that
    the collator made it from, as the user's dataset has them and in the batch's order; empty where
    nobody could see them."""

    inputs: dict[str, Any]
    features: list[Any] = field(default_factory=list)

    @property
    def ids(self) -> Any:
        """int64 (rows, tokens)."""
        return self.inputs["input_ids"]

    @property
    def labels(self) -> Any:
        """int64 (rows, tokens), -100 where nothing is trained; of preference pairs what is scored.
        None without."""
        return labels_of(self.inputs)

    @property
    def are_pairs(self) -> bool:
        """Whether its rows are pairs of answers: the chosen ones, then the rejected ones."""
        return are_pairs(self.inputs)

    @property
    def mask(self) -> Any:
        """(rows, tokens), 0 for padding; None without."""
        return self.inputs.get("attention_mask")


@dataclass
class Training:
    """What every check is given.

    trainer: the user's own, nothing of it wrapped. batches: one per micro-batch of `steps`
    optimizer steps, in the order in which it would train on them. processor: what encodes
    (processor or tokenizer), None where the Trainer has none. family: whose oracle judges it,
    None without one. declared: its arguments as the user wrote them. loss_on: what the user says
    to train on: `all`, `assistant`, `completion`, '' where nothing says it. memo: what several
    checks ask for and one computes, by question; never what a check leaves for a later one. trace:
    the steps that a loop without Trainer took while it was opened (`steps.running.Run`).
    quantisations: the BitsAndBytesConfigs that the user's file made. is_handed: whether the batches
    are another stack's, which the Trainer's own loop is then given in place of its own.
    source: the text of the user's file.
    """

    trainer: Any
    batches: Sequence[Batch]
    processor: Any
    family: Family | None
    declared: Mapping[str, Any]
    loss_on: str
    steps: int
    memo: dict[str, Any] = field(default_factory=dict)
    trace: Any = None
    quantisations: Sequence[Any] = ()
    source: str = ""
    is_handed: bool = False

    @property
    def args(self) -> Any:
        """The Trainer's arguments, quietened."""
        return self.trainer.args

    @property
    def model(self) -> Any:
        """The model that trains, peft's wrapper included, accelerate's left out."""
        return self.trainer.accelerator.unwrap_model(self.trainer.model)

    @property
    def core(self) -> Any:
        """The transformers model inside it."""
        return _compat.core(self.model)

    @cached_property
    def structure(self) -> Structure:
        """What the model is made of."""
        return Structure(self.model, self.core, self.family)

    @property
    def prefers(self) -> bool:
        """Whether it learns from pairs of answers which of the two is preferred."""
        return any(batch.are_pairs for batch in self.batches)

    @property
    def has_own_loss(self) -> bool:
        """Whether the loss is computed otherwise than transformers' own Trainer does it."""
        if self.trace is not None:
            return True
        own = type(self.trainer).compute_loss.__module__
        given = getattr(self.trainer, "compute_loss_func", None)
        return given is not None or not own.startswith("transformers.")

    @property
    def casts_adapters(self) -> bool:
        """Whether the Trainer itself turns adapters to bfloat16: TRL's does, of a 4-bit model."""
        sft = any(kind.__name__ == "SFTTrainer" for kind in type(self.trainer).__mro__)
        return sft and bool(getattr(self.core, "is_loaded_in_4bit", False))

    @cached_property
    def tokenizer(self) -> Any:
        """The processor's tokenizer, or the processor where it is one. None without."""
        return getattr(self.processor, "tokenizer", self.processor)

    @cached_property
    def spelled(self) -> Spelling | None:
        """How the chat template spells turns; None without a template that can be read."""
        asked = self.processor
        if not hasattr(asked, "apply_chat_template"):
            return None
        several = asked is not self.tokenizer
        return spelling(asked, parts=several) or spelling(asked, parts=not several)

    @cached_property
    def picture_token_id(self) -> int | None:
        """The id that stands where a picture goes in; None for a model of texts alone."""
        return picture_token_id(self.core.config)

    @cached_property
    def pad_token_id(self) -> int | None:
        """The id that the tokenizer pads with."""
        value = getattr(self.tokenizer, "pad_token_id", None)
        return value if isinstance(value, int) else None

    @cached_property
    def vocabulary(self) -> int | None:
        """Rows of the embedding: ids below are tokens; None where the model does not show it."""
        try:
            return int(self.core.get_input_embeddings().weight.shape[0])
        except (NotImplementedError, AttributeError):
            return None

    @cached_property
    def never_trained(self) -> dict[int, str]:
        """Tokens that no label may ask for, by id: padding apart, what stands for and around
        pictures."""
        if self.tokenizer is None:
            return {}
        names = set(self.family.CHAT.masked) if self.family else set()
        names |= picture_tokens((self.processor, self.tokenizer))
        ids = {int(self.tokenizer.convert_tokens_to_ids(name)): name for name in names if name}
        if self.picture_token_id is not None:
            token = self.tokenizer.convert_ids_to_tokens(self.picture_token_id)
            ids.setdefault(self.picture_token_id, str(token))
        ids.pop(getattr(self.tokenizer, "unk_token_id", None) or -1, None)
        return ids

    def row_ids(self, batch: Batch, row: int) -> list[int]:
        """The ids of a row, padding left out."""
        ids = batch.ids[row]
        return (ids if batch.mask is None else ids[batch.mask[row].bool()]).tolist()

    def row_labels(self, batch: Batch, row: int) -> list[int]:
        """The labels of a row, those of padding left out."""
        labels = batch.labels[row]
        return (labels if batch.mask is None else labels[batch.mask[row].bool()]).tolist()

    def row_texts(self, batch: Batch, row: int) -> list[str]:
        """The text of every token of a row, padding left out; its number without a tokenizer."""
        if self.tokenizer is None:
            return [f"{token_id} " for token_id in self.row_ids(batch, row)]
        return pieces(self.tokenizer, self.row_ids(batch, row))

    def row_turns(self, batch: Batch, row: int) -> list[Turn]:
        """The turns of a row, placed without padding; none where no template tells."""
        if self.spelled is None:
            return []
        return turns_of(self.row_texts(batch, row), self.spelled)

    def loss(self, batch: Mapping[str, Any], *, count: Any = None, model: Any = None) -> Any:
        """The Trainer's own loss of a batch: a scalar that can be differentiated, in its own
        autocast. count: num_items_in_batch, the label tokens of a whole optimizer step."""
        trainer = self.trainer
        inputs = trainer._prepare_inputs(dict(batch))
        keywords = {} if count is None or not self.takes_count else {"num_items_in_batch": count}
        with self.autocast():
            return trainer.compute_loss(model or trainer.model, inputs, **keywords)

    @property
    def takes_count(self) -> bool:
        """Whether the Trainer's loss is told the label tokens of a whole optimizer step."""
        known = inspect.signature(type(self.trainer).compute_loss).parameters
        named = "num_items_in_batch" in known
        return named or any(p.kind is p.VAR_KEYWORD for p in known.values())

    @contextlib.contextmanager
    def autocast(self) -> Iterator[None]:
        """The mixed precision that the Trainer trains in. It enters it itself, or accelerate puts
        it around the model's forward when training begins, which an audit never does."""
        trainer = self.trainer
        with trainer.compute_loss_context_manager(), trainer.accelerator.autocast():
            yield

    @contextlib.contextmanager
    def restored(self, *, train: bool = False, checkpointed: bool = True) -> Iterator[None]:
        """What is done inside to trainable weights, gradients, random states and modes is undone
        afterwards. train: the mode inside, with checkpointing as Trainer.train switches it on;
        evaluation switches dropout off. checkpointed: False leaves it off."""
        import torch

        model = self.model
        modes = {module: module.training for module in model.modules()}
        kept = {n: p.detach().clone() for n, p in model.named_parameters() if p.requires_grad}
        on = train and checkpointed
        checkpointing = _compat.checkpointed(model, self.args) if on else nullcontext()
        with torch.random.fork_rng(devices=_cards(model)), checkpointing:
            model.train(train)
            try:
                yield
            finally:
                with torch.no_grad():
                    for name, parameter in model.named_parameters():
                        parameter.grad = None
                        if name in kept:
                            parameter.copy_(kept[name])
                for module, mode in modes.items():
                    module.training = mode


def _cards(model: Any) -> list[int]:
    return sorted({p.device.index for p in model.parameters() if p.device.type == "cuda"})
