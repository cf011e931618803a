"""The measuring process's own main: jobs in, records out."""
