"""The end of a measuring process, without taking apart what it imported.

That takes a third as long as the imports took, and finds nothing that anybody still wants.
"""

from __future__ import annotations

import atexit
import os
import sys
import threading
from pathlib import Path
from typing import NoReturn

from harness.records.jobs import ProbeJob, read_job


def runs_users_code(path: Path) -> bool:
    """Whether the job of this file opens a user's training, whose objects may write as they go."""
    job = read_job(path)
    return isinstance(job, ProbeJob) and job.context.training is not None


def leave(code: int) -> NoReturn:
    """End as a process of multiprocessing does: threads are waited for, what was registered for the
    end is done, what was printed is written."""
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
