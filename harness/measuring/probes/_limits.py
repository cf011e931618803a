"""Rung 4: the ways in which people keep pictures small, each by the grid that comes out, and what
a second processor, which was told nothing, makes of the same picture."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from functools import partial
from typing import Any

from harness.data.samples import gradient
from harness.measuring.instruments.recorder import Recorder
from harness.measuring.models import Family
from harness.measuring.models._protocol import OnePicture, PixelLimits
from harness.measuring.training.collate import control_ids
from harness.records.context import Context
from harness.records.typed import Json

# (height, width) in px that a message asks for, no multiple of what a token takes.
ASKED = (200, 300)
# A processor, or how to make one.
Make = Callable[[], Any]


def limited_grids(recorder: Recorder, context: Context, loader: Family) -> None:
    """`limited_grid` by way, and `grid_beside` it; nothing where the family has no such limit."""
    limits = loader.SAMPLES.limits
    if limits is None:
        return
    import transformers

    picture = gradient(*limits.picture)

    def untold() -> Any:
        return loader.processor(context.snapshot).image_processor

    kind = getattr(transformers, loader.IMAGE_PROCESSOR)
    with kept_defaults(kind), kept_defaults(type(untold())):
        for way, (make, beside) in _ways(context, loader, limits, untold).items():
            _grid(recorder, "limited_grid", way, partial(_made, loader, make, picture))
            _grid(recorder, "grid_beside", way, partial(_made, loader, beside, picture))
        _called(recorder, context, loader, limits, picture)
        _fetched(recorder, loader, limits, picture)
        _contradicted(recorder, context, loader, limits, picture)


def _ways(
    context: Context, loader: Family, limits: PixelLimits, untold: Make
) -> dict[str, tuple[Make, Make]]:
    """By way: a processor that is told a limit, and the next one that is not."""
    import transformers

    kind = getattr(transformers, loader.IMAGE_PROCESSOR)

    def loaded(**settings: int) -> Make:
        def make() -> Any:
            whole = transformers.AutoProcessor.from_pretrained(str(context.snapshot), **settings)
            return whole.image_processor

        return make

    def told_afterwards() -> Any:
        processor = untold()
        processor.max_pixels = limits.most
        return processor

    return {
        "most_when_loaded": (loaded(max_pixels=limits.most), untold),
        "fewest_when_loaded": (loaded(min_pixels=limits.fewest), untold),
        "most_afterwards": (told_afterwards, untold),
        "most_without_snapshot": (lambda: kind(max_pixels=limits.most), kind),
    }


def _grid(recorder: Recorder, metric: str, way: str, answer: Callable[[], OnePicture]) -> None:
    out, failed = recorder.attempt(metric, answer, case=way)
    if failed is None and out is not None:
        recorder.add(metric, [*out.grid], case=way, unit="patches")


def _made(loader: Family, make: Make, picture: Any) -> OnePicture:
    return loader.one_picture(_Alone(make()), picture)


def _called(
    recorder: Recorder, context: Context, loader: Family, limits: PixelLimits, picture: Any
) -> None:
    """The limit in the whole processor's call: the grid, and the image tokens beside it; then what
    the same processor makes of a call without one."""
    processor = loader.processor(context.snapshot)
    image = control_ids(processor.tokenizer, loader.CHAT)[loader.CHAT.image]
    ways: dict[str, dict[str, Any]] = {
        "most_in_call": {"max_pixels": limits.most},
        "fewest_in_call": {"min_pixels": limits.fewest},
        "most_in_images_kwargs": {"images_kwargs": {"max_pixels": limits.most}},
        "size_in_call": {"size": {"shortest_edge": limits.most, "longest_edge": limits.most}},
    }
    for way, settings in ways.items():
        told, untold = _Told(processor, settings), _Told(processor, {})
        seen = partial(loader.one_picture, _Alone(told), picture)
        _grid(recorder, "limited_grid", way, seen)
        if told.ids is None:
            recorder.blocked("limited_tokens", f"images.limited_grid.{way}", case=way)
        else:
            count = int((told.ids == image).sum())
            recorder.add("limited_tokens", count, case=way, unit="tokens")
        seen = partial(loader.one_picture, _Alone(untold), picture)
        _grid(recorder, "grid_beside", way, seen)


def _fetched(recorder: Recorder, loader: Family, limits: PixelLimits, picture: Any) -> None:
    """The limit in the message itself, which the recipe's own path reads: (height, width)."""

    def fetched(**settings: int) -> list[int]:
        shown = {"type": "image", "image": picture, **settings}
        small = loader.pictures([{"role": "user", "content": [shown]}])[0]
        return [small.height, small.width]

    for way, settings in {
        "most_in_message": {"max_pixels": limits.most},
        "fewest_in_message": {"min_pixels": limits.fewest},
        "none_in_message": {},
        "size_in_message": {"resized_height": ASKED[0], "resized_width": ASKED[1]},
    }.items():
        size, failed = recorder.attempt("limited_size", partial(fetched, **settings), case=way)
        if failed is None and size is not None:
            recorder.add("limited_size", [*size], case=way, unit="px")


