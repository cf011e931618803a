"""The page and the terminal view of a comparison."""
