"""Downloads from the hub, against a local server that speaks its protocol.

Each lookup is the real one: a child process, as `harness probe` and `harness run` start it, with
the huggingface_hub of the stack under test.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from harness.errors import OutOfSpace
from harness.records.jobs import ResolveJob, write_job
from suites import forked
from suites.selftest import snapshots
from suites.selftest.hub_server import Hub

ORG = "org/tiny"
SHA = "0123456789abcdef0123456789abcdef01234567"
MEBI = 1024 * 1024


@dataclass(frozen=True)
class Answer:
    """How a lookup ended. document: the child's answer, empty where it refused."""

    code: int
    stderr: str
    document: dict[str, Any]

    @property
    def sentence(self) -> str:
        """The one error line; fails where there is a traceback or not exactly one."""
        assert "Traceback" not in self.stderr, self.stderr
        errors = [x for x in self.stderr.splitlines() if x.startswith("error: ")]
        assert len(errors) == 1, self.stderr
        return errors[0]


@dataclass(frozen=True)
class Client:
    """A user's machine: its caches, and the hub it talks to."""

    home: Path
    endpoint: str

    def look_up(self, model: str = f"{ORG}@{SHA}", **variables: str) -> Answer:
        """Resolve a model in a child process."""
        job, answer = self.home / "job.json", self.home / "answer.json"
        self.home.mkdir(parents=True, exist_ok=True)
        answer.unlink(missing_ok=True)
        write_job(job, ResolveJob(model, "catalogue", "cpu", answer))
        inherited = {
            k: v for k, v in os.environ.items() if not k.startswith(("HF_", "HARNESS_", "HUGGING"))
        }
        done = forked.run(
            [sys.executable, "-m", "harness.measuring.child", str(job)],
            timeout=120,
            cwd=Path(__file__).resolve().parents[1],
            env={
                **inherited,
                "NO_PROXY": "127.0.0.1,localhost",
                "no_proxy": "127.0.0.1,localhost",
                "HF_ENDPOINT": self.endpoint,
                "HF_HOME": str(self.home / "hf"),
                "HF_HUB_DISABLE_XET": "1",
                "HF_HUB_DISABLE_TELEMETRY": "1",
                # A bar that is drawn once more by its own thread takes the error's line.
                "HF_HUB_DISABLE_PROGRESS_BARS": "1",
                "HARNESS_CACHE": str(self.home / "cache"),
                **variables,
            },
        )
        document = json.loads(answer.read_text()) if answer.is_file() else {}
        return Answer(done.returncode, done.stderr, document)

    @property
    def snapshot(self) -> Path:
        """Where huggingface_hub keeps the pinned revision."""
        return self.home / "hf" / "hub" / "models--org--tiny" / "snapshots" / SHA

    def forget_downloads(self) -> None:
        """Empty the hub's cache, keep ours."""
        shutil.rmtree(self.home / "hf")


@pytest.fixture
def hub() -> Iterator[Hub]:
    content = {**snapshots.files(), "onnx/model.json": b"{}", "training_args.bin": b"\x80\x04."}
    with Hub({ORG: {SHA: content}}) as running:
        yield running


@pytest.fixture
def client(tmp_path: Path, hub: Hub) -> Client:
    return Client(tmp_path / "home", hub.endpoint)


def test_a_pinned_revision_is_downloaded_without_pickles_and_subfolders(
    hub: Hub, client: Client
) -> None:
    answer = client.look_up()
    assert answer.code == 0, answer.stderr
    assert answer.document["name"] == f"{ORG}@{SHA}"
    assert answer.document["has_weights"] is True
    folder = Path(answer.document["snapshot"])
    wanted = {n: d for n, d in hub.repositories[ORG][SHA].items() if "/" not in n}
    del wanted["training_args.bin"]
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == wanted
    assert not hub.fetched("training_args.bin")


@pytest.mark.slow
def test_the_same_files_have_one_digest_wherever_they_come_from(
    hub: Hub, client: Client, tmp_path: Path
) -> None:
    local = snapshots.write(tmp_path / "local", snapshots.files())
    digest = client.look_up().document["digest"]
    assert client.look_up(str(local)).document["digest"] == digest


@pytest.mark.slow
def test_a_second_look_up_downloads_nothing(hub: Hub, client: Client) -> None:
    first = client.look_up()
    before = len(hub.fetched("model.safetensors"))
    assert client.look_up().document == first.document
    assert len(hub.fetched("model.safetensors")) == before == 1


def test_another_revision_is_refused(hub: Hub, client: Client) -> None:
    answer = client.look_up(f"{ORG}@{'f' * 40}")
    assert answer.code == 2
    assert f"{ORG} has no revision {'f' * 40}" in answer.sentence


@pytest.mark.slow
def test_another_repository_is_refused(hub: Hub, client: Client) -> None:
    answer = client.look_up(f"org/absent@{SHA}")
    assert answer.code == 2
    assert "org/absent" in answer.sentence
    assert "private" in answer.sentence


@pytest.mark.slow
def test_a_gated_repository_names_what_to_do(hub: Hub, client: Client) -> None:
    hub.gated.add(ORG)
    answer = client.look_up()
    assert answer.code == 2
    assert "accept its terms and log in" in answer.sentence


@pytest.mark.parametrize("model", [f"{ORG}@main", ORG])
def test_what_is_not_pinned_never_reaches_the_hub(hub: Hub, client: Client, model: str) -> None:
    answer = client.look_up(model)
    assert answer.code == 2
    assert "40 hex" in answer.sentence
    assert not hub.requests


