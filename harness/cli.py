"""The command line: wiring only. Exit codes: 0, 1, 2, 3, 130 and 70 (see README)."""

from __future__ import annotations

import argparse
import os
import sys
import traceback
from collections.abc import Sequence
from typing import NoReturn

from harness.commands import verb, verbs
from harness.errors import HarnessError
from harness.records.printable import one_line, quoted, shown

# sysexits.h's own; os.EX_SOFTWARE does not exist everywhere.
EX_SOFTWARE = 70


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        sentence = one_line(f"{message[0].upper()}{message[1:]}")
        self.exit(2, f"error: {sentence}; see `{self.prog} --help`.\n")


def build_parser(names: Sequence[str] | None = None) -> argparse.ArgumentParser:
    """The command line of these verbs, all by default: only theirs is imported."""
    parser = _Parser(
        prog="harness",
        description="A reproducibility harness for QLoRA fine-tuning of vision-language models.",
        epilog="Exit codes: 0 nothing unexpected, 1 a finding, 2 bad input, 3 a measurement is "
        "missing, 70 an internal error, 130 interrupted.",
    )
    commands = parser.add_subparsers(dest="command", required=True, parser_class=_Parser)
    for name in verbs() if names is None else names:
        about = verb(name).ABOUT
        # A command's own help begins with the line that the list of commands shows.
        whole = f"{about[0].upper()}{about[1:]}."
        verb(name).arguments(commands.add_parser(name, help=about, description=whole))
    return parser


def _parsed(argv: Sequence[str]) -> argparse.Namespace:
    named = argv[0] if argv else ""
    return build_parser([named] if named in verbs() else None).parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Parse, dispatch, and turn user errors into one sentence and an exit code."""
    arguments = _parsed(sys.argv[1:] if argv is None else argv)
    try:
        return verb(arguments.command).execute(arguments)
    except HarnessError as error:
        print(f"error: {one_line(error)}", file=sys.stderr)
        return error.exit_code
    except OSError as error:
        what = "A file" if error.filename is None else os.fsdecode(error.filename)
        reason = error.strerror or error
        print(f"error: {one_line(what)} cannot be read or written ({reason}).", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("error: Interrupted; what was measured is kept.", file=sys.stderr)
        return 130
    except Exception as error:  # noqa: BLE001 - Python's own exit code would say 'a finding'
        sys.stderr.write(quoted(traceback.format_exc()))
        named = shown(f"{type(error).__name__}: {error}".splitlines()[0])
        print(
            f"error: Internal error ({named}); please report it with the lines above.",
            file=sys.stderr,
        )
        return EX_SOFTWARE


if __name__ == "__main__":
    sys.exit(main())
