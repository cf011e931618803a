"""Model families, one file each: the file name is the registration."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import ModuleType
from typing import Any, cast, get_type_hints

from packaging.specifiers import SpecifierSet

from harness.errors import BadInput, HarnessError, Lack, NotRunnable
from harness.measuring import _compat
from harness.measuring.models._protocol import Chat as Chat
from harness.measuring.models._protocol import Family as Family
from harness.measuring.models._protocol import Parts
from harness.recipe.published import MODEL_ID
from harness.records.components import Component
from harness.records.files import read_json

# Where a snapshot says how large its pictures become.
PICTURES = "preprocessor_config.json"


@cache
def families() -> tuple[str, ...]:
    """Names of the families found in this folder."""
    names = (m.name for m in pkgutil.iter_modules(__path__) if not m.ispkg)
    return tuple(sorted(name for name in names if not name.startswith("_")))


@cache
def family(name: str) -> Family:
    """A family's module, whole: checked once a process. Raises BadInput listing the families,
    HarnessError naming what its file lacks."""
    if name not in families():
        raise BadInput(f"There is no model family {name!r}; known are {', '.join(families())}.")
    module = importlib.import_module(f"{__name__}.{name}")
    lacks = lacking(module)
    if lacks:
        raise HarnessError(f"The family {name} is not whole: its file lacks {', '.join(lacks)}.")
    return cast(Family, module)


def lacking(module: ModuleType) -> list[str]:
    """What of `Family` a module has not, or has with other parameters."""
    facts = [name for name in get_type_hints(Family) if not hasattr(module, name)]
    functions = []
    for name, wanted in vars(Family).items():
        if not isinstance(wanted, staticmethod):
            continue
        parameters = list(inspect.signature(wanted.__func__).parameters)
        own = getattr(module, name, None)
        if not callable(own) or list(inspect.signature(own).parameters) != parameters:
            functions.append(f"{name}({', '.join(parameters)})")
    return facts + functions


def of_type(model_type: object) -> str:
    """The name of the family of a config's `model_type`. Raises BadInput listing the families."""
    for name in families():
        if model_type in family(name).MODEL_TYPES:
            return name
    raise BadInput(
        f"There is no family for a {model_type!r} model; the families are {', '.join(families())}."
    )


def of_snapshot(folder: Path) -> str:
    """The name of a snapshot's family. Raises BadInput naming the folder."""
    if not folder.is_dir():
        raise BadInput(f"The model folder {folder} does not exist; give a snapshot directory.")
    model_type = read_json(folder / "config.json").get("model_type")
    try:
        return of_type(model_type)
    except BadInput as error:
        raise BadInput(f"{folder} holds a {model_type!r} model. {error}") from error


def of(model: Any) -> Family:
    """The family of a model at hand, through peft."""
    return family(of_type(_compat.model_type(_compat.core(model).config)))


def of_recipe() -> tuple[str, str]:
    """(family, size) of the model that the published recipe trains."""
    for name in families():
        for size, published in family(name).PUBLISHED.items():
            if published.model_id == MODEL_ID:
                return name, size
    raise HarnessError(f"No family has published {MODEL_ID}, the recipe's model.")


def parts(model: Any) -> Parts:
    """The modules of a model, through peft."""
    return of(model).parts(_compat.core(model))


def layer_classes(model: Any) -> set[type]:
    """The classes of the decoder's layers and of the tower's blocks."""
    modules = parts(model)
    return {type(block) for block in (*modules.layers, *modules.blocks)}


def plain_sizes(name: str, snapshot: Path) -> tuple[tuple[int, int], tuple[int, int]]:
    """Two (width, height) that no resize touches in a snapshot of a family."""
    sizes = family(name).SAMPLES.plain
    if sizes is not None:
        return sizes
    square = read_json(snapshot / PICTURES)["size"]
    size = int(square["width"]), int(square["height"])
    return size, size


def canonical_name(name: str, loader: Family) -> str:
    """A parameter's name as the family spells it, whatever the installed stack and peft do."""
    name = _compat.without_peft(name)
    for prefix, canonical in loader.RENAMED:
        if name.startswith(prefix):
            return canonical + name.removeprefix(prefix)
    return name


def component(name: str, loader: Family) -> Component:
    """What a parameter belongs to, by its name in any stack."""
    return loader.component(canonical_name(name, loader))


def lacks_release(name: str) -> str:
    """What the installed libraries lack to run a family, as a sentence; '' where they can."""
    for package, needed in family(name).NEEDS.items():
        try:
            installed = version(package)
        except PackageNotFoundError:
            return f"{family(name).TITLE} needs {package}{needed}, which is not installed here."
        if not SpecifierSet(needed).contains(installed, prereleases=True):
            return (
                f"{family(name).TITLE} needs {package}{needed}, here is {installed}; "
                "measure it on a newer stack."
            )
    return ""


def check_runs(name: str) -> None:
    """Raises NotRunnable where the installed libraries cannot run a family."""
    lack = lacks_release(name)
    if lack:
        raise NotRunnable(lack, Lack.LIBRARY)
