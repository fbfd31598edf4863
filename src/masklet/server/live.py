"""One socket of one page that shows an editing session. docs/server.md describes what goes over it.

The page is sent what changed since the version it names, then what changes from there on. No more than a few batches
are under way at once: the next one leaves when the page has acknowledged one.
"""

from __future__ import annotations

import asyncio
import json
import struct
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from functools import partial
from typing import Any

from fastapi import WebSocket, WebSocketDisconnect
from fastapi.websockets import WebSocketState
from pydantic import ValidationError

from masklet.server.document import Change, MaskValue, size_bytes
from masklet.server.errors import Refusal
from masklet.server.schemas import MESSAGE, Ack, Attend, Preview, Request
from masklet.server.security import Allowance
from masklet.server.workspaces import Answer, Workspace, Workspaces

CHANGES_NOTHING = (Attend, Preview)
"""These are carried out again when they are sent again."""

BATCHES_UNDER_WAY = 4
BATCH_BYTES = 128 << 10
ANSWERS_UNDER_WAY = 400
REQUESTS_PER_SECOND = 60.0
CLOSING_SECONDS = 2.0
BAD_MESSAGE, GONE, TOO_FAST, NOT_READY, REPLACED, BUSY = 4400, 4404, 4408, 4409, 4410, 4429
"""Codes with which a socket is closed. After all but GONE a page may come again."""

CODES = {404: GONE, 410: GONE, 409: NOT_READY, 429: BUSY}
"""For refusals by their status."""


