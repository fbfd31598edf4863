from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from masklet.server.disk import Disk
from masklet.server.errors import Refusal
from masklet.server.limits import Limits
from masklet.server.uploads import Uploads

from .conftest import opened, send_part, upload


def uploads_in(folder: Path) -> Uploads:
    return Uploads(folder, Limits(), Disk(folder, 1 << 20, 1))


def test_a_file_that_was_interrupted_goes_on_where_it_was(served: Callable[..., TestClient], uploaded: Path):
    client, data = served(), uploaded.read_bytes()
    begun = client.post("/api/uploads", json={"size": len(data), "name": "clip.mp4"}).json()
    half = len(data) // 2
    assert send_part(client, begun["id"], 0, data[:half]).headers["Upload-Offset"] == str(half)
    assert client.head(f"/api/uploads/{begun['id']}").headers["Upload-Offset"] == str(half)
    wrong = send_part(client, begun["id"], 0, data[:half])
    assert (wrong.status_code, f"begins at {half}" in wrong.json()["error"]) == (409, True)
    early = client.post("/api/sessions", json={"uploads": [begun["id"]]})
    assert (early.status_code, "send the rest" in early.json()["error"]) == (409, True)
    assert send_part(client, begun["id"], half, data[half:]).status_code == 204
    assert client.post("/api/sessions", json={"uploads": [begun["id"]]}).status_code == 201


def test_more_than_announced_or_allowed_is_refused(served: Callable[..., TestClient]):
    client = served(upload_bytes=5000, chunk_bytes=1000)
    assert client.post("/api/uploads", json={"size": 5001}).status_code == 413
    assert client.post("/api/uploads", json={"size": 0}).status_code == 422
    begun = client.post("/api/uploads", json={"size": 4000}).json()["id"]
    assert send_part(client, begun, 0, bytes(1001)).status_code == 413
    small = client.post("/api/uploads", json={"size": 10}).json()["id"]
    assert send_part(client, small, 0, bytes(11)).status_code == 413


def test_what_has_arrived_is_bounded_and_what_was_announced_takes_nothing_from_others(
    served: Callable[..., TestClient],
):
    client = served(stored_bytes=10_000)
    first, second = (client.post("/api/uploads", json={"size": 9000}).json()["id"] for _ in range(2))
    assert send_part(client, first, 0, bytes(6000)).status_code == 204
    refused = send_part(client, second, 0, bytes(6000))
    assert (refused.status_code, "no room left" in refused.json()["error"]) == (507, True)
    assert client.post("/api/uploads", json={"size": 6000}).status_code == 507


def test_the_files_of_one_address_that_wait_are_bounded(served: Callable[..., TestClient]):
    client = served(uploads_per_address=2)
    answers = [client.post("/api/uploads", json={"size": 5}).status_code for _ in range(3)]
    assert answers == [201, 201, 429]


def test_a_part_whose_connection_died_silently_gives_way_to_the_next_one(tmp_path: Path):
    async def parts(*all_of_them: bytes, until: asyncio.Event | None = None) -> AsyncIterator[bytes]:
        for part in all_of_them:
            yield part
        if until is not None:
            await until.wait()
            yield b"late"

    async def both() -> bytes:
        uploads, woken = uploads_in(tmp_path), asyncio.Event()
        coming = uploads.begin(10)
        dead = asyncio.create_task(uploads.append(coming.id, 0, parts(b"01", b"23", until=woken)))
        while coming.offset < 4:
            await asyncio.sleep(0)
        assert (await uploads.append(coming.id, 4, parts(b"456", b"789"))).offset == 10
        woken.set()
        with pytest.raises(Refusal, match="took the place"):
            await dead
        return coming.path.read_bytes()

    assert asyncio.run(both()) == b"0123456789"


def test_an_upload_of_which_nothing_comes_any_more_expires(tmp_path: Path):
    uploads = uploads_in(tmp_path)
    coming = uploads.begin(10)
    uploads.expire(3600)
    assert uploads.get(coming.id) is coming
    uploads.expire(-1)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["../../etc/passwd", "/etc/passwd", "a\\b\0c.mp4", "\u202e.mp4"])
def test_a_name_never_becomes_a_path(served: Callable[..., TestClient], uploaded: Path, tmp_path: Path, name: str):
    client = served()
    upload(client, uploaded.read_bytes(), name)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) == 1
    assert files[0].suffix == ".part"
    assert "passwd" not in str(files[0])


@pytest.mark.parametrize("identifier", ["..%2F..%2Fetc", "nope", "%00"])
def test_an_unknown_upload_is_not_found(served: Callable[..., TestClient], identifier: str):
    client = served()
    assert client.head(f"/api/uploads/{identifier}").status_code == 404
    assert send_part(client, identifier, 0, b"x").status_code in (404, 405)


def test_only_the_content_type_of_parts_is_taken(served: Callable[..., TestClient]):
    client = served()
    begun = client.post("/api/uploads", json={"size": 4}).json()["id"]
    answer = client.patch(
        f"/api/uploads/{begun}", content=b"abcd", headers={"Upload-Offset": "0", "Content-Type": "text/html"}
    )
    assert answer.status_code == 415


def test_text_under_the_name_of_a_video_is_refused_with_a_reason(served: Callable[..., TestClient], tmp_path: Path):
    path = tmp_path / "clip.mp4"
    path.write_text("#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n" * 40)
    session = opened(served(), path)
    assert session["state"] == "failed"
    assert "no video or picture" in session["error"]
    assert str(tmp_path) not in session["error"]


def test_a_video_under_the_name_of_a_text_is_taken_for_what_it_is(
    served: Callable[..., TestClient], uploaded: Path, tmp_path: Path
):
    path = tmp_path / "notes.txt"
    path.write_bytes(uploaded.read_bytes())
    session = opened(served(), path)
    assert session["state"] == "ready"
    assert session["video"]["frames"] == 10
    assert session["video"]["name"] == "notes.txt"
