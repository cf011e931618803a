"""The judge judged: planted faults and historic changes, each with the rung where it was found.

`python -m suites.trial planted|wheels|releases FOLDER` tries them and adds what came of each
to golden/power/trial.json; `python -m suites.trial page` writes the table from it. Never in CI.
"""
