"""The published recipe as one frozen value; every named variant is a diff of it.

Source of every constant: the blog post of 2025-07-11 (Korean) and the tutorial of 2024-09 it
builds on. Where the two contradict each other or themselves, `repairs` names the switch that
mends it; all switches are off by default, because the recipe is reproduced, not improved.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from harness.errors import BadInput

MODEL_ID = "Qwen/Qwen2-VL-7B-Instruct"
DATASET_ID = "philschmid/amazon-product-descriptions-vlm"
IGNORE_INDEX = -100

SYSTEM_MESSAGE = "You are an expert product description writer for Amazon."
# Line 1 ends with a space, line 3 holds one single space (the tutorial's is empty), no final \n.
PROMPT = (
    "Create a Short Product description based on the provided ##PRODUCT NAME## and ##CATEGORY## "
    "and image. \nOnly return description. The description should be SEO optimized and for a "
    "better mobile search experience.\n \n##PRODUCT NAME##: {product_name}\n"
    "##CATEGORY##: {category}"
)
TUTORIAL_PROMPT = PROMPT.replace("experience.\n \n", "experience.\n\n")

# The product of the one rendered sample that the post prints.
PRINTED_SAMPLE: Mapping[str, str] = {
    "Product Name": "Barbie Fashionistas Doll Wear Your Heart",
    "Category": "Toys & Games | Dolls & Accessories | Dolls",
    "description": (
        "Express your style with Barbie Fashionistas Doll Wear Your Heart! This fashionable doll "
        "boasts a unique outfit and accessories, perfect for imaginative play.  A great gift for "
        "kids aged 3+.  Collect them all! #Barbie #Fashionistas #Doll #Toys #GirlsToys "
        "#FashionDoll #Play"
    ),
}

# In it the answer's header lacks its first letter: (true, printed).
MISPRINTED = ("<|im_start|>assistant", "|im_start|>assistant")
# What its collator masks where the processor is of that class, by ids written down.
PROCESSOR_CLASS = "Qwen2VLProcessor"
IMAGE_TOKEN_IDS = (151652, 151653, 151655)

# peft 0.13.0's repr of the recipe's LoraConfig, as the post prints it.
PRINTED_LORA: Mapping[str, Any] = {
    "peft_type": "LORA",
    "auto_mapping": None,
    "base_model_name_or_path": None,
    "revision": None,
    "task_type": "CAUSAL_LM",
    "inference_mode": False,
    "r": 8,
    "target_modules": ["q_proj", "v_proj"],
    "lora_alpha": 16,
    "lora_dropout": 0.05,
    "fan_in_fan_out": False,
    "bias": "none",
    "use_rslora": False,
    "modules_to_save": None,
    "init_lora_weights": True,
    "layers_to_transform": None,
    "layers_pattern": None,
    "rank_pattern": {},
    "alpha_pattern": {},
    "megatron_config": None,
    "megatron_core": "megatron.core",
    "loftq_config": {},
    "use_dora": False,
    "layer_replication": None,
}


# As target_modules: every Linear but the output head (peft's own word for it).
ALL_LINEAR = ("all-linear",)


@dataclass(frozen=True)
class Lora:
    """LoRA hyper-parameters (names as in peft's LoraConfig)."""

    r: int = 8
    lora_alpha: int = 16
    lora_dropout: float = 0.05
    bias: str = "none"
    target_modules: tuple[str, ...] = ("q_proj", "v_proj")
    task_type: str = "CAUSAL_LM"

    @property
    def targets(self) -> list[str] | str:
        """target_modules as peft takes them: in a list `all-linear` would be a module's name."""
        return ALL_LINEAR[0] if self.target_modules == ALL_LINEAR else list(self.target_modules)


@dataclass(frozen=True)
class Quantisation:
    """BitsAndBytesConfig arguments."""

    load_in_4bit: bool = True
    bnb_4bit_use_double_quant: bool = True
    bnb_4bit_quant_type: str = "nf4"
    bnb_4bit_compute_dtype: str = "bfloat16"


@dataclass(frozen=True)
class Training:
    """SFTConfig arguments as the recipe writes them."""

    num_train_epochs: int = 3
    per_device_train_batch_size: int = 4
    gradient_accumulation_steps: int = 8
    gradient_checkpointing: bool = True
    use_reentrant: bool = False
    optim: str = "adamw_torch_fused"
    logging_steps: int = 5
    save_strategy: str = "epoch"
    learning_rate: float = 2e-4
    bf16: bool = True
    tf32: bool = True
    max_grad_norm: float = 0.3
    warmup_ratio: float = 0.03
    lr_scheduler_type: str = "constant"
    report_to: str = "tensorboard"
    push_to_hub: bool = False
    seed: int = 42  # transformers' default; the recipe does not name one


@dataclass(frozen=True)
class Generation:
    """model.generate arguments of the recipe, and its decoding."""

    max_new_tokens: int = 256
    do_sample: bool = True
    temperature: float = 0.8
    top_p: float = 1.0


@dataclass(frozen=True)
class Repairs:
    """One switch per contradiction of the recipe; off reproduces it as published.

    same_order: image and text in training's order when generating. warmup: a scheduler that
    honours warmup_ratio. mask_prompt: completion-only labels. tutorial_prompt: the tutorial's
    empty fourth line.
    """

    same_order: bool = False
    warmup: bool = False
    mask_prompt: bool = False
    tutorial_prompt: bool = False


@dataclass(frozen=True)
class Recipe:
    """The whole recipe."""

    name: str = "reference"
    system_message: str = SYSTEM_MESSAGE
    prompt: str = PROMPT
    lora: Lora = field(default_factory=Lora)
    quantisation: Quantisation = field(default_factory=Quantisation)
    training: Training = field(default_factory=Training)
    generation: Generation = field(default_factory=Generation)
    repairs: Repairs = field(default_factory=Repairs)

    def prompt_for(self, product_name: str, category: str) -> str:
        """The user's text. Product text is inserted verbatim, braces and all."""
        template = TUTORIAL_PROMPT if self.repairs.tutorial_prompt else self.prompt
        head, tail = template.split("{product_name}")
        middle, end = tail.split("{category}")
        return head + product_name + middle + category + end


REFERENCE = Recipe()

VARIANTS: Mapping[str, Repairs] = {
    "reference": Repairs(),
    "same-order": Repairs(same_order=True),
    "warmup": Repairs(warmup=True),
    "mask-prompt": Repairs(mask_prompt=True),
    "tutorial-prompt": Repairs(tutorial_prompt=True),
}


def variant(name: str) -> Recipe:
    """A named diff of the recipe. Raises BadInput listing the names."""
    if name not in VARIANTS:
        raise BadInput(f"There is no recipe variant {name!r}; choose one of {', '.join(VARIANTS)}.")
    return replace(REFERENCE, name=name, repairs=VARIANTS[name])


Message = dict[str, Any]


def training_messages(row: Mapping[str, Any], recipe: Recipe = REFERENCE) -> list[Message]:
    """system, user (text first, then image), assistant: the recipe's training conversation.

    row: the dataset's columns image (a picture), `Product Name`, `Category`, description. One that
    has `messages` is a conversation of its own and is trained on as it is.
    """
    if "messages" in row:
        return _own_messages(row)
    return [
        {"role": "system", "content": [{"type": "text", "text": recipe.system_message}]},
        {
            "role": "user",
            "content": [
                {
                    "type": "text",
                    "text": recipe.prompt_for(row["Product Name"], row["Category"]),
                },
                {"type": "image", "image": row["image"]},
            ],
        },
        {"role": "assistant", "content": [{"type": "text", "text": row["description"]}]},
    ]


def generation_messages(row: Mapping[str, Any], recipe: Recipe = REFERENCE) -> list[Message]:
    """system, user (image first, then text): the recipe's generation prompt.

    With `repairs.same_order` the user turn keeps training's order (contradiction 1). A
    conversation of its own is asked for its last answer.
    """
    if "messages" in row:
        return _own_messages(row)[:-1]
    image = {"type": "image", "image": row["image"]}
    text = {"type": "text", "text": recipe.prompt_for(row["Product Name"], row["Category"])}
    content = [text, image] if recipe.repairs.same_order else [image, text]
    return [
        {"role": "system", "content": [{"type": "text", "text": recipe.system_message}]},
        {"role": "user", "content": content},
    ]


def _own_messages(row: Mapping[str, Any]) -> list[Message]:
    """A row's own conversation with its pictures in their places."""
    pictures = iter([row["image"], *row["more_images"]])
    return [
        {
            "role": turn["role"],
            "content": [
                {"type": "image", "image": next(pictures)} if part["type"] == "image" else part
                for part in turn["content"]
            ],
        }
        for turn in row["messages"]
    ]
