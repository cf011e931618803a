"""A training from a cold start to its saved adapter, every phase of it timed."""
