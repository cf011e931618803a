"""The judging world: reads records, judges, compares, bisects, reports; imports nothing judged."""
