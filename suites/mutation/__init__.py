"""The judge's own code with one fault planted at a time: which of them no test notices.

`tox -e mutation` (never CI). The faults are cosmic-ray's operators and a few of ours; the runner is
ours, because cosmic-ray starts an interpreter for each of thousands of faults, and mutmut changes
no property, which exit codes are, and nothing outside functions.
"""
