"""The protocol of the socket, over lost, slow and hostile connections."""

from __future__ import annotations

import json
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from fastapi.testclient import TestClient
from starlette.testclient import WebSocketTestSession
from starlette.websockets import WebSocketDisconnect

from masklet.server import live
from masklet.server.document import Change, MaskValue

from .conftest import FRAMES, opened

pytestmark = pytest.mark.usefixtures("quick")

FOREVER_SECONDS = 60.0


class Page:
    """What a page does with its socket."""

    def __init__(self, socket: WebSocketTestSession) -> None:
        self.socket = socket
        self.values: dict[tuple[Any, ...], Any] = {}
        self.answers: dict[int | None, str] = {}
        self.previewed = ""
        self.version = 0
        self.batches = 0

    def send(self, number: int, op: str, **values: Any) -> None:
        self.socket.send_json({"id": number, "command": {"op": op, **values}})

    def take(self, *, acknowledges: bool = True) -> None:
        """One message."""
        message = self.socket.receive()
        if message["type"] == "websocket.close":
            raise WebSocketDisconnect(message["code"], message.get("reason", ""))
        if message.get("text"):
            answer = json.loads(message["text"])
            self.answers[answer["re"]] = answer["error"]
            self.previewed = answer.get("mask", self.previewed)
            return
        header, masks = unpacked(message["bytes"])
        for item in header["items"]:
            key = tuple(item["key"])
            self.values[key] = item["value"]
            if key[0] == "mask" and item["value"]:
                self.values[key] = masks.read(item["value"]["counts"])
        self.version, self.batches = header["version"], self.batches + 1
        if acknowledges:
            self.socket.send_json({"ack": self.version})

    def until(self, holds: Callable[[], object]) -> None:
        end = time.monotonic() + FOREVER_SECONDS
        while not holds():
            assert time.monotonic() < end
            self.take()

    def do(self, number: int, op: str, **values: Any) -> str:
        self.send(number, op, **values)
        self.until(lambda: number in self.answers)
        return self.answers[number]

    def masks(self) -> list[tuple[Any, ...]]:
        return sorted(key for key, value in self.values.items() if key[0] == "mask" and value)


class Bytes:
    def __init__(self, data: bytes) -> None:
        self.data = data

    def read(self, count: int) -> bytes:
        part, self.data = self.data[:count], self.data[count:]
        return part


def unpacked(data: bytes) -> tuple[dict[str, Any], Bytes]:
    (length,) = struct.unpack("<I", data[:4])
    return json.loads(data[4 : 4 + length]), Bytes(data[4 + length :])


@contextmanager
def page(client: TestClient, session: str, since: int = 0, name: str = "page-0001") -> Iterator[Page]:
    address = f"ws://localhost/api/sessions/{session}/live?client={name}&since={since}"
    with client.websocket_connect(address) as socket:
        yield Page(socket)


@pytest.fixture
def session(served: Callable[..., TestClient], uploaded: Path) -> tuple[TestClient, str]:
    client = served()
    return client, opened(client, uploaded)["id"]


def begin(first: Page) -> None:
    assert first.do(1, "add_object", obj=1, name="Cup", colour="#ff0000") == ""
    assert first.do(2, "click", obj=1, frame=0, x=40, y=30) == ""


def test_a_page_clicks_tracks_and_is_sent_every_mask(session: tuple[TestClient, str]):
    with page(*session) as first:
        begin(first)
        assert first.do(3, "track", start=0, forward_to=FRAMES - 1) == ""
        first.until(lambda: len(first.masks()) == FRAMES and first.values[("status",)]["tracking"] is None)
        assert first.values[("object", 1)] == {"name": "Cup", "colour": "#ff0000", "visible": True}
        assert first.do(4, "undo") == ""
        first.until(lambda: len(first.masks()) == 1)


def test_what_a_click_would_give_is_answered_and_not_kept(session: tuple[TestClient, str]):
    with page(*session) as first:
        assert first.do(1, "attend", frame=0) == ""
        assert first.do(2, "preview", obj=1, frame=0, x=40, y=30) == ""
        assert first.masks() == []
        assert first.do(3, "add_object", obj=1, name="Cup", colour="#ff0000") == ""
        assert first.do(4, "click", obj=1, frame=0, x=40, y=30) == ""
        first.until(first.masks)
        assert first.values["mask", 1, 0] == first.previewed.encode()
        assert "outside the picture" in first.do(5, "preview", obj=1, frame=0, x=4000, y=30)


