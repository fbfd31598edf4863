"""How fast the web demo answers clicks, and whether long videos fit. One core is left to the page, as by default.

    python benchmarks/serve.py clicks            # alone, and while another session's video is tracked: a minute
    python benchmarks/serve.py page              # from the touch to the drawing in a real browser: a minute
    python benchmarks/serve.py long --minutes 10 # a video of 1920x1080 pixels: half an hour on two cores

`clicks`: on the sample, from sending a click to having its mask, after the frame was encoded. `page`: the same in
Chromium, from the touch to the moment in which the page draws the mask, without what the graphics take to show it: here
the browser has no graphics card and shares the server's cores. `long`: a video is drawn, uploaded, made ready, clicked
on its last frame and tracked backward a little; the peak of memory is that of the server and of the process that makes
videos ready. But for `page`, clicks are sent within one process, so no network is measured. The last line printed is
JSON. Needs masklet[serve], `page` also playwright and Chromium.
"""

from __future__ import annotations

import json
import resource
import shutil
import statistics
import struct
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import av
import click
import numpy as np
import torch
import uvicorn
from fastapi.testclient import TestClient
from starlette.testclient import WebSocketTestSession

from masklet.checkpoints import load_network
from masklet.model.sam2 import SegmentationNetwork
from masklet.process import keep_freed_memory, without_helpers
from masklet.server.app import make_app
from masklet.server.limits import Limits

HOST = "localhost"
BROWSER_OPTIONS = ["--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--disable-dev-shm-usage"]
SAMPLE_WIDTH, SAMPLE_HEIGHT = 640, 480
PART = 8 << 20
LONGEST_THOUGHT = 0.5
"""Seconds."""
OBJECT = {"obj": 1, "name": "Object 1", "colour": "#ff0000"}
PLACES = ((366, 250), (360, 300), (370, 200), (380, 270), (350, 230))
"""On the bottle of the sample's first frame."""


class Page:
    """One page's socket: sends commands and keeps the values it is sent."""

    def __init__(self, socket: WebSocketTestSession):
        self._socket = socket
        self._number = 0
        self.values: dict[tuple[Any, ...], Any] = {}
        self.answers: dict[int, str] = {}

    def send(self, op: str, **fields: Any) -> int:
        self._number += 1
        self._socket.send_json({"id": self._number, "command": {"op": op, **fields}})
        return self._number

    def do(self, op: str, **fields: Any) -> None:
        """Sends a command and waits for its answer. Raises RuntimeError for an error."""
        number = self.send(op, **fields)
        self.wait(lambda: number in self.answers)
        if self.answers[number]:
            raise RuntimeError(self.answers[number])

    def wait(self, holds: Callable[[], object]) -> None:
        while not holds():
            message = self._socket.receive()
            if message.get("text"):
                answer = json.loads(message["text"])
                self.answers[answer["re"]] = answer["error"]
                continue
            (length,) = struct.unpack("<I", message["bytes"][:4])
            header = json.loads(message["bytes"][4 : 4 + length])
            self.values |= {tuple(item["key"]): item["value"] for item in header["items"]}
            self._socket.send_json({"ack": header["version"]})


def pico() -> SegmentationNetwork:
    with without_helpers():
        network = load_network("pico")
    torch.set_num_threads(max(1, torch.get_num_threads() - 1))
    return network


@contextmanager
def server() -> Iterator[TestClient]:
    limits = Limits(requests_per_minute=1_000_000)
    with without_helpers():
        network = load_network("pico")
    with TestClient(make_app(network, limits=limits, hosts=(HOST,)), base_url=f"http://{HOST}") as client:
        yield client


@contextmanager
def page(client: TestClient, session: str) -> Iterator[Page]:
    with client.websocket_connect(f"ws://{HOST}/api/sessions/{session}/live?client=benchmark&since=0") as socket:
        yield Page(socket)


