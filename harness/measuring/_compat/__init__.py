"""The only place with version branches. Each says which versions it covers and why.

Everything imports inside functions: a model is looked at before its library is loaded.
"""

from harness.measuring._compat.models import (
    active_adapters,
    core,
    dtype_argument,
    has_fused_head,
    image_processor_class,
    input_gradient_hooks,
    model_type,
    modelling,
    on_meta,
    tower_positions,
    tower_takes_positions,
    training_attention,
    vision_to_text_class,
    without_peft,
)
from harness.measuring._compat.quantising import (
    Kernels,
    infer_as_usual,
    keep_4_bit_trainable,
    lacks_sharded_four_bit,
    nf4_kernels,
    quantises_on_cpu,
)
from harness.measuring._compat.releases import (
    installed,
)
from harness.measuring._compat.settings import (
    arithmetic,
    rounds_products,
    set_arithmetic,
    set_exact,
)
from harness.measuring._compat.trainers import (
    checkpointed,
    indexed_dataset,
    known_arguments,
    log_folder,
    logs_counts,
    one_card,
    reads_logits,
    refuses_list_datasets,
    sft_arguments,
    sft_keywords,
    update_steps,
    warmup_steps,
)

__all__ = [
    "Kernels",
    "active_adapters",
    "arithmetic",
    "checkpointed",
    "core",
    "dtype_argument",
    "has_fused_head",
    "image_processor_class",
    "indexed_dataset",
    "infer_as_usual",
    "input_gradient_hooks",
    "installed",
    "keep_4_bit_trainable",
    "known_arguments",
    "lacks_sharded_four_bit",
    "log_folder",
    "logs_counts",
    "model_type",
    "modelling",
    "nf4_kernels",
    "on_meta",
    "one_card",
    "quantises_on_cpu",
    "reads_logits",
    "refuses_list_datasets",
    "rounds_products",
    "set_arithmetic",
    "set_exact",
    "sft_arguments",
    "sft_keywords",
    "tower_positions",
    "tower_takes_positions",
    "training_attention",
    "update_steps",
    "vision_to_text_class",
    "warmup_steps",
    "without_peft",
]
