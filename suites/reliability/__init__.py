"""The battery of faults: kills, full disks, flipped bits, hostile data, wrong command lines.

CI runs it small. `tox -e reliability` runs it in full, an hour of it, and writes TABLE.md.
"""
