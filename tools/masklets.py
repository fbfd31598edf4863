"""Follow the objects that a list of prompts shows in videos, and write their masks to learn from.

    python tools/masklets.py recipes/pico_masklets.json ASSETS ASSETS/masklets

The third phase of the data engine of SAM 2 (arXiv 2408.00714, section 5.1) in small: somebody shows an object on some
frames, the network follows it, and only those frames are kept on which the masks were found good. The list says for
each folder of frames, and for each object in it::

    {"videos/clip": {"dog": {"spans": [[0, 18], [25, 79]], "prompts": [
        {"frame": 20, "box": [15, 111, 148, 200], "positive": [[70, 140]], "negative": [[170, 165]]},
        {"frame": 26, "outlines": [[[127, 70], [140, 70], [150, 75]]]}]}}}

Frames count from 0, pixels are those of the frames, and spans hold the first and the last frame that are kept. Outlines
are polygons that are filled, and together the object. Writes FOLDER/OBJECT/FRAME.png, 0 or 255, and FOLDER.png, which
shows all objects of a folder for somebody to judge. Photos can be shown in this way too, each object on one.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
import cv2
import numpy as np
from tqdm import tqdm

import masklet
from masklet import Box, Mask, Points, VideoSession
from masklet.data.preview import preview
from masklet.data.synthetic import Clip
from masklet.model.config import Trades
from masklet.model.sam2 import SegmentationNetwork
from masklet.prompts import Prompt

SHEET_FRAMES, SHEET_SIDE = 12, 256
OUTLINE_BITS = 4

FOLDER = click.Path(path_type=Path, file_okay=False)


@click.command(help=(__doc__ or "").partition("\n")[0])
@click.argument("prompts", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.argument("videos", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.argument("out", type=FOLDER)
@click.option("--weights", default="pico", show_default=True, help="The network that follows.")
@click.option("--image-size", default=640, show_default=True, help="Its input size in pixels, a multiple of 32.")
def main(prompts: Path, videos: Path, out: Path, weights: str, image_size: int) -> None:
    clips = json.loads(prompts.read_text())
    missing = [name for name in clips if not (videos / name).is_dir()]
    if missing:
        raise click.ClickException(f"{prompts} tells of {missing[0]}, which is not in {videos}")
    network = masklet.load(weights, trades=Trades(image_size=image_size))
    for name, objects in tqdm(clips.items(), unit="clip"):
        files = sorted((videos / name).glob("*.jpg"))
        masks = {obj: followed(network, files, shown["prompts"], shown["spans"]) for obj, shown in objects.items()}
        for obj, found in masks.items():
            folder = out / name / obj
            folder.mkdir(parents=True, exist_ok=True)
            for frame, mask in found.items():
                if not cv2.imwrite(str(folder / f"{files[frame].stem}.png"), mask):
                    raise click.ClickException(f"cannot write to {folder}")
        draw(files, masks, out / f"{name}.png")


def followed(
    network: SegmentationNetwork, files: list[Path], shown: list[dict[str, Any]], spans: list[tuple[int, int]]
) -> dict[int, np.ndarray]:
    """The masks of one object, uint8 0 or 255, on the frames of its spans."""
    kept = {frame for first, last in spans for frame in range(first, last + 1)}
    if not kept or max(kept) >= len(files):
        raise click.ClickException(f"expected spans within 0 to {len(files) - 1}, got {spans} in {files[0].parent}")
    prompted = {each["frame"] for each in shown}
    begin, end = min(kept | prompted), max(kept | prompted)
    with VideoSession(network, files[begin : end + 1]) as session:
        for each in shown:
            session.prompt(each["frame"] - begin, 1, *prompts_of(each, session.video_hw))
        first = min(prompted) - begin
        results = [*session.propagate(first), *(session.propagate(first, reverse=True) if first else ())]
    masks = {result.frame + begin: result[1].mask.astype(np.uint8) * 255 for result in results}
    return {frame: masks[frame] for frame in sorted(kept)}


def prompts_of(shown: dict[str, Any], video_hw: tuple[int, int]) -> list[Prompt]:
    if "outlines" in shown:
        mask = np.zeros(video_hw, np.uint8)
        for outline in shown["outlines"]:
            fixed = np.round(np.array(outline) * (1 << OUTLINE_BITS)).astype(np.int32)
            cv2.fillPoly(mask, [fixed], 1, shift=OUTLINE_BITS)
        return [Mask(mask > 0)]
    positive, negative = shown.get("positive", []), shown.get("negative", [])
    prompts: list[Prompt] = [Box.of(shown["box"]).clipped(video_hw)] if "box" in shown else []
    if positive or negative:
        prompts.append(Points([*positive, *negative], [1] * len(positive) + [0] * len(negative)))
    return prompts


def read_rgb(path: Path) -> np.ndarray:
    bgr = cv2.imread(str(path))
    if bgr is None:
        raise click.ClickException(f"expected a picture in {path}, got something else")
    return cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)


def draw(files: list[Path], masks: dict[str, dict[int, np.ndarray]], path: Path) -> None:
    """Some of the frames that are kept, small, with all objects outlined that have a mask there."""
    kept = sorted(set().union(*masks.values()))
    tiles, outlined = [], []
    for frame in [kept[i] for i in np.unique(np.linspace(0, len(kept) - 1, SHEET_FRAMES).astype(int))]:
        rgb = read_rgb(files[frame])
        nothing = np.zeros(rgb.shape[:2], np.uint8)
        tiles.append(fitted(rgb))
        outlined.append(np.stack([fitted(found.get(frame, nothing)) > 127 for found in masks.values()]))
    preview([Clip(np.stack(tiles), np.stack(outlined, axis=1), path.stem)], path)


def fitted(image: np.ndarray) -> np.ndarray:
    """Within a square, black where there is nothing of it."""
    scale = SHEET_SIDE / max(image.shape[:2])
    small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    right, below = SHEET_SIDE - small.shape[1], SHEET_SIDE - small.shape[0]
    return cv2.copyMakeBorder(small, 0, below, 0, right, cv2.BORDER_CONSTANT)


if __name__ == "__main__":
    main()
