"""A user's own training, opened without training it, and what is checked of it."""
