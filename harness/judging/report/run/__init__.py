"""The page and the terminal view of one run's records."""
