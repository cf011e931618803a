"""The judge judged without a chooser: single-line mutants of the libraries, drawn at random from
the lines which the recipe's own training executes.

`python -m suites.mutants first|second|third FOLDER`; `page` writes golden/power/MUTANTS.md from
mutants.json. Never in CI. A mutant is planted in a forked process, by replacing a function's code:
no file of the environment is touched. Whether it acts, and at which stage of the training first, is
seen by observer.py, which shares nothing with the probes, the truths and the judge.
"""
