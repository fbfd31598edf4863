"""``masklet sav``: SA-V files, and the masklets of any dataset."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from masklet.cli.options import FILE
from masklet.data.formats import READABLE

if TYPE_CHECKING:
    from masklet.data.datasets import Dataset
    from masklet.data.records import Record

KIND = click.Choice(["manual", "auto"])


@click.group("sav")
def sav() -> None:
    """Check SA-V files, take out frames, count masklets and look at them.

    `stats` and `show` take datasets in any format that `masklet convert` reads.
    """


@sav.command("validate", short_help="Check the files of SA-V.")
@click.argument("paths", nargs=-1, required=True, type=FILE, metavar="PATH...")
def validate(paths: tuple[Path, ...]) -> None:
    """Check NAME_manual.json and NAME_auto.json files, or all in a folder, and the MP4 beside them.

    Keys, types, sizes, run lengths, and whether what is stated of masklets agrees with their masks. Of a folder of
    SA-V val or test: the lists of videos, names and sizes of pictures and masks. The exit status is 1 if anything is
    wrong.
    """
    count = bad = 0
    for path, problems in _checked(paths):
        count, bad = count + 1, bad + bool(problems)
        click.echo(f"{path}: {'sound' if not problems else f'{len(problems)} problems'}")
        for problem in problems:
            click.echo(f"  {problem}")
    click.echo(f"{count} checked, {bad} with problems")
    if bad:
        click.get_current_context().exit(1)


def _checked(paths: Iterable[Path]) -> Iterator[tuple[Path, list[str]]]:
    """Files, lists and folders of videos with what is wrong with them."""
    from masklet.data.sav import annotation_files
    from masklet.data.sav import validate as check
    from masklet.data.sav_folders import has_folders, validate_folders

    for path in paths:
        if has_folders(path):
            yield from validate_folders(path)
        else:
            yield from ((file, check(file)) for file in annotation_files([path]))


@sav.command("frames", short_help="Take the frames out of videos.")
@click.argument("root", type=FILE)
@click.option("-o", "--out", type=FILE, required=True, metavar="FOLDER")
@click.option("--fps", type=click.Choice(["6", "24"]), default="24", show_default=True, help="6: annotated ones only.")
def frames(root: Path, out: Path, fps: str) -> None:
    """Write the frames of the videos in ROOT as FOLDER/VIDEO/00000.jpg, numbered as in the video."""
    from masklet.data.sav import extract_frames

    dataset = _opened("sav", root, None)
    for entry in dataset.entries:
        try:
            click.echo(f"{entry.name}: {extract_frames(entry.read(), out, int(fps))} frames")
        except (ValueError, OSError) as error:
            dataset.note_bad(entry, error)
    _report(dataset)


@sav.command("stats", short_help="Count masklets and plot their sizes.")
@click.argument("root", type=FILE)
@click.option("--format", "format_", type=click.Choice(list(READABLE)), metavar="FORMAT", help="See `masklet convert`.")
@click.option("--split", metavar="NAME")
@click.option("-o", "--out", type=FILE, metavar="FOLDER", help="Where masklets.csv and statistics.png go.")
def stats(root: Path, format_: str | None, split: str | None, out: Path | None) -> None:
    """Count the masklets in ROOT: sizes, areas, and how many disappear and return."""
    from masklet.data.sav import facts, summary, write_statistics

    dataset = _opened(format_, root, split)
    found, videos = [], 0
    for record in dataset.records():
        found += facts(record)
        videos += 1
    for name, value in summary(found, videos).items():
        click.echo(f"{name:<24} {value:.4g}" if isinstance(value, float) else f"{name:<24} {value}")
    if out is not None:
        write_statistics(found, videos, out)
        click.echo(out)
    _report(dataset)


@sav.command("show", short_help="Draw masklets on a video or a contact sheet.")
@click.argument("root", type=FILE)
@click.argument("video")
@click.option("--format", "format_", type=click.Choice(list(READABLE)), metavar="FORMAT", help="See `masklet convert`.")
@click.option("--split", metavar="NAME")
@click.option("--only", "kind", type=KIND, help="Only masklets of this provenance.")
@click.option("-o", "--out", type=FILE, multiple=True, metavar="PATH", help=".mp4: overlay; .png: sheet. Repeatable.")
def show(
    root: Path, video: str, format_: str | None, split: str | None, kind: str | None, out: tuple[Path, ...]
) -> None:
    """Draw the masklets of VIDEO, a name in ROOT, on its annotated frames. Without --out: VIDEO.mp4 and VIDEO.png."""
    from masklet.data.sav import only

    dataset = _opened(format_, root, split)
    entry = next((entry for entry in dataset.entries if entry.name == video), None)
    if entry is None:
        known = ", ".join(one.name for one in dataset.entries[:5])
        raise ValueError(f"there is no video {video} in {root}; it has {len(dataset)}: {known} ...")
    _draw(only(entry.read().checked(), kind), out or (Path(f"{video}.mp4"), Path(f"{video}.png")))


def _draw(record: Record, paths: tuple[Path, ...]) -> None:
    from contextlib import ExitStack

    from masklet.video.write import open_writer

    with record.open_frames() as source, ExitStack() as stack:
        writers = [stack.enter_context(open_writer(path, source)) for path in paths]
        for frame in record.annotated_frames:
            masks = record.masks_at(frame)
            for writer in writers:
                writer.add(frame, source[frame], masks)
    for path in paths:
        click.echo(path)


def _opened(format_: str | None, root: Path, split: str | None) -> Dataset:
    from masklet.data.datasets import open_dataset

    return open_dataset(format_, root, split)


def _report(dataset: Dataset) -> None:
    """Says how many were left out (each was named when it was met); the exit status is 1 if there were any."""
    if dataset.bad:
        click.echo(f"{len(dataset.bad)} of {len(dataset)} left out", err=True)
        click.get_current_context().exit(1)
