"""Which installed releases do not work together, by what the packages declare.

Extras included: pip and uv check none that nobody asked for, and `transformers` names the
`accelerate` that its Trainer needs only in one. And by what some releases need and declare nowhere.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from importlib.metadata import PackageNotFoundError, requires

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from harness.records.failure import Mismatch
from harness.records.machine import installed_versions

# What the recipe imports, and what decides whether those work.
PACKAGES = (
    "torch",
    "torchvision",
    "transformers",
    "tokenizers",
    "huggingface-hub",
    "safetensors",
    "accelerate",
    "peft",
    "trl",
    "bitsandbytes",
    "datasets",
    "numpy",
    "jinja2",
)
# How a requirement begins (PEP 508).
NAME = re.compile(r"\s*[A-Za-z0-9][A-Za-z0-9._-]*")
# Extras that the recipe uses without asking for them. Not `dev` or `testing`: they name what the
# package's own tests want.
EXTRAS = ("torch", "accelerate", "peft", "quantization", "vision", "chat_template")

# (package, its releases, other, what of it they need), read in the wheels:
UNDECLARED = (
    # integrations/tensor_parallel.py imports Replicate for torch 2.5 only, 4.52.2 uses it anyway;
    # 4.52.3 and 4.52.4 set ALL_PARALLEL_STYLES to None, modeling_utils.py looks into it. 4.52.1
    # has no such list, 4.53.0 has it on every torch.
    ("transformers", ">=4.52.2,<4.53", "torch", ">=2.5"),
    # trainer.py, num_items_in_batch: Accelerator.parallelism_config is new in accelerate 1.10.0;
    # 4.56.1 asks with getattr.
    ("transformers", "==4.56.0", "accelerate", ">=1.10.0"),
)


def _declared(name: str) -> tuple[str, ...]:
    try:
        return tuple(requires(name) or ())
    except PackageNotFoundError:
        return ()


def mismatches(
    versions: Mapping[str, str] | None = None,
    declared: Callable[[str], Iterable[str]] = _declared,
) -> tuple[Mismatch, ...]:
    """Every pair of installed releases that does not work together, in the order of its sentence.

    versions: by normalised distribution name; those installed here by default. declared: a
    distribution's requirements as its metadata has them.
    """
    here = installed_versions() if versions is None else versions
    pairs = {
        Mismatch(name, here[name], other, here[other], str(wanted))
        for name in PACKAGES
        if name in here
        for other, wanted in _wishes(declared(name))
        if other in PACKAGES and other in here and not _holds(wanted, here[other])
    }
    pairs |= {
        Mismatch(name, here[name], other, here[other], needed, declared=False)
        for name, releases, other, needed in UNDECLARED
        if name in here and _holds(SpecifierSet(releases), here[name])
        if other in here and not _holds(SpecifierSet(needed), here[other])
    }
    return tuple(sorted(pairs, key=lambda pair: pair.sentence))


def _wishes(lines: Iterable[str]) -> Iterable[tuple[str, SpecifierSet]]:
    for line in lines:
        # Of a hundred lines some name a package that matters, and a marker takes long to parse.
        named = NAME.match(line)
        if named and canonicalize_name(named[0].strip()) not in PACKAGES:
            continue
        wish = Requirement(line)
        name = str(canonicalize_name(wish.name))
        if wish.marker is None or wish.marker.evaluate({"extra": ""}):
            yield name, wish.specifier
        elif any(wish.marker.evaluate({"extra": extra}) for extra in EXTRAS):
            # Upper bounds of extras go stale: trl 0.11.1 asks for bitsandbytes<=0.41.1 and works
            # with the recipe's 0.44.0.
            yield name, SpecifierSet(",".join(str(s) for s in wish.specifier if s.operator == ">="))


def _holds(wanted: SpecifierSet, version: str) -> bool:
    return wanted.contains(version.split("+")[0], prereleases=True)
