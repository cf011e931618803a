"""Trainings as the field writes them, to be audited: each a script of its own."""
