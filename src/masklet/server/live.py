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
from masklet.server.schemas import MESSAGE, Ack, Request
from masklet.server.security import Allowance
from masklet.server.workspaces import Workspace, Workspaces

BATCHES_UNDER_WAY = 4
BATCH_BYTES = 128 << 10
CLIENTS = 64
MESSAGES_PER_SECOND = 60.0
GONE, BUSY, BAD_MESSAGE, TOO_FAST = 4404, 4429, 4400, 4408
"""Codes with which a socket is closed."""


class Live:
    """Keeps one page up to date and takes its commands."""

    def __init__(self, socket: WebSocket, workspaces: Workspaces, workspace: Workspace) -> None:
        self._socket = socket
        self._workspaces = workspaces
        self._workspace = workspace
        self._news = asyncio.Event()
        self._answers: deque[str] = deque()
        self._under_way: deque[int] = deque()
        self._sent = 0
        self._allowance = Allowance(MESSAGES_PER_SECOND, burst=2 * MESSAGES_PER_SECOND)

    async def run(self, since: int, client: str) -> None:
        """Until the page leaves or the session ends. ``since``: the last version that the page has seen."""
        document = self._workspace.ready().document
        self._sent = since if since <= document.version else 0
        self._workspace.watchers.add(self._news.set)
        self._workspace.sockets += 1
        self._news.set()
        sending = asyncio.create_task(self._send())
        try:
            await self._receive(client)
        except WebSocketDisconnect:
            pass
        finally:
            self._workspace.watchers.discard(self._news.set)
            self._workspace.sockets -= 1
            self._workspace.touch()
            sending.cancel()
            with suppress(asyncio.CancelledError, RuntimeError, WebSocketDisconnect):
                await sending

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

    async def _receive(self, client: str) -> None:
        while self._socket.application_state is WebSocketState.CONNECTED:
            text = await self._socket.receive_text()
            if not self._allowance.take():
                await self._socket.close(TOO_FAST, "too many messages")
                return
            try:
                message = MESSAGE.validate_json(text)
            except ValidationError as error:
                self._refuse(text, error)
                continue
            if isinstance(message, Ack):
                self._acknowledge(message.ack)
            else:
                self._request(client, message)

    def _acknowledge(self, version: int) -> None:
        while self._under_way and self._under_way[0] <= version:
            self._under_way.popleft()
        self._news.set()

    def _request(self, client: str, request: Request) -> None:
        handled = self._workspace.handled
        if request.id <= handled.get(client, 0):
            self._answer(request.id, "")
            return
        if client not in handled and len(handled) >= CLIENTS:
            del handled[next(iter(handled))]
        handled[client] = request.id
        try:
            self._workspaces.command(self._workspace, request.command, partial(self._answer, request.id))
        except Refusal as refusal:
            self._answer(request.id, str(refusal))

    def _refuse(self, text: str, error: ValidationError) -> None:
        """Answers by number where there is one, so that the page does not wait."""
        number = None
        with suppress(ValueError, AttributeError, RecursionError):
            number = json.loads(text).get("id")
        first = error.errors(include_url=False, include_context=False)[-1]
        where = ".".join(str(part) for part in first["loc"][-2:])
        self._answer(number if type(number) is int else None, f"{where}: {first['msg']}")

    def _answer(self, number: int | None, error: str, mask: str = "") -> None:
        self._answers.append(json.dumps({"re": number, "error": error} | ({"mask": mask} if mask else {})))
        self._news.set()


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
