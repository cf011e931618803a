"""What is known of the mutants that act and are not red at their own rung, by name; written by hand
after they were tried."""

from __future__ import annotations

WHY: dict[str, str] = {}
