"""Annotated videos in the DAVIS folder layout.

    ROOT/JPEGImages/480p/SEQUENCE/00000.jpg
    ROOT/Annotations/480p/SEQUENCE/00000.png
    ROOT/ImageSets/2016/val.txt

An annotation belongs to the picture of the same name; pictures may go without. Palette and grey PNGs hold object
numbers (DAVIS 2017, YouTube-VOS), except that one of 0 and 255 alone is the mask of object 1 (DAVIS 2016). Beside
other numbers, 255 marks pixels of no known object and is taken for background.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image

from masklet.video.read import FrameSource, ImageFolder

VOID = 255


@dataclass(frozen=True)
class AnnotatedVideo:
    """A folder of pictures with a folder of annotations."""

    name: str
    pictures: Path
    annotations: Path

    def frames(self) -> FrameSource:
        """The pictures, read when asked for."""
        return ImageFolder(self.pictures)

    def annotation_of(self, frames: FrameSource) -> dict[int, Path]:
        """Frame number -> annotation file, for the annotated frames in order.

        Raises ValueError when an annotation has no picture, or nothing is annotated.
        """
        number_of = {frames.name_of(index): index for index in range(len(frames))}
        files = sorted(self.annotations.glob("*.png"))
        strays = [file.name for file in files if file.stem not in number_of]
        if strays or not files:
            found = f"{strays[0]} without a picture of that name" if strays else "none"
            raise ValueError(f"expected PNG annotations in {self.annotations} named like the pictures, got {found}")
        return dict(sorted((number_of[file.stem], file) for file in files))


def davis_videos(root: Path | str, image_set: str | None = None, resolution: str = "480p") -> list[AnnotatedVideo]:
    """The videos of a DAVIS folder, in the order of an image set ("2016/val", "2017/val"), or all by name.

    Raises ValueError when the folder, the image set or a sequence that it names is missing.
    """
    annotations = Path(root, "Annotations", resolution)
    if not annotations.is_dir():
        raise ValueError(f"there is no folder {annotations}; pass the folder that holds Annotations and JPEGImages")
    names = _listed(Path(root), image_set) if image_set else _subfolders(annotations)
    videos = [AnnotatedVideo(name, Path(root, "JPEGImages", resolution, name), annotations / name) for name in names]
    missing = [video.name for video in videos if not (video.pictures.is_dir() and video.annotations.is_dir())]
    if missing or not videos:
        lacking = f"pictures or annotations of {', '.join(missing[:5])}" if missing else "sequences"
        raise ValueError(f"there are no {lacking} in {root}; check the download, image set and {resolution!r}")
    return videos


def read_annotation(path: Path | str) -> np.ndarray:
    """Object numbers (h, w) uint8, 0 for background."""
    with Image.open(path) as picture:
        ids_hw = np.asarray(picture if picture.mode in ("P", "L") else picture.convert("L"))
    if np.isin(np.unique(ids_hw), (0, VOID)).all():
        return (ids_hw == VOID).astype(np.uint8)
    return np.where(ids_hw == VOID, 0, ids_hw).astype(np.uint8)


def _subfolders(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir() if entry.is_dir())


def _listed(root: Path, image_set: str) -> list[str]:
    file = root / "ImageSets" / f"{image_set}.txt"
    if not file.is_file():
        known = sorted(f"{found.parent.name}/{found.stem}" for found in root.glob("ImageSets/*/*.txt"))
        raise ValueError(f"there is no image set {image_set!r} in {root}; it has {', '.join(known) or 'none'}")
    return list(dict.fromkeys(_sequence_in(line) for line in file.read_text().splitlines() if line.strip()))


def _sequence_in(line: str) -> str:
    """A line is a sequence's name, or (DAVIS 2016) a picture's path and its annotation's."""
    first = PurePosixPath(line.split()[0])
    return first.parent.name if first.suffix else first.name
