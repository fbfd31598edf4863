"""Downloads, against a server on this machine that speaks what the hub's client needs."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from huggingface_hub import constants

from masklet.checkpoints.download import Download, cached_file, fetch
from masklet.checkpoints.errors import CheckpointError, DownloadError

CONTENT = bytes(range(256)) * 2000
WANTED = Download(
    name="some-network",
    repository="someone/some-network",
    file="some_network.pt",
    size=len(CONTENT),
    sha256=hashlib.sha256(CONTENT).hexdigest(),
    licence="Apache-2.0",
)


@dataclass
class Hub:
    """What the server has, and what it has been asked for."""

    content: bytes | None = CONTENT
    break_after: list[int] = field(default_factory=list)
    """Bytes after which the next answers break off, one entry for each answer."""
    transfers: list[int] = field(default_factory=list)
    """First byte asked for, of every transfer."""
    requests: int = 0


class HubServer(ThreadingHTTPServer):
    def __init__(self, hub: Hub):
        super().__init__(("127.0.0.1", 0), Handler)
        self.hub = hub


class Handler(BaseHTTPRequestHandler):
    server: HubServer

    def do_HEAD(self) -> None:
        self.answer(body=False)

    def do_GET(self) -> None:
        self.answer(body=True)

    def answer(self, *, body: bool) -> None:
        hub = self.server.hub
        hub.requests += 1
        if hub.content is None or self.path != f"/{WANTED.repository}/resolve/main/{WANTED.file}":
            self.send_headers(404, {"X-Error-Code": "EntryNotFound", "Content-Length": "0"})
            return
        asked = self.headers.get("Range") if body else None
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked else 0
        self.send_headers(206 if asked else 200, headers_of(hub.content, start))
        if body:
            hub.transfers.append(start)
            self.send_content(hub, hub.content[start:])

    def send_headers(self, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def send_content(self, hub: Hub, content: bytes) -> None:
        breaks = bool(hub.break_after)
        self.wfile.write(content[: hub.break_after.pop(0)] if breaks else content)
        self.close_connection = breaks

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


def headers_of(content: bytes, start: int) -> dict[str, str]:
    part = {"Content-Range": f"bytes {start}-{len(content) - 1}/{len(content)}"} if start else {}
    return part | {
        "ETag": f'"{WANTED.sha256}"',
        "X-Linked-Etag": f'"{WANTED.sha256}"',
        "X-Linked-Size": str(len(content)),
        "X-Repo-Commit": "0" * 40,
        "Accept-Ranges": "bytes",
        "Content-Length": str(len(content) - start),
    }


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    state = Hub()
    server = HubServer(state)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    endpoint = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setattr(constants, "ENDPOINT", endpoint)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", endpoint + "/{repo_id}/resolve/{revision}/{filename}")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    yield state
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_file_is_downloaded_once(hub: Hub):
    assert fetch(WANTED).read_bytes() == CONTENT
    asked = hub.requests
    assert fetch(WANTED).read_bytes() == CONTENT
    assert hub.requests == asked
    assert hub.transfers == [0]


def test_a_progress_bar_is_shown(hub: Hub, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TQDM_POSITION", "-1")  # also without a terminal
    fetch(WANTED)
    assert "some_network.pt" in capsys.readouterr().err


def test_a_transfer_that_breaks_off_goes_on_where_it_stopped(hub: Hub, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 1000)
    hub.break_after = [100_500]
    assert fetch(WANTED).read_bytes() == CONTENT
    assert hub.transfers == [0, 100_000]


def test_nothing_is_kept_of_a_transfer_that_fails_and_the_next_try_succeeds(hub: Hub, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    hub.break_after = [1000] + [0] * 20
    with pytest.raises(DownloadError, match="could not download some-network"):
        fetch(WANTED)
    assert cached_file(WANTED) is None
    hub.break_after = []
    assert fetch(WANTED).read_bytes() == CONTENT


def test_changed_content_is_refused_and_removed(hub: Hub, tmp_path: Path):
    hub.content = CONTENT[:-1] + b"x"
    with pytest.raises(CheckpointError, match=f"{WANTED.sha256} was published for some-network"):
        fetch(WANTED)
    assert not [path for path in (tmp_path / "cache").rglob("*") if path.is_file() and path.stat().st_size > 1000]
    hub.content = CONTENT
    assert fetch(WANTED).read_bytes() == CONTENT


def test_content_of_another_length_is_refused(hub: Hub):
    hub.content = CONTENT + b"x"
    with pytest.raises(CheckpointError, match="is not used"):
        fetch(WANTED)


def test_a_cached_file_that_was_damaged_is_noticed(hub: Hub):
    path = fetch(WANTED)
    path.write_bytes(b"x" * len(CONTENT))
    with pytest.raises(CheckpointError, match="has been removed from the cache"):
        fetch(WANTED)
    assert fetch(WANTED).read_bytes() == CONTENT


def test_offline_the_error_says_what_to_do(hub: Hub, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(DownloadError) as caught:
        fetch(WANTED)
    message = str(caught.value)
    assert hub.requests == 0
    assert "get some_network.pt (1 MB, SHA-256" in message
    assert "https://huggingface.co/someone/some-network/blob/main/some_network.pt" in message
    assert "pass its path instead of the name" in message


def test_offline_a_cached_file_is_found(hub: Hub, monkeypatch: pytest.MonkeyPatch):
    fetch(WANTED)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert fetch(WANTED).read_bytes() == CONTENT


def test_a_file_that_the_hub_lacks_is_named(hub: Hub):
    hub.content = None
    with pytest.raises(DownloadError, match=r"could not download some-network: .*404"):
        fetch(WANTED)
