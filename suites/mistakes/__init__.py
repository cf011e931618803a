"""Mistakes in trainings as people make them, by what they are made in: `MISTAKES` of each file."""