class Live:
    """Keeps one page up to date and takes its commands. ``client`` is the page's name for itself."""

    def __init__(self, socket: WebSocket, workspaces: Workspaces, workspace: Workspace, client: str) -> None:
        self._socket = socket
        self._workspaces = workspaces
        self._workspace = workspace
        self._client = client
        self._news = asyncio.Event()
        self._answers: deque[str] = deque()
        self._under_way: deque[int] = deque()
        self._sent = 0
        self._allowance = Allowance(REQUESTS_PER_SECOND, burst=2 * REQUESTS_PER_SECOND)
        self._tasks: list[asyncio.Task[None]] = []
        self._is_replaced = False

    async def run(self, since: int) -> None:
        """Until the page leaves or the session ends. ``since``: the last version that the page has seen."""
        document = self._workspace.ready().document
        self._sent = since if since <= document.version else 0
        self._tasks = [asyncio.create_task(self._receive()), asyncio.create_task(self._send())]
        self._enter()
        try:
            await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._leave()
            for task in self._tasks:
                task.cancel()
            await asyncio.wait(self._tasks)
        if self._is_replaced:
            with suppress(asyncio.TimeoutError, RuntimeError, WebSocketDisconnect):
                await asyncio.wait_for(self._socket.close(REPLACED, "the page has come back"), CLOSING_SECONDS)
        for task in self._tasks:
            with suppress(asyncio.CancelledError, RuntimeError, WebSocketDisconnect):
                task.result()

    def give_way(self) -> None:
        """The page has come back over another socket; this one is dead, though the server has not heard of it yet."""
        self._is_replaced = True
        for task in self._tasks:
            task.cancel()

    def answer(self, number: int | None, error: str, mask: str = "") -> None:
        """Answer a request."""
        self._answers.append(json.dumps({"re": number, "error": error} | ({"mask": mask} if mask else {})))
        self._news.set()

    def _enter(self) -> None:
        earlier = self._workspace.sockets.get(self._client)
        if earlier is not None:
            earlier.give_way()
        self._workspace.sockets[self._client] = self
        self._workspace.watchers.add(self._news.set)
        self._news.set()

    def _leave(self) -> None:
        if self._workspace.sockets.get(self._client) is self:
            del self._workspace.sockets[self._client]
        self._workspace.watchers.discard(self._news.set)
        self._workspace.touch()

    async def _send(self) -> None:
        while self._workspace.editor is not None:
            self._news.clear()
            while self._answers:
                await self._socket.send_text(self._answers.popleft())
            while len(self._under_way) < BATCHES_UNDER_WAY and (changes := self._next_changes()):
                self._sent = changes[-1].version
                self._under_way.append(self._sent)
                await self._socket.send_bytes(packed(changes))
            await self._news.wait()
        await self._socket.close(GONE, "the session has ended")

    def _next_changes(self) -> Sequence[Change]:
        editor = self._workspace.editor
        return [] if editor is None else within(editor.document.changes(self._sent), BATCH_BYTES)

    async def _receive(self) -> None:
        while self._socket.application_state is WebSocketState.CONNECTED:
            text = await self._next_text()
            message = None if text is None else _parsed(text)
            if isinstance(message, Ack) and self._acknowledge(message.ack):
                continue
            if not self._allowance.take() or len(self._answers) > ANSWERS_UNDER_WAY:
                await self._socket.close(TOO_FAST, "too many messages")
            elif text is None:
                await self._socket.close(BAD_MESSAGE, "expected text")
            elif isinstance(message, ValidationError):
                self._refuse(text, message)
            elif isinstance(message, Request):
                self._request(message)

    async def _next_text(self) -> str | None:
        """None: a message of another kind."""
        message = await self._socket.receive()
        if message["type"] == "websocket.disconnect":
            raise WebSocketDisconnect(message["code"])
        return message.get("text")

    def _acknowledge(self, version: int) -> bool:
        """Whether that is news. There is no more such news than messages that were sent."""
        before = len(self._under_way)
        while self._under_way and self._under_way[0] <= version:
            self._under_way.popleft()
        self._news.set()
        return len(self._under_way) < before

    def _request(self, request: Request) -> None:
        asked = self._workspace.asked
        if isinstance(request.command, CHANGES_NOTHING):
            self._carry_out(request, partial(self.answer, request.id))
        elif asked.begin(self._client, request.id):
            self._carry_out(request, partial(_settle, self._workspace, self._client, request.id))
        elif (error := asked.answer_of(self._client, request.id)) is not None:
            self.answer(request.id, error)

    def _carry_out(self, request: Request, answer: Answer) -> None:
        try:
            self._workspaces.command(self._workspace, request.command, answer)
        except Refusal as refusal:
            answer(str(refusal), "")

    def _refuse(self, text: str, error: ValidationError) -> None:
        """Answers by number where there is one, so that the page does not wait."""
        number = None
        with suppress(ValueError, AttributeError, RecursionError):
            number = json.loads(text).get("id")
        first = error.errors(include_url=False, include_context=False)[-1]
        where = ".".join(str(part) for part in first["loc"][-2:])
        self.answer(number if type(number) is int else None, f"{where}: {first['msg']}")


def _settle(workspace: Workspace, client: str, number: int, error: str, mask: str) -> None:
    """Answers over the socket that the page has by now, if it has one, and otherwise when it asks again."""
    workspace.asked.settle(client, number, error)
    page = workspace.sockets.get(client)
    if page is not None:
        page.answer(number, error, mask)


def _parsed(text: str) -> Request | Ack | ValidationError:
    try:
        return MESSAGE.validate_json(text)
    except ValidationError as error:
        return error


def within(changes: Sequence[Change], most_bytes: int) -> Sequence[Change]:
    """The first changes whose values have together about so many bytes, but at least one."""
    size = 0
    for place, change in enumerate(changes):
        size += size_bytes(change.value)
        if size > most_bytes:
            return changes[: place + 1]
    return changes


def packed(changes: Sequence[Change]) -> bytes:
    """One binary message: the length of a JSON header (4 bytes, little-endian), the header, the masks' run lengths."""
    items, masks = [], []
    for change in changes:
        value: Any = change.value
        if isinstance(value, MaskValue):
            masks.append(value.counts)
            value = {**asdict(value), "counts": len(value.counts)}
        items.append({"key": list(change.key), "value": value})
    header = json.dumps({"version": changes[-1].version, "items": items}, separators=(",", ":")).encode()
    return b"".join([struct.pack("<I", len(header)), header, *masks])
