"""Many stacks, families, recipes and devices: cell by cell, each measured once."""
