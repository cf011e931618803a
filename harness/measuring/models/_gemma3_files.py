"""What a tiny Gemma 3 holds beside config and weights: a vocabulary and a template of our own, the
published settings of pictures but their side."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness.measuring.models._sentence_pieces import vocabulary

# The published one's behaviour: the begin token first, the system's first text before the first
# turn's, texts trimmed, nothing between parts; other parts than pictures and texts are left out.
TEMPLATE = """
{{- bos_token -}}
{%- if messages[0].role == 'system' -%}
  {%- set told = messages[0].content -%}
  {%- set opening = (told if told is string else told[0].text) ~ '\\n\\n' -%}
  {%- set spoken = messages[1:] -%}
{%- else -%}
  {%- set opening, spoken = '', messages -%}
{%- endif -%}
{%- for turn in spoken -%}
  {%- if (turn.role == 'user') == (loop.index0 is odd) -%}
    {{- raise_exception('User and assistant must take turns, the user first.') -}}
  {%- endif -%}
  {{- '<start_of_turn>' ~ ('model' if turn.role == 'assistant' else turn.role) ~ '\\n' -}}
  {%- if loop.first -%} {{- opening -}} {%- endif -%}
  {%- if turn.content is string -%} {{- turn.content | trim -}}
  {%- else -%}
    {%- for part in turn.content -%}
      {%- if part.type == 'image' -%} {{- '<start_of_image>' -}}
      {%- elif part.type == 'text' -%} {{- part.text | trim -}}
      {%- endif -%}
    {%- endfor -%}
  {%- endif -%}
  {{- '<end_of_turn>\\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%} {{- '<start_of_turn>model\\n' -}} {%- endif -%}
"""


def files(side: int, tokens: int) -> Mapping[str, Any]:
    """Control tokens where the published vocabulary has them: the oldest first, the one that
    stands for pictures last. side: of every picture, in px. tokens: that it takes."""
    own = vocabulary(
        first=("<pad>", "<eos>", "<bos>", "<unk>", "<mask>", "<start_of_turn>", "<end_of_turn>"),
        ordinary=("\n\n", "\n\n\n", "\n\n\n\n", "<table>", "</table>", "<td>", "</td>"),
        last=("<start_of_image>", "<end_of_image>", "<image_soft_token>"),
    )
    named = {
        "boi_token": "<start_of_image>",
        "eoi_token": "<end_of_image>",
        "image_token": "<image_soft_token>",
    }
    ends = [own.pieces["<eos>"], own.pieces["<end_of_turn>"]]
    return {
        "tokenizer.json": own.tokenizer("<bos>", "<unk>"),
        "tokenizer_config.json": {
            "tokenizer_class": "GemmaTokenizer",
            "processor_class": "Gemma3Processor",
            "add_bos_token": True,
            "add_eos_token": False,
            "clean_up_tokenization_spaces": False,
            "model_max_length": 4096,
            "spaces_between_special_tokens": False,
            **{f"{name}_token": f"<{name}>" for name in ("bos", "eos", "pad", "unk")},
            **named,
            "extra_special_tokens": named,
            "added_tokens_decoder": own.decoder(),
        },
        "chat_template.json": {"chat_template": TEMPLATE},
        "processor_config.json": {
            "processor_class": "Gemma3Processor",
            "image_seq_length": tokens,
        },
        "preprocessor_config.json": {
            "image_processor_type": "Gemma3ImageProcessor",
            "processor_class": "Gemma3Processor",
            "do_convert_rgb": None,
            "do_normalize": True,
            "do_pan_and_scan": None,
            "do_rescale": True,
            "do_resize": True,
            "image_mean": [0.5, 0.5, 0.5],
            "image_std": [0.5, 0.5, 0.5],
            "image_seq_length": tokens,
            "resample": 2,
            "rescale_factor": 1 / 255,
            "size": {"height": side, "width": side},
        },
        "generation_config.json": {
            "bos_token_id": own.pieces["<bos>"],
            "pad_token_id": own.pieces["<pad>"],
            "eos_token_id": ends,
            "cache_implementation": "hybrid",
            "do_sample": True,
            "top_k": 64,
            "top_p": 0.95,
        },
    }
