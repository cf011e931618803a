"""Rows of products, written as a user's data."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from harness.data.intake import Data, check_data
from harness.errors import BadInput
from harness.measuring.snapshots.source import STAND_IN


def png(size: tuple[int, int] = (30, 30)) -> bytes:
    buffer = io.BytesIO()
    Image.new("L", size, 200).save(buffer, "PNG")
    return buffer.getvalue()


def product(**changes: Any) -> dict[str, Any]:
    picture = {"bytes": base64.b64encode(png()).decode()}
    row = {"image": picture, "Product Name": "Doll", "Category": "Toys", "description": "A doll."}
    return {**row, **changes}


def write(path: Path, *rows: dict[str, Any] | str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def refusal(data: Path, snapshot: Path = STAND_IN) -> str:
    with pytest.raises(BadInput) as caught:
        check_data(Data(str(data)), snapshot)
    assert "\n" not in str(caught.value)
    return str(caught.value)
