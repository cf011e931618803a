"""Faults of how a token is chosen and read, and of what enters the tower."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any
from unittest import mock

from suites.faults import Fault, edited_arguments, edited_result
from suites.faults.late import briefly


def likeliest_drawn() -> AbstractContextManager[Any]:
    """Where a token is to be drawn, the likeliest is taken."""
    import torch

    def likeliest(shares: Any, *args: Any, **kwargs: Any) -> Any:
        return shares.argmax(dim=-1, keepdim=True)

    return mock.patch.object(torch, "multinomial", likeliest)


def all_as_likely() -> AbstractContextManager[None]:
    """Whatever may be drawn is drawn as often."""
    import torch

    def edit(args: Any, kwargs: Any) -> Any:
        return ((args[0] > 0).to(args[0].dtype), *args[1:]), kwargs

    return edited_arguments(torch, "multinomial", edit)


def one_more_kept() -> AbstractContextManager[None]:
    """top_k keeps one token more."""
    from transformers import TopKLogitsWarper

    def edit(args: Any, kwargs: Any) -> Any:
        args[0].top_k += 1
        return args, kwargs

    return edited_arguments(TopKLogitsWarper, "__call__", edit)


def share_kept_unread() -> AbstractContextManager[Any]:
    """top_p keeps everything."""
    from transformers import TopPLogitsWarper

    return mock.patch.object(TopPLogitsWarper, "__call__", lambda self, ids, scores: scores)


def repetitions_punished() -> AbstractContextManager[None]:
    """What stands in the prompt or in the text is less likely, though nobody asked for it."""
    from transformers import LogitsProcessorList

    whole = LogitsProcessorList.__call__

    def punished(self: Any, ids: Any, scores: Any, **kwargs: Any) -> Any:
        scores = whole(self, ids, scores, **kwargs)
        return scores.scatter(1, ids, scores.gather(1, ids) - 100.0)

    return mock.patch.object(LogitsProcessorList, "__call__", punished)


def spaces_cleaned_up() -> AbstractContextManager[None]:
    """Spaces before marks are taken out, though the recipe says not to."""
    from transformers import Qwen2VLProcessor

    def edit(texts: Any) -> Any:
        return [text.replace(" ,", ",").replace(" .", ".").replace(" 's", "'s") for text in texts]

    return edited_result(Qwen2VLProcessor, "batch_decode", edit)


def pixels_rounded() -> AbstractContextManager[None]:
    """The tower rounds its pixels to bfloat16, whatever its type."""
    from transformers.models.qwen2_vl.modeling_qwen2_vl import PatchEmbed

    def edit(args: Any, kwargs: Any) -> Any:
        return (args[0], args[1].bfloat16().to(args[1].dtype), *args[2:]), kwargs

    return edited_arguments(PatchEmbed, "forward", edit)


def pixels_rounded_twice() -> AbstractContextManager[None]:
    """A tower in bfloat16 is given pixels that were rounded to eight bits before."""
    from transformers.models.qwen2_vl.modeling_qwen2_vl import PatchEmbed

    def edit(args: Any, kwargs: Any) -> Any:
        import torch

        half = args[0].proj.weight.dtype == torch.bfloat16
        pixels = args[1].to(torch.float8_e5m2).to(args[1].dtype) if half else args[1]
        return (args[0], pixels, *args[2:]), kwargs

    return edited_arguments(PatchEmbed, "forward", edit)


def pictures_together() -> AbstractContextManager[None]:
    """A batch's pictures are one sequence to the tower."""
    from transformers.models.qwen2_vl.modeling_qwen2_vl import Qwen2VLVisionBlock

    def edit(args: Any, kwargs: Any) -> Any:
        return args, {**kwargs, "cu_seqlens": kwargs["cu_seqlens"][[0, -1]]}

    return edited_arguments(Qwen2VLVisionBlock, "forward", edit)


FAULTS = (
    *(
        Fault("generation", name, f"generation.{finds}", briefly(plant), slow=True)
        for name, finds, plant in (
            ("the likeliest is drawn", "drawn_gap", likeliest_drawn),
            ("all are drawn as often", "drawn_gap", all_as_likely),
            ("top_k keeps one more", "kept_gap.top_k", one_more_kept),
            ("top_p is not read", "kept_gap.top_p", share_kept_unread),
            ("repetitions are punished unasked", "greedy_gap", repetitions_punished),
            ("spaces are cleaned up unasked", "decoded", spaces_cleaned_up),
        )
    ),
    Fault("inputs", "the tower rounds its pixels", "inputs.projected_gap.float32", pixels_rounded),
    Fault(
        "inputs",
        "pixels rounded twice",
        "inputs.projected_gap.bfloat16",
        pixels_rounded_twice,
        slow=True,
    ),
    Fault("inputs", "pictures see each other", "inputs.alone_gap", pictures_together, slow=True),
)
