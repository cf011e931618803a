"""The measuring world: runs inside one stack's environment and leaves records."""
