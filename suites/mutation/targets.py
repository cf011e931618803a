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
    *("accept", "addresses", "audit_fitting", "audit_holding", "audit_judge", "bisect"),
    *("bisect_command", "bisect_compare", "bisect_compare_refusals", "bisect_range"),
    *("bisect_script", "bisect_wheels", "bisect_words", "children", "ci_outputs", "cli"),
    *("companions", "compare", "compare_folders", "compare_known", "compare_refusals"),
    *("comparison", "comparison_document", "comparison_mismatches", "contest", "damaged"),
    *("doctor", "evaluation", "families", "footprint", "frozen", "golden_files", "golden_list"),
    *("interrupted_report", "kinds", "lane_page", "lane_table", "lost", "matrix_command"),
    *("matrix_judging", "matrix_run", "matrix_timeline", "matrix_trainings", "mismatches"),
    *("mutation", "noisy", "own_goldens", "own_stacks", "paired_rungs", "pairs", "patterns"),
    *("power", "question", "recipe_judging", "record", "register", "register_calls"),
    *("register_causes", "register_limits", "register_measured", "register_table", "report"),
    *("report_drawing", "report_outside_text", "report_reasons", "schemas", "scope"),
    *("second_look", "statistics", "swap", "truths", "upgrade", "upgrade_page"),
    *("upgrade_report", "watch", "whole"),
)
_FOLDER = "suites/selftest"
TESTS = (*(f"{_FOLDER}/test_{name}.py" for name in _FILES), "suites/test_lane_numbers.py")
# Of the types and imports of every module, none of which they name.
OF_ALL = (f"{_FOLDER}/test_frozen.py",)
