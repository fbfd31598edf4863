"""Who is let in, what browsers are told, and that sessions leave nothing behind."""

from __future__ import annotations

import gc
import math
import time
import weakref
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from fastapi.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from masklet.server import app
from masklet.server.security import COOKIE, NO_TOKEN, Allowance, Allowances, is_loopback
from masklet.server.workspaces import Workspace, Workspaces
from masklet.sessions.video import VideoSession
from masklet.video.file import VideoFile

from .conftest import opened, upload
from .test_live import page

pytestmark = pytest.mark.usefixtures("quick")

SOCKET = "ws://localhost/api/sessions/x/live?client=12345678"
TOKEN = "a-token-that-nobody-guesses"  # noqa: S105 - of a test


def workspaces_of(client: TestClient) -> Workspaces:
    return client.app.state.masklet.workspaces  # type: ignore[attr-defined]


def test_every_answer_carries_the_page_s_security_policy(served: Callable[..., TestClient]):
    client = served()
    for path in ("/", "/api/limits", "/api/sessions/none", "/nothing"):
        headers = client.get(path).headers
        assert "default-src 'none'" in headers["Content-Security-Policy"]
        assert "unsafe" not in headers["Content-Security-Policy"]
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert "access-control-allow-origin" not in headers


def test_the_page_itself_is_asked_for_again_each_time(served: Callable[..., TestClient]):
    assert served().get("/").headers["Cache-Control"] == "no-cache"


def test_a_name_that_is_not_the_server_s_own_is_refused(served: Callable[..., TestClient]):
    client = served()
    assert client.get("/api/limits", headers={"Host": "evil.example"}).status_code == 421
    assert client.get("/api/limits", headers={"Host": "localhost:8321"}).status_code == 200


def test_other_sites_can_neither_post_nor_open_a_socket(served: Callable[..., TestClient]):
    client = served()
    evil = {"Origin": "https://evil.example"}
    assert client.post("/api/sessions", json={"sample": True}, headers=evil).status_code == 403
    with (
        pytest.raises(WebSocketDisconnect),
        client.websocket_connect("/api/sessions/x/live?client=12345678", headers=evil),
    ):
        pass
    assert client.options("/api/sessions", headers=evil).headers.get("access-control-allow-origin") is None


def test_without_the_token_nothing_is_given_and_the_address_with_it_sets_a_cookie(served: Callable[..., TestClient]):
    client = served(token=TOKEN)
    for path in ("/", "/api/limits", "/?token=wrong"):
        assert client.get(path).status_code == 401
    with pytest.raises(WebSocketDisconnect) as closed, client.websocket_connect(SOCKET) as socket:
        socket.receive_text()
    assert closed.value.code == NO_TOKEN
    assert client.get("/api/limits", headers={"Authorization": f"Bearer {TOKEN}"}).status_code == 200
    answer = client.get(f"/?token={TOKEN}", follow_redirects=False)
    assert (answer.status_code, answer.headers["Location"]) == (303, "./")
    assert "httponly" in answer.headers["Set-Cookie"].lower()
    assert "samesite=lax" in answer.headers["Set-Cookie"].lower(), "a link on another site leads here"
    assert COOKIE.format(port=0) in client.cookies
    assert TOKEN not in client.cookies.values()
    assert client.get("/api/limits").status_code == 200
    assert client.get("/api/limits", headers={"Host": "localhost:9000"}).status_code == 401, "another server's cookie"


@pytest.mark.parametrize("other", ['foo={"a":1}', "a/b=1", "lonely", "; ;=", 'quoted="x;y"'])
def test_cookies_of_others_do_not_hide_ours(served: Callable[..., TestClient], other: str):
    client = served(token=TOKEN)
    client.get(f"/?token={TOKEN}", follow_redirects=False)
    (own,) = client.cookies.items()
    client.cookies.clear()
    for cookies in (f"{other}; {own[0]}={own[1]}", f"{own[0]}={own[1]}; {other}"):
        assert client.get("/api/limits", headers={"Cookie": cookies}).status_code == 200
    assert client.get("/api/limits", headers={"Cookie": other}).status_code == 401


@pytest.mark.parametrize("path", ["//evil.example/x", "/a/../b", "/%0d%0aevil", "/https:evil"])
def test_the_address_with_the_token_leads_to_this_server_only(served: Callable[..., TestClient], path: str):
    client = served(token=TOKEN)
    answer = client.get(f"http://localhost{path}?token={TOKEN}&x=1", follow_redirects=False)
    assert answer.headers["Location"].startswith("./")
    assert answer.headers["Location"].endswith("?x=1")


@pytest.mark.parametrize(
    "headers", [{"Host": "["}, {"Host": "localhost:x"}, {"Host": "localhost", "Origin": "http://["}]
)
def test_what_is_no_address_is_refused(served: Callable[..., TestClient], headers: dict[str, str]):
    answer = served(token=TOKEN).post("/api/sessions", json={"sample": True}, headers=headers)
    assert answer.status_code in (401, 403, 421)


