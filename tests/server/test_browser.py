"""The page in a real browser: upload, click, paint, track, correct, undo, reload, effects, export, users, the camera,
a phone, and connections that fail.

What it looks like is kept: in the folder that pytest names `page` of its temporary ones, or in $MASKLET_SCREENSHOTS.
"""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import av
import numpy as np
import pytest
import uvicorn
from PIL import Image
from tests.video.clips import make_video, number_in

import masklet
from masklet.masks import decode_rle
from masklet.model.sam2 import SegmentationNetwork
from masklet.server.app import make_app
from masklet.video.file import VideoFile

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, WebSocketRoute

sync_api = pytest.importorskip("playwright.sync_api")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium; on Debian: apt-get install chromium")

FRAMES = 24
HW = (120, 160)
PATIENCE_MS = 300_000
GRAPHICS = ["--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--disable-dev-shm-usage"]
CAMERA = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]


LONGER_PAUSES = """() => {
    const wait = window.setTimeout;
    window.setTimeout = (work, ms) => wait(work, 500 < ms && ms < 1000 ? ms + 4000 : ms);
}"""
"""Gives a slow machine the time to correct two frames before the first is tracked again."""
TELLS_MOMENT = """
const request = HTMLVideoElement.prototype.requestVideoFrameCallback;
HTMLVideoElement.prototype.requestVideoFrameCallback = function (work) {
    return request.call(this, (now, told) => work(now, { ...told, mediaTime: this.currentTime }));
};
"""
NO_NETWORK = "net::ERR_INTERNET_DISCONNECTED"


@contextmanager
def serving(network: SegmentationNetwork) -> Iterator[str]:
    """The address of a server."""
    server = uvicorn.Server(uvicorn.Config(make_app(network), host="127.0.0.1", port=0, log_level="warning"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.02)
    port = server.servers[0].sockets[0].getsockname()[1]
    yield f"http://localhost:{port}/"
    server.should_exit = True
    thread.join()


@pytest.fixture(scope="module")
def address(network: SegmentationNetwork) -> Iterator[str]:
    with serving(network) as at:
        yield at


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
    sync_api.expect.set_options(timeout=PATIENCE_MS)
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=[*GRAPHICS, *CAMERA, *sandbox], timeout=PATIENCE_MS
        )
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def page(browser: Browser, address: str) -> Iterator[Page]:
    """A page at desktop size. Any error in its console fails the test that made it."""
    shown = browser.new_page(viewport={"width": 1280, "height": 800}, accept_downloads=True)
    shown.set_default_timeout(PATIENCE_MS)
    problems: list[str] = []
    shown.on("pageerror", lambda error: problems.append(str(error)))
    shown.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
    shown.goto(address)
    yield shown
    assert not [problem for problem in problems if NO_NETWORK not in problem]


@pytest.fixture(scope="module")
def keep(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Page, str], None]:
    folder = Path(os.environ.get("MASKLET_SCREENSHOTS") or tmp_path_factory.mktemp("page"))
    folder.mkdir(parents=True, exist_ok=True)

    def shoot(page: Page, name: str) -> None:
        page.screenshot(path=folder / f"{name}.png", animations="disabled")

    return shoot


def click_picture(page: Page, x: float, y: float, **options: list[str]) -> None:
    """At a place in units of the picture."""
    canvas = page.locator(".picture canvas")
    box = canvas.bounding_box()
    assert box is not None
    canvas.click(position={"x": box["width"] * x, "y": box["height"] * y}, **options)  # type: ignore[arg-type]


def go(page: Page, frame: int) -> None:
    field = page.get_by_role("spinbutton", name="Frame")
    field.fill(str(frame))
    field.press("Enter")
    arrived(page, frame)


def arrived(page: Page, frame: int) -> None:
    """The picture of a frame is on show."""
    sync_api.expect(page.locator(".picture canvas")).to_have_attribute("aria-label", re.compile(f"^Frame {frame} "))


