"""``masklet data``: a look at what training learns from."""

from __future__ import annotations

from pathlib import Path

import click

from masklet.cli.options import FILE


@click.group("data")
def data() -> None:
    """Look at the clips that training learns from, before it spends hours on them."""


@data.command("preview", short_help="Draw clips of a recipe.")
@click.argument("recipe", type=FILE)
@click.argument("settings", nargs=-1, metavar="[NAME=VALUE]...")
@click.option("-o", "--out", type=FILE, default=Path("out/preview"), show_default=True, metavar="FOLDER")
@click.option("--clips", default=9, show_default=True, type=click.IntRange(1, 100), help="Of each source.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(min=0))
def preview(recipe: Path, settings: tuple[str, ...], out: Path, clips: int, seed: int) -> None:
    """Draw clips of every source of RECIPE, targets outlined, for a person to judge.

    FOLDER gets SOURCE.png, one row a clip and one column a frame, and SOURCE.mp4, in which all of them play.

    \b
      masklet data preview recipes/pico.py assets=assets --clips 16
    """
    from tqdm import tqdm

    from masklet.data.preview import play
    from masklet.data.preview import preview as draw
    from masklet.training.batches import mixed_seed
    from masklet.training.recipes import read_recipe

    made = read_recipe(recipe, settings)
    out.mkdir(parents=True, exist_ok=True)
    for source in made.sources:
        seeds = tqdm(range(clips), desc=source.name, unit="clip")
        drawn = [source.make_clip(mixed_seed(seed, index)) for index in seeds]
        sheet, video = out / f"{source.name}.png", out / f"{source.name}.mp4"
        draw(drawn, sheet)
        play(drawn, video)
        click.echo(sheet)
        click.echo(video)
