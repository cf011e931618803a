"""`comment.py FILE NUMBER`: the file as this repository's one comment of the ladder there.

Uses what the runner sets: GITHUB_API_URL, GITHUB_REPOSITORY; and TOKEN. Standard library only.
"""

from __future__ import annotations

import json
import os
import sys
import urllib.request
from pathlib import Path
from typing import Any

# Last, so that the first line is the verdict; by it the next run finds its comment again.
MARK = "<!-- ladder of the harness -->"
# The API's own limit is 65,536 characters.
MOST = 60_000
PAGE = 100


def api(method: str, path: str, body: object = None) -> Any:
    """The API's answer. Raises urllib.error.HTTPError where it refuses."""
    base = f"{os.environ['GITHUB_API_URL']}/repos/{os.environ['GITHUB_REPOSITORY']}"
    request = urllib.request.Request(
        f"{base}/{path}",
        method=method,
        data=None if body is None else json.dumps(body).encode(),
        headers={
            "Authorization": f"Bearer {os.environ['TOKEN']}",
            "Accept": "application/vnd.github+json",
            "Content-Type": "application/json",
        },
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)


def earlier(number: int) -> int | None:
    """The id of the ladder's own comment there: a person who quotes the mark has another."""
    page = 1
    while True:
        comments = api("GET", f"issues/{number}/comments?per_page={PAGE}&page={page}")
        for comment in comments:
            if comment["user"]["type"] == "Bot" and comment["body"].rstrip().endswith(MARK):
                return int(comment["id"])
        if len(comments) < PAGE:
            return None
        page += 1


def main(file: str, number: str) -> None:
    """Write it, or rewrite it."""
    text = Path(file).read_text(encoding="utf-8")
    if len(text) > MOST:
        text = text[:MOST] + "\n\n… cut off here; the job's summary has it whole.\n"
    body = {"body": f"{text.rstrip()}\n\n{MARK}\n"}
    there = earlier(int(number))
    if there is None:
        api("POST", f"issues/{int(number)}/comments", body)
    else:
        api("PATCH", f"issues/comments/{there}", body)


if __name__ == "__main__":
    main(*sys.argv[1:])
