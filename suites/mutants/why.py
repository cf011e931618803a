"""What is known of the mutants that act and are not red at their own rung, by name; written by hand
after they were tried."""

from __future__ import annotations

LOG = "only what SFTTrainer logs beside the loss, which no truth held: "
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
}
