"""Meters, byte arithmetic, and what passes inside a model."""
