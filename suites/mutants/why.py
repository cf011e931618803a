"""What is known of the mutants that act and are not red at their own rung, by name; written by hand
after they were tried."""

from __future__ import annotations

LOG = "only what SFTTrainer logs beside the loss, which no truth held: "
TRAINS = "whether the reloaded adapter would train, which nothing that infers with it reads"
NAMES = (
    "saved names keep the adapter's own, `default`; canonical names leave it out, and this peft "
    "reads both"
)
WHY: dict[str, str] = {
    "trl/kernels/chunked_logprob.py:239:7 negated 0": LOG + "mean_token_accuracy is another",
    "trl/trainer/sft_trainer.py:1697:24 arithmetic 0": LOG + "averages are sums times their count",
    "trl/trainer/sft_trainer.py:1704:8 argument for call 0": LOG + "its metrics are lost",
    "trl/trainer/sft_trainer.py:1704:8 statement dropped 0": LOG + "its metrics are lost",
    "trl/trainer/sft_trainer.py:1701:11 comparison 0": LOG + "named as an evaluation's",
    "trl/trainer/sft_trainer.py:1696:26 negated 0": LOG + "its metrics are lost",
    "transformers/trainer_callback.py:610:11 negated 0": "an entry more of the log at an epoch's "
    "end; rungs 10 and 11 look at the steps that they expect",
    "bitsandbytes/autograd/_functions.py:323:11 negated 0": "the loss is 8.7 for 0.3: the codes of "
    "scales that are quantised too are used as scales; no truth held bitsandbytes' own product "
    "against the weight's",
    "transformers/trainer_optimizer.py:207:46 truth 0": "the same AdamW by another kernel: losses "
    "differ in the seventh digit, the bfloat16 adapter by 0.0015 of its norm",
    "peft/config.py:101:11 negated 0": "the saved adapter's config lacks peft's version, which "
    "changes nothing that reads it here",
    "transformers/initialization.py:71:7 sign 0": "loaded biases are zeros: rung 6 counts "
    "bytes and types, not values",
    "peft/utils/other.py:298:21 no iteration 0": TRAINS,
    "peft/peft_model.py:558:36 sign 0": TRAINS,
    "peft/config.py:54:11 comparison 0": "the saved adapter's config names a development "
    "version of peft, which changes nothing that reads it here",
    "torch/nn/modules/module.py:2795:29 no iteration 0": "the tower's frequencies are "
    "whatever its memory was, their base was infinite: that could not be written down, and ended "
    "the ladder with an error instead of a verdict (mended since); with other memory the "
    "generation ends in an error",
    "bitsandbytes/backends/cpu/ops.py:47:11 comparison 0": "scales are rounded to the nearest "
    "code, which the C kernel does not: a distance of 0.0022 at rung 6, within its band",
    "peft/tuners/tuners_utils.py:1582:15 argument for call 0": NAMES,
    "peft/tuners/tuners_utils.py:1707:7 argument for call 0": NAMES,
}
