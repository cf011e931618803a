"""Mistakes in what a training learns from: texts, ids, pictures, labels."""

from suites.audits import Mistake

PLAIN, COOKBOOK, TWO = "plain_trainer", "cookbook_qwen2_vl", "two_images"
ASSISTANT, PACKED, UNPACKED = "assistant_only", "packing_text", "unpacked_text"

# Lines of the trainings that several mistakes replace.
PLAIN_PROMPT = "labels[row, : start + length] = -100\n"
PADS = '    labels[batch["attention_mask"] == 0] = -100\n'
TWO_IMAGES = '    images = [[as_seen(picture) for picture in row["images"]] for row in examples]\n'

TEXTS = [
    Mistake(
        "begin token twice",
        UNPACKED,
        (
            (
                "model = AutoModel",
                'tokenizer.bos_token = "<|object_ref_start|>"\n'
                "tokenizer.chat_template = (\n"
                '    "{{- bos_token + bos_token -}}" + tokenizer.chat_template\n'
                ")\nmodel = AutoModel",
            ),
        ),
        "text.begin_token_twice",
        fast=True,
    ),
    Mistake(
        "control token in data",
        PLAIN,
        (
            (
                '"answer": f"It is {COLOURS[i]}.",',
                '"answer": f"It is <|im_end|>{COLOURS[i]}.",',
            ),
        ),
        "text.control_tokens_in_data",
    ),
    Mistake(
        "control token in a conversation",
        ASSISTANT,
        (('f"Buy {thing} and be glad."', 'f"<|im_start|>Buy {thing} and be glad."'),),
        "text.control_tokens_in_data",
    ),
    Mistake(
        "empty answer",
        PLAIN,
        (('"answer": f"It is {COLOURS[i]}.",', '"answer": "" if i == 3 else f"It is {i}.",'),),
        "text.answers_empty",
    ),
    Mistake(
        "generation prompt after the answer",
        COOKBOOK,
        (
            (
                "processor.apply_chat_template(c, tokenize=False)",
                "processor.apply_chat_template(c, tokenize=False, add_generation_prompt=True)",
            ),
        ),
        "text.prompt_left_open",
    ),
    Mistake(
        "end of turn left out",
        PLAIN,
        (
            (
                "texts.append(processor.apply_chat_template([user, answer], tokenize=False))",
                "text = processor.apply_chat_template([user, answer], tokenize=False)\n"
                '        texts.append(text.rsplit("<|im_end|>", 1)[0])',
            ),
        ),
        "text.ends_missing",
    ),
    Mistake(
        "a template that drops the system's turn",
        ASSISTANT,
        (
            (
                "{%- for message in messages -%}",
                "{%- for message in messages if message['role'] != 'system' -%}",
            ),
        ),
        "text.turns_lost",
    ),
]

IDS = [
    Mistake(
        "tokens without embedding",
        UNPACKED,
        (
            (
                "model = AutoModelForImageTextToText.from_pretrained(MODEL, dtype=torch.float32)\n",
                "model = AutoModelForImageTextToText.from_pretrained(MODEL, dtype=torch.float32)\n"
                "size = model.get_input_embeddings().weight.shape[0]\n"
                'tokenizer.add_tokens([f"<number_{i}>" for i in range(size)])\n',
            ),
            ('f"Count to {number}."', 'f"Count to {number}<number_{size - 1}>."'),
        ),
        "ids.largest_id",
    ),
    Mistake(
        "truncation through a picture",
        PLAIN,
        (
            (
                '    labels = batch["input_ids"].clone()\n',
                '    rowwise = {"input_ids", "attention_mask", "mm_token_type_ids"}\n'
                "    for name in rowwise & set(batch):\n"
                "        batch[name] = batch[name][:, :MAX_LENGTH]\n"
                '    labels = batch["input_ids"].clone()\n',
            ),
            ("COLOURS = [", "MAX_LENGTH = 30\nCOLOURS = ["),
        ),
        "ids.pictures_cut",
        fast=True,
    ),
    Mistake(
        "truncation of the answer",
        UNPACKED,
        (("max_length=256", "max_length=48"),),
        "ids.answers_cut",
    ),
    Mistake(
        "truncation of the start",
        UNPACKED,
        (("max_length=256", 'max_length=32,\n    truncation_mode="keep_end"'),),
        "ids.starts_cut",
    ),
    Mistake(
        "packing that cuts rows anywhere",
        PACKED,
        (
            ("packing=True", 'packing=True,\n    packing_strategy="wrapped"'),
            ("max_length=256", "max_length=96"),
        ),
        "ids.packing_cuts",
    ),
    Mistake(
        "padding with the end of turns",
        COOKBOOK,
        (
            (
                "model = AutoModel",
                "processor.tokenizer.pad_token = processor.tokenizer.eos_token\nmodel = AutoModel",
            ),
        ),
        "ids.ends_as_padding",
        fast=True,
    ),
    Mistake(
        "attention mask lost",
        PLAIN,
        (
            (PADS, PADS + '    batch["attention_mask"][:] = 1\n'),
            ("56 + 28 * (i % 3)", "56 + 56 * (i % 4)"),
        ),
        "ids.padding_attended",
    ),
]