@pytest.mark.parametrize("token", ["", "short", "with a space", "ungültiges-token"])
def test_a_token_that_lets_everybody_in_or_is_easily_guessed_is_refused(served: Callable[..., TestClient], token: str):
    with pytest.raises(ValueError, match="at least 8"):
        served(token=token)


@pytest.mark.parametrize("path", ["/../app.py", "/%2e%2e/app.py", "/..%2fapp.py", "/..%5c..%5capp.py", "//etc/passwd"])
def test_no_path_leads_out_of_the_page_s_folder(served: Callable[..., TestClient], path: str):
    answer = served().get(path)
    assert answer.status_code == 404
    assert "import" not in answer.text


def test_too_many_requests_are_refused(served: Callable[..., TestClient]):
    client = served(requests_per_minute=2)
    assert [client.get("/api/limits").status_code for _ in range(3)] == [200, 200, 429]


def test_too_many_openings_are_refused(served: Callable[..., TestClient]):
    client = served(opened_per_minute=2)
    answers = [client.post("/api/sessions", json={"sample": True}).status_code for _ in range(3)]
    assert answers == [201, 201, 429]


def test_as_many_pictures_can_be_uploaded_as_a_session_takes(served: Callable[..., TestClient]):
    client = served(opened_per_minute=2, pictures=100)
    uploads = [upload(client, b"x") for _ in range(101)]
    assert "1 to 100 pictures" in client.post("/api/sessions", json={"uploads": uploads}).json()["error"]
    assert client.post("/api/sessions", json={"uploads": uploads[:-1]}).status_code == 201


def test_asking_for_the_same_uploads_again_gives_the_session_that_they_became(served: Callable[..., TestClient]):
    client = served()
    body = {"uploads": [upload(client, b"x")]}
    first, again = (client.post("/api/sessions", json=body) for _ in range(2))
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.json()["id"] == again.json()["id"]
    assert client.post("/api/sessions", json={"uploads": [upload(client, b"x")]}).json()["id"] != first.json()["id"]


def test_the_video_is_given_in_parts(served: Callable[..., TestClient], uploaded: Path):
    client = served()
    name = opened(client, uploaded)["id"]
    answer = client.get(f"/api/sessions/{name}/video.mp4", headers={"Range": "bytes=4-7"})
    assert (answer.status_code, answer.content) == (206, b"ftyp")
    assert answer.headers["Content-Type"] == "video/mp4"
    assert client.get(f"/api/sessions/{name}/thumbnails.jpg").content[:3] == b"\xff\xd8\xff"


def test_a_closed_session_leaves_no_files_and_no_memory(
    served: Callable[..., TestClient], uploaded: Path, tmp_path: Path
):
    client = served()
    name = opened(client, uploaded)["id"]
    editor = weakref.ref(workspaces_of(client).get(name).editor)
    assert [path for path in tmp_path.rglob("*") if path.is_file()]
    assert client.delete(f"/api/sessions/{name}").status_code == 204
    assert client.get(f"/api/sessions/{name}").status_code == 404
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
    gc.collect()
    assert editor() is None