def opened(client: TestClient, body: dict[str, Any]) -> dict[str, Any]:
    """A session, once it is ready. Raises RuntimeError when it fails."""
    identifier = client.post("/api/sessions", json=body).json()["id"]
    while (state := client.get(f"/api/sessions/{identifier}").json())["state"] == "preparing":
        time.sleep(0.1)
    if state["state"] != "ready":
        raise RuntimeError(state["error"])
    return state


def answer_times(shown: Page, count: int) -> list[float]:
    """Seconds from a click to its mask, each on an object without other clicks, after the user has thought a little."""
    seconds, chance = [], np.random.default_rng(0)
    for number in range(count):
        x, y = PLACES[number % len(PLACES)]
        if number:
            shown.do("clear", obj=1, frame=0)
        shown.wait(lambda: shown.values.get(("mask", 1, 0)) is None)
        time.sleep(chance.uniform(0, LONGEST_THOUGHT))
        begin = time.perf_counter()
        shown.send("click", obj=1, frame=0, x=x, y=y, positive=True)
        shown.wait(lambda: shown.values.get(("mask", 1, 0)))
        seconds.append(time.perf_counter() - begin)
    return seconds


@click.group(help=__doc__)
def main() -> None:
    keep_freed_memory()


@main.command()
@click.option("--count", default=20, show_default=True, type=click.IntRange(min=1))
def clicks(count: int) -> None:
    with server() as client:
        first, second = (opened(client, {"sample": True})["id"] for _ in range(2))
        with page(client, first) as shown, page(client, second) as other:
            for one in (shown, other):
                one.do("add_object", **OBJECT)
                one.do("attend", frame=0)
                one.do("click", obj=1, frame=0, x=PLACES[0][0], y=PLACES[0][1], positive=True)
            shown.do("clear", obj=1, frame=0)
            found = {"alone": answer_times(shown, count)}
            shown.do("clear", obj=1, frame=0)
            other.do("track", start=0, forward_to=149, backward_to=None)
            found["beside tracking"] = answer_times(shown, count)
            other.do("stop")
    for name, seconds in found.items():
        print(f"{name:16} median {statistics.median(seconds):.3f} s, {min(seconds):.3f} to {max(seconds):.3f}")
    print(json.dumps({"click_to_mask_s": found}))


WATCH_DRAWING = """
let touched = 0, arrived = false;
addEventListener("pointerdown", () => {
    [touched, arrived] = [performance.now(), false];
    window.drawn = new Promise((resolve) => { window.resolve = resolve; });
}, true);
const Socket = window.WebSocket;
window.WebSocket = class extends Socket {
    constructor(...given) {
        super(...given);
        this.addEventListener("message", ({ data }) => {
            arrived ||= typeof data !== "string" && new TextDecoder().decode(data).includes('["mask",');
        });
    }
};
const draw = WebGL2RenderingContext.prototype.drawArrays;
WebGL2RenderingContext.prototype.drawArrays = function (...given) {
    draw.apply(this, given);
    if (arrived && touched) window.resolve(performance.now() - touched);
};
"""
"""Milliseconds from the latest touch to the first drawing with a mask that was sent after it."""


