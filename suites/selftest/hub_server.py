"""A local server that speaks as much of the hub's protocol as snapshot downloads use.

Listing by revision and by tree, HEAD and GET of files with ETag and X-Repo-Commit, large files
behind a redirect with X-Linked-Etag and X-Linked-Size, Range requests, and the hub's error codes.
It can be told to misbehave: cut a connection, serve other bytes than the checksum says, refuse.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

Files = Mapping[str, bytes]


@dataclass(frozen=True)
class Request:
    """One request as it arrived. start: first byte asked for by a Range header."""

    method: str
    path: str
    start: int = 0


@dataclass
class Hub:
    """A running hub. Repositories are `{id: {revision: {file: content}}}`.

    cuts: how many bytes of a file are sent before the connection is closed, once. swapped: bytes
    served under the checksum of others. gated, unavailable: repositories, files refused.
    """

    repositories: dict[str, dict[str, Files]]
    cuts: dict[str, int] = field(default_factory=dict)
    swapped: dict[str, bytes] = field(default_factory=dict)
    gated: set[str] = field(default_factory=set)
    unavailable: set[str] = field(default_factory=set)
    requests: list[Request] = field(default_factory=list)

    def __enter__(self) -> Hub:
        hub = self

        class Handler(_Handler):
            state = hub

        self._server = _Server(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.02,), daemon=True
        )
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def endpoint(self) -> str:
        """What HF_ENDPOINT must be."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def fetched(self, name: str) -> list[Request]:
        """GET requests for a file's content, in order."""
        return [r for r in self.requests if r.method == "GET" and r.path.endswith(f"/{name}")]


def git_object(data: bytes) -> str:
    """The object id that git gives to a file's content."""
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


def is_large(name: str) -> bool:
    """Whether the hub would keep the file as a large one (LFS)."""
    return name.endswith((".safetensors", ".bin"))


def etag(name: str, data: bytes) -> str:
    """The hub's checksum: SHA-256 of a large file, the git object id of a small one."""
    return hashlib.sha256(data).hexdigest() if is_large(name) else git_object(data)


class _Server(ThreadingHTTPServer):
    # A client opens eight connections at once; those beyond the queue would wait for seconds.
    request_queue_size = 64


class _Handler(BaseHTTPRequestHandler):
    state: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:
        """Silence: the tests read Hub.requests."""

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def _answer(self) -> None:
        path = urlsplit(self.path).path
        asked = re.match(r"bytes=(\d+)-", self.headers.get("Range", ""))
        start = int(asked[1]) if asked else 0
        self.state.requests.append(Request(self.command, path, start))
        if m := re.fullmatch(r"/api/models/([^/]+/[^/]+)/(revision|tree)/([^/]+)", path):
            self._list(m[1], m[2], m[3])
        elif m := re.fullmatch(r"/cdn/([^/]+/[^/]+)/([^/]+)/(.+)", path):
            self._content(m[3], self.state.repositories[m[1]][m[2]][m[3]], start)
        elif m := re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path):
            self._file(m[1], m[2], m[3], start)
        else:
            self._refuse(404, "EntryNotFound")

    def _files(self, repository: str, revision: str) -> Files | None:
        if repository not in self.state.repositories:
            self._refuse(401, "RepoNotFound")
            return None
        files = self.state.repositories[repository].get(revision)
        if files is None:
            self._refuse(404, "RevisionNotFound")
        return files

    def _list(self, repository: str, kind: str, revision: str) -> None:
        files = self._files(repository, revision)
        if files is None:
            return
        if kind == "revision":
            siblings = [{"rfilename": name} for name in files]
            self._json({"id": repository, "sha": revision, "siblings": siblings, "tags": []})
            return
        self._json([_entry(name, data) for name, data in files.items()])

    def _file(self, repository: str, revision: str, name: str, start: int) -> None:
        files = self._files(repository, revision)
        if files is None:
            return
        if repository in self.state.gated:
            self._refuse(403, "GatedRepo")
        elif name in self.state.unavailable:
            self._refuse(503, "")
        elif name not in files:
            self._refuse(404, "EntryNotFound")
        elif is_large(name):
            self.send_response(302)
            self.send_header("Location", f"{self._elsewhere()}/cdn/{repository}/{revision}/{name}")
            self.send_header("X-Repo-Commit", revision)
            self.send_header("X-Linked-Etag", f'"{etag(name, files[name])}"')
            self.send_header("X-Linked-Size", str(len(files[name])))
            self.send_header("Content-Length", "0")
            self.end_headers()
        else:
            self._content(name, files[name], start, revision)

    def _content(self, name: str, data: bytes, start: int, revision: str = "") -> None:
        tag = etag(name, data)
        data = self.state.swapped.get(name, data)
        body = data[start:]
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        self.send_header("ETag", f'"{tag}"')
        if revision:
            self.send_header("X-Repo-Commit", revision)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "HEAD":
            return
        cut = self.state.cuts.pop(name, None)
        self.wfile.write(body if cut is None else body[:cut])
        if cut is not None:
            self.close_connection = True

    def _elsewhere(self) -> str:
        """Another host than the hub's, as with the real one: clients follow such links apart."""
        return f"http://localhost:{self.server.server_address[1]}"  # type: ignore[misc]

    def _json(self, value: object) -> None:
        body = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def _refuse(self, status: int, code: str) -> None:
        self.send_response(status)
        if code:
            self.send_header("X-Error-Code", code)
        self.send_header("Content-Length", "0")
        self.end_headers()


def _entry(name: str, data: bytes) -> dict[str, Any]:
    entry: dict[str, Any] = {"type": "file", "path": name, "size": len(data)}
    entry["oid"] = git_object(data)
    if is_large(name):
        entry["lfs"] = {"oid": etag(name, data), "size": len(data), "pointerSize": 134}
    return entry
