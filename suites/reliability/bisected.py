"""A bisect over real wheels that takes seconds: releases of jinja2, which renders the texts."""

from __future__ import annotations

from pathlib import Path

from suites.selftest.wheels import wheel


def jinja(folder: Path, version: str, edit: str = "") -> Path:
    """The installed jinja2 as a wheel of a version of its own, an edited line in it."""
    import jinja2

    source = Path(jinja2.__file__).parent
    whole = {
        f"jinja2/{path.name}": path.read_text(encoding="utf-8") for path in source.glob("*.py")
    }
    whole["jinja2/environment.py"] += edit
    return wheel(folder, "jinja2", version, "", modules=whole)


EDIT = """
_render = Template.render
Template.render = lambda self, *words, **named: _render(self, *words, **named) + "!"
"""


def bisected(tmp_path: Path, releases: int = 2) -> tuple[list[str], Path]:
    """The words of a bisect over wheels of jinja2, of which the last ones render otherwise."""
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    for number in range(releases):
        jinja(wheels, f"9.{number}", EDIT if number >= releases - 1 else "")
    words = ["bisect", "jinja2", "--good", "9.0", "--bad", f"9.{releases - 1}"]
    words += ["--base", "current", "--wheels", str(wheels), "--threads", "1"]
    return [*words, "--metric", "text.rendered.korean", "--assume-monotonic"], wheels
