"""What `--json` prints, a frozen type for each document: its fields are the format.
Each has a file, for a verb starts with its own alone.

The committed schemas (harness/schemas) are worked out from these types and from those of the files
that a run leaves; `python -m suites.write_schemas` writes them anew. Whoever changes a type here
raises its document's version.
"""

# History of each document: 1 (2026-11) first format. Of an audit 2 (2026-11): what a check is now
# is `is_now`, a name that a type can have. Of what holds a judgement 2 (2026-11): what it is worth.
FIRST, AUDITED, JUDGED = 1, 2, 2
