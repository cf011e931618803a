"""With what a case was measured: the machine's own libraries, never the lock's."""

from __future__ import annotations

import datetime
from typing import Any

from harness.measuring.instruments.device import device_key
from harness.records.machine import snapshot


def provenance(model: str, device: str, quantisation: str) -> dict[str, Any]:
    """The facts that stand in every record of the lane."""
    here = snapshot()
    return {
        "model": model,
        "device_key": device_key(device),
        "quantisation": quantisation,
        "python": here.python,
        "platform": here.platform,
        "cpu": here.cpu,
        "versions": dict(here.versions),
        "commit": here.commit,
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "how": "measured",
    }