def picture(page: Page, path: Path) -> Image.Image:
    """What the canvas shows, at the video's size."""
    data = page.locator(".picture canvas").evaluate("canvas => canvas.toDataURL()")
    path.write_bytes(base64.b64decode(data.partition(",")[2]))
    return Image.open(path).convert("RGB")


def wait_for(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE_MS / 1000
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.1)


def difference(one: Image.Image, other: Image.Image) -> float:
    """Of squares of 4 x 4 pixels on average, since H.264 stores colours of thin lines coarsely."""
    small, too = (np.asarray(image.reduce(4), dtype=float) for image in (one, other))
    return np.abs(small - too).mean()


def number_of(page: Page, path: Path) -> int:
    return number_in(np.asarray(picture(page, path)))


def exported(page: Page, label: str, path: Path) -> Path:
    page.get_by_label("Export", exact=True).click()
    with page.expect_download() as download:
        page.get_by_role("button", name=label).click()
    download.value.save_as(path)
    sync_api.expect(page.get_by_role("button", name=label)).to_be_hidden()
    return path


def all_masks(page: Page, path: Path) -> list:
    return json.loads(exported(page, "Run lengths of all frames", path).read_text())["frames"]


def bring(page: Page, *files: Path) -> None:
    page.get_by_label("Video or pictures").set_input_files(files)
    page.locator(".picture.ready").wait_for()


def drop(page: Page, clip: Path) -> None:
    """As a file manager does."""
    data = base64.b64encode(clip.read_bytes()).decode()
    files = page.evaluate_handle(
        """([data, name]) => {
            const files = new DataTransfer();
            files.items.add(new File([Uint8Array.from(atob(data), (c) => c.charCodeAt(0))], name));
            return files;
        }""",
        [data, clip.name],
    )
    page.locator(".drop").dispatch_event("drop", {"dataTransfer": files})
    page.locator(".picture.ready").wait_for()


def drag(page: Page, *places: tuple[float, float]) -> None:
    """With the button held, along places in units of the picture."""
    box = page.locator(".picture canvas").bounding_box()
    assert box is not None
    for number, (x, y) in enumerate(places):
        page.mouse.move(box["x"] + box["width"] * x, box["y"] + box["height"] * y, steps=4 if number else 1)
        if not number:
            page.mouse.down()
    page.mouse.up()


def shown_mask(page: Page, path: Path) -> np.ndarray:
    """(h, w) bool of the first object on the only frame."""
    (frame,) = all_masks(page, path)
    return decode_rle(frame["objects"][0]["segmentation"])


def leave(page: Page) -> None:
    page.get_by_role("button", name="Close the video and open another one").click()
    page.get_by_role("button", name="Remove and close").click()
    page.get_by_role("button", name="Choose a file").wait_for()


def seen_on(page: Page, count: str) -> None:
    """The object's lane tells of so many frames."""
    page.get_by_role("img", name=re.compile(f"seen on {count} of")).wait_for()


def tracked(page: Page) -> None:
    page.get_by_role("button", name="Track forward").click()
    seen_on(page, str(FRAMES))
    sync_api.expect(page.get_by_role("button", name="Track forward")).to_be_enabled()


