"""A change of the libraries chosen for harness/ of eedd55d, by one who had read neither its probes
nor its truths: from the source of both releases, none of `releases.py` nor of the register.

Eight were looked for, and one was found that a training of the recipe on a CPU can show. Each
release below was laid over `latest` and trained four steps of the stand-in in 4 bit, without the
harness's judge; texts, batches, the tower's rows, losses, gradients' norms, adapter and generated
texts agree, to the bit where they are hashed, with those of `latest` for transformers 5.10.2,
5.14.0, 5.15.0 and 5.17.0 to 5.23.0, accelerate 1.10.1, 1.12.0 and 1.14.0, peft 0.18.1, 0.19.0,
0.20.0 and 0.21.1, and bitsandbytes 0.50.0. bitsandbytes 0.47.0, 0.48.2, 0.49.0 and 0.49.2 agree
with each other; what 0.50.0 changed is in the register. trl 1.0.0, 1.12.0, 1.13.0 and 1.14.2 agree
with each other; the next release ends as below. Earlier ones were not looked at for want of time.
"""

from __future__ import annotations

from suites.faults.releases import SFT, TRAINED, Change

CHANGES: tuple[Change, ...] = (
    Change(
        "the head's tiles are folded without Triton, too",
        "trl",
        "1.15.0",
        "1.16.0",
        "update",
        "_forward_kernel[(n,)] → _forward_kernel[(n,)] if _use_triton(device) else _forward_tile",
        SFT.replace("trainer/sft_trainer.py", "kernels/chunked_logprob.py"),
        "before, every training on a CPU ended in its first step: 0 active drivers",
        rungs=TRAINED,
        frozen="eedd55d",
    ),
)