def test_an_idle_session_expires_and_one_with_a_page_does_not(
    served: Callable[..., TestClient], uploaded: Path, tmp_path: Path
):
    client = served()
    name = opened(client, uploaded)["id"]
    workspaces = workspaces_of(client)
    workspace = workspaces.get(name)
    assert client.portal is not None
    with client.websocket_connect(f"ws://localhost/api/sessions/{name}/live?client=12345678") as socket:
        socket.receive()
        workspace.last_used = -math.inf
        client.portal.call(workspaces.expire)
        assert len(workspaces) == 1
    while workspace.sockets:
        time.sleep(0.01)
    client.portal.call(workspaces.expire)
    assert len(workspaces) == 1
    workspace.last_used = -math.inf
    client.portal.call(workspaces.expire)
    assert len(workspaces) == 0
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_sessions_rest_when_nothing_is_done_and_fifty_of_them_leave_nothing(
    served: Callable[..., TestClient], uploaded: Path, tmp_path: Path
):
    client = served(opened_per_minute=1000, requests_per_minute=100_000, sessions=20)
    workspaces = workspaces_of(client)
    assert client.portal is not None

    def worked_on() -> Workspace:
        name = opened(client, uploaded)["id"]
        with page(client, name) as first:
            assert first.do(1, "add_object", obj=1, name="Cup", colour="#ff0000") == ""
            assert first.do(2, "click", obj=1, frame=0, x=40, y=30) == ""
        return workspaces.get(name)

    def count() -> int:
        gc.collect()
        return sum(issubclass(type(one), (torch.Tensor, VideoSession, VideoFile)) for one in gc.get_objects())

    client.delete(f"/api/sessions/{worked_on().id}")
    before = count()
    idle = [worked_on() for _ in range(20)]
    assert idle[-1].is_awake
    for workspace in idle:
        workspace.last_command = -math.inf
    client.portal.call(workspaces.expire)
    while any(workspace.is_awake for workspace in idle):
        time.sleep(0.01)
    assert len(workspaces) == 20
    assert count() <= before
    for workspace in idle:
        client.delete(f"/api/sessions/{workspace.id}")
    del idle, workspace
    for _ in range(30):
        client.delete(f"/api/sessions/{worked_on().id}")
    assert count() <= before
    assert not any(type(one) is Workspace for one in gc.get_objects())
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_kept_sessions_outlive_the_server_with_their_steps(
    served: Callable[..., TestClient], uploaded: Path, tmp_path: Path
):
    keep = tmp_path / "kept"
    client = served(keep=keep)
    name, other = (opened(client, uploaded)["id"] for _ in range(2))
    assert client.delete(f"/api/sessions/{other}").status_code == 204
    with page(client, name) as first:
        assert first.do(1, "add_object", obj=1, name="Cup", colour="#ff0000") == ""
        assert first.do(2, "click", obj=1, frame=0, x=40, y=30) == ""
        first.until(lambda: ("mask", 1, 0) in first.values)
        seen, masks = first.version, first.values["mask", 1, 0]
    assert (keep / "masklet-serve").stat().st_mode & 0o777 == 0o700
    with pytest.raises(ValueError, match="another server keeps its sessions"):
        served(keep=keep)
    client.__exit__(None, None, None)

    again = served(keep=keep)
    assert len(workspaces_of(again)) == 1
    assert again.get(f"/api/sessions/{name}").json()["state"] == "ready"
    with page(again, name, since=seen) as back, page(again, name, name="page-0002") as reloaded:
        reloaded.until(lambda: ("mask", 1, 0) in reloaded.values)
        assert reloaded.values["mask", 1, 0] == masks
        assert back.do(2, "click", obj=1, frame=0, x=40, y=30) == "", "it was carried out before"
        assert back.do(3, "track", start=0, forward_to=3) == ""
        back.until(lambda: len(back.masks()) == 3 and back.values["status",]["tracking"] is None)
        assert back.do(4, "undo") == ""
        assert back.do(5, "undo") == ""
        back.until(lambda: ("prompts", 1, 0) in back.values)
        assert back.values["prompts", 1, 0] is None


def test_the_number_of_sessions_is_bounded(served: Callable[..., TestClient], uploaded: Path):
    client = served(sessions=1)
    opened(client, uploaded)
    answer = client.post("/api/sessions", json={"sample": True})
    assert (answer.status_code, "1 sessions are open" in answer.json()["error"]) == (503, True)


def test_one_address_cannot_take_all_sessions_and_failed_ones_take_none(
    served: Callable[..., TestClient], uploaded: Path
):
    client = served(sessions_per_address=1)
    workspaces = workspaces_of(client)
    first = workspaces.get(opened(client, uploaded)["id"])
    refused = client.post("/api/sessions", json={"sample": True})
    assert (refused.status_code, "of yours are open" in refused.json()["error"]) == (429, True)
    first.error = "no video"
    assert client.post("/api/sessions", json={"sample": True}).status_code == 201
    first.last_used -= 6 * 60
    assert client.portal is not None
    client.portal.call(workspaces.expire)
    assert len(workspaces) == 1


def test_looking_for_idle_sessions_goes_on_after_an_error(
    served: Callable[..., TestClient], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.setattr(app, "LOOK_EVERY_SECONDS", 0.01)
    client, seen = served(), []

    async def fail(_: Workspaces) -> None:
        seen.append(1)
        raise OSError

    monkeypatch.setattr(Workspaces, "expire", fail)
    while len(seen) < 3:
        time.sleep(0.01)
    assert client.get("/api/limits").status_code == 200
    assert "looking for idle sessions failed" in caplog.text


@pytest.mark.parametrize("body", [{}, {"sample": True, "uploads": ["x" * 22]}, {"uploads": ["../x"]}, {"more": 1}])
def test_a_session_is_of_the_sample_or_of_uploads(served: Callable[..., TestClient], body: dict[str, object]):
    assert served().post("/api/sessions", json=body).status_code == 422


def test_only_addresses_of_this_machine_are_loopback():
    assert all(map(is_loopback, ("127.0.0.1", "::1", "localhost", "127.3.2.1")))
    assert not any(map(is_loopback, ("0.0.0.0", "192.168.1.5", "example.org", "::")))  # noqa: S104 - not bound


def test_an_allowance_grows_back():
    allowance = Allowance(1000.0, burst=2)
    assert [allowance.take(), allowance.take()] == [True, True]
    allowance._since -= 0.01
    assert allowance.take()
    each = Allowances(1)
    assert [each.take("a"), each.take("b"), each.take("a")] == [True, True, False]