def test_a_clip_is_uploaded_clicked_tracked_corrected_undone_reloaded_and_exported(
    page: Page, tmp_path: Path, keep: Callable[[Page, str], None]
):
    expect = sync_api.expect
    page.get_by_role("button", name="Choose a file").wait_for()
    keep(page, "start-desktop")

    page.context.set_offline(True)
    clip = make_video(tmp_path / "clip.mp4", FRAMES, hw=HW, audio_hz=440)
    page.get_by_label("Video or pictures").set_input_files(clip)
    expect(page.get_by_text("Trying again: the server cannot be reached")).to_be_visible()
    page.context.set_offline(False)
    page.locator(".picture.ready").wait_for()
    assert page.locator(".title").inner_text() == "clip.mp4"

    for frame in (17, 3, 22, 0):
        go(page, frame)
        wait_for(lambda frame=frame: number_of(page, tmp_path / "frame.png") == frame)

    click_picture(page, 0.5, 0.6)
    expect(page.get_by_label("Remove positive click 1")).to_be_visible()
    expect(page.get_by_label("Name of object 1")).to_have_value("Object 1")
    tracked(page)
    before = all_masks(page, tmp_path / "tracked.json")
    masks = [entry["objects"][0]["segmentation"] for entry in before]
    assert len(masks) == FRAMES
    assert all(decode_rle(mask).shape == HW for mask in masks)
    assert decode_rle(masks[0]).any()

    lane = page.get_by_role("img", name=f"Object 1: seen on {FRAMES} of {FRAMES} frames")
    expect(lane).to_have_attribute("aria-label", re.compile("shown on 0$"))

    page.evaluate(LONGER_PAUSES)
    for frame in (20, 12):
        go(page, frame)
        click_picture(page, 0.2, 0.8, modifiers=["Shift"])
        expect(page.get_by_label("Remove negative click 1")).to_be_visible()
    wait_for(lambda: both_stretches_differ(all_masks(page, tmp_path / "corrected.json"), before))
    expect(page.get_by_role("button", name="Track forward")).to_be_enabled()
    keep(page, "tracked-desktop")
    wait_for(lambda: undone(page, tmp_path / "undone.json") == before)
    page.get_by_role("button", name="Undo").click()
    expect(page.get_by_role("button", name="Redo")).to_be_enabled()
    page.get_by_role("button", name="Redo").click()

    page.context.set_offline(True)
    page.get_by_label("Name of object 1").fill("Number")
    page.get_by_label("Name of object 1").press("Enter")
    page.context.set_offline(False)
    expect(page.get_by_label("Hide Number")).to_be_visible()

    page.reload()
    page.locator(".picture.ready").wait_for()
    expect(page.get_by_label("Name of object 1")).to_have_value("Number")
    arrived(page, 12)
    assert all_masks(page, tmp_path / "again.json") == before


def both_stretches_differ(now: list, before: list) -> bool:
    return now[13] != before[13] and now[21] != before[21]


def undone(page: Page, path: Path) -> list:
    """The masks after one step back."""
    page.get_by_role("button", name="Undo").click()
    return all_masks(page, path)


def test_the_page_fits_a_phone_and_its_controls_have_names(page: Page, keep: Callable[[Page, str], None]):
    page.set_viewport_size({"width": 390, "height": 780})
    page.wait_for_timeout(300)
    keep(page, "tracked-phone")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    box = page.locator(".picture").bounding_box()
    assert box is not None
    assert box["width"] > 300
    nameless = page.evaluate(
        "[...document.querySelectorAll('button, input, summary')]"
        ".filter(e => !(e.ariaLabel || e.textContent.trim() || e.labels?.length)).map(e => e.outerHTML)"
    )
    assert nameless == []
    for name in ("From here", "To here", "Choose Number"):
        assert page.get_by_role("button", name=name).is_visible()
    page.set_viewport_size({"width": 1280, "height": 800})


def test_keys_work_and_are_listed(page: Page, keep: Callable[[Page, str], None]):
    page.locator("body").click(position={"x": 640, "y": 5})
    page.keyboard.press("Home")
    page.keyboard.press("ArrowRight")
    frame = page.get_by_role("spinbutton", name="Frame")
    sync_api.expect(frame).to_have_value("1")
    frame.fill("4.6")
    frame.press("Enter")
    sync_api.expect(frame).to_have_value("5")
    arrived(page, 5)
    page.locator("body").click(position={"x": 640, "y": 5})
    page.keyboard.press("b")
    sync_api.expect(page.get_by_role("radio", name=re.compile("box"))).to_have_attribute("aria-checked", "true")
    page.keyboard.press("?")
    sync_api.expect(page.get_by_role("dialog")).to_be_visible()
    keep(page, "help-desktop")
    page.keyboard.press("Escape")
    sync_api.expect(page.get_by_role("dialog")).to_have_count(0)


