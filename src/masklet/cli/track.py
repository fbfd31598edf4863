"""``masklet track``: objects through a video."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from masklet.cli import INTERRUPTED
from masklet.cli.options import AT_THE_END_HELP, FILE, takes_network, takes_outputs, takes_prompts, takes_shortcuts
from masklet.cli.outputs import named_outputs

if TYPE_CHECKING:
    from masklet.cli.follow import Run
    from masklet.cli.shown import Shown
    from masklet.model.sam2 import SegmentationNetwork

FRAME = click.IntRange(min=0)


@click.command("track", epilog=AT_THE_END_HELP)
@click.argument("video", type=FILE)
@takes_prompts
@takes_outputs
@takes_network
@takes_shortcuts
@click.option("--start", type=FRAME, metavar="FRAME", help="Where to begin.  [default: at the first prompt]")
@click.option("--end", type=FRAME, metavar="FRAME", help="The last frame.  [default: the video's last]")
@click.option("--backward", is_flag=True, help="From the last prompt (or --start) to the beginning (or --end).")
def track(
    video: Path,
    shown: Sequence[Shown],
    paths: Sequence[Path],
    formats: Sequence[str],
    load: Callable[[], SegmentationNetwork],
    keyframes: int,
    still_below: float,
    start: int | None,
    end: int | None,
    backward: bool,
) -> None:
    """Follow objects through VIDEO: a file, or a folder of pictures.

    Show each object on any frame, in pixels of the original; frames count from 0. Nothing else said, it is object 1 on
    frame 0. Without --out an overlay is written to the current folder.

    \b
      masklet track clip.mp4 --click 0:480,270 --click 0:330,350:- --out overlay.mp4
      masklet track clip.mp4 --box 0:10,20,90,80 --box 30:200,50,260,120@2 --out masks.json
    """
    from masklet.cli.follow import Span, follow, report_damage
    from masklet.video.read import open_frames

    outputs = named_outputs(paths, formats, video, is_picture=False)
    with open_frames(video) as source:
        span = Span(start, end, backward)
        run = follow(source, shown, span, outputs, load, keyframes=keyframes, still_below=still_below)
        report_damage(source)
    for output in outputs:
        click.echo(output.path)
    click.echo(run.speed, err=True)
    if run.was_stopped:
        click.echo(_how_to_go_on(run, outputs[0].path), err=True)
        click.get_current_context().exit(INTERRUPTED)


def _how_to_go_on(run: Run, beside: Path) -> str:
    masks = "".join(f" --mask {frame}:{path}@{obj}" for frame, obj, path in _keep_newest(run, beside))
    return (
        f"Stopped: frames {run.done[0]} to {run.done[-1]} are finished and written. "
        f"To go on from there, give the same command with another --out and: --start {run.next}{masks}"
    )


def _keep_newest(run: Run, beside: Path) -> Iterator[tuple[int, int, Path]]:
    """Write the newest masks as pictures, since what was remembered of the objects goes: (frame, object, path)."""
    from PIL import Image

    from masklet.video.writers import save_picture

    newest = run.newest
    if newest is None:
        return
    for one in newest:
        if one.mask.any() and not one.prompted:
            path = beside.with_name(f"{beside.stem}-frame{newest.frame}-object{one.obj}.png")
            save_picture(Image.fromarray(one.mask), path)
            yield newest.frame, one.obj, path
