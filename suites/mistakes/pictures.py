"""Mistakes in what a training sees: whose pictures, how they lie, their colours and sizes."""

from suites.audits import Mistake
from suites.mistakes._edits import COOKBOOK, GUIDE, MIXED, PLAIN, TILES, TWO, TWO_IMAGES

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

OPENED = 'Image.open(io.BytesIO(part["image"]["bytes"])).convert("RGB")'
CONVERTED = '[[example["image"].convert("RGB")] for example in examples]'

# Families lose proportions each in their own way: what they show all the same is judged.
SHAPES = [
    Mistake(
        "cropped to a square, of a family that squeezes to one",
        GUIDE,
        (
            ("from PIL import Image, ImageDraw\n", "from PIL import Image, ImageDraw, ImageOps\n"),
            (OPENED, f"ImageOps.fit({OPENED}, (84, 84))"),
        ),
        "images.proportions",
    ),
    Mistake(
        "squeezed on a square ground, of a family that squeezes to one",
        GUIDE,
        (
            (
                "def process_vision_info(messages):\n",
                "def on_a_ground(picture):\n"
                '    ground = Image.new("RGB", (112, 112), "gray")\n'
                "    ground.paste(picture.resize((112, 56)), (0, 28))\n"
                "    return ground\n\n\n"
                "def process_vision_info(messages):\n",
            ),
            (OPENED, f"on_a_ground({OPENED})"),
        ),
        "images.proportions",
    ),
    Mistake(
        "squeezed to a square, of a family that keeps proportions",
        MIXED,
        (
            (
                "images=images if any(images) else None",
                "images=[[p.resize((84, 84)) for p in row] for row in images] "
                "if any(images) else None",
            ),
        ),
        "images.proportions",
    ),
    Mistake(
        "width and height exchanged, of a family that cuts tiles",
        TILES,
        (
            (
                CONVERTED,
                '[[e["image"].convert("RGB").resize(e["image"].size[::-1])] for e in examples]',
            ),
        ),
        "images.proportions",
    ),
]

MISTAKES = [*IMAGES, *SHAPES]
