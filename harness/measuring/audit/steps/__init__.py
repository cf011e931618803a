"""A few optimizer steps of the user's own loop, watched and undone; the arithmetic of a step."""
