"""``masklet convert``: masklets from one format to another."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from masklet.cli.options import FILE
from masklet.data.formats import READABLE, WRITABLE, WRITE_ONLY

if TYPE_CHECKING:
    from masklet.data.datasets import Dataset
    from masklet.data.formats.base import RecordWriter

FORMATS_HELP = (
    "\b\nFormats:\n"
    + "\n".join(f"  {name:<14} {text}" for name, text in READABLE.items())
    + "\n\n\b\nTo write only:\n"
    + "\n".join(f"  {name:<14} {text}" for name, text in WRITE_ONLY.items())
)


@click.command("convert", epilog=FORMATS_HELP)
@click.argument("source", metavar="A", type=FILE)
@click.argument("target", metavar="B", type=FILE)
@click.option("--from", "from_", type=click.Choice(list(READABLE)), metavar="FORMAT", help="The format of A.")
@click.option("--to", type=click.Choice(list(WRITABLE)), metavar="FORMAT", help="The format of B.")
@click.option("--split", metavar="NAME", help="Only this split of A.")
@click.option("--to-split", metavar="NAME", help="What it is called in B.  [default: as in A]")
def convert(
    source: Path, target: Path, from_: str | None, to: str | None, split: str | None, to_split: str | None
) -> None:
    """Write the videos or pictures of A, with their masks, to B in another format.

    A's format is told from its files where they say it, B's from a suffix .mp4, .webm or .npz. What B's format cannot
    hold is listed. Bad videos are named and left out; if there were any, the exit status is 1.

    \b
      masklet convert sav_000 coco --to coco
      masklet convert DAVIS overlays --split val --to overlay
      masklet convert masks.json overlay.mp4
    """
    from masklet.data.datasets import open_dataset
    from masklet.data.formats.table import open_writer

    if target.resolve() == source.resolve() or source.resolve() in target.resolve().parents:
        raise ValueError(f"cannot write {target} into {source}, which is read; choose a folder outside of it")
    dataset = open_dataset(from_, source, split)
    with open_writer(target, to, to_split or split) as writer:
        try:
            _copy(dataset, writer)
        except BaseException:
            click.echo(f"{target}: {writer.written} of {len(dataset)} written, but no list or index of them", err=True)
            raise
    for loss in writer.losses.sentences():
        click.echo(f"Not kept: {loss}", err=True)
    click.echo(f"{target}: {writer.written} of {len(dataset)} written, {len(dataset.bad)} left out")
    if dataset.bad:
        click.get_current_context().exit(1)


def _copy(dataset: Dataset, writer: RecordWriter) -> None:
    """Every sound record, behind a progress bar on a terminal."""
    from tqdm import tqdm

    for entry in tqdm(dataset.entries, unit=" videos", disable=None):
        try:
            writer.add(entry.read().checked())
        except (ValueError, OSError) as error:
            dataset.note_bad(entry, error)