def test_an_interrupted_download_goes_on_where_it_stopped(hub: Hub, client: Client) -> None:
    # The library writes in pieces of 10 MiB: 13 MiB arrive, 10 MiB are kept.
    content = snapshots.files(padding=24 * MEBI)
    hub.repositories[ORG][SHA] = content
    hub.cuts["model.safetensors"] = 13 * MEBI
    answer = client.look_up()
    if answer.code:
        # huggingface_hub 0.25 gives up on a cut body, later ones try again by themselves.
        assert "goes on where it stopped" in answer.sentence
        assert not (client.snapshot / "model.safetensors").exists()
        answer = client.look_up()
    assert answer.code == 0, answer.stderr
    assert (client.snapshot / "model.safetensors").read_bytes() == content["model.safetensors"]
    starts = [r.start for r in hub.fetched("model.safetensors") if r.path.startswith("/cdn/")]
    assert starts == [0, 10 * MEBI]
    assert not list((client.home / "hf").rglob("*.incomplete"))


@pytest.mark.parametrize(
    "name", ["model.safetensors", pytest.param("vocab.json", marks=pytest.mark.slow)]
)
def test_content_that_does_not_match_its_checksum_is_refused_and_removed(
    hub: Hub, client: Client, name: str
) -> None:
    right = hub.repositories[ORG][SHA][name]
    # The same length and still well-formed: only the checksum tells.
    hub.swapped[name] = right[:-3] + bytes([right[-3] ^ 1]) + right[-2:]
    answer = client.look_up()
    assert answer.code == 2
    assert f"{name} of {SHA} is not what the hub says it is" in answer.sentence
    assert not (client.snapshot / name).exists()
    hub.swapped.clear()
    assert client.look_up().code == 0
    assert (client.snapshot / name).read_bytes() == right


@pytest.mark.slow
def test_other_content_under_a_known_revision_is_refused(hub: Hub, client: Client) -> None:
    assert client.look_up().code == 0
    client.forget_downloads()
    files = dict(hub.repositories[ORG][SHA])
    files["generation_config.json"] = b'{"temperature": 2.0}'
    hub.repositories[ORG][SHA] = files
    answer = client.look_up()
    assert answer.code == 2
    assert "generation_config.json" in answer.sentence
    assert "differs from the first download" in answer.sentence


@pytest.mark.slow
def test_a_file_altered_in_the_cache_is_noticed(hub: Hub, client: Client) -> None:
    assert client.look_up().code == 0
    blob = (client.snapshot / "model.safetensors").resolve()
    data = bytearray(blob.read_bytes())
    data[-1] ^= 1
    blob.write_bytes(data)
    answer = client.look_up(HF_HUB_OFFLINE="1")
    assert answer.code == 2
    assert "model.safetensors" in answer.sentence


def test_offline_with_a_cache_asks_nothing(hub: Hub, client: Client) -> None:
    first = client.look_up()
    hub.requests.clear()
    answer = client.look_up(HF_HUB_OFFLINE="1")
    assert answer.code == 0, answer.stderr
    assert answer.document == first.document
    assert not hub.requests


def test_offline_without_a_cache_is_refused(hub: Hub, client: Client) -> None:
    answer = client.look_up(HF_HUB_OFFLINE="1")
    assert answer.code == 2
    assert "not wholly in the local cache" in answer.sentence
    assert not hub.requests


@pytest.mark.slow
def test_no_network_is_one_sentence(client: Client) -> None:
    # Port 9 (discard) is served nowhere these tests run.
    answer = Client(client.home, "http://127.0.0.1:9").look_up()
    assert answer.code == 2
    assert "the hub cannot be asked" in answer.sentence


@pytest.mark.slow
def test_a_download_without_its_weights_never_passes_as_a_snapshot_without_weights(
    hub: Hub, client: Client
) -> None:
    hub.unavailable.add("model.safetensors")
    answer = client.look_up()
    assert answer.code == 2
    assert answer.sentence
    assert (client.snapshot / "config.json").is_file(), "this test needs the partial cache"
    again = client.look_up(HF_HUB_OFFLINE="1")
    assert again.code == 2
    assert f"{ORG}@{SHA}" in again.sentence


@pytest.mark.slow
def test_a_missing_shard_is_refused_offline(hub: Hub, client: Client) -> None:
    hub.repositories[ORG][SHA] = snapshots.files(shards=3)
    missing = "model-00002-of-00003.safetensors"
    hub.unavailable.add(missing)
    assert client.look_up().code == 2
    again = client.look_up(HF_HUB_OFFLINE="1")
    assert again.code == 2
    assert missing in again.sentence or "not wholly in the local cache" in again.sentence


@pytest.mark.slow
def test_a_repository_of_pickles_is_refused(hub: Hub, client: Client) -> None:
    files = {**snapshots.files(), "pytorch_model.bin": b"\x80\x04."}
    del files["model.safetensors"]
    hub.repositories[ORG][SHA] = files
    answer = client.look_up()
    assert answer.code == 2
    assert "pickled weights" in answer.sentence
    assert not hub.fetched("pytorch_model.bin")


@pytest.mark.slow
def test_a_repository_without_weights_serves_offline_too(hub: Hub, client: Client) -> None:
    files = snapshots.files()
    del files["model.safetensors"]
    hub.repositories[ORG][SHA] = files
    answer = client.look_up()
    assert answer.code == 0, answer.stderr
    assert answer.document["has_weights"] is False
    assert client.look_up(HF_HUB_OFFLINE="1").document == answer.document


def test_a_full_disk_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    import errno

    import huggingface_hub

    from harness.measuring.snapshots import hub as ours

    def full(*args: object, **options: object) -> str:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(huggingface_hub, "snapshot_download", full)
    with pytest.raises(OutOfSpace, match="No room left on the disk"):
        ours.download(ORG, SHA)
