"""The published recipe: its values, its variants, its contradictions, ways to execute its step."""