def test_the_picture_comes_back_when_the_browser_drops_its_graphics(page: Page, tmp_path: Path):
    before = picture(page, tmp_path / "before.png")
    page.locator(".picture canvas").evaluate(
        """canvas => {
            const lost = canvas.getContext("webgl2").getExtension("WEBGL_lose_context");
            lost.loseContext();
            setTimeout(() => lost.restoreContext(), 100);
        }"""
    )
    sync_api.expect(page.get_by_text("The browser has dropped its graphics")).to_be_visible()
    sync_api.expect(page.get_by_text("The browser has dropped its graphics")).to_have_count(0)
    wait_for(lambda: difference(picture(page, tmp_path / "again.png"), before) < 0.1)


@pytest.mark.parametrize(
    ("background", "objects", "sign"),
    [("Blur", "Overlay", None), ("Cut-out", "Desaturate", None), ("Gradient", "Outline", "🔥")],
)
def test_the_exported_video_is_what_the_page_shows(
    page: Page, tmp_path: Path, keep: Callable[[Page, str], None], background: str, objects: str, sign: str | None
):
    go(page, 5)
    page.get_by_label("Effects").click()
    for group, name in (("Background", background), ("Objects", objects)):
        page.get_by_role("group", name=group).get_by_label(name).check()
    if sign is not None:
        page.get_by_role("button", name=f"{sign} behind the objects").click()
        sync_api.expect(page.get_by_role("button", name="Nothing")).to_be_visible()
        keep(page, "effects-desktop")
    page.keyboard.press("Escape")
    path = exported(page, "Video as it is shown", tmp_path / "shown.mp4")
    with VideoFile(path) as video:
        assert len(video) == FRAMES
        written = Image.fromarray(video[5])
    wait_for(lambda: difference(picture(page, tmp_path / "shown.png"), written) < 3)


def test_two_users_work_at_once_and_the_camera_is_a_video_like_any_other(page: Page, address: str, tmp_path: Path):
    assert page.context.browser is not None
    with page.context.browser.new_context() as context:
        other = context.new_page()
        other.set_default_timeout(PATIENCE_MS)
        other.goto(address)
        other.get_by_role("button", name="Use the camera").click()
        other.get_by_role("button", name="Record").click()
        other.wait_for_timeout(1000)
        page.get_by_role("button", name="Track forward").click()
        other.get_by_role("button", name="Stop and open").click()
        other.locator(".picture.ready").wait_for()
        click_picture(other, 0.5, 0.6)
        sync_api.expect(other.get_by_label("Remove positive click 1")).to_be_visible()
        other.get_by_role("button", name="Track forward").click()
        seen_on(other, "(?!0|1 ).*")
        assert len(all_masks(other, tmp_path / "other.json")) >= 2
        sync_api.expect(page.get_by_role("button", name="Track forward")).to_be_enabled()
        assert len(all_masks(page, tmp_path / "own.json")) == FRAMES


def test_a_video_is_not_closed_without_asking(page: Page):
    page.get_by_role("button", name="Close the video and open another one").click()
    page.get_by_role("button", name="Keep working").click()
    sync_api.expect(page.get_by_role("dialog")).to_have_count(0)
    assert page.locator(".title").inner_text() == "clip.mp4"
    leave(page)


