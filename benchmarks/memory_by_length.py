"""Peak memory of tracking one object through a short and a long video.

    python benchmarks/memory_by_length.py                          # 300, 3,000 and 30,000 frames: an hour on two cores
    python benchmarks/memory_by_length.py --side 64 --ram-mib 1    # a small input: a third of that

Expected: the longest video needs at most 10 % more than the shortest one, whether a video file is propagated through or
a camera's frames are given to `step`. Results and memories beyond `VideoSettings.ram_bytes` lie on disk, so the bound
must be full after the short video already for the comparison to say something; with a smaller input (`--side`) the
bound is made smaller in proportion (`--ram-mib`). Every run is a process of its own, and its peak is the operating
system's count of resident memory, with Python, torch and the network in it. Weights are random, which makes no
difference here: masks and memories have the same size whatever they show.

The last line is JSON: peak MiB by mode and length, and the growth in per cent.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

MODES = ("propagate", "step")
LENGTHS = (300, 3_000, 30_000)
VIDEO_HW = (120, 160)


def main() -> None:
    """Run every mode and length in a process of its own and print the table."""
    arguments = parse_arguments()
    if arguments.run:
        print(peak_mib(arguments.run[0], int(arguments.run[1]), arguments.side, arguments.ram_mib))
        return
    peaks = {mode: {length: run_apart(mode, length, arguments) for length in LENGTHS} for mode in MODES}
    growth = {mode: 100 * (by_length[LENGTHS[-1]] / by_length[LENGTHS[0]] - 1) for mode, by_length in peaks.items()}
    for mode in MODES:
        told = " ".join(f"{peak:7.0f} MiB" for peak in peaks[mode].values())
        print(f"{mode:10} {told}  {growth[mode]:+.1f} %")
    found = {"case": "length", "peak_mib": peaks, "growth_percent": growth, "side": arguments.side}
    print(json.dumps(found))


def parse_arguments() -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--side", type=int, default=384, help="the network's input in pixels")
    parser.add_argument("--ram-mib", type=int, default=64, help="bound on results in RAM")
    parser.add_argument("--run", nargs=2, metavar=("MODE", "FRAMES"), help="one run in this process")
    return parser.parse_args()


def run_apart(mode: str, frames: int, arguments: argparse.Namespace) -> float:
    """Peak MiB of one run in a fresh process."""
    options = ["--side", str(arguments.side), "--ram-mib", str(arguments.ram_mib), "--run", mode, str(frames)]
    finished = subprocess.run([sys.executable, __file__, *options], stdout=subprocess.PIPE, text=True, check=True)
    return float(finished.stdout)


def peak_mib(mode: str, frames: int, side: int, ram_mib: int) -> float:
    """Track one object over so many frames in this process."""
    from masklet.model.config import PICO
    from masklet.model.sam2 import SegmentationNetwork
    from masklet.prompts import Box
    from masklet.sessions.settings import VideoSettings
    from masklet.sessions.video import VideoSession

    network = SegmentationNetwork(replace(PICO, image_size=side))
    settings = VideoSettings(ram_bytes=ram_mib << 20)
    box = Box(40, 30, 90, 80)
    if mode == "step":
        with VideoSession(network, settings=settings) as session:
            for t, picture in enumerate(pictures(frames)):
                session.step(picture)
                if t == 0:
                    session.prompt(0, 1, box)
    else:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "clip.mp4"
            write_clip(path, frames)
            with VideoSession(network, path, settings) as session:
                session.prompt(0, 1, box)
                assert sum(1 for _ in session.propagate()) == frames
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def pictures(frames: int) -> Iterator:
    """A bright square that wanders over noise."""
    import numpy as np

    height, width = VIDEO_HW
    noise = np.random.default_rng(0).integers(0, 120, (height, width, 3), dtype=np.uint8)
    for t in range(frames):
        picture = noise.copy()
        x = 40 + t % 60
        picture[30:80, x : x + 50] = (230, 180, 60)
        yield picture


def write_clip(path: Path, frames: int) -> None:
    """The pictures as an H.264 file."""
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=24, options={"preset": "ultrafast"})
        stream.height, stream.width = VIDEO_HW
        stream.pix_fmt = "yuv420p"
        for picture in pictures(frames):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())


if __name__ == "__main__":
    main()
