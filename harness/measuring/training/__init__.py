"""One short QLoRA run described by a frozen spec."""
