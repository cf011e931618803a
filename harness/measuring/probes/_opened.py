"""Rung 4, a picture that a conversation names by where it lies: the pixels of the opened one."""

from __future__ import annotations

import base64
import contextlib
import os
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np

from harness.data.samples import gradient, mode_picture
from harness.measuring.instruments.recorder import Recorder
from harness.measuring.models import Family
from harness.records.context import Context

HERE = "127.0.0.1"
POLL = 0.01  # seconds until a server notices that it shall end


class _Silent(SimpleHTTPRequestHandler):
    """A folder's files; nothing is logged."""

    def log_message(self, format: str, *args: Any) -> None:
        return


@contextlib.contextmanager
def served(folder: Path) -> Iterator[str]:
    """A folder's address on this machine alone, which no proxy is asked for."""
    server = ThreadingHTTPServer((HERE, 0), partial(_Silent, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, args=(POLL,), daemon=True)
    names = ("no_proxy", "NO_PROXY")
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(dict.fromkeys(names, HERE))
    thread.start()
    try:
        yield f"http://{HERE}:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
        for name, value in before.items():
            if value is None:
                os.environ.pop(name)
            else:
                os.environ[name] = value


def record_opened(recorder: Recorder, context: Context, loader: Family) -> None:
    """Largest distance from the pixels of the same picture handed over opened, by how it is named;
    nothing where the family leaves the opening to its processor."""
    folder = context.work("images") / "opened"
    folder.mkdir(parents=True, exist_ok=True)
    pictures = {"rgb": gradient(112, 84), "rgba": mode_picture("RGBA")}
    for name, picture in pictures.items():
        picture.save(folder / f"{name}.png")
    with served(folder) as address:
        for name, picture in pictures.items():
            path = folder / f"{name}.png"
            data = base64.b64encode(path.read_bytes()).decode()
            named = {
                "path": str(path),
                "file_url": f"file://{path}",
                "data_uri": f"data:image/png;base64,{data}",
                "web": f"{address}/{name}.png",
            }
            for way, source in named.items():
                case = f"{way}_{name}"
                gap, _ = recorder.attempt(
                    "opened_gap", partial(_gap, loader, source, picture), case=case
                )
                if gap is not None:
                    recorder.add("opened_gap", gap, case=case, unit="levels")


def _gap(loader: Family, source: str, picture: Any) -> int | None:
    """In levels, 255 for another size; None where the source comes back as it is."""
    fetched = _fetched(loader, source)
    if fetched is source:
        return None
    named, opened = np.asarray(fetched), np.asarray(_fetched(loader, picture))
    if named.shape != opened.shape:
        return 255
    return int(np.abs(named.astype(int) - opened.astype(int)).max())


def _fetched(loader: Family, image: Any) -> Any:
    return loader.pictures([{"role": "user", "content": [{"type": "image", "image": image}]}])[0]
