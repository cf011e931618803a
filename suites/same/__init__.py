"""A stack against itself under other circumstances, which should change nothing that is judged.

`python -m suites.same FOLDER` measures each stack under circumstances drawn from a seed (those that
FOLDER holds already are kept), compares every two of them as `harness compare OLD/ NEW/` does, and
writes what came of it, sealed, beside the power tables. Every difference is a false alarm.
"""