IMAGES = [
    Mistake(
        "pictures swapped between rows",
        PLAIN,
        (("images=images, padding=True", "images=images[::-1], padding=True"),),
        "images.other_rows",
        fast=True,
    ),
    Mistake(
        "two pictures in the wrong order",
        TWO,
        ((TWO_IMAGES, TWO_IMAGES.replace('row["images"]', 'row["images"][::-1]')),),
        "images.order",
    ),
    Mistake(
        "a picture left out",
        TWO,
        (
            (TWO_IMAGES, TWO_IMAGES.replace('row["images"]', 'row["images"][:1]')),
            ('for _ in row["images"]]', 'for _ in row["images"][:1]]'),
        ),
        "images.pictures",
    ),
    Mistake(
        "EXIF ignored",
        TWO,
        (("    picture = ImageOps.exif_transpose(picture)\n", ""),),
        "images.orientation",
        fast=True,
    ),
    Mistake(
        "pictures upside down",
        COOKBOOK,
        (
            (
                'part["image"]\n',
                'part["image"].transpose(Image.Transpose.FLIP_TOP_BOTTOM)\n',
            ),
        ),
        "images.orientation",
    ),
    Mistake(
        "transparency black",
        TWO,
        (('    if picture.mode == "RGBA":\n', "    if False:\n"),),
        "images.transparency",
    ),
    Mistake(
        "greyscale",
        TWO,
        (('    return picture.convert("RGB")', '    return picture.convert("L").convert("RGB")'),),
        "images.colours",
    ),
    Mistake(
        "blue for red",
        PLAIN,
        (
            (
                'images.append([example["image"]])',
                'images.append([Image.merge("RGB", example["image"].split()[::-1])])',
            ),
        ),
        "images.colours",
    ),
    Mistake(
        "divided by 255 twice",
        PLAIN,
        (
            (
                'images.append([example["image"]])',
                'images.append([to_tensor(example["image"])])',
            ),
            (
                "from PIL import Image\n",
                "from PIL import Image\nfrom torchvision.transforms.functional import to_tensor\n",
            ),
        ),
        "images.brightness",
    ),
    Mistake(
        "max_pixels not reaching the processor",
        TWO,
        (
            (
                "AutoProcessor.from_pretrained(MODEL, max_pixels=MAX_PIXELS)",
                "AutoProcessor.from_pretrained(MODEL)",
            ),
            ('{"type": "image"} for', '{"type": "image", "max_pixels": MAX_PIXELS} for'),
        ),
        "images.pixels_most",
    ),
]

OWN_COLLATOR = """
def collate(rows):
    batch = tokenizer.pad({"input_ids": [row["input_ids"] for row in rows]}, return_tensors="pt")
    labels = batch["input_ids"].clone()
    labels[batch["attention_mask"] == 0] = -100
    return {**batch, "labels": labels}


trainer = SFTTrainer("""
ANSWER = "labels[number, : length - len(answer)] = -100\n"

LABELS = [
    Mistake(
        "prompt trained although only answers are meant",
        COOKBOOK,
        (),
        "labels.prompt_trained",
        loss_on="assistant",
    ),
    Mistake(
        "a collator of one's own undoes assistant_only_loss",
        ASSISTANT,
        (
            ("trainer = SFTTrainer(", OWN_COLLATOR),
            (
                "    train_dataset=dataset,",
                "    train_dataset=dataset,\n    data_collator=collate,",
            ),
        ),
        "labels.prompt_trained",
        fast=True,
    ),
    Mistake(
        "image tokens trained",
        COOKBOOK,
        (('"<|vision_end|>", "<|image_pad|>")', '"<|vision_end|>")'),),
        "labels.image_tokens_trained",
        fast=True,
    ),
    Mistake(
        "padding trained",
        TWO,
        ((PADS, ""), ('sticker, number {number}."', "sticker{number * ' again'}.\"")),
        "labels.padding_trained",
    ),
    Mistake(
        "labels shifted",
        PLAIN,
        (
            (
                'batch["labels"] = labels\n',
                'batch["labels"] = labels.roll(-1, dims=1)\n',
            ),
        ),
        "labels.other_than_ids",
        fast=True,
    ),
    Mistake(
        "padding masked with 0",
        COOKBOOK,
        (("pad_token_id] = -100", "pad_token_id] = 0"),),
        "labels.other_than_ids",
    ),
    Mistake(
        "masked with -1",
        PLAIN,
        ((PLAIN_PROMPT, PLAIN_PROMPT.replace("-100", "-1")),),
        "labels.outside_vocabulary",
    ),
    Mistake(
        "header trained",
        PLAIN,
        (("tokenize=False, add_generation_prompt=True", "tokenize=False"),),
        "labels.headers_trained",
    ),
    Mistake(
        "one row masked as a whole",
        TWO,
        (
            (
                ANSWER,
                ANSWER + '        if row["answer"].endswith("3."):\n'
                "            labels[number] = -100\n",
            ),
        ),
        "labels.rows_all_masked",
    ),
    Mistake(
        "the template marks the questions",
        ASSISTANT,
        (("{%- if message['role'] == 'assistant' -%}", "{%- if message['role'] == 'user' -%}"),),
        "labels.answers_masked",
    ),
    Mistake(
        "answers masked from their second token on",
        TWO,
        ((ANSWER, ANSWER.replace("len(answer)", "len(answer) + 1")),),
        "labels.answer_starts_masked",
    ),
    Mistake(
        "ends never trained",
        TWO,
        ((ANSWER, ANSWER + "        labels[number, length - 2 :] = -100\n"),),
        "labels.ends_untrained",
    ),
    Mistake(
        "prompts counted from the left edge of padding",
        PLAIN,
        (
            ('if processor.tokenizer.padding_side == "left"', "if False"),
            ('"Which colour is it?"', "f\"Which colour is it{i % 5 * ' really'}?\""),
        ),
        "labels.prompt_trained",
        loss_on="assistant",
    ),
]

MISTAKES = [*TEXTS, *IDS, *IMAGES, *LABELS]
