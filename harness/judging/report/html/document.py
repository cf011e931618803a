"""A whole page around its parts: one self-contained file, readable without script and network."""

from __future__ import annotations

from pathlib import Path

from harness.judging.report.html.markup import Child, Html, tag

# Nothing may be loaded or run; styles are inline, pictures are data URIs.
POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; "
    "form-action 'none'"
)


def stylesheet() -> str:
    """The page's only styles."""
    return Path(__file__).with_name("style.css").read_text(encoding="utf-8")


def _head(title: str) -> Html:
    return tag(
        "head",
        tag("meta", attributes={"charset": "utf-8"}),
        tag("meta", attributes={"http-equiv": "Content-Security-Policy", "content": POLICY}),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("meta", name="referrer", content="no-referrer"),
        tag("title", title),
        # The stylesheet is our own file; a `<` in it could close the element, so there is none.
        tag("style", Html(stylesheet())),
    )


def document(title: str, top: Child, contents: tuple[tuple[str, str], ...], *parts: Child) -> Html:
    """A whole page around its parts: skip link, header, contents, main, footer."""
    links = [tag("li", tag("a", name, href=f"#{id_}")) for id_, name in contents]
    body = tag(
        "body",
        tag("a", "Skip to the findings", href="#main", class_="skip"),
        tag("header", tag("div", top, class_="page"), class_="top"),
        tag(
            "div",
            tag("nav", tag("ol", *links), aria_label="Contents"),
            tag("main", *parts, id="main", tabindex="-1"),
            class_="page body",
        ),
        tag(
            "footer",
            tag(
                "div",
                "Every number says how it was obtained: measured, predicted, emulated, or "
                "not run. This page loads nothing and runs no script.",
                class_="page",
            ),
        ),
    )
    return Html(f"<!DOCTYPE html>\n{tag('html', _head(title), body, lang='en')}\n")
