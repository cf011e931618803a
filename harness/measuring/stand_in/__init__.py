"""The tiny trained models, and how they are made."""
