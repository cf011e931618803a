"""Named ways of executing a training's step, put on a loaded model or a trainer and taken off.

    from harness.measuring.ways import apply

    with apply(trainer, "fastest_compiled") as applied:
        print(applied)
        trainer.train()

Everything that a user needs is in `apply` and the `Applied` that it returns; the names and what
each means are harness/recipe/ways.py's, how safe each is golden/lane/README.md's.
"""

from harness.measuring.ways.applied import Applied, Change
from harness.measuring.ways.apply import apply

__all__ = ["Applied", "Change", "apply"]