def _contradicted(
    recorder: Recorder, context: Context, loader: Family, limits: PixelLimits, picture: Any
) -> None:
    """Limits of which none is between: whether they are refused, and by which error, else the
    patches or the (height, width) that come out of them. What is right nobody has written down."""
    import transformers

    both = {"min_pixels": limits.fewest, "max_pixels": limits.most}

    def loaded() -> list[int]:
        whole = transformers.AutoProcessor.from_pretrained(str(context.snapshot), **both)
        return [*_made(loader, lambda: whole.image_processor, picture).grid]

    def fetched() -> list[int]:
        shown = {"type": "image", "image": picture, **both}
        (small,) = loader.pictures([{"role": "user", "content": [shown]}])
        return [small.height, small.width]

    for way, answer in {"when_loaded": loaded, "in_message": fetched}.items():
        outcome, _ = recorder.attempt("contradiction", partial(_outcome, answer), case=way)
        if outcome is not None:
            recorder.add("contradiction", outcome, case=way, unit="patches or px")


def _outcome(answer: Callable[[], list[int]]) -> Json:
    """What comes out, or the error by which it is refused; another error is the library's own."""
    try:
        return [*answer()]
    except (AssertionError, ValueError) as error:
        return f"refused: {type(error).__name__}"


class _Alone:
    """An image processor where a family expects it: in a whole one."""

    def __init__(self, image_processor: Any) -> None:
        self.image_processor = image_processor


class _Told:
    """A whole processor where a family expects an image processor, told the same in every call.

    ids: of the last call's text, one picture and nothing else; None before one that succeeded.
    """

    def __init__(self, processor: Any, settings: dict[str, Any]) -> None:
        self.processor, self.settings = processor, settings
        self.ids: Any = None

    def __getattr__(self, name: str) -> Any:
        # What else a family reads of an image processor.
        return getattr(self.processor.image_processor, name)

    def __call__(self, images: list[Any], return_tensors: str) -> Any:
        shown = [{"role": "user", "content": [{"type": "image"}]}]
        text = self.processor.apply_chat_template(shown, tokenize=False)
        settings = {"return_tensors": return_tensors, **self.settings}
        batch = self.processor(text=[text], images=images, **settings)
        self.ids = batch["input_ids"]
        return batch


@contextmanager
def kept_defaults(kind: type) -> Iterator[None]:
    """A class's defaults as they were, afterwards: some releases write one processor's limits into
    them (transformers up to 5.17), and later rungs of this process would be measured with those.
    """

    def is_default(name: str, value: object) -> bool:
        return isinstance(value, dict) and not name.startswith("__")

    before = {
        one: {k: deepcopy(v) for k, v in vars(one).items() if is_default(k, v)}
        for one in kind.__mro__
        if one.__module__.startswith("transformers.models.")
    }
    try:
        yield
    finally:
        for one, defaults in before.items():
            for name, value in defaults.items():
                setattr(one, name, value)
