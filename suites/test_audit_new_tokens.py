"""Whether a new token's rows train where the head is tied to the embedding, by peft's own ways."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from harness.measuring.audit.checks import _new_tokens
from harness.measuring.audit.finding import Findings

TOKEN = 5


def tied(**lora: Any) -> Any:
    """A tied model of a few hundred weights, adapted."""
    from peft import LoraConfig, get_peft_model
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=16,
        hidden_size=8,
        intermediate_size=8,
        num_hidden_layers=1,
        num_attention_heads=1,
        num_key_value_heads=1,
        tie_word_embeddings=True,
    )
    model = LlamaForCausalLM(config)
    return get_peft_model(model, LoraConfig(target_modules=["q_proj"], **lora)).base_model.model


@pytest.mark.parametrize(
    ("lora", "wanted"),
    [
        ({}, ["<new> in the embedding", "<new> in the head"]),
        # A copy of the table trains; the head is still the old one.
        ({"modules_to_save": ["embed_tokens"]}, ["<new> in the head"]),
        ({"modules_to_save": ["embed_tokens", "lm_head"]}, []),
    ],
)
def test_a_tied_head_that_stays_behind_is_told(
    lora: dict[str, Any], wanted: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    training: Any = SimpleNamespace(core=tied(**lora))
    row = SimpleNamespace(ids=[TOKEN], labels=[TOKEN])
    monkeypatch.setattr(_new_tokens, "_new_tokens", lambda _: {TOKEN: "<new>"})
    monkeypatch.setattr(_new_tokens, "rows_of", lambda _: [row])
    findings = Findings("model")
    _new_tokens.new_token_checks(training, findings)
    (check,) = findings._checks.values()
    assert list(check.evidence) == wanted
