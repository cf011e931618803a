"""Where a model's files come from: a folder, the hub, random weights."""
