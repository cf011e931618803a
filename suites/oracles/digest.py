"""Digests as records hold them: the first 16 hex digits of SHA-256."""

from __future__ import annotations

import hashlib
import json


def of_bytes(data: bytes) -> str:
    """Of bytes."""
    return hashlib.sha256(data).hexdigest()[:16]


def of_json(value: object) -> str:
    """Of the canonical JSON of a value: keys sorted, characters as they are."""
    return of_bytes(json.dumps(value, sort_keys=True, ensure_ascii=False).encode())
