"""Whether a new token's rows train, by peft's own ways: what the audit reads off the tensors, and
what a step of training moves."""

from __future__ import annotations

import warnings
from importlib.metadata import version
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from packaging.version import Version

from harness.measuring.audit.checks import _new_tokens
from harness.measuring.audit.checks.model import _tied
from harness.measuring.audit.finding import Findings
from harness.measuring.audit.structure import Structure

TOKEN, OTHER, WIDTH = 5, 6, 8
# The first release of peft with rows of single tokens whose layers may differ, and with copies
# that it keeps tied.
SINGLE = "0.18"
EMBEDDING, HEAD = "<new> in the embedding", "<new> in the head"


def too_old(needs: str) -> None:
    """Skips where this peft has not what is tried."""
    if needs and Version(version("peft")) < Version(needs):
        pytest.skip(f"NOT_RUN: needs peft>={needs}, here is {version('peft')}")


def adapted(tied: bool, lora: dict[str, Any]) -> Any:
    """A model of a few hundred weights, adapted."""
    from peft import LoraConfig, get_peft_model
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=16,
        hidden_size=WIDTH,
        intermediate_size=8,
        num_hidden_layers=1,
        num_attention_heads=1,
        num_key_value_heads=1,
        tie_word_embeddings=tied,
    )
    torch.manual_seed(0)
    with warnings.catch_warnings():
        # peft warns of each way that lets a tied head stay behind: that is what is tried here.
        warnings.simplefilter("ignore", UserWarning)
        model = get_peft_model(
            LlamaForCausalLM(config), LoraConfig(**{"target_modules": ["q_proj"], **lora})
        )
    return model.base_model.model


def rows_of(core: Any) -> tuple[Any, Any]:
    """(float32 (width,): what the token is read as; what it is written by). The head's row is its
    output, of this token, over the unit vectors."""
    with torch.no_grad():
        read = core.get_input_embeddings()(torch.tensor([TOKEN]))[0]
        return read.clone(), core.get_output_embeddings()(torch.eye(WIDTH))[:, TOKEN].clone()


def still(core: Any) -> list[str]:
    """Which of the two a step of plain gradient descent leaves as it was."""
    before = rows_of(core)
    ids = torch.tensor([[1, TOKEN, TOKEN, 2]])
    core(input_ids=ids, labels=ids).loss.backward()
    torch.optim.SGD([p for p in core.parameters() if p.requires_grad], lr=1.0).step()
    after = rows_of(core)
    pairs = zip((EMBEDDING, HEAD), before, after, strict=True)
    return [name for name, one, other in pairs if torch.equal(one, other)]


@pytest.mark.parametrize(
    ("tied", "lora", "needs", "wanted"),
    [
        (True, {}, "", [EMBEDDING, HEAD]),
        # A copy of the table trains; the head is still the old one.
        (True, {"modules_to_save": ["embed_tokens"]}, "", [HEAD]),
        (True, {"modules_to_save": ["embed_tokens", "lm_head"]}, "", []),
        (True, {"modules_to_save": ["embed_tokens"], "ensure_weight_tying": True}, SINGLE, []),
        # So it does where an adapter is added to the table.
        (True, {"target_modules": ["q_proj", "embed_tokens"]}, "", [HEAD]),
        (True, {"target_modules": ["q_proj", "lm_head"]}, "", [EMBEDDING]),
        # Single rows are tied by peft itself, where the table is among them.
        (True, {"trainable_token_indices": [TOKEN]}, SINGLE, []),
        (True, {"trainable_token_indices": {"embed_tokens": [TOKEN]}}, SINGLE, []),
        (True, {"trainable_token_indices": {"embed_tokens": [OTHER]}}, SINGLE, [EMBEDDING, HEAD]),
        (True, {"trainable_token_indices": {"lm_head": [TOKEN]}}, SINGLE, [EMBEDDING]),
        # Other rows of the head than of the table: peft ties nothing.
        (
            True,
            {"trainable_token_indices": {"embed_tokens": [TOKEN], "lm_head": [OTHER]}},
            SINGLE,
            [HEAD],
        ),
        (False, {"trainable_token_indices": [TOKEN]}, SINGLE, [HEAD]),
        (
            False,
            {"trainable_token_indices": {"embed_tokens": [TOKEN], "lm_head": [TOKEN]}},
            SINGLE,
            [],
        ),
    ],
)
def test_what_stays_behind_is_told(
    tied: bool,
    lora: dict[str, Any],
    needs: str,
    wanted: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    too_old(needs)
    core = adapted(tied, lora)
    training: Any = SimpleNamespace(core=core)
    row = SimpleNamespace(ids=[TOKEN], labels=[TOKEN])
    monkeypatch.setattr(_new_tokens, "_new_tokens", lambda _: {TOKEN: "<new>"})
    monkeypatch.setattr(_new_tokens, "rows_of", lambda _: [row])
    findings = Findings("model")
    _new_tokens.new_token_checks(training, findings)
    (check,) = findings._checks.values()
    assert list(check.evidence) == wanted
    assert still(core) == wanted


@pytest.mark.parametrize(
    ("lora", "needs", "tied"),
    [
        ({}, "", True),
        ({"modules_to_save": ["embed_tokens", "lm_head"]}, "", False),
        ({"modules_to_save": ["embed_tokens"], "ensure_weight_tying": True}, SINGLE, True),
        ({"trainable_token_indices": [TOKEN]}, SINGLE, True),
        (
            {"trainable_token_indices": {"embed_tokens": [TOKEN], "lm_head": [OTHER]}},
            SINGLE,
            False,
        ),
    ],
)
def test_what_is_still_tied(lora: dict[str, Any], needs: str, tied: bool) -> None:
    """After a step the token is read as what it is written by, or it is not."""
    too_old(needs)
    core = adapted(True, lora)
    findings = Findings("model")
    _tied(Structure(core, core, None), findings)
    (check,) = findings._checks.values()
    assert (check.value, check.truth) == (tied, True)
    still(core)
    read, written = rows_of(core)
    assert torch.allclose(read, written) == tied