def test_a_dropped_clip_is_painted_and_erased(page: Page, tmp_path: Path):
    drop(page, make_video(tmp_path / "dropped.mp4", 8, hw=HW))
    assert page.locator(".title").inner_text() == "dropped.mp4"
    y, xs = HW[0] // 2, [HW[1] // 4, HW[1] // 2, HW[1] * 3 // 4]

    page.get_by_role("radio", name="Paint the mask").click()
    drag(page, (0.2, 0.5), (0.8, 0.5))
    sync_api.expect(page.get_by_role("button", name="Take back what was shown on this frame")).to_be_enabled()
    painted = shown_mask(page, tmp_path / "painted.json")
    assert painted[y, xs].tolist() == [True, True, True]
    assert not painted[: HW[0] // 8].any()

    page.get_by_role("radio", name="Erase from the mask").click()
    drag(page, (0.5, 0.2), (0.5, 0.8))
    wait_for(lambda: shown_mask(page, tmp_path / "erased.json")[y, xs].tolist() == [True, False, True])
    page.get_by_role("button", name="Undo").click()
    wait_for(lambda: (shown_mask(page, tmp_path / "undone.json") == painted).all())

    transparent = exported(page, "Transparent video", tmp_path / "cutout.webm")
    with av.open(str(transparent)) as video:
        assert video.streams.video[0].codec_context.name == "vp9"
        assert len(list(video.decode(video=0))) == 8


def test_objects_are_added_at_once_named_coloured_hidden_and_shown_by_box_and_by_keyboard(page: Page, tmp_path: Path):
    expect = sync_api.expect
    page.evaluate("() => { for (const _ of 'ab') dispatchEvent(new KeyboardEvent('keydown', { key: 'n' })) }")
    expect(page.get_by_label("Name of object 3")).to_have_value("Object 3")
    expect(page.get_by_text("already")).to_have_count(0)
    page.get_by_role("button", name="Remove Object 3").click()

    page.get_by_label("Name of object 2").fill("Ball")
    page.get_by_label("Name of object 2").press("Enter")
    page.get_by_label("Colour of Ball").fill("#00ff00")
    page.get_by_role("radio", name="Draw a box around the object").click()
    drag(page, (0.3, 0.3), (0.7, 0.9))
    lane = page.get_by_role("img", name="Ball: seen on 1 of 8 frames")
    expect(lane).to_be_visible()
    page.mouse.move(640, 5)
    with_it = picture(page, tmp_path / "with.png")
    page.get_by_role("button", name="Hide Ball").click()
    expect(page.get_by_role("button", name="Show Ball")).to_be_visible()
    wait_for(lambda: difference(picture(page, tmp_path / "without.png"), with_it) > 1)

    page.get_by_role("radio", name="Click on the object").focus()
    page.keyboard.press("ArrowRight")
    expect(page.get_by_role("radio", name="Click beside the object")).to_be_checked()
    page.locator(".picture canvas").focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Shift+Enter")
    expect(page.get_by_label("Remove positive click 1")).to_be_visible()
    arrived(page, 0)


def test_strokes_are_all_kept_when_the_server_refuses_a_while_and_then_falls_silent(
    page: Page, address: str, tmp_path: Path
):
    """The second of the page's sockets gives nothing any more once strokes are drawn; the page makes another one."""
    sockets: list[WebSocketRoute] = []
    silent: list[WebSocketRoute] = []

    def pass_on(socket: WebSocketRoute) -> None:
        sockets.append(socket)
        if len(sockets) == 1:
            socket.close(code=4429, reason="too many pages show this session; close one")
            return
        server = socket.connect_to_server()
        server.on_message(lambda message: None if socket in silent else socket.send(message))

    leave(page)
    page.route_web_socket("**/live?*", pass_on)
    page.goto(address)
    still, second = (make_picture(tmp_path / f"{number}.png") for number in (1, 2))
    bring(page, still, second)
    assert page.get_by_role("spinbutton", name="Frame").get_attribute("max") == "1"
    page.get_by_role("radio", name="Paint the mask").click()
    drag(page, (0.1, 0.2), (0.2, 0.2))
    sync_api.expect(page.get_by_role("button", name="Take back what was shown on this frame")).to_be_enabled()
    assert len(sockets) == 2

    silent.append(sockets[-1])
    drag(page, (0.4, 0.2), (0.5, 0.2))
    drag(page, (0.8, 0.2), (0.9, 0.2))
    wait_for(lambda: page.wait_for_timeout(100) or len(sockets) == 3)
    sync_api.expect(page.get_by_label("Working")).to_have_count(0)
    drag(page, (0.4, 0.8), (0.5, 0.8))
    top, low, xs = HW[0] // 5, HW[0] * 4 // 5, [HW[1] * 3 // 20, HW[1] * 9 // 20, HW[1] * 17 // 20]
    wait_for(lambda: bool(shown_mask(page, tmp_path / "strokes.json")[low, xs[1]]))
    assert shown_mask(page, tmp_path / "strokes.json")[top, xs].all()


def make_picture(path: Path) -> Path:
    Image.new("RGB", (HW[1], HW[0]), "teal").save(path)
    return path


def test_frames_are_those_that_were_sought_where_the_browser_tells_the_moment_instead(browser: Browser, address: str):
    """As Firefox does."""
    with browser.new_context() as context:
        context.add_init_script(TELLS_MOMENT)
        page = context.new_page()
        page.set_default_timeout(PATIENCE_MS)
        page.goto(address)
        page.get_by_role("button", name="Try the sample").click()
        page.locator(".picture.ready").wait_for()
        for frame in (5, 0, 1, 0, 148, 149):
            go(page, frame)


def test_a_browser_that_cannot_draw_is_told_what_it_lacks(browser: Browser, address: str):
    with browser.new_context() as context:
        context.add_init_script("HTMLCanvasElement.prototype.getContext = () => null")
        page = context.new_page()
        page.set_default_timeout(PATIENCE_MS)
        page.goto(address)
        page.get_by_role("button", name="Try the sample").click()
        told = page.get_by_role("alert")
        sync_api.expect(told).to_contain_text("cannot draw with WebGL 2")
        sync_api.expect(told).to_be_in_viewport(ratio=1)


def tap_picture(page: Page, x: float, y: float) -> None:
    """A finger at shares of the picture's width and height."""
    area = page.locator(".picture canvas").bounding_box()
    assert area is not None
    page.touchscreen.tap(area["x"] + area["width"] * x, area["y"] + area["height"] * y)


def test_a_bottle_is_followed_on_a_phone_whose_browser_does_not_tell_its_frames(
    browser: Browser, tmp_path: Path, keep: Callable[[Page, str], None]
):
    """The built-in network on the clip that ships, without the hand, backward over a chosen range."""
    first, last, box = 4, 6, np.s_[121:390, 309:423]
    with (
        serving(masklet.load()) as at,
        browser.new_context(viewport={"width": 390, "height": 780}, has_touch=True, is_mobile=True) as context,
    ):
        context.add_init_script("delete HTMLVideoElement.prototype.requestVideoFrameCallback")
        phone = context.new_page()
        phone.set_default_timeout(PATIENCE_MS)
        phone.goto(at)
        keep(phone, "start-phone")
        phone.get_by_role("button", name="Try the sample").tap()
        phone.locator(".picture.ready").wait_for()
        phone.get_by_role("button", name="Play").tap()
        arrived(phone, 149)
        phone.get_by_role("button", name="Play").wait_for()

        go(phone, first)
        phone.get_by_role("button", name="From here").tap()
        go(phone, last)
        phone.get_by_role("button", name="To here").tap()
        tap_picture(phone, 366 / 640, 255 / 480)
        sync_api.expect(phone.get_by_label("Remove positive click 1")).to_be_visible()
        phone.get_by_role("radio", name="Click beside the object").tap()
        tap_picture(phone, 500 / 640, 225 / 480)
        sync_api.expect(phone.get_by_label("Remove negative click 2")).to_be_visible()
        phone.get_by_role("button", name="Track the chosen range").tap()
        phone.get_by_role("img", name=f"Object 1: seen on {last + 1 - first} of 150 frames").wait_for()
        go(phone, first)
        keep(phone, "bottle-phone")
        masks = {entry["frame"]: entry["objects"] for entry in all_masks(phone, tmp_path / "bottle.json")}
    found = decode_rle(masks[first][0]["segmentation"])
    bottle = np.zeros_like(found)
    bottle[box] = True
    assert (found & bottle).sum() / (found | bottle).sum() > 0.5
