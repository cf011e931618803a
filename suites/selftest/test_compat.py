"""The version branches, at the releases on both sides of each."""

from __future__ import annotations

from typing import ClassVar

import pytest
from packaging.version import Version

from harness.measuring import _compat
from harness.measuring._compat import releases


@pytest.mark.parametrize(
    ("transformers", "torch", "device", "wanted"),
    [
        # Measured with these pairs: gradients 1e5 to 1e6 times too large with the default.
        ("4.45.1", "2.4.0", "cpu", "eager"),
        ("4.46.3", "2.5.1", "cpu", "eager"),
        ("4.52.4", "2.7.0", "cpu", "eager"),
        ("4.52.4", "2.7.0", "cuda:0", None),
        ("4.53.0", "2.7.1", "cpu", None),
        ("5.23.0", "2.15.0", "cpu", None),
        # transformers opens rows without keys for torch before 2.5 itself.
        ("4.57.6", "2.4.0", "cpu", None),
    ],
)
def test_training_attention(
    monkeypatch: pytest.MonkeyPatch, transformers: str, torch: str, device: str, wanted: str | None
) -> None:
    versions = {"transformers": Version(transformers), "torch": Version(torch)}
    monkeypatch.setattr(releases, "installed", versions.__getitem__)
    assert _compat.training_attention(device) == wanted


def test_the_auto_class_is_one_that_knows_the_config(monkeypatch: pytest.MonkeyPatch) -> None:
    """Gemma 3 came with 4.50 and never was among what the recipe's class knows."""
    import transformers

    class Named:
        _model_mapping: ClassVar = {int: str}

    class Other: ...

    monkeypatch.setattr(transformers, "AutoModelForVision2Seq", Named, raising=False)
    monkeypatch.setattr(transformers, "AutoModelForImageTextToText", Other, raising=False)
    assert _compat.vision_to_text_class(7) is Named
    assert _compat.vision_to_text_class("gemma") is Other
    assert _compat.vision_to_text_class() is Named
