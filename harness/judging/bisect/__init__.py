"""Which release of which package moved a value."""
