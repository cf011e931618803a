"""Where things lie: the package's own files, a clone's or a wheel's; the runs' folders; the cache.

A clone keeps goldens and reports beside the package. A wheel carries the goldens inside it
(pyproject.toml), and its results go to the working folder.
"""

from __future__ import annotations

import contextlib
import datetime
import errno
import os
from pathlib import Path

from harness.errors import BadInput
from harness.records.files import text_digest

PACKAGE = Path(__file__).resolve().parent.parent
PROJECT = PACKAGE.parent
IS_CLONE = (PROJECT / "pyproject.toml").is_file() and (PROJECT / "golden").is_dir()
GOLDEN = PROJECT / "golden" if IS_CLONE else PACKAGE / "golden"
REPORTS = (PROJECT if IS_CLONE else Path.cwd()) / "reports"
# Independent of everything here: in a clone they lie with the suites that they came from.
ORACLES = PROJECT / "suites" / "oracles" if IS_CLONE else PACKAGE / "oracles"
STACKS = PACKAGE / "stacks"
# The form of every document (suites/write_schemas.py), for tools that read them.
SCHEMAS = PACKAGE / "schemas"
REGISTER = PACKAGE / "judging" / "compare" / "known_changes"
PROBES = PACKAGE / "measuring" / "probes"
FAMILIES = PACKAGE / "measuring" / "models"


def refuse_installed(what: str) -> None:
    """Raises BadInput where the harness is no clone: what is committed is written in one."""
    if not IS_CLONE:
        raise BadInput(
            f"{what} is written in a clone of the harness, and this one is installed in "
            f"{PACKAGE.parent}; clone the repository and run this there."
        )


def path_of(text: str) -> Path:
    """A path as a shell takes it: `~` is a home, and `~nobody` a folder of that name."""
    return Path(os.path.expanduser(text))


def whole(path: Path) -> Path:
    """A whole path, its links followed; of a link to itself the link, for which Path.resolve raises
    RuntimeError before Python 3.13."""
    return Path(os.path.realpath(path))


def cache_root() -> Path:
    """Where environments are kept: HARNESS_CACHE, else the user's cache folder."""
    override = os.environ.get("HARNESS_CACHE")
    if override:
        return whole(Path(override).expanduser())
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "vlm-qlora-harness"


def import_root() -> Path:
    """The folder that lets another interpreter import this package and nothing else of ours.

    A clone's own folder. An installed package lies among the libraries of its environment, which
    must not reach a stack's: there it is a folder in the cache that holds one link.
    """
    if IS_CLONE:
        return PROJECT
    folder = cache_root() / "import" / text_digest(str(PACKAGE))
    link = folder / PACKAGE.name
    if not link.is_symlink():
        folder.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError):  # another process made it
            link.symlink_to(PACKAGE, target_is_directory=True)
    return folder


def new_run(reports: Path = REPORTS) -> Path:
    """Path of a new run, `<UTC time>-<digest>`; the digest keeps two of one second apart.

    The first file written makes the folder: a refused command leaves none.
    """
    now = datetime.datetime.now(datetime.UTC)
    name = f"{now:%Y%m%dT%H%M%SZ}-{text_digest(f'{now.isoformat()}{os.getpid()}')[:8]}"
    return reports / name


def output_folder(given: Path | None) -> Path:
    """The folder of a command's results: the one given, else a new run's.

    Raises BadInput where it cannot be made: asked before anything is built for it.
    """
    return new_run() if given is None else writable(given, "--out")


def writable(given: Path, option: str) -> Path:
    """The whole path of a folder that can be made, or is there and can be written into.

    option: that names it. Raises BadInput where it cannot.
    """
    try:
        path = given.resolve()
    except (RuntimeError, ValueError) as error:  # a link to itself, a name with a zero byte
        raise BadInput(f"{given} cannot be written ({error}); give another {option}.") from error
    place = path
    while not os.path.exists(place):  # False for a name that is too long, too
        place = place.parent
    if not place.is_dir():
        raise BadInput(f"{path} cannot be written ({place} is no folder); give another {option}.")
    if not os.access(place, os.W_OK | os.X_OK):
        raise BadInput(f"{path} cannot be written ({place} is shut to you); give another {option}.")
    # Else the folders above the long name are made before it is refused.
    most = os.pathconf(place, "PC_NAME_MAX")
    if any(len(os.fsencode(part)) > most for part in path.relative_to(place).parts):
        reason = os.strerror(errno.ENAMETOOLONG)
        raise BadInput(f"{path} cannot be written ({reason}); give another {option}.")
    return path


def existing_run(identity: str, reports: Path = REPORTS) -> Path:
    """The folder of an earlier run, by its name or path. Raises BadInput where there is none."""
    path = Path(identity) if "/" in identity else reports / identity
    if not path.is_dir():
        raise BadInput(f"There is no run {identity} in {reports}; `ls {reports}` lists them.")
    return path
