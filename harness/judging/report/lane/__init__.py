"""What the committed records of a GPU say of the cost of a step, as Markdown."""
