"""The command line: wiring only. Exit codes: 0, 1, 2, 3, 130 and 70 (see README)."""

from __future__ import annotations

import argparse
import math
import os
import sys
import traceback
from pathlib import Path
from typing import Any, NoReturn

from harness.errors import HarnessError

# sysexits.h's own; os.EX_SOFTWARE does not exist everywhere.
EX_SOFTWARE = 70


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(2, f"error: {message[0].upper()}{message[1:]}; see `{self.prog} --help`.\n")


def _filled(text: str) -> str:
    """A text that says something: an empty one is an unset variable of a script."""
    if not text.strip():
        raise argparse.ArgumentTypeError("is empty")
    return text


def _path(text: str) -> Path:
    """A path; an empty one would be the current folder."""
    return Path(_filled(text))


# Sources that are no folders, whatever lies in the current one.
_NAMED = frozenset({"stand-in", "random-7b", "catalogue"})


def _source(text: str) -> str:
    """A model or data source; a folder by its whole path, which holds from everywhere."""
    folder = os.path.expanduser(_filled(text))
    return os.path.realpath(folder) if text not in _NAMED and os.path.isdir(folder) else text


def _seconds(text: str) -> float:
    """A time limit: finite, above 0."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds above 0")
    return value


def _count(text: str) -> int:
    """A whole number from 1 on."""
    if not (text.isascii() and text.isdigit() and int(text)):
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number above 0")
    return int(text)


class _Given(argparse.Action):
    """Stores a value as usual and notes in `given` that the user gave the option, which its
    default or a variable does not."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        setattr(namespace, self.dest, self.const if self.nargs == 0 else values)
        namespace.given = (*getattr(namespace, "given", ()), option_string)


def _source_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--model",
        action=_Given,
        type=_source,
        default=os.environ.get("HARNESS_MODEL") or "stand-in",
        help="snapshot directory, org/name@<40 hex>, random-7b, or stand-in (default; "
        "also HARNESS_MODEL)",
    )
    parser.add_argument(
        "--data",
        action=_Given,
        type=_source,
        default=os.environ.get("HARNESS_DATA") or "catalogue",
        help="directory, org/name@<40 hex>, or catalogue (default; also HARNESS_DATA)",
    )
    parser.add_argument(
        "--device",
        action=_Given,
        default="auto",
        choices=("auto", "cpu", "cuda"),
        help="auto (default), cpu or cuda",
    )
    parser.add_argument(
        "--threads", action=_Given, type=_count, help="CPU threads for the libraries (default 2)"
    )


def _stack_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--stack",
        type=_filled,
        default="current",
        help="NAME[,REQ…]: current (default, nothing built), reference, latest, newest, "
        "or one varied in place (reference,transformers==4.46.3)",
    )


def _common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout")
    parser.add_argument(
        "--accept", type=_path, help="file of finding ids that don't raise the code"
    )


def _command(
    commands: argparse._SubParsersAction[_Parser], name: str, about: str
) -> argparse.ArgumentParser:
    """A command whose own help begins with the line that the list of commands shows."""
    return commands.add_parser(name, help=about, description=f"{about[0].upper()}{about[1:]}.")


