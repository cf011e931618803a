"""Mistakes in what a training sees: whose pictures, how they lie, their colours and sizes."""

from suites.audits import Mistake
from suites.mistakes._edits import COOKBOOK, PLAIN, TWO, TWO_IMAGES

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

MISTAKES = [*IMAGES]
