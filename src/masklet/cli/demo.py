"""``masklet demo``: the clip that ships with masklet."""

from __future__ import annotations

from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

import click

from masklet.cli import INTERRUPTED
from masklet.cli.options import FILE, takes_network
from masklet.cli.outputs import Output

if TYPE_CHECKING:
    from masklet.model.sam2 import SegmentationNetwork


@click.command("demo")
@click.option("-o", "--out", type=FILE, default=Path("out"), show_default=True, metavar="FOLDER")
@takes_network
def demo(out: Path, load: Callable[[], SegmentationNetwork]) -> None:
    """Follow an object through the clip that ships with masklet, and write demo.mp4 and demo.png."""
    from masklet.cli.follow import Span, follow
    from masklet.cli.shown import read_prompts
    from masklet.video.read import open_frames

    assets = Path(str(resources.files("masklet") / "assets"))
    outputs = [Output(out / "demo.mp4", "overlay"), Output(out / "demo.png", "sheet")]
    with open_frames(assets / "demo.mp4") as source:
        run = follow(source, read_prompts(assets / "demo.json"), Span(), outputs, load)
    for output in outputs:
        click.echo(output.path)
    click.echo(run.speed)
    if run.was_stopped:
        click.get_current_context().exit(INTERRUPTED)
