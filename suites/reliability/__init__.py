"""The battery of faults: kills, full disks, flipped bits, hostile data, wrong command lines.

Small by default, as CI runs it. `HARNESS_RELIABILITY=large` runs the counts of the table.
"""
