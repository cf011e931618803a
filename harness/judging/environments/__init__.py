"""A stack's spec becomes an environment, by uv."""
