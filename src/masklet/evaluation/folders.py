"""Annotated videos in the folders of the benchmarks.

    PICTURES/SEQUENCE/00000.jpg       the frames
    ANNOTATIONS/SEQUENCE/00000.png    palette or grey: object numbers (DAVIS, YouTube-VOS, MOSE, LVOS)
    ANNOTATIONS/SEQUENCE/000/00000.png    one folder per object, which may overlap (SA-V)

An annotation belongs to the picture of the same name; pictures may go without. An annotation of 0 and 255 alone is
the mask of object 1 (DAVIS 2016). Beside other numbers, 255 marks pixels of no known object: it is taken for
background.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image

from masklet.evaluation.datasets import Dataset
from masklet.video.pictures import PICTURE_SUFFIXES
from masklet.video.read import FrameSource, ImageFolder
from masklet.video.source import check_pixels

VOID = 255
MERGED = 1
"""The number of the object that all are merged into."""


@dataclass(frozen=True)
class AnnotatedVideo:
    """A folder of pictures with a folder of annotations."""

    name: str
    pictures: Path
    annotations: Path
    merges: bool = False

    def frames(self) -> FrameSource:
        """The pictures, read when asked for."""
        return ImageFolder(self.pictures)

    def picture_of(self) -> dict[str, Path]:
        """Name -> picture, in order of the names. The pictures may differ in size."""
        files = sorted(entry for entry in self.pictures.iterdir() if entry.suffix.lower() in PICTURE_SUFFIXES)
        return {file.stem: file for file in files if not file.name.startswith(".")}

    def annotation_files(self, number_of: Mapping[str, int]) -> dict[int | None, dict[int, Path]]:
        """Object -> frame number -> file in order of frames; the object is None for files that hold several.

        `number_of` gives the frame numbers of pictures. Raises ValueError when an annotation has no picture, or nothing
        is annotated.
        """
        folders = [entry for entry in self.annotations.iterdir() if entry.is_dir()]
        if not folders:
            return {None: _numbered(self.annotations, number_of)}
        odd = [folder.name for folder in folders if not folder.name.isdecimal()]
        if odd:
            raise ValueError(f"expected folders named by object numbers in {self.annotations}, got {odd[0]!r}")
        return {int(folder.name): _numbered(folder, number_of) for folder in sorted(folders)}


def annotated_videos(dataset: Dataset, root: Path | str, split: str | None = None) -> list[AnnotatedVideo]:
    """The videos of a split in the order of its list, or all by name.

    Raises ValueError when the folder, the list or a sequence that it names is missing.
    """
    split = split or dataset.default_split
    base = _base(dataset, Path(root), split)
    pictures, annotations = base / dataset.pictures, base / dataset.annotations
    names = _names(dataset, base, split) or _subfolders(annotations)
    if not names and any(annotations.glob("*.png")):
        return [AnnotatedVideo(base.resolve().name, pictures, annotations, dataset.merges)]
    videos = [AnnotatedVideo(name, pictures / name, annotations / name, dataset.merges) for name in names]
    missing = [video.name for video in videos if not (video.pictures.is_dir() and video.annotations.is_dir())]
    if missing or not videos:
        lacking = f"pictures or annotations of {', '.join(missing[:5])}" if missing else "sequences"
        raise ValueError(f"there are no {lacking} in {base}; check that {dataset.name} was unpacked as published")
    return videos


def read_annotation(path: Path | str) -> np.ndarray:
    """Object numbers (h, w) uint8, 0 for background."""
    with Image.open(path) as picture:
        check_pixels(picture.height, picture.width, path)
        ids_hw = np.asarray(picture if picture.mode in ("P", "L") else picture.convert("L"))
    if np.isin(np.unique(ids_hw), (0, VOID)).all():
        return (ids_hw == VOID).astype(np.uint8)
    return np.where(ids_hw == VOID, 0, ids_hw).astype(np.uint8)


def _base(dataset: Dataset, root: Path, split: str | None) -> Path:
    bases = [root / base.format(split=split) for base in dataset.bases if split or "{split}" not in base]
    for base in bases:
        if (base / dataset.annotations).is_dir() and (base / dataset.pictures).is_dir():
            return base
    raise ValueError(
        f"expected the folders {dataset.pictures} and {dataset.annotations} of {dataset.name} in "
        f"{' or '.join(str(base) for base in bases)}; pass the folder that holds them with --root"
    )


def _names(dataset: Dataset, base: Path, split: str | None) -> list[str]:
    """The sequences of a split; none where the folder itself is the split."""
    if split is None or not dataset.lists:
        return []
    files = [base / name.format(split=split) for name in dataset.lists]
    found = next((file for file in files if file.is_file()), None)
    if found is None:
        if base.name == split:
            return []
        known = sorted(path.stem for file in files for path in file.parent.glob("*.txt"))
        raise ValueError(
            f"there is no list of the split {split!r} at {' or '.join(str(file) for file in files)}; "
            f"lists there are {', '.join(known) or 'none'}"
        )
    return list(dict.fromkeys(_sequence_in(line) for line in found.read_text().splitlines() if line.strip()))


def _sequence_in(line: str) -> str:
    """A line is a sequence's name, or (DAVIS 2016) a picture's path and its annotation's."""
    first = PurePosixPath(line.split()[0])
    name = first.parent.name if first.suffix else first.name
    if name in ("", ".."):
        raise ValueError(f"expected the name of a sequence in the list, got {line[:80]!r}")
    return name


def _subfolders(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir() if entry.is_dir())


def _numbered(folder: Path, number_of: Mapping[str, int]) -> dict[int, Path]:
    files = sorted(folder.glob("*.png"))
    strays = [file.name for file in files if file.stem not in number_of]
    if strays or not files:
        found = f"{strays[0]} without a picture of that name" if strays else "none"
        raise ValueError(f"expected PNG annotations in {folder} named like the pictures, got {found}")
    return dict(sorted((number_of[file.stem], file) for file in files))
