"""The recipe's calls as it writes them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.errors import HarnessError, Lack, NotRunnable
from harness.measuring.training import trainer
from harness.recipe.published import (
    IGNORE_INDEX,
    IMAGE_TOKEN_IDS,
    PROCESSOR_CLASS,
    Recipe,
    generation_messages,
    training_messages,
)


class Results(dict[str, Any]):
    """Results by call. Raises NotRunnable for one that neither the call nor an adapter gave."""

    def __missing__(self, name: str) -> Any:
        raise NotRunnable(
            f"It needs the result of {name}, which is broken; mend that first.",
            Lack.FINDING,
            f"interface.call.{name}",
        )


@dataclass
class Bench:
    """What the calls share. results: by call, its own or the adapter's."""

    snapshot: Path
    work: Path
    device: str
    recipe: Recipe
    rows: Sequence[Mapping[str, Any]]
    results: Results = field(default_factory=Results)

    @property
    def conversations(self) -> list[list[dict[str, Any]]]:
        """The training conversations of the rows."""
        return [training_messages(row, self.recipe) for row in self.rows]

    @property
    def question(self) -> list[dict[str, Any]]:
        """The generation conversation of the first row."""
        return generation_messages(self.rows[0], self.recipe)


def imports(statement: str) -> Callable[[Bench], Any]:
    """Execute an import statement; the result is the last name that it binds."""

    def run(bench: Bench) -> Any:
        bound: dict[str, Any] = {}
        exec(statement, bound)
        return list(bound.values())[-1]

    return run


def load_dataset(bench: Bench) -> Any:
    """load_dataset(..., split="train") over local parquet, first picture decoded."""
    from datasets import Dataset, load_dataset

    folder = bench.work / "dataset"
    folder.mkdir(parents=True, exist_ok=True)
    columns = {name: [row[name] for row in bench.rows] for name in bench.rows[0]}
    Dataset.from_dict(columns).to_parquet(str(folder / "train.parquet"))
    # cache_dir is ours: nothing is left in the user's cache.
    dataset = load_dataset(str(folder), split="train", cache_dir=str(bench.work / "cache"))
    if dataset[0]["image"].size != bench.rows[0]["image"].size:
        raise HarnessError("The dataset gives back another picture than it was given.")
    return dataset


def quantisation_config(bench: Bench) -> Any:
    """BitsAndBytesConfig with the recipe's four arguments."""
    import torch
    from transformers import BitsAndBytesConfig

    wanted = bench.recipe.quantisation
    return BitsAndBytesConfig(
        load_in_4bit=wanted.load_in_4bit,
        bnb_4bit_use_double_quant=wanted.bnb_4bit_use_double_quant,
        bnb_4bit_quant_type=wanted.bnb_4bit_quant_type,
        bnb_4bit_compute_dtype=getattr(torch, wanted.bnb_4bit_compute_dtype),
    )


def load_model_4bit(bench: Bench) -> Any:
    """The training model: 4 bit, bfloat16, device_map="auto"."""
    import torch
    from transformers import AutoModelForVision2Seq

    return AutoModelForVision2Seq.from_pretrained(
        str(bench.snapshot),
        device_map="auto",
        torch_dtype=torch.bfloat16,
        quantization_config=bench.results["quantisation_config"],
    )


def load_model_float16(bench: Bench) -> Any:
    """The generation model: float16, not quantised, device_map="auto"."""
    import torch
    from transformers import AutoModelForVision2Seq

    return AutoModelForVision2Seq.from_pretrained(
        str(bench.snapshot), device_map="auto", torch_dtype=torch.float16
    )


def load_processor(bench: Bench) -> Any:
    """AutoProcessor.from_pretrained."""
    from transformers import AutoProcessor

    return AutoProcessor.from_pretrained(str(bench.snapshot))


def chat_template_training(bench: Bench) -> Any:
    """apply_chat_template as the training part calls it."""
    return bench.results["load_processor"].apply_chat_template(
        bench.conversations[0], tokenize=False, add_generation_prompt=False
    )


def chat_template_generation(bench: Bench) -> Any:
    """apply_chat_template as the generation part calls it."""
    return bench.results["load_processor"].apply_chat_template(
        bench.question, tokenize=False, add_generation_prompt=True
    )


def vision_info(bench: Bench) -> Any:
    """process_vision_info, two results."""
    from qwen_vl_utils import process_vision_info

    images, videos = process_vision_info(bench.question)
    return images, videos