def test_a_page_that_comes_back_is_sent_what_it_missed_and_no_more(session: tuple[TestClient, str]):
    client, name = session
    with page(client, name) as first:
        begin(first)
        first.until(lambda: ("mask", 1, 0) in first.values)
        seen = first.version
        first.send(3, "track", start=0, forward_to=FRAMES - 1)
    with page(client, name, since=seen) as again:
        again.until(lambda: len(again.masks()) == FRAMES - 1 and again.values[("status",)]["tracking"] is None)
        assert ("object", 1) not in again.values
    with page(client, name, name="page-0002") as reloaded:
        reloaded.until(lambda: len(reloaded.masks()) == FRAMES)
        assert ("object", 1) in reloaded.values


def test_a_command_that_is_sent_again_is_carried_out_once(session: tuple[TestClient, str]):
    client, name = session
    with page(client, name) as first:
        begin(first)
    with page(client, name) as again:
        assert again.do(2, "click", obj=1, frame=0, x=40, y=30) == ""
        again.until(lambda: ("prompts", 1, 0) in again.values)
        assert len(again.values[("prompts", 1, 0)]["points"]) == 1


def test_a_command_that_failed_fails_again_when_it_is_sent_again(session: tuple[TestClient, str]):
    client, name = session
    with page(client, name) as first:
        begin(first)
        refused = first.do(3, "click", obj=1, frame=0, x=4000, y=30)
    with page(client, name) as again:
        assert again.do(3, "click", obj=1, frame=0, x=4000, y=30) == refused
        assert "outside the picture" in refused


def test_what_still_waits_when_the_connection_is_lost_is_answered_over_the_next_one(session: tuple[TestClient, str]):
    client, name = session
    turns, gate = client.app.state.masklet.workspaces.turns, Event()  # type: ignore[attr-defined]
    with page(client, name) as first:
        begin(first)
        turns.submit("another session", lambda: gate.wait(FOREVER_SECONDS))
        first.send(3, "click", obj=1, frame=0, x=4000, y=30)
        first.send(4, "click", obj=1, frame=0, x=50, y=30)
        assert first.do(5, "attend", frame=1) == ""
    with page(client, name) as again:
        again.send(3, "click", obj=1, frame=0, x=4000, y=30)
        again.send(4, "click", obj=1, frame=0, x=50, y=30)
        assert again.do(6, "attend", frame=1) == ""
        assert 3 not in again.answers
        gate.set()
        again.until(lambda: 4 in again.answers)
        assert ("outside the picture" in again.answers[3], again.answers[4]) == (True, "")
        again.until(lambda: len(again.values["prompts", 1, 0]["points"]) == 2)


