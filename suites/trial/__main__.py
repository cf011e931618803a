"""`python -m suites.trial WHAT [FOLDER [NAME …]]`: try faults or changes, and keep what came of
them."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from harness.measuring.instruments.device import device_key
from suites.trial import page, pairs, planted, record

WAYS: dict[str, Callable[[Path, Sequence[str]], Iterator[record.Tried]]] = {
    "planted": planted.try_all,
    "releases": pairs.try_releases,
    "wheels": pairs.try_wheels,
}


def main(words: Sequence[str] | None = None) -> int:
    """Exit code 0 where everything that was asked for was tried."""
    parser = argparse.ArgumentParser(prog="python -m suites.trial", description=__doc__)
    parser.add_argument("what", choices=[*WAYS, "page"])
    parser.add_argument("folder", nargs="?", type=Path, help="for records; gone on with")
    parser.add_argument("names", nargs="*", help="parts of names; all by default")
    options = parser.parse_args(words)
    if options.what == "page":
        page.publish()
        return 0
    if options.folder is None:
        parser.error("a folder is needed")
    root = options.folder.resolve()
    root.mkdir(parents=True, exist_ok=True)
    for one in WAYS[options.what](root, options.names):
        print(f"{one.expected}: {one.name}: {one.found or '–'}, {one.headings}", flush=True)
        kept = record.read() if record.PATH.is_file() else record.Trial("", ())
        tried = record.merged(kept.tried, [one])
        record.write(record.Trial(device_key("cpu"), tried))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
