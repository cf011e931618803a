"""Every document that is printed."""

from __future__ import annotations

from collections.abc import Mapping

from harness.commands._documents import AUDITED, FIRST, JUDGED
from harness.commands._documents.audited import Audited
from harness.commands._documents.bisected import Bisected
from harness.commands._documents.compared import Compared
from harness.commands._documents.goldens import Checked, GoldensListed, GoldensWritten
from harness.commands._documents.inspected import Inspected
from harness.commands._documents.matrix import MatrixForecast, MatrixMeasured
from harness.commands._documents.powered import Powered
from harness.commands._documents.probed import Probed
from harness.commands._documents.ran import Ran
from harness.commands._documents.reported import Reported
from harness.commands._documents.watched import LockWatched
from harness.judging.bisect.answers import BISECT_SCHEMA
from harness.judging.compare.document import COMPARISON_SCHEMA
from harness.judging.matrix.table import MATRIX_SCHEMA
from harness.records.beside import SUMMARY_SCHEMA
from harness.records.power import POWER_SCHEMA

# By the verb, and the name of its schema's file. What shares its type with a file of a run has that
# file's version.
PRINTED: Mapping[str, tuple[type, int]] = {
    "audit": (Audited, AUDITED),
    "bisect": (Bisected, BISECT_SCHEMA),
    "compare": (Compared, COMPARISON_SCHEMA),
    "doctor": (Inspected, FIRST),
    "golden-check": (Checked, JUDGED),
    "golden-list": (GoldensListed, FIRST),
    "golden-update": (GoldensWritten, FIRST),
    "matrix": (MatrixMeasured, MATRIX_SCHEMA),
    "matrix-forecast": (MatrixForecast, FIRST),
    "power": (Powered, POWER_SCHEMA),
    "probe": (Probed, FIRST),
    "report": (Reported, JUDGED),
    "run": (Ran, JUDGED),
    "watch": (LockWatched, FIRST),
}
# run.json is what `harness run` prints, under the number of its own history.
RUN_FILE = (Ran, SUMMARY_SCHEMA)
