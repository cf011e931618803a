"""With what a case was measured: the machine's own libraries, never the lock's."""

from __future__ import annotations

import datetime
from typing import Any

from harness.measuring.instruments.device import device_key
from harness.recipe.published import Recipe
from harness.records.machine import snapshot
from harness.records.recipes import recipe_digest


def provenance(model: str, device: str, quantisation: str, recipe: Recipe) -> dict[str, Any]:
    """The facts that stand in every record of the lane. recipe: whose step is measured."""
    here = snapshot()
    return {
        "model": model,
        "device_key": device_key(device),
        "quantisation": quantisation,
        **recipe_facts(recipe),
        "python": here.python,
        "platform": here.platform,
        "cpu": here.cpu,
        "versions": dict(here.versions),
        "commit": here.commit,
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "how": "measured",
    }


def recipe_facts(recipe: Recipe) -> dict[str, str]:
    """Whose step was measured: records without these fields are of the published recipe."""
    return {"recipe_name": recipe.name, "recipe_digest": recipe_digest(recipe)}
