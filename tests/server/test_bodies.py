"""Bodies that are too large, or never end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator

import pytest
from fastapi.testclient import TestClient
from starlette.exceptions import HTTPException
from starlette.types import Message

from masklet.server.bodies import bounded
from masklet.server.limits import Limits

from .conftest import send_part

TRICKLE = b'{"size": 5, "name": "' + b"x" * 2000


def trickle() -> Iterator[bytes]:
    """Without a length in the header."""
    for place in range(0, len(TRICKLE), 100):
        yield TRICKLE[place : place + 100]


@pytest.mark.parametrize("path", ["/api/uploads", "/api/sessions", "/api/sessions/none/exports"])
@pytest.mark.parametrize("body", [TRICKLE, trickle], ids=["announced", "unannounced"])
def test_a_body_that_is_too_large_is_refused_before_it_is_parsed(
    served: Callable[..., TestClient], path: str, body: bytes | Callable[[], Iterator[bytes]]
):
    content = body if isinstance(body, bytes) else body()
    answer = served(json_bytes=1000).post(path, content=content, headers={"Content-Type": "application/json"})
    assert answer.status_code == 413
    assert "more than 1000 bytes" in answer.json()["error"]
    assert answer.headers["Connection"] == "close"


def test_a_part_of_a_file_may_be_larger_than_other_requests(served: Callable[..., TestClient]):
    client = served(json_bytes=100, chunk_bytes=5000)
    begun = client.post("/api/uploads", json={"size": 6000}).json()["id"]
    assert send_part(client, begun, 0, bytes(5000)).status_code == 204
    assert send_part(client, begun, 5000, bytes(5001)).status_code == 413


def test_a_body_that_does_not_come_is_given_up():
    async def nothing() -> Message:
        await asyncio.Event().wait()
        raise AssertionError

    scope = {"type": "http", "method": "POST", "path": "/api/uploads", "headers": []}

    async def receive() -> Message:
        return await bounded(nothing, scope, Limits(silence_seconds=0.01))()

    with pytest.raises(HTTPException) as given_up:
        asyncio.run(receive())
    assert given_up.value.status_code == 408


def test_after_the_body_it_is_waited_as_long_as_the_answer_takes():
    async def late() -> Message:
        await asyncio.sleep(0.05)
        return {"type": "http.disconnect"}

    async def whole() -> Message:
        return {"type": "http.request", "body": b"{}", "more_body": False}

    async def both() -> Message:
        messages = [whole, late]
        receive = bounded(lambda: messages.pop(0)(), scope, Limits(silence_seconds=0.01))
        await receive()
        return await receive()

    scope = {"type": "http", "method": "POST", "path": "/api/uploads", "headers": []}
    assert asyncio.run(both())["type"] == "http.disconnect"
