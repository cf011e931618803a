"""Twenty changes of the libraries, chosen from the source of their releases when the harness of
1a775a4 was frozen, none of them in the register nor a boundary of `golden/matrix/boundaries.md`.

Each was written down and committed before one of them was tried. `rung` is where the difference
belongs; any finding there that no entry of the register explains counts.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Change:
    """before, after: releases of `library` on either side. base: the stack they are laid into.

    frozen: the commit whose harness/ it was chosen for.
    says: the line of the source that changed, old → new. source: repository and file, as of
    `after`. why: what it does to a training. rungs, model, recipe: as `harness compare` takes them.
    """

    name: str
    library: str
    before: str
    after: str
    rung: str
    says: str
    source: str
    why: str
    base: str = "latest"
    rungs: str = "1-10"
    model: str = "stand-in"
    recipe: str = "reference"
    frozen: str = "1a775a4"

    def stack(self, release: str) -> str:
        """The stack of one side."""
        base = self.base.format(torch=TORCH_OF.get(release, ""))
        return f"{base},{self.library}=={release}"


OLDER = "latest,trl=={trl},datasets==5.0.1"
TRAINED = "2-11"
# torchvision's releases want one of torch each.
TORCH_OF = {"0.25.0": "2.10.0", "0.27.0": "2.12.0"}
TRAINER = "huggingface/transformers src/transformers/trainer.py"
ONEVISION = "huggingface/transformers src/transformers/models/llava_onevision"
INTERNVL = "huggingface/transformers src/transformers/models/internvl"
SFT = "huggingface/trl trl/trainer/sft_trainer.py"
BNB = "bitsandbytes-foundation/bitsandbytes bitsandbytes"
FETCH = "QwenLM/Qwen2.5-VL qwen-vl-utils/src/qwen_vl_utils/vision_process.py"

CHANGES = (
    Change(
        "the path is turned to RGB, not the picture",
        "qwen-vl-utils",
        "0.0.9",
        "0.0.10",
        "images",
        "image = to_rgb(image) → image = to_rgb(image_obj)",
        FETCH,
        "a picture given by its path, address or bytes ended in an AttributeError",
    ),
    Change(
        "a picture in base64 is copied before its stream closes",
        "qwen-vl-utils",
        "0.0.10",
        "0.0.11",
        "images",
        "Image.open(BytesIO(data)) → copy.deepcopy(Image.open(bio))",
        FETCH,
        "the picture is decoded at once and the copy is handed on",
    ),
    Change(
        "limits follow from the patch's size, and are held against each other",
        "qwen-vl-utils",
        "0.0.11",
        "0.0.13",
        "images",
        "min_pixels: int = MIN_PIXELS → assert max_pixels >= min_pixels",
        FETCH,
        "a most below the least is refused instead of taken",
    ),
    Change(
        "the adapter is drawn after the trainer's own seed",
        "trl",
        "1.14.2",
        "1.15.0",
        "trajectory",
        "set_seed(args.seed), before get_peft_model: new",
        SFT,
        "A of every adapter begins with other numbers, so every later step differs",
        rungs=TRAINED,
    ),
    Change(
        "the loss is the whole head's again, not worked out in chunks",
        "trl",
        "1.14.2",
        "1.15.0",
        "cost",
        "loss_type: str | None = None (chunked_nll) → 'nll'",
        "huggingface/trl trl/trainer/sft_config.py",
        "all logits of a step are held at once",
        rungs="2-11,13",
    ),
    Change(
        "a quantised model is no longer prepared",
        "trl",
        "0.26.2",
        "0.27.0",
        "trajectory",
        "prepare_model_for_kbit_training(model, …): gone",
        "huggingface/trl trl/models/utils.py",
        "norms, embedding and head of a 4-bit model stay in the dtype they were loaded in",
        base="transformers-4.57.6",
        rungs=TRAINED,
    ),
    Change(
        "the trainer's dataset is to be one of datasets",
        "trl",
        "1.9.2",
        "1.10.0",
        "interface",
        "elif not isinstance(train_dataset, Dataset): raise TypeError(…): new",
        SFT,
        "a torch Dataset or a sequence of rows is refused",
    ),
    Change(
        "the last, shorter step of an epoch is divided by its own micro-batches",
        "transformers",
        "4.54.1",
        "4.55.0",
        "trajectory",
        "loss / self.args.gradient_accumulation_steps → / self.current_gradient_accumulation_steps",
        TRAINER,
        "before, the last step of an epoch was as many times too small as micro-batches lacked",
        base=OLDER.format(trl="0.20.0"),
        rungs=TRAINED,
        model="tiny:gemma3",
    ),
    Change(
        "a step's learning rate is logged, not the next one's",
        "transformers",
        "4.50.3",
        "4.51.0",
        "trajectory",
        "learning_rate = self._get_learning_rate(), before lr_scheduler.step(): new",
        TRAINER,
        "logged rates are shifted by one step where the schedule warms up",
        base=OLDER.format(trl="0.18.2"),
        rungs=TRAINED,
        recipe="warmup",
    ),
    Change(
        "an epoch has one step more where micro-batches are left over",
        "transformers",
        "4.51.3",
        "4.52.1",
        "trajectory",
        "len_dataloader // args.gradient_accumulation_steps → … + int(… % … > 0)",
        TRAINER,
        "number of steps, end of a schedule",
        base=OLDER.format(trl="0.19.1"),
        rungs=TRAINED,
    ),
    Change(
        "several pictures of a row are not cut into tiles",
        "transformers",
        "4.52.4",
        "4.53.0",
        "images",
        "is_multi_image = next(batch_num_images) != 1: new",
        f"{ONEVISION}/processing_llava_onevision.py",
        "a row of two pictures has other numbers of image tokens",
        base=OLDER.format(trl="0.19.1"),
        model="tiny:llava_onevision",
    ),
    Change(
        "sizes of a row of several pictures are passed over",
        "transformers",
        "4.55.4",
        "4.56.0",
        "images",
        "original_size = next(image_sizes)  # should consume iterable: moved out of the else",
        f"{ONEVISION}/processing_llava_onevision.py",
        "after a row of two pictures the next row was given a size of another picture",
        base=OLDER.format(trl="0.22.2"),
        model="tiny:llava_onevision",
    ),
    Change(
        "a batch may hold a row without a picture",
        "transformers",
        "4.57.6",
        "5.0.0",
        "forward",
        "images = [x for x in images if x]  # handle text-only case: new",
        f"{ONEVISION}/image_processing_llava_onevision_fast.py",
        "before, an empty list beside others was not left out",
        base="latest,datasets==5.0.1",
        model="tiny:llava_onevision",
    ),
    Change(
        "pixels are cast to the model's dtype",
        "transformers",
        "4.55.4",
        "4.56.0",
        "inputs",
        "pixel_values = pixel_values.to(dtype=self.dtype): new",
        f"{INTERNVL}/modeling_internvl.py",
        "float32 pixels reach a 16-bit tower rounded instead of ending in an error",
        base=OLDER.format(trl="0.22.2"),
        model="tiny:internvl",
    ),
    Change(
        "word embeddings are tied where the config does not say",
        "transformers",
        "4.57.6",
        "5.0.0",
        "model",
        "tie_word_embeddings (`bool`, defaults to `True`): gone from the base config",
        "huggingface/transformers src/transformers/configuration_utils.py",
        "head and embedding of a checkpoint are one tensor or two",
        base="latest,datasets==5.0.1",
        model="tiny:internvl",
    ),
    Change(
        "a model is loaded in its checkpoint's dtype",
        "transformers",
        "4.57.6",
        "5.0.0",
        "model",
        "dtype default: torch.float32 → auto (#42805)",
        "huggingface/transformers src/transformers/modeling_utils.py",
        "a model loaded without a dtype has half the bytes and other rounding",
        base="latest,datasets==5.0.1",
    ),
    Change(
        "a given compute dtype is kept",
        "bitsandbytes",
        "0.46.1",
        "0.47.0",
        "forward",
        "compute_type_is_set = False → False if compute_dtype is None else True",
        f"{BNB}/nn/modules.py",
        "before, the first forward took the dtype of its input instead",
    ),
    Change(
        "4-bit weights are packed anew for a CPU when they infer",
        "bitsandbytes",
        "0.48.2",
        "0.49.0",
        "forward",
        "_convert_weight_packed_for_cpu(self.weight.data, quant_state), in Linear4bit.forward: new",
        f"{BNB}/nn/modules.py",
        "another kernel, and no gradient in a training that follows",
    ),
    Change(
        "Lanczos on whole levels",
        "torchvision",
        "0.25.0",
        "0.27.0",
        "images",
        "interpolation == InterpolationMode.BICUBIC → … or interpolation == LANCZOS",
        "pytorch/vision torchvision/transforms/v2/functional/_geometry.py",
        "transformers resizes tiles by torchvision where it has Lanczos, else by Pillow",
        base="latest,torch=={torch}",
        model="tiny:idefics3",
    ),
    Change(
        "a tokenizer's expression is held against Mistral's",
        "transformers",
        "4.57.2",
        "4.57.3",
        "interface",
        "tokenizer = cls._patch_mistral_regex(tokenizer, …): new",
        "huggingface/transformers src/transformers/tokenization_utils_base.py",
        "a warning about an incorrect expression for models that are no Mistral",
        base="latest,datasets==5.0.1",
    ),
)
