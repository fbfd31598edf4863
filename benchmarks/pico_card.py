"""Draws what the model card of the built-in network shows: how it follows what it is shown, and how it learned.

docs/pico.png: frames of the clip that ships with masklet, a row for each way to show the bottle on the first frame (a
box and a click, a box, a click), drawn over with what is found. docs/pico_curve.png: IoU of followed objects with the
truth over the steps of training runs, one after the other (``log.jsonl`` in their folders), as means of 50 steps with
videos.

Command: python benchmarks/pico_card.py --out docs --run runs/pico4 --run runs/pico5 --run runs/pico6 --run runs/pico7
Needs ``pip install masklet[train]`` for the curve. Time: half a minute on two cores.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib import resources
from pathlib import Path

import click
import cv2
import numpy as np
from PIL import Image

from masklet import Box, Points, VideoSession, load
from masklet.prompts import Prompt
from masklet.video.draw import PromptMarks, draw_label, overlay
from masklet.video.read import open_frames

BOX, POINT = (309, 121, 423, 390), (354, 255)
SHOWN = {
    "a box and a click": PromptMarks(1, [POINT], [1], BOX),
    "a box": PromptMarks(1, box_px_xyxy=BOX),
    "a click": PromptMarks(1, [POINT], [1]),
}
FRAMES = (0, 50, 100, 149)
TILE_WIDTH = 320
MEAN_OF = 50


@click.command(help=__doc__)
@click.option("--weights", default="pico", show_default=True)
@click.option("--run", "runs", multiple=True, type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--out", type=click.Path(path_type=Path), default=Path("out"), show_default=True)
def main(weights: str, runs: tuple[Path, ...], out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    network = load(weights)
    clip = Path(str(resources.files("masklet") / "assets" / "demo.mp4"))
    rows = []
    with open_frames(clip) as source:
        for name, marks in SHOWN.items():
            with VideoSession(network, source) as session:
                session.prompt(0, 1, *prompts_of(marks))
                masks = {result.frame: result.masks_ohw[0] for result in session.propagate()}
            tiles = [tile(source[frame], masks[frame], [] if frame else [marks]) for frame in FRAMES]
            draw_label(tiles[0], name, (4, 4))
            rows.append(np.concatenate(tiles, axis=1))
    Image.fromarray(np.concatenate(rows)).save(out / "pico.png", optimize=True)
    if runs:
        draw_curve(runs, out / "pico_curve.png")


def prompts_of(marks: PromptMarks) -> list[Prompt]:
    box = [] if marks.box_px_xyxy is None else [Box(*marks.box_px_xyxy)]
    return [*box, *([Points(marks.points_px_xy, marks.labels)] if marks.labels else [])]


def tile(frame: np.ndarray, mask: np.ndarray, marks: Sequence[PromptMarks]) -> np.ndarray:
    """A frame with what was found and what was shown, TILE_WIDTH pixels wide."""
    height = round(frame.shape[0] * TILE_WIDTH / frame.shape[1])
    return cv2.resize(overlay(frame, {1: mask}, marks), (TILE_WIDTH, height), interpolation=cv2.INTER_AREA)


def draw_curve(runs: Sequence[Path], path: Path) -> None:
    """One line for each run, behind the one before."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 3.2), layout="constrained")
    axes = figure.subplots()
    begin = 0
    for run in runs:
        records = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
        size = json.loads((run / "settings.json").read_text())["recipe"]["config"]["image_size"]
        tracked = [record for record in records if record["track_iou"] is not None]
        groups = [tracked[start : start + MEAN_OF] for start in range(0, len(tracked), MEAN_OF)]
        points = [(begin + mean_of(group, "step"), mean_of(group, "track_iou")) for group in groups]
        axes.plot(*zip(*points, strict=True), marker=".", label=f"{size} pixels")
        begin += len(records)
    axes.set_xlabel("step")
    axes.set_ylabel("IoU on the clips it learns from")
    axes.legend(loc="lower right")
    axes.grid(alpha=0.3)
    figure.savefig(path, dpi=110)


def mean_of(records: Sequence[dict[str, float]], key: str) -> float:
    return sum(record[key] for record in records) / len(records)


if __name__ == "__main__":
    main()
