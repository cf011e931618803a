"""`harness train SPEC.json FOLDER`, in the process that measures."""

from __future__ import annotations

import contextlib
import sys
import traceback
from pathlib import Path

from harness.errors import HarnessError
from harness.measuring.instruments.device import hide_unused
from harness.measuring.snapshots.source import inspect
from harness.measuring.training.checkpoint import newest
from harness.measuring.training.processes import ended_with_a_sentence, here
from harness.measuring.training.run import train
from harness.measuring.training.spec import read_spec
from harness.measuring.training.stateful import Interrupted
from harness.records.alone import alone
from harness.records.disk import disk_refused
from harness.records.printable import one_line, quoted

# As of any other verb that breaks (README, exit codes).
BROKE = 70


def main(arguments: list[str]) -> int:
    """Run a spec file; Ctrl-C saves the state, and whatever ends it says how to go on."""
    spec_path, folder, crew = Path(arguments[0]), Path(arguments[1]), here()

    def say(sentence: str) -> None:
        if crew.is_first:
            print(sentence, file=sys.stderr)

    def how_on() -> str:
        if (folder / "run.json").is_file():
            return "the same command finds the training finished"
        state = newest(folder / "state")
        return f"the same command goes on from {state}" if state else "no state was kept yet"

    try:
        spec = read_spec(spec_path)
        hide_unused(spec.device)
        inspect(Path(spec.snapshot), spec.model)
        mine = alone(folder) if crew.is_first else contextlib.nullcontext()
        with ended_with_a_sentence(crew, how_on), disk_refused(), mine:
            run = train(spec, folder)
    except Interrupted:
        say(f"Stopped; {how_on()}.")
        return 130
    except KeyboardInterrupt:
        return 130
    except HarnessError as error:
        # Whichever process comes first: the launcher then ends the others.
        # In one write: another process may say the same on the same line.
        sys.stderr.write(f"error: {one_line(error)}\n")
        return error.exit_code
    except Exception as error:  # noqa: BLE001 - Python's own exit code would say 'a finding'
        sys.stderr.write(quoted(traceback.format_exc()))
        sys.stderr.write(f"error: The training broke ({one_line(_named(error))}); {how_on()}.\n")
        return BROKE
    finally:
        crew.leave()
    say(f"trained {len(run['curve'])} steps in {run['seconds']:.0f} s")
    return 0


def _named(error: Exception) -> str:
    """Its type and the first line of what it says."""
    return f"{type(error).__name__}: {error}".splitlines()[0]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
