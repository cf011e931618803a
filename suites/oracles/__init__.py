"""Independent calculations of what the libraries should produce.

Nothing here imports transformers, trl, peft, bitsandbytes, jinja2 or the harness
(suites/selftest/test_oracles.py enforces it): an oracle that shares code with what it judges
proves nothing.
"""
