"""Through a real server and real sockets, over a connection that is slow, silent or cut."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from email.message import Message
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from websockets.sync.client import ClientConnection, connect

from masklet.model.sam2 import SegmentationNetwork
from masklet.server import live
from masklet.server.app import make_app
from masklet.server.limits import Limits

from .conftest import FRAMES, PATIENCE_SECONDS
from .test_live import unpacked

pytestmark = pytest.mark.usefixtures("quick")


class Line:
    """A connection to a server that can be cut, or go silent, which neither end is told of."""

    def __init__(self, port: int) -> None:
        self._to = port
        self._open = threading.Event()
        self._open.set()
        self._pairs: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def silence(self) -> None:
        """From now on nothing arrives, of connections that are there; new ones are carried."""
        self._open.clear()
        self._open = threading.Event()
        self._open.set()

    def cut(self) -> None:
        """Ends all connections."""
        pairs, self._pairs = self._pairs, []
        for one in pairs:
            one.close()

    def close(self) -> None:
        """Ends everything."""
        self._listener.close()
        self.cut()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            far = socket.create_connection(("127.0.0.1", self._to))
            self._pairs += [near, far]
            for source, target in ((near, far), (far, near)):
                threading.Thread(target=self._carry, args=(source, target, self._open), daemon=True).start()

    def _carry(self, source: socket.socket, target: socket.socket, is_open: threading.Event) -> None:
        try:
            while data := source.recv(4096):
                if not is_open.is_set():
                    return
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)
        except OSError:
            return


@pytest.fixture
def line(network: SegmentationNetwork, tmp_path: Path) -> Iterator[Line]:
    """The line to a server that gives up what is silent for half a second."""
    app = make_app(network, limits=Limits(silence_seconds=0.5), folder=tmp_path)
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="warning"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.02)
    made = Line(server.servers[0].sockets[0].getsockname()[1])
    yield made
    made.close()
    server.should_exit = True
    thread.join()


def ask(line: Line, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Message, Any]:
    """The status, the headers and what the body holds, over a connection of its own."""
    connection = HTTPConnection("127.0.0.1", line.port, timeout=PATIENCE_SECONDS)
    if body is not None and not isinstance(body, bytes):
        body, headers = json.dumps(body), {"Content-Type": "application/json"}
    connection.request(method, f"/api{path}", body, {name.replace("_", "-"): value for name, value in headers.items()})
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    return answer.status, answer.headers, json.loads(content) if content else None


class Page:
    """A page that comes back with what it has seen, and sends again what was not answered."""

    def __init__(self, line: Line, session: str) -> None:
        self._address = f"ws://127.0.0.1:{line.port}/api/sessions/{session}/live"
        self._waiting: dict[int, str] = {}
        self._sent_again: set[int] = set()
        self._number = 0
        self.version = 0
        self.values: dict[tuple[Any, ...], Any] = {}
        self.errors: dict[int, str] = {}
        self.received = 0
        self.socket = self._connected()

    def come_back(self) -> None:
        self.socket = self._connected()
        self._sent_again |= self._waiting.keys()
        for text in self._waiting.values():
            self.socket.send(text)

    def send(self, op: str, **values: Any) -> int:
        self._number += 1
        self._waiting[self._number] = json.dumps({"id": self._number, "command": {"op": op, **values}})
        self.socket.send(self._waiting[self._number])
        return self._number

    def take(self, *, acknowledges: bool = True, seconds: float = PATIENCE_SECONDS) -> None:
        message = self.socket.recv(timeout=seconds)
        self.received += 1
        if isinstance(message, str):
            answer = json.loads(message)
            number = answer["re"]
            if self._waiting.pop(number, None) is None:  # it was answered as the page came back, and asked once more
                assert number in self._sent_again
                assert self.errors[number] == answer["error"]
            self.errors[number] = answer["error"]
            return
        header, _ = unpacked(message)
        self.values |= {tuple(item["key"]): item["value"] for item in header["items"]}
        self.version = header["version"]
        if acknowledges:
            self.socket.send(json.dumps({"ack": self.version}))

    def until(self, holds: Callable[[], object]) -> None:
        end = time.monotonic() + PATIENCE_SECONDS
        while not holds():
            assert time.monotonic() < end
            self.take()

    def do(self, op: str, **values: Any) -> str:
        number = self.send(op, **values)
        self.until(lambda: number in self.errors)
        return self.errors[number]

    def tracked(self) -> int:
        return sum(key[0] == "mask" and value is not None for key, value in self.values.items())

    def _connected(self) -> ClientConnection:
        return connect(f"{self._address}?client=page-0001&since={self.version}", compression=None)


def opened(line: Line) -> str:
    name = ask(line, "POST", "/sessions", {"sample": True})[2]["id"]
    while ask(line, "GET", f"/sessions/{name}")[2]["state"] == "preparing":
        time.sleep(0.02)
    return name


@pytest.mark.parametrize("fails", [Line.cut, Line.silence])
def test_nothing_is_lost_or_done_twice_when_the_connection_fails(line: Line, fails: Callable[[Line], None]):
    page = Page(line, opened(line))
    assert page.do("add_object", obj=1, name="Cup", colour="#ff0000") == ""
    for x in (30, 40, 50):
        page.send("click", obj=1, frame=0, x=x, y=30)
        fails(line)
        page.come_back()
        page.until(lambda: not page._waiting)
    assert set(page.errors.values()) == {""}
    assert page.do("track", start=0, forward_to=FRAMES - 1) == ""
    fails(line)
    page.come_back()
    page.until(lambda: page.tracked() == FRAMES and page.values[("status",)]["tracking"] is None)
    assert [point[0] for point in page.values["prompts", 1, 0]["points"]] == [30, 40, 50]


def test_a_page_that_acknowledges_nothing_is_sent_a_few_batches_only(line: Line, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(live, "BATCH_BYTES", 1)
    page = Page(line, opened(line))
    assert page.do("add_object", obj=1, name="Cup", colour="#ff0000") == ""
    assert page.do("click", obj=1, frame=0, x=40, y=30) == ""
    page.send("track", start=0, forward_to=FRAMES - 1)
    page.received = 0
    with suppress(TimeoutError):
        while page.received < FRAMES:
            page.take(acknowledges=False, seconds=3)
    assert page.received <= live.BATCHES_UNDER_WAY + 2
    page.socket.send(json.dumps({"ack": page.version}))
    page.until(lambda: page.tracked() == FRAMES)


def test_an_upload_goes_on_after_its_connection_went_silent(line: Line, uploaded: Path):
    data = uploaded.read_bytes()
    half, kind = len(data) // 2, "application/offset+octet-stream"
    path = f"/uploads/{ask(line, 'POST', '/uploads', {'size': len(data)})[2]['id']}"
    head = f"PATCH /api{path} HTTP/1.1\r\nHost: localhost\r\nUpload-Offset: 0\r\nContent-Length: {len(data)}\r\n"
    with socket.create_connection(("127.0.0.1", line.port)) as silent:
        silent.sendall(f"{head}Content-Type: {kind}\r\n\r\n".encode() + data[:half])
        while ask(line, "HEAD", path)[1]["Upload-Offset"] != str(half):
            time.sleep(0.02)
        line.silence()
        assert ask(line, "PATCH", path, data[half:], Upload_Offset=str(half), Content_Type=kind)[0] == 204
    assert ask(line, "POST", "/sessions", {"uploads": [path.rpartition("/")[2]]})[0] == 201


def test_a_request_that_goes_silent_is_given_up(line: Line):
    head = "POST /api/sessions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n"
    with socket.create_connection(("127.0.0.1", line.port)) as silent:
        silent.settimeout(PATIENCE_SECONDS)
        silent.sendall(head.encode() + b"{")
        answer = b""
        while data := silent.recv(4096):
            answer += data
    assert answer.startswith(b"HTTP/1.1 408")
    assert b"nothing came for 0.5 seconds" in answer
