"""Which files a run writes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from masklet.data.formats import AT_THE_END

if TYPE_CHECKING:
    from masklet.video.source import FrameSource
    from masklet.video.write import ResultWriter

_VIDEO_SUFFIXES = {"overlay": ".mp4", "rle": ".json", "cutout-webm": ".webm", "sheet": ".png"}
_PICTURE_SUFFIXES = {**_VIDEO_SUFFIXES, "overlay": ".png", "png": ".png", "cutout-png": ".png"}


@dataclass(frozen=True)
class Output:
    """A file or folder, and the name of its format; None: the path's suffix says it."""

    path: Path
    format: str | None = None


def named_outputs(paths: Sequence[Path], formats: Sequence[str], source: Path, *, is_picture: bool) -> list[Output]:
    """The outputs that a user asked for by names, by formats or by both in the same order.

    Without names they are called after the source and lie in the current folder; without either there is an overlay.
    Raises ValueError when the two do not match, or when an output would overwrite the source or another output.
    """
    if paths and formats and len(paths) != len(formats):
        raise ValueError(
            f"expected one --format for each --out, in the same order, or none; got {len(formats)} and {len(paths)}"
        )
    if paths:
        outputs = [Output(path, formats[i] if formats else None) for i, path in enumerate(paths)]
    else:
        from masklet.data.formats.files import name_of

        suffixes = _PICTURE_SUFFIXES if is_picture else _VIDEO_SUFFIXES
        stem = name_of(source.resolve())
        outputs = [Output(Path(f"{stem}-{name}{suffixes.get(name, '')}"), name) for name in formats or ["overlay"]]
    _check_distinct([output.path for output in outputs], source)
    return outputs


@contextmanager
def opened(
    outputs: Iterable[Output], source: FrameSource, provenance: str | None = None
) -> Iterator[list[ResultWriter]]:
    """Writers for all outputs, finished on the way out whatever happened.

    If one of them cannot be written by its name, no file is touched.
    Datasets are told the provenance of the masks, and what they could not hold is said on stderr.
    """
    from masklet.data.formats.results import RecordResults

    with ExitStack() as stack:
        openers = [_opener(output, source, provenance) for output in outputs]
        writers = [stack.enter_context(open_writer()) for open_writer in openers]
        yield writers
    for writer in writers:
        for loss in writer.losses if isinstance(writer, RecordResults) else ():
            click.echo(f"{writer.path}: not kept: {loss}", err=True)


def _opener(output: Output, source: FrameSource, provenance: str | None) -> Callable[[], ResultWriter]:
    from masklet.data.formats.results import RecordResults
    from masklet.video.write import writer_for

    if output.format in AT_THE_END:
        return partial(RecordResults, output.path, source, output.format, provenance)
    return writer_for(output.path, source, output.format)


def _check_distinct(paths: Sequence[Path], source: Path) -> None:
    taken = {source.resolve(): "which is read"}
    for path in paths:
        if path.resolve() in taken:
            raise ValueError(f"cannot write {path}, {taken[path.resolve()]}; give it another name with --out")
        taken[path.resolve()] = "which is written already"
