"""The battery of faults: kills, full disks, flipped bits, hostile data, wrong command lines.

`tox -e reliability` runs it, small by default, as CI does. `HARNESS_RELIABILITY=large` runs the
counts of TABLE.md, which `HARNESS_RELIABILITY_TABLE=FILE` writes.
"""
