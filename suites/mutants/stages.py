"""The stages of a training that are looked at, and the rung where each belongs."""

from __future__ import annotations

# In the order of what is made, each with its own rung: written down before the first mutant was
# tried. Up to `backward` of one batch of four rows and of a prompt's.
STAGES = {
    "text": "text",
    "ids": "ids",
    "images": "images",
    "labels": "labels",
    "model": "model",
    "inputs": "inputs",
    "tower": "forward",
    "forward": "forward",
    "backward": "backward",
    "first step": "update",
    "later steps": "trajectory",
    "log": "trajectory",
    "saved": "trajectory",
    "reloaded": "trajectory",
    "generated": "generation",
}
