"""Goldens: read, written, and what records are against them."""
