"""What a token map draws once, and what it draws token by token."""

from __future__ import annotations

from harness.judging.report.run.tokens import token_map
from harness.records.beside import Token


def drawn(*tokens: tuple[str, str], role: str = "user") -> str:
    """The map of tokens by text and kind, without its table."""
    html = str(token_map([Token(text=text, kind=kind, role=role) for text, kind in tokens]))
    return html[: html.index("Tokens by role")]


def test_what_fills_a_row_up_is_drawn_once() -> None:
    assert "&lt;pad&gt; × 24" in drawn(*[("<pad>", "padding")] * 24)
    assert "&lt;pad&gt; × 24" in drawn(*[("<pad>", "masked")] * 24, role="padding")
    assert "×" not in drawn(*[("<pad>", "padding")] * 3)
    assert "×" not in drawn(*[("word", "masked")] * 24)
    # Other fillers among them are not hidden.
    mixed = drawn(*[("<pad>", "padding")] * 4, ("</s>", "padding"))
    assert "×" not in mixed
    assert "&lt;/s&gt;" in mixed


def test_what_is_trained_is_drawn_token_by_token() -> None:
    for role in ("user", "padding"):
        assert drawn(*[("<pad>", "trained")] * 24, role=role).count("&lt;pad&gt;") == 24