def build_parser() -> argparse.ArgumentParser:
    """The whole command line."""
    parser = _Parser(
        prog="harness",
        description="A reproducibility harness for QLoRA fine-tuning of vision-language models.",
        epilog="Exit codes: 0 nothing unexpected, 1 a finding, 2 bad input, 3 a measurement is "
        "missing, 70 an internal error, 130 interrupted.",
    )
    commands = parser.add_subparsers(dest="command", required=True, parser_class=_Parser)

    doctor = _command(commands, "doctor", "name what is missing and the command that mends it")
    _stack_option(doctor)
    doctor.add_argument("--require-cuda", action="store_true", help="exit 3 without CUDA")
    doctor.add_argument("--json", action="store_true", help="one JSON document on stdout")

    probe = _command(commands, "probe", "measure rungs and write records")
    probe.add_argument(
        "rungs", type=_filled, nargs="*", metavar="RUNG", help="all rungs by default"
    )
    probe.add_argument("--out", type=_path, help="folder for the records (default: a new report)")
    _stack_option(probe)
    _source_options(probe)
    probe.add_argument("--json", action="store_true", help="one JSON document on stdout")

    run = _command(commands, "run", "probes, a short training, generation, verdict, report")
    run.add_argument("--max-steps", type=_count, help="optimizer steps (default: by the model)")
    run.add_argument(
        "--micro-batch", type=_count, help="samples per forward (default: by the model)"
    )
    run.add_argument("--accumulation", type=_count, help="micro-batches per optimizer step")
    run.add_argument("--full", action="store_true", help="the recipe's own three epochs")
    run.add_argument("--resume", type=_filled, metavar="ID", help="go on with an interrupted run")
    run.add_argument("--out", type=_path, help="the run's folder (default: a new one in reports/)")
    run.add_argument(
        "--recipe", type=_filled, default="reference", help="a named variant of the recipe"
    )
    _stack_option(run)
    _source_options(run)
    _common(run)

    compare = _command(commands, "compare", "two stacks on the whole ladder: what moved, why")
    compare.add_argument(
        "old", type=_filled, metavar="OLD", help="a stack, or a directory of records (has a /)"
    )
    compare.add_argument("new", type=_filled, metavar="NEW", help="the same")
    compare.add_argument(
        "--rungs",
        type=_filled,
        action="append",
        help="e.g. 2-9 or text,ids; may be repeated (default: all)",
    )
    compare.add_argument(
        "--resume", type=_filled, metavar="DIR", help="go on with an interrupted comparison"
    )
    compare.add_argument("--out", type=_path, help="its folder (default: a new one in reports/)")
    compare.add_argument(
        "--offline", action=_Given, nargs=0, const=True, default=False,
        help="build from uv's cache only",
    )  # fmt: skip
    compare.add_argument(
        "--limit",
        action=_Given,
        type=_seconds,
        default=1800.0,
        metavar="SECONDS",
        help="for one rung (default 1800)",
    )
    compare.set_defaults(given=())
    _source_options(compare)
    _common(compare)

    bisect = _command(commands, "bisect", "which release of a package changed it")
    bisect.add_argument(
        "package", type=_filled, nargs="?", metavar="PACKAGE", help="e.g. transformers"
    )
    bisect.add_argument(
        "--from-compare", type=_filled, metavar="DIR", help="the findings of a comparison"
    )
    bisect.add_argument("--good", type=_filled, metavar="VERSION", help="a release without it")
    bisect.add_argument("--bad", type=_filled, metavar="VERSION", help="a release that shows it")
    bisect.add_argument(
        "--base", type=_filled, default="reference", metavar="STACK", help="all else stays here"
    )
    bisect.add_argument(
        "--finding", type=_filled, action="append", metavar="ID", help="judged by its golden"
    )
    bisect.add_argument(
        "--metric", type=_filled, action="append", metavar="RUNG.METRIC", help="by its value"
    )
    bisect.add_argument("--band", type=float, help="what a value may move by, as a part of it")
    bisect.add_argument("--wheels", type=_path, metavar="DIR", help="offline, from these wheels")
    bisect.add_argument("--assume-monotonic", action="store_true", help="it changed only once")
    bisect.add_argument("--exhaustive", action="store_true", help="evaluate every release")
    bisect.add_argument("--pre", action="store_true", help="pre-releases too")
    bisect.add_argument("--yanked", action="store_true", help="yanked releases too")
    bisect.add_argument(
        "--limit",
        type=_seconds,
        default=600.0,
        metavar="SECONDS",
        help="for one rung (default 600)",
    )
    bisect.add_argument("--out", type=_path, help="its folder (default: a new one in reports/)")
    bisect.add_argument("--json", action="store_true", help="one JSON document on stdout")
    _source_options(bisect)

    report = _command(commands, "report", "render existing records, measure nothing")
    report.add_argument("directories", nargs="+", type=_path, metavar="DIR")
    report.add_argument("--out", type=_path, help="the HTML file (default: DIR/report.html)")
    _common(report)

    golden = _command(commands, "golden", "check, list, update, calibrate golden values")
    verbs = golden.add_subparsers(dest="verb", required=True, parser_class=_Parser)
    check = _command(verbs, "check", "measure the CPU rungs and compare")
    listing = _command(verbs, "list", "show provenance and unused files")
    update = _command(verbs, "update", "rewrite observed values from one run")
    update.add_argument(
        "cases", type=_filled, nargs="+", metavar="CASE", help="finding or metric ids"
    )
    update.add_argument(
        "--reason", type=_filled, required=True, help="why the old value no longer holds"
    )
    calibrate = _command(verbs, "calibrate", "derive bands from n runs")
    calibrate.add_argument(
        "cases", type=_filled, nargs="+", metavar="CASE", help="finding or metric ids"
    )
    calibrate.add_argument("--runs", type=_count, default=10)
    calibrate.add_argument(
        "--reason", type=_filled, default="calibrated", help="why it is (re)calibrated"
    )
    for verb in (check, update, calibrate):
        _stack_option(verb)
        _source_options(verb)
        verb.add_argument("--out", type=_path, help="folder for the records")
    for verb in (check, listing, update, calibrate):
        verb.add_argument("--json", action="store_true", help="one JSON document on stdout")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Parse, dispatch, and turn user errors into one sentence and an exit code."""
    arguments = build_parser().parse_args(argv)
    try:
        # Only the chosen command's modules are imported: --help stays instant.
        from harness import commands

        return commands.COMMANDS[arguments.command](arguments)
    except HarnessError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except OSError as error:
        what = "A file" if error.filename is None else os.fsdecode(error.filename)
        reason = error.strerror or error
        print(f"error: {what} cannot be read or written ({reason}).", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("error: Interrupted; what was measured is kept.", file=sys.stderr)
        return 130
    except Exception as error:  # noqa: BLE001 - Python's own exit code would say 'a finding'
        traceback.print_exc()
        named = f"{type(error).__name__}: {error}".splitlines()[0]
        print(
            f"error: Internal error ({named}); please report it with the lines above.",
            file=sys.stderr,
        )
        return EX_SOFTWARE


if __name__ == "__main__":
    sys.exit(main())
