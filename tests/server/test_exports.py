from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from masklet.masks import decode_rle, encode_rle

from .conftest import FRAMES, opened, settled
from .test_live import page

pytestmark = pytest.mark.usefixtures("quick")

LEFT = np.zeros((64, 96), dtype=bool)
LEFT[8:56, 8:40] = True


@pytest.fixture
def painted(served: Callable[..., TestClient], uploaded: Path) -> tuple[TestClient, str]:
    """A session with a mask that is known, on frame 0."""
    client = served()
    name = opened(client, uploaded)["id"]
    with page(client, name) as first:
        assert first.do(1, "add_object", obj=3, name="Cup", colour="#ff0000") == ""
        assert first.do(2, "mask", obj=3, frame=0, counts=encode_rle(LEFT)["counts"]) == ""
    return client, name


def exported(painted: tuple[TestClient, str], wanted: str) -> tuple[bytes, Any]:
    client, name = painted
    begun = client.post(f"/api/sessions/{name}/exports", json={"format": wanted}).json()
    path = f"/api/sessions/{name}/exports/{begun['id']}"
    state = settled(client, path, "running")
    assert state["state"] == "ready", state
    answer = client.get(f"{path}/file")
    return answer.content, answer.headers


def frames_of(content: bytes) -> list[np.ndarray]:
    with av.open(io.BytesIO(content)) as video:
        return [frame.to_ndarray(format="rgb24") for frame in video.decode(video=0)]


def test_the_video_has_all_frames_and_the_object_in_its_colour(painted: tuple[TestClient, str]):
    content, headers = exported(painted, "video")
    frames = frames_of(content)
    assert len(frames) == FRAMES
    red = frames[0][30, 24].astype(int)
    assert red[0] > red[1] + 60
    assert abs(int(frames[1][30, 24, 0]) - int(frames[1][30, 24, 1])) < 30
    assert headers["Content-Type"] == "video/mp4"
    assert 'filename="clip-video.mp4"' in headers["Content-Disposition"]


def test_the_video_looks_as_the_page_does(painted: tuple[TestClient, str]):
    client, name = painted
    path = f"/api/sessions/{name}/pictures"
    green = Image.new("RGBA", (96, 64), (0, 200, 0, 255))
    sent = client.post(path, content=png(green), headers={"Content-Type": "image/png"})
    assert sent.status_code == 201
    with page(client, name) as first:
        assert first.do(3, "look", background="blur", effect="original", behind=sent.json()["id"]) == ""
    drawn = frames_of(exported(painted, "video")[0])[0].astype(int)
    assert np.abs(drawn[32, 80] - (0, 200, 0)).max() < 12
    assert np.abs(drawn[32, 24] - 90).max() < 12
    assert client.get(f"{path}/{sent.json()['id']}").headers["Content-Type"] == "image/png"


@pytest.mark.parametrize(
    ("content", "kind", "status"),
    [
        (b"\x89PNG\r\n\x1a\n and no more", "image/png", 415),
        (b"GIF89a", "image/png", 415),
        (b"", "image/svg+xml", 415),
        (b"x" * 70_000, "image/png", 413),
        (None, "image/png", 422),
    ],
)
def test_pictures_that_do_not_fit_are_refused(
    served: Callable[..., TestClient], uploaded: Path, content: bytes | None, kind: str, status: int
):
    client = served(picture_bytes=60_000)
    path = f"/api/sessions/{opened(client, uploaded)['id']}/pictures"
    data = png(Image.new("L", (4000, 4000))) if content is None else content
    assert client.post(path, content=data, headers={"Content-Type": kind}).status_code == status
    assert client.get(f"{path}/..%2fvideo").status_code == 404


def png(picture: Image.Image) -> bytes:
    data = io.BytesIO()
    picture.save(data, "PNG")
    return data.getvalue()


def test_png_masks_come_as_one_archive_with_the_object_s_number(painted: tuple[TestClient, str]):
    content, _ = exported(painted, "png")
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        names = archive.namelist()
        ids = np.asarray(Image.open(io.BytesIO(archive.read("00000.png"))))
    assert names == [f"{index:05d}.png" for index in range(FRAMES)]
    assert np.array_equal(ids == 3, LEFT)


def test_coco_and_sav_hold_the_mask_and_where_it_is(painted: tuple[TestClient, str]):
    coco = json.loads(exported(painted, "coco")[0])
    (annotation,) = coco["annotations"]
    assert annotation["bbox"] == [8, 8, 32, 48]
    assert coco["categories"][0]["name"] == "Cup"
    sav = json.loads(exported(painted, "sav")[0])
    assert (sav["masklet_id"], sav["video_frame_count"]) == ([3], FRAMES)
    assert np.array_equal(decode_rle(sav["masklet"][0][0]), LEFT)


def test_the_transparent_video_is_one(painted: tuple[TestClient, str]):
    content, headers = exported(painted, "cutout-webm")
    assert headers["Content-Type"] == "video/webm"
    with av.open(io.BytesIO(content)) as video:
        assert video.streams.video[0].metadata["alpha_mode"] == "1"


def test_without_masks_there_is_nothing_to_export(served: Callable[..., TestClient], uploaded: Path):
    client = served()
    name = opened(client, uploaded)["id"]
    begun = client.post(f"/api/sessions/{name}/exports", json={"format": "coco"}).json()
    state = settled(client, f"/api/sessions/{name}/exports/{begun['id']}", "running")
    assert (state["state"], "no masks" in state["error"]) == ("failed", True)
    assert client.get(f"/api/sessions/{name}/exports/{begun['id']}/file").status_code == 409
    assert client.post(f"/api/sessions/{name}/exports", json={"format": "exe"}).status_code == 422
    assert client.get(f"/api/sessions/{name}/exports/none/file").status_code == 404


@pytest.mark.parametrize("wanted", ["coco", "sav", "rle", "png", "video"])
def test_what_is_hidden_is_in_no_export(painted: tuple[TestClient, str], wanted: str):
    client, name = painted
    with page(client, name) as first:
        assert first.do(3, "change_object", obj=3, visible=False) == ""
    begun = client.post(f"/api/sessions/{name}/exports", json={"format": wanted}).json()
    state = settled(client, f"/api/sessions/{name}/exports/{begun['id']}", "running")
    assert (state["state"], "show one that is hidden" in state["error"]) == ("failed", True)


def test_a_number_that_no_palette_has_becomes_a_smaller_one(painted: tuple[TestClient, str]):
    client, name = painted
    right = np.zeros_like(LEFT)
    right[8:56, 60:80] = True
    with page(client, name) as first:
        assert first.do(3, "add_object", obj=4000, name="Cup", colour="#ff0000") == ""
        assert first.do(4, "mask", obj=4000, frame=0, counts=encode_rle(right)["counts"]) == ""
    content, _ = exported(painted, "png")
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        numbers = np.asarray(Image.open(archive.open(min(archive.namelist()))))
    assert (numbers == LEFT + 2 * right.astype(int)).all()


def test_a_session_that_is_closed_while_it_is_exported_leaves_no_files(painted: tuple[TestClient, str], tmp_path: Path):
    client, name = painted
    assert client.post(f"/api/sessions/{name}/exports", json={"format": "video"}).status_code == 202
    assert client.delete(f"/api/sessions/{name}").status_code == 204
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
