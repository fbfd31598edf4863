"""Where the time of a frame goes when an object is followed through a video: reading, network, masks, outputs.

Measured: milliseconds a frame and their share of it for each stage, the median over the frames after the memory is
full. Reading and resizing of frames happen beside the network and take time of a frame only where they are waited for;
both are told. Small holes are those of low-res masks, which `VideoSession(..., max_hole_area=8)` fills.

Command: python benchmarks/stages.py --weights pico
Time: seconds with the built-in network. The last line printed is JSON.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import click

from machine import machine
from masklet import Box, VideoSession, load, masks
from masklet.sessions.frames import EncodedFrames
from masklet.video.draw import overlay
from masklet.video.read import open_frames

FILLED = 10
"""Frames to be followed until the memory is full."""
BOX = Box(309, 121, 423, 390)
"""Around the bottle on the first frame of the clip that ships."""
NETWORK = ("encode_image", "look_around", "recall", "decode", "choose", "remember")
OUTPUTS: dict[str, Callable[..., Any]] = {
    "resize to masks": lambda frame, result: result.masks_ohw,
    "small holes": lambda frame, result: masks.fill_small_holes(result.low_res_ohw[0].numpy() > 0, 8),
    "run lengths": lambda frame, result: result[1].rle(),
    "overlay": lambda frame, result: overlay(frame, {1: result[1].mask}),
}


class Clock:
    """Seconds of every stage, frame by frame."""

    def __init__(self) -> None:
        self.seconds: dict[str, list[float]] = {}
        self._now: dict[str, float] = {}

    def timed(self, name: str, work: Callable[..., Any]) -> Callable[..., Any]:
        """The same work, measured."""

        def measured(*arguments: Any, **options: Any) -> Any:
            begin = time.perf_counter()
            result = work(*arguments, **options)
            self._now[name] = self._now.get(name, 0.0) + time.perf_counter() - begin
            return result

        return measured

    def end_frame(self) -> None:
        """What was measured belonged to one frame."""
        for name, seconds in self._now.items():
            self.seconds.setdefault(name, []).append(seconds)
        self._now.clear()

    def medians(self) -> dict[str, float]:
        """Milliseconds."""
        return {name: 1e3 * statistics.median(seconds[FILLED:]) for name, seconds in self.seconds.items()}


class Watched(EncodedFrames):
    """Tells how long frames are read and waited for."""

    clock: Clock

    def _picture(self, frame: int) -> Any:
        return self.clock.timed("waiting for the frame", super()._picture)(frame)

    def _read(self, frame: int) -> Any:
        return self.clock.timed("reading, beside the network", super()._read)(frame)


def measured(weights: str, video: Path, frames: int) -> dict[str, float]:
    """Milliseconds a frame, by stage."""
    clock, network = Clock(), load(weights)
    for verb in NETWORK:
        setattr(network, verb, clock.timed(verb, getattr(network, verb)))
    with open_frames(video) as shown, VideoSession(network, video) as session:
        Watched.clock = clock
        session._features.__class__ = Watched
        session.prompt(0, 1, BOX)
        begin = time.perf_counter()
        for result in session.propagate(max_frames=frames):
            clock._now["whole frame"] = time.perf_counter() - begin
            picture = shown[result.frame]
            begin_outputs = time.perf_counter()
            for name, output in OUTPUTS.items():
                clock.timed(name, output)(picture, result)
            clock._now["whole frame"] += time.perf_counter() - begin_outputs
            clock.end_frame()
            begin = time.perf_counter()
    return clock.medians()


@click.command(help=__doc__)
@click.option("--weights", default="pico", show_default=True)
@click.option("--video", type=click.Path(path_type=Path, exists=True), help="[default: the clip that ships]")
@click.option("--frames", default=60, show_default=True, type=click.IntRange(min=FILLED + 1))
def main(weights: str, video: Path | None, frames: int) -> None:
    with as_file(files("masklet") / "assets" / "demo.mp4") as shipped:
        found = measured(weights, video or shipped, frames)
    whole = found["whole frame"]
    for name, milliseconds in found.items():
        print(f"{name:28} {milliseconds:8.2f} ms {milliseconds / whole:6.1%}")
    print(f"{'outputs together':28} {'':11} {sum(found[name] for name in OUTPUTS) / whole:6.1%}")
    print(json.dumps({"case": "stages", "weights": weights, "machine": machine(), "milliseconds": found}))


if __name__ == "__main__":
    main()