def processor_generation(bench: Bench) -> Any:
    """The processor's call for generation, videos=None and all, moved to the device."""
    images, videos = bench.results["vision_info"]
    inputs = bench.results["load_processor"](
        text=[bench.results["chat_template_generation"]],
        images=images,
        videos=videos,
        padding=True,
        return_tensors="pt",
    )
    return inputs.to(bench.device)


def collate_as_written(processor: Any) -> Callable[[Sequence[Any]], Any]:
    """The recipe's collate_fn, hard-coded ids included."""
    import transformers
    from qwen_vl_utils import process_vision_info

    written_for = getattr(transformers, PROCESSOR_CLASS)

    def collate(examples: Sequence[Any]) -> Any:
        texts = [
            processor.apply_chat_template(example["messages"], tokenize=False)
            for example in examples
        ]
        images = [process_vision_info(example["messages"])[0] for example in examples]
        batch = processor(text=texts, images=images, return_tensors="pt", padding=True)
        labels = batch["input_ids"].clone()
        labels[labels == processor.tokenizer.pad_token_id] = IGNORE_INDEX
        if isinstance(processor, written_for):
            image_tokens = list(IMAGE_TOKEN_IDS)
        else:
            image_tokens = [processor.tokenizer.convert_tokens_to_ids(processor.image_token)]
        for image in image_tokens:
            labels[labels == image] = IGNORE_INDEX
        batch["labels"] = labels
        return batch

    return collate


def collate(bench: Bench) -> Any:
    """collate_fn over all rows: the processor's call for training."""
    function = collate_as_written(bench.results["load_processor"])
    function([{"messages": messages} for messages in bench.conversations])
    return function


def lora_config(bench: Bench) -> Any:
    """LoraConfig with the recipe's six arguments."""
    from peft import LoraConfig

    wanted = bench.recipe.lora
    return LoraConfig(
        lora_alpha=wanted.lora_alpha,
        lora_dropout=wanted.lora_dropout,
        r=wanted.r,
        bias=wanted.bias,
        target_modules=wanted.targets,
        task_type=wanted.task_type,
    )


def sft_config(bench: Bench) -> Any:
    """SFTConfig with every argument of the recipe, tf32 among them."""
    from trl import SFTConfig

    args = SFTConfig(
        output_dir=str(bench.work / "trained"), **trainer.recipe_arguments(bench.recipe)
    )
    args.remove_unused_columns = False
    return args


def sft_trainer(bench: Bench) -> Any:
    """SFTTrainer with the list of message dicts and the dummy dataset_text_field."""
    from trl import SFTTrainer

    processor = bench.results["load_processor"]
    return SFTTrainer(
        model=bench.results["load_model_4bit"],
        args=bench.results["sft_config"],
        train_dataset=[{"messages": messages} for messages in bench.conversations],
        data_collator=collate_as_written(processor),
        dataset_text_field="",
        peft_config=bench.results["lora_config"],
        tokenizer=processor.tokenizer,
    )


def train(bench: Bench) -> Any:
    """trainer.train(): the recipe's three epochs over the few rows, one update each."""
    return bench.results["sft_trainer"].train()


def save_model(bench: Bench) -> Any:
    """trainer.save_model; the adapter must be safetensors."""
    folder = bench.work / "trained"
    bench.results["sft_trainer"].save_model(str(folder))
    if not (folder / "adapter_model.safetensors").is_file():
        raise HarnessError("save_model left no adapter_model.safetensors.")
    return folder


def generate(bench: Bench) -> Any:
    """model.generate with the recipe's arguments; the prompt's tokens trimmed."""
    inputs, wanted = bench.results["processor_generation"], bench.recipe.generation
    output = bench.results["load_model_float16"].generate(
        **inputs,
        max_new_tokens=wanted.max_new_tokens,
        top_p=wanted.top_p,
        do_sample=wanted.do_sample,
        temperature=wanted.temperature,
    )
    return [out[len(ids) :] for ids, out in zip(inputs.input_ids, output, strict=True)]


def batch_decode(bench: Bench) -> Any:
    """processor.batch_decode with the recipe's arguments."""
    return bench.results["load_processor"].batch_decode(
        bench.results["generate"], skip_special_tokens=True, clean_up_tokenization_spaces=False
    )


def load_adapter(bench: Bench) -> Any:
    """model.load_adapter on the generation model."""
    bench.results["load_model_float16"].load_adapter(str(bench.results["save_model"]))
