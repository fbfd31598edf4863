"""How much of a request's body is read, and how long it is waited for."""

from __future__ import annotations

import asyncio
import re

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import Message, Receive, Scope

from masklet.server.limits import Limits

CLOSE = {"Connection": "close"}
"""What is left of a body that was refused is not read."""

_PART = re.compile(r"/api/uploads/[^/]+")
_PICTURE = re.compile(r"/api/sessions/[^/]+/pictures")


def most_bytes(scope: Scope, limits: Limits) -> int:
    """What the body of a request may have: few requests bring more than some lines of JSON."""
    if scope["method"] == "PATCH" and _PART.fullmatch(scope["path"]):
        return limits.chunk_bytes
    if scope["method"] == "POST" and _PICTURE.fullmatch(scope["path"]):
        return limits.picture_bytes
    return limits.json_bytes


def bounded(receive: Receive, scope: Scope, limits: Limits) -> Receive:
    """``receive`` of an HTTP request, which raises HTTPException for a body that is too large or does not come.

    Bytes are counted as they come; what the header says only serves to refuse sooner.
    """
    most = most_bytes(scope, limits)
    announced = Headers(scope=scope).get("content-length", "")
    taken = int(announced) if announced.isdigit() and int(announced) > most else 0
    is_whole = False

    async def receive_bounded() -> Message:
        nonlocal taken, is_whole
        if is_whole:
            return await receive()
        if taken <= most:
            message = await _soon(receive, limits.silence_seconds)
            taken += len(message.get("body", b""))
            is_whole = not message.get("more_body", False)
        if taken > most:
            raise HTTPException(413, f"the request has more than {most} bytes, which this server does not take", CLOSE)
        return message

    return receive_bounded


async def _soon(receive: Receive, seconds: float) -> Message:
    try:
        return await asyncio.wait_for(receive(), seconds)
    except asyncio.TimeoutError as error:
        raise HTTPException(408, f"nothing came for {seconds:g} seconds; send it again", CLOSE) from error
