"""The judging core: what decides which verdict, which cause, which release and which exit code."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
# What is made once and used again; not committed.
KEPT = ROOT / "build" / "mutation"
_MODULES = {
    "harness/judging/goldens": (
        *("values", "bands", "verdicts", "judgement", "scope", "elsewhere", "kinds"),
        *("accepted", "conditions", "expected", "own", "second"),
    ),
    "harness/judging/compare": (
        *("register", "pairs", "lost", "rungs", "second", "patterns", "comparison", "causes"),
    ),
    "harness/judging/bisect": ("search", "noisy", "findings", "blaming", "range"),
    "harness/judging/report/lane": ("safety",),
    "harness/records": ("statistics", "bootstrap", "mismatches"),
    "harness": ("cli", "errors"),
}
TARGETS = tuple(f"{room}/{name}.py" for room, names in _MODULES.items() for name in names)
# The fast ones that concern them; they need none of the five libraries.
_FILES = (
    *("accept", "addresses", "audit_judge", "bisect", "bisect_compare_refusals", "bisect_words"),
    *("cli", "companions", "compare", "compare_known", "comparison", "comparison_document"),
    *("comparison_mismatches", "contest", "evaluation", "families", "footprint", "golden_files"),
    *("kinds", "matrix_judging", "mismatches", "mutation", "noisy", "own_stacks", "pairs"),
    *(
        "patterns",
        "question",
        "recipe_judging",
        "register",
        "register_limits",
        "report",
        "scope",
        "statistics",
    ),
    *("report_reasons", "second_look", "swap", "upgrade", "upgrade_report"),
    *("compare_folders", "golden_list", "lost", "power", "register_calls"),
    "register_causes",
)
_FOLDER = "suites/selftest"
TESTS = (*(f"{_FOLDER}/test_{name}.py" for name in _FILES), "suites/test_lane_numbers.py")
