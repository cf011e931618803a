"""Whether a new token's rows train, by peft's own ways: what the audit reads off the tensors, and
what a step of training moves."""

from __future__ import annotations

import json
import warnings
from importlib.metadata import version
from pathlib import Path
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


def small(tied: bool) -> Any:
    """A model of a few hundred weights."""
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=16,
        hidden_size=WIDTH,
        intermediate_size=8,
        num_hidden_layers=1,
        num_attention_heads=1,
        num_key_value_heads=1,
        tie_word_embeddings=tied,
    )
    return LlamaForCausalLM(config)


def adapted(tied: bool, lora: dict[str, Any]) -> Any:
    """The same, adapted."""
    from peft import LoraConfig, get_peft_model

    with warnings.catch_warnings():
        # peft warns of each way that lets a tied head stay behind: that is what is tried here.
        warnings.simplefilter("ignore", UserWarning)
        model = get_peft_model(small(tied), LoraConfig(**{"target_modules": ["q_proj"], **lora}))
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


@pytest.mark.parametrize("own_head", [False, True])
def test_a_head_that_the_library_itself_keeps_apart_is_not_called_untied(
    own_head: bool, tmp_path: Path
) -> None:
    """A config that says tied, or says nothing and is taken for it, over a checkpoint with a head
    of its own: since transformers 5 both are kept. A head that is exchanged afterwards was tied."""
    small(tied=not own_head).save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text("utf-8"))
    (tmp_path / "config.json").write_text(
        json.dumps({**config, "tie_word_embeddings": True}), "utf-8"
    )
    model = type(small(tied=True)).from_pretrained(tmp_path)
    apart = model.lm_head.weight.data_ptr() != model.model.embed_tokens.weight.data_ptr()
    assert apart == (own_head and Version(version("transformers")) >= Version("5"))
    assert judged(model) == (None if apart else True)
    model.lm_head.weight = torch.nn.Parameter(model.lm_head.weight.detach().clone())
    assert judged(model) == (None if apart else False)


def judged(model: Any) -> bool | None:
    """What the audit says of the tie; None where there is none to judge."""
    findings = Findings("model")
    _tied(Structure(model, model, None), findings)
    (check,) = findings._checks.values()
    return bool(check.value) if check.name == "tied" else None
