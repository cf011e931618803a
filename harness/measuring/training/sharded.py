"""FSDP with 4-bit storage: `accelerate launch --use_fsdp --num_processes N -m harness train …`.

Every process holds a share of every weight, but a frozen head of its own whole (`group`), and
gathers one decoder layer or vision block at a time. FSDP2 (torch's `fully_shard`) is used, whatever
version the launcher names: it gathers parameters of several dtypes as they are, and casts neither
weights nor buffers. bitsandbytes packs 4-bit values into bytes, which cannot be sharded; packed
into a float dtype they can
(https://huggingface.co/docs/bitsandbytes/fsdp_qlora), but not into bfloat16 as that page has it:
see `Crew.storage`. Measuring world.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, MutableMapping
from typing import Any

from harness.errors import BadInput, NotRunnable
from harness.measuring import _compat
from harness.measuring.instruments.meters import tensor_bytes
from harness.measuring.models import layer_classes

ASKED = "ACCELERATE_USE_FSDP"
# What the launcher may ask for beside and this does not do: variable -> flag, reason.
REFUSED: Mapping[str, tuple[str, str]] = {
    "FSDP_OFFLOAD_PARAMS": (
        "--fsdp_offload_params",
        "bitsandbytes' 4-bit products need their weights on the device",
    ),
    "FSDP_ACTIVATION_CHECKPOINTING": (
        "--fsdp_activation_checkpointing",
        "the recipe checkpoints its layers itself",
    ),
}
# Every process loads the whole model and then keeps its share; the launcher's other defaults
# belong to FSDP1.
OURS: Mapping[str, str] = {
    "FSDP_VERSION": "2",
    "FSDP_RESHARD_AFTER_FORWARD": "true",
    "FSDP_CPU_RAM_EFFICIENT_LOADING": "false",
}


def asked(environ: Mapping[str, str] = os.environ) -> bool:
    """Whether the launcher was given --use_fsdp."""
    return environ.get(ASKED, "").lower() == "true"


def take_over(environ: MutableMapping[str, str] = os.environ) -> None:
    """Refuse what cannot be done, and put our settings in place of the launcher's defaults.

    Raises BadInput for a flag that this does not do, NotRunnable for libraries that are too old.
    """
    for variable, (flag, reason) in REFUSED.items():
        if environ.get(variable, "").lower() == "true":
            raise BadInput(f"Leave {flag} out of the launch: {reason}.")
    lacking = _compat.lacks_sharded_four_bit()
    if lacking:
        raise NotRunnable(f"FSDP with 4-bit storage {lacking}; train data parallel (--multi_gpu).")
    environ.update(OURS)


def four_bit_weights(model: Any) -> dict[str, Any]:
    """Modules with packed weights by their weight's name, sharded or not."""
    return {
        f"{name}.weight": module
        for name, module in model.named_modules()
        if getattr(module, "quant_state", None) is not None
        or getattr(getattr(module, "weight", None), "quant_state", None) is not None
    }


def shard(trainer: Any) -> None:
    """Prepare a trainer that is not yet training, and its model, for `group`.

    accelerate takes FSDP from the launcher for GPUs only, so its plugin is put in place here, on
    a CPU too. Autocast decides on dtypes as in one process; accelerate leaves it out with FSDP2,
    which would cast all weights instead, so its own wrapper is asked for here.
    """
    from accelerate.utils import DistributedType, FullyShardedDataParallelPlugin

    for module in four_bit_weights(trainer.model).values():
        # A gathered weight is a plain tensor; bitsandbytes then looks for the state here.
        module.quant_state = module.weight.quant_state
    plugin = FullyShardedDataParallelPlugin(
        fsdp_version=2,
        auto_wrap_policy="no_wrap",
        reshard_after_forward=True,
        cpu_offload=False,
        cpu_ram_efficient_loading=False,
        activation_checkpointing=False,
        state_dict_type="FULL_STATE_DICT",
    )
    state = trainer.accelerator.state
    state.distributed_type, state.fsdp_plugin = DistributedType.FSDP, plugin
    trainer.is_fsdp_enabled = True
    # "Evaluation" means: autocast around the model's forward, and nothing around the model.
    trainer.accelerator.prepare_model(trainer.model, device_placement=False, evaluation_mode=True)


def group(model: Any) -> None:
    """Shard a model over the processes; LoRA's gradients are summed in float32.

    Each layer and block is gathered by itself, embeddings too where the head has a weight of its
    own, everything else with the whole model. Such a head is left whole in every process, if it is
    frozen: what is gathered with the whole model stays gathered until the backward pass is over, so
    cutting it would save nothing where memory is short, and gathering it takes its bytes twice
    (the gathered shares, and what is copied out of them). Embeddings are gathered forward only: a
    look-up's gradient needs no weight, and transformers' hook that makes its output require one
    would have them stand whole, 1.1 GB in the 7B, beside everything that is kept for the tower.

    accelerate would give a head that is not tied to the embeddings a group of its own. TRL's fused
    head reads its weight and never calls it: the group is never gathered, and torch 2.11 stops at
    the first accumulated backward. accelerate leaves a model alone that is already sharded.
    """
    import torch
    from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard

    policy = MixedPrecisionPolicy(reduce_dtype=torch.float32)
    kinds = layer_classes(model)
    alone = [module for module in model.modules() if type(module) in kinds]
    embeddings, head = model.get_input_embeddings(), model.get_output_embeddings()
    untied = embeddings.weight is not head.weight
    left_whole = {p for p in head.parameters() if untied and not p.requires_grad}
    for module in [*alone, *([embeddings] if untied else [])]:
        fully_shard(module, mp_policy=policy, reshard_after_forward=True)
    if untied:
        embeddings.set_unshard_in_backward(False)
    fully_shard(model, mp_policy=policy, ignored_params=left_whole)


def whole(tensor: Any) -> Any:
    """The gathered tensor of a sharded one (every process must ask), any other as it is."""
    return tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor


def share_of(tensor: Any, like: Any) -> Any:
    """Cut a whole tensor as a sharded one is cut (every process must ask); else as it is."""
    if not hasattr(like, "placements") or tensor.shape != like.shape:
        return tensor.to(like.device)
    from torch.distributed.tensor import distribute_tensor

    return distribute_tensor(tensor.to(like.device), like.device_mesh, like.placements)


def held_bytes(model: Any) -> int:
    """Bytes of the parameters that this process holds: its own share of a sharded model."""
    parts = (p.to_local() if hasattr(p, "to_local") else p for p in model.parameters())
    return tensor_bytes(parts)
