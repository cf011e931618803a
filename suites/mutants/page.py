"""golden/power/MUTANTS.md."""


def publish() -> None:
    """Write."""
