"""A tiny snapshot built like the published SmolVLM (Idefics3): random weights, a tokenizer of its
own whose vocabulary is trained on the catalogue's words, the published special tokens and turns."""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path
from typing import Any

from harness.data.catalogue import products, row

IMAGE, AROUND, GLOBAL = "<image>", "<fake_token_around_image>", "<global-img>"
END = "<end_of_utterance>"
SIDE, PATCH, SCALE = 64, 16, 2
# A picture's positions: patches over the square of what the connector merges.
TOKENS = (SIDE // PATCH) ** 2 // SCALE**2
# Begin, then per turn the role with a colon, its parts, the end of the utterance and a line break.
TEMPLATE = (
    "<|im_start|>{% for message in messages %}{{ message['role'] | capitalize }}"
    "{% if message['content'][0]['type'] == 'image' %}{{ ':' }}{% else %}{{ ': ' }}{% endif %}"
    "{% for part in message['content'] %}{% if part['type'] == 'text' %}{{ part['text'] }}"
    "{% elif part['type'] == 'image' %}{{ '<image>' }}{% endif %}{% endfor %}"
    "<end_of_utterance>\n{% endfor %}{% if add_generation_prompt %}{{ 'Assistant:' }}{% endif %}"
)


@cache
def snapshot() -> Path:
    """The folder, built once a process: model, processor and tokenizer."""
    import torch
    from transformers import (
        AutoConfig,
        Idefics3Config,
        Idefics3ForConditionalGeneration,
        Idefics3ImageProcessor,
        Idefics3Processor,
    )

    folder = Path(tempfile.mkdtemp(prefix="tiny-smolvlm-"))
    tokenizer = _tokenizer()
    image_processor = Idefics3ImageProcessor(
        size={"longest_edge": 2 * SIDE}, max_image_size={"longest_edge": SIDE}
    )
    processor = Idefics3Processor(
        image_processor, tokenizer, image_seq_len=TOKENS, chat_template=TEMPLATE
    )
    processor.save_pretrained(folder)
    text = AutoConfig.for_model(
        "llama",
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    vision = {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "image_size": SIDE,
        "patch_size": PATCH,
    }
    config = Idefics3Config(
        text_config=text.to_dict(),
        vision_config=vision,
        scale_factor=SCALE,
        image_token_id=tokenizer.convert_tokens_to_ids(IMAGE),
        pad_token_id=tokenizer.pad_token_id,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = Idefics3ForConditionalGeneration(config)
        # Drawn at 0.02 a picture would move a loss by less than float32 can show.
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.ndim > 1:
                    parameter.mul_(5)
    model.save_pretrained(folder)
    return folder


def _tokenizer() -> Any:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    places = [f"<row_{row}_col_{column}>" for row in range(1, 7) for column in range(1, 7)]
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", AROUND, IMAGE, END, GLOBAL, *places]
    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=600,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    texts = [
        value
        for product in products("train")[:200]
        for value in row(product).values()
        if isinstance(value, str)
    ]
    raw.train_from_iterator([*texts, "User: Assistant: System:"], trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=raw,
        bos_token="<|im_start|>",
        eos_token=END,
        pad_token="<|im_end|>",
        unk_token="<|endoftext|>",
        additional_special_tokens=[AROUND, IMAGE, END],
        padding_side="left",
    )