def test_acknowledging_what_was_sent_is_never_too_much(
    session: tuple[TestClient, str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(live, "BATCH_BYTES", 1)
    monkeypatch.setattr(live, "REQUESTS_PER_SECOND", 2.0)
    with page(*session) as first:
        begin(first)
        assert first.do(3, "track", start=0, forward_to=FRAMES - 1) == ""
        first.until(lambda: len(first.masks()) == FRAMES and first.values[("status",)]["tracking"] is None)
        assert first.batches > 10


def test_a_page_that_comes_back_takes_the_place_of_its_dead_socket(served: Callable[..., TestClient], uploaded: Path):
    client = served(sockets=1)
    name = opened(client, uploaded)["id"]
    with page(client, name) as first:
        begin(first)
        with page(client, name) as again:
            assert again.do(3, "change_object", obj=1, name="Mug") == ""
            with pytest.raises(WebSocketDisconnect) as closed:
                first.until(lambda: False)
            assert closed.value.code == live.REPLACED
            with pytest.raises(WebSocketDisconnect) as closed, page(client, name, name="page-0002") as other:
                other.take()
            assert closed.value.code == live.BUSY
            assert again.do(4, "change_object", obj=1, name="Cup") == ""


def test_a_page_of_a_session_that_is_not_ready_is_told_to_come_again(served: Callable[..., TestClient], uploaded: Path):
    client = served()
    name = opened(client, uploaded)["id"]
    workspace = client.app.state.masklet.workspaces.get(name)  # type: ignore[attr-defined]
    editor, workspace.editor = workspace.editor, None
    codes = []
    for error in ("", "no video"):
        workspace.error = error
        with pytest.raises(WebSocketDisconnect) as closed, page(client, name) as first:
            first.take()
        codes.append(closed.value.code)
    assert codes == [live.NOT_READY, live.GONE]
    workspace.editor = editor


def test_a_message_that_is_no_text_ends_the_socket(session: tuple[TestClient, str]):
    with page(*session) as first:
        first.socket.send_bytes(b"{}")
        with pytest.raises(WebSocketDisconnect) as closed:
            first.until(lambda: False)
    assert closed.value.code == live.BAD_MESSAGE


def test_a_slow_page_is_not_sent_more_than_a_few_batches(
    session: tuple[TestClient, str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(live, "BATCH_BYTES", 1)
    client, name = session
    with page(client, name) as first:
        begin(first)
        first.do(3, "track", start=0, forward_to=FRAMES - 1)
        first.until(lambda: len(first.masks()) == FRAMES)
    with page(client, name, name="page-slow") as slow:
        for _ in range(live.BATCHES_UNDER_WAY):
            slow.take(acknowledges=False)
        slow.send(1, "change_object", obj=1, name="Mug")
        slow.take(acknowledges=False)
        assert slow.answers == {1: ""}, "an answer comes, but no further batch"
        slow.socket.send_json({"ack": slow.version})
        slow.until(lambda: slow.values.get(("object", 1), {}).get("name") == "Mug")
        assert len(slow.masks()) == FRAMES


def test_two_pages_see_the_same(session: tuple[TestClient, str]):
    client, name = session
    with page(client, name) as first, page(client, name, name="page-0002") as second:
        begin(first)
        second.until(lambda: ("mask", 1, 0) in second.values)
        first.until(lambda: ("mask", 1, 0) in first.values)
        assert second.values[("mask", 1, 0)] == first.values[("mask", 1, 0)]


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("nonsense", None),
        ("[]", None),
        ('{"id": 7, "command": {"op": "rm"}}', 7),
        ('{"id": 7, "command": {"op": "click", "obj": 1, "frame": 0, "x": 1e999, "y": 0}}', 7),
        ('{"id": 7, "command": {"op": "click", "obj": "../1", "frame": 0, "x": 1, "y": 0}}', 7),
        ('{"id": 7, "command": {"op": "stop", "more": 1}}', 7),
        ("[" * 5000, None),
    ],
)
def test_a_bad_message_is_answered_and_the_socket_lives_on(
    session: tuple[TestClient, str], text: str, number: int | None
):
    with page(*session) as first:
        first.socket.send_text(text)
        first.until(lambda: number in first.answers)
        assert first.answers[number]
        assert first.do(8, "add_object", obj=1, name="Cup", colour="#ff0000") == ""


def test_a_flood_of_messages_ends_the_socket(session: tuple[TestClient, str], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(live, "REQUESTS_PER_SECOND", 1.0)
    with page(*session) as first:
        for _ in range(5):
            first.socket.send_json({"ack": 0})
        with pytest.raises(WebSocketDisconnect) as closed:
            first.until(lambda: False)
    assert closed.value.code == live.TOO_FAST


def test_a_session_that_is_not_there_is_said_to_be_gone(served: Callable[..., TestClient]):
    with pytest.raises(WebSocketDisconnect) as closed, page(served(), "nothing") as first:
        first.take()
    assert closed.value.code == live.GONE


def test_a_page_is_told_when_its_session_ends(session: tuple[TestClient, str]):
    client, name = session
    with page(client, name) as first:
        begin(first)
        assert client.delete(f"/api/sessions/{name}").status_code == 204
        with pytest.raises(WebSocketDisconnect) as closed:
            first.until(lambda: False)
    assert closed.value.code == live.GONE


def test_a_batch_ends_at_its_size_but_holds_at_least_one_mask():
    changes = [Change(number, ("mask", 1, number), MaskValue(b"x" * 10, 1.0, 1, True)) for number in range(5)]
    assert len(live.within(changes, 500)) == 3
    shown = [Change(1, ("prompts", 1, 1), {"points": [], "box": None, "mask": "x" * 500})] * 3
    assert len(live.within(shown, 500)) == 1
    assert len(live.within(changes, 1)) == 1
    header, masks = unpacked(live.packed(changes[:2]))
    assert [item["value"]["counts"] for item in header["items"]] == [10, 10]
    assert masks.data == b"x" * 20
