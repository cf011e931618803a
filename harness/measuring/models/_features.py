"""What gives the decoder its pictures where no module does."""

from __future__ import annotations

from functools import wraps
from typing import Any


class Features:
    """A model's `get_image_features`, hooked as a module is. owner: the inner model that has it."""

    def __init__(self, owner: Any) -> None:
        self.owner = owner

    def register_forward_hook(self, hook: Any) -> Features:
        """As torch's. The output is (tokens, width), all pictures' together."""
        import torch

        own, owner = self.owner.get_image_features, self.owner

        # Generation asks its signature which of a batch's tensors it takes.
        @wraps(own)
        def hooked(*args: Any, **kwargs: Any) -> Any:
            out = own(*args, **kwargs)
            hook(owner, args, torch.cat(list(getattr(out, "pooler_output", out))))
            return out

        owner.get_image_features = hooked
        return self

    def remove(self) -> None:
        """As torch's handle does."""
        del self.owner.get_image_features
