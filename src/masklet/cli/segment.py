"""``masklet segment``: objects in a picture."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from masklet.cli.options import AT_THE_END_HELP, FILE, takes_network, takes_outputs, takes_prompts
from masklet.cli.outputs import named_outputs, opened

if TYPE_CHECKING:
    import numpy as np

    from masklet.cli.shown import Shown
    from masklet.model.sam2 import SegmentationNetwork
    from masklet.sessions.image import ImageSession
    from masklet.sessions.results import ImageResult


@click.command("segment", epilog=AT_THE_END_HELP)
@click.argument("image", type=FILE)
@takes_prompts
@takes_outputs
@takes_network
def segment(
    image: Path,
    shown: Sequence[Shown],
    paths: Sequence[Path],
    formats: Sequence[str],
    load: Callable[[], SegmentationNetwork],
) -> None:
    """Find objects in IMAGE, in pixels of the original. Nothing else said, it is object 1.

    Without --out an overlay is written to the current folder.

    \b
      masklet segment photo.jpg --click 480,270 --click 330,350:- --out overlay.png
      masklet segment photo.jpg --box 10,20,90,80 --box 200,50,260,120@2 --format cutout-png
    """
    from masklet.video.read import open_frames

    outputs = named_outputs(paths, formats, image, is_picture=True)
    with open_frames(image, strict=True) as source:
        _check_still(image, source.frame_count, shown)
        picture = source[0]
        results = _predict(load(), picture, shown)
        with opened(outputs, source) as writers:
            for writer in writers:
                writer.add(
                    0,
                    picture,
                    {obj: result.best for obj, result in results.items()},
                    predicted_iou={obj: float(result.iou.max()) for obj, result in results.items()},
                    presence={obj: float(result.presence) for obj, result in results.items()},
                    prompted=set(results),
                    prompts=[one.marks for one in shown],
                )
    for obj, result in results.items():
        share, iou = 100 * result.best.mean(), result.iou.max()
        click.echo(f"object {obj}: {share:.1f} % of the picture, predicted IoU {iou:.2f}", err=True)
    for output in outputs:
        click.echo(output.path)


def _check_still(image: Path, frames: int | None, shown: Sequence[Shown]) -> None:
    if frames != 1:
        raise ValueError(f"{image} has {frames} frames; expected one picture: use `masklet track` for videos")
    later = [one.frame for one in shown if one.frame]
    if later:
        raise ValueError(f"a picture has frame 0 only, got a prompt on frame {later[0]}; leave out the frame's number")


def _predict(network: SegmentationNetwork, picture: np.ndarray, shown: Sequence[Shown]) -> dict[int, ImageResult]:
    from masklet.sessions.image import ImageSession

    session = ImageSession(network)
    session.set_image(picture)
    return {one.obj: _predict_one(session, one) for one in shown}


def _predict_one(session: ImageSession, one: Shown) -> ImageResult:
    """A single click may mean the object or a part of it, so the best of three candidates is taken for it."""
    from masklet.prompts import Box, Mask, Points

    points = next((prompt for prompt in one.prompts if isinstance(prompt, Points)), None)
    box = next((prompt for prompt in one.prompts if isinstance(prompt, Box)), None)
    mask = next((prompt for prompt in one.prompts if isinstance(prompt, Mask)), None)
    is_ambiguous = points is not None and len(points) == 1 and box is None
    return session.predict(points, box, mask, candidates=is_ambiguous)