@main.command(name="page")
@click.option("--count", default=20, show_default=True, type=click.IntRange(min=1))
@click.option("--browser", default="chromium", show_default=True, help="Its program.")
def in_page(count: int, browser: str) -> None:
    from playwright.sync_api import expect, sync_playwright

    with listening() as address, sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=shutil.which(browser), args=BROWSER_OPTIONS)
        shown = chromium.new_page(viewport={"width": 1280, "height": 800}, has_touch=True)
        shown.add_init_script(WATCH_DRAWING)
        shown.goto(address)
        shown.get_by_role("button", name="Try the sample").click()
        shown.locator(".picture.ready").wait_for()
        shown.wait_for_timeout(3000)
        canvas = shown.locator(".picture canvas")
        box, milliseconds = canvas.bounding_box(), []
        assert box is not None
        for number in range(count):
            x, y = PLACES[number % len(PLACES)]
            canvas.tap(position={"x": x * box["width"] / SAMPLE_WIDTH, "y": y * box["height"] / SAMPLE_HEIGHT})
            milliseconds.append(shown.evaluate("window.drawn"))
            shown.get_by_role("button", name="Undo").click()
            expect(shown.get_by_label("Remove positive click 1")).to_have_count(0)
            shown.wait_for_timeout(1500)
        chromium.close()
    print(f"touch to drawing median {statistics.median(milliseconds):.0f} ms")
    print(json.dumps({"touch_to_drawing_ms": milliseconds}))


@contextmanager
def listening() -> Iterator[str]:
    """The address of a server with sockets, in this process."""
    run = uvicorn.Server(uvicorn.Config(make_app(pico()), host="127.0.0.1", port=0, log_level="warning"))
    thread = threading.Thread(target=run.run)
    thread.start()
    while not run.started:
        time.sleep(0.02)
    yield f"http://localhost:{run.servers[0].sockets[0].getsockname()[1]}/"
    run.should_exit = True
    thread.join()


@main.command()
@click.option("--minutes", default=10.0, show_default=True, type=click.FloatRange(min=0.01))
@click.option("--fps", default=25, show_default=True, type=click.IntRange(min=1))
@click.option("--tracked", default=5, show_default=True, type=click.IntRange(min=1), help="Frames.")
def long(minutes: float, fps: int, tracked: int) -> None:
    frames, found = round(minutes * 60 * fps), {}
    with tempfile.TemporaryDirectory() as folder, server() as client:
        path = Path(folder) / "long.mp4"
        draw(path, frames, fps)
        found["file_mib"] = path.stat().st_size / 2**20
        begin = time.perf_counter()
        session = opened(client, {"uploads": [uploaded(client, path)]})
        found["ready_s"] = time.perf_counter() - begin
        count = session["video"]["frames"]
        with page(client, session["id"]) as shown:
            shown.do("add_object", **OBJECT)
            begin = time.perf_counter()
            shown.do("click", obj=1, frame=count - 1, x=960, y=540, positive=True)
            found["first_click_s"] = time.perf_counter() - begin
            shown.do("track", start=count - 1, forward_to=None, backward_to=count - 1 - tracked)
            shown.wait(lambda: sum(key[0] == "mask" for key in shown.values) == tracked + 1)
    for name, who in (("server_mib", resource.RUSAGE_SELF), ("decoder_mib", resource.RUSAGE_CHILDREN)):
        found[name] = resource.getrusage(who).ru_maxrss / 1024
    print(json.dumps({"frames": count, "drawn": frames, **found}))


def draw(path: Path, frames: int, fps: int) -> None:
    """A bright square that wanders over noise, 1920x1080."""
    noise = np.random.default_rng(0).integers(0, 120, (270, 480, 3), dtype=np.uint8).repeat(4, 0).repeat(4, 1)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=fps, options={"preset": "ultrafast", "crf": "30"})
        stream.width, stream.height, stream.pix_fmt = 1920, 1080, "yuv420p"
        for t in range(frames):
            picture = noise.copy()
            x = 700 + t % 300
            picture[400:680, x : x + 280] = (230, 180, 60)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())


def uploaded(client: TestClient, path: Path) -> str:
    identifier = client.post("/api/uploads", json={"size": path.stat().st_size, "name": path.name}).json()["id"]
    with path.open("rb") as file:
        while data := file.read(PART):
            headers = {"Upload-Offset": str(file.tell() - len(data)), "Content-Type": "application/offset+octet-stream"}
            client.patch(f"/api/uploads/{identifier}", content=data, headers=headers).raise_for_status()
    return identifier


if __name__ == "__main__":
    main()
