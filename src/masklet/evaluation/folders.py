"""Annotated videos in the folders of the benchmarks.

    PICTURES/SEQUENCE/00000.jpg       the frames
    ANNOTATIONS/SEQUENCE/00000.png    palette or grey: object numbers (DAVIS, YouTube-VOS, MOSE, LVOS)
    ANNOTATIONS/SEQUENCE/000/00000.png    one folder per object, which may overlap (SA-V)

An annotation belongs to the picture of the same name; pictures may go without. Where all annotations of a video hold
nothing but 0 and 255, they are masks of object 1. Beside other numbers, 255 marks pixels of no known object: it is
taken for background, also on frames without objects.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from masklet.data.formats.files import VOID, checked_objects, folders_in, names_in, natural, pictures_in, read_ids
from masklet.data.formats.palette import LVOS, YOUTUBE_VOS, objects_by_video
from masklet.data.formats.png import frames_of_files
from masklet.data.records import check_name
from masklet.evaluation.datasets import Dataset, Group
from masklet.video.read import FrameSource, ImageFolder

ONE = 1
"""The number of an object that is the only one: in a mask without numbers, or when all are merged."""
LISTED = {"youtube-vos": YOUTUBE_VOS, "lvos": LVOS}
"""Where datasets keep lists of objects that evaluations follow."""


@dataclass(frozen=True)
class AnnotatedVideo:
    """A folder of pictures with a folder of annotations."""

    name: str
    pictures: Path
    annotations: Path
    merges: bool = False
    spans: Mapping[int, tuple[int, int]] = field(default_factory=dict)
    """Object -> the numbers in the names of its first and last picture, where the dataset says so."""
    groups: Mapping[int | None, Group] = field(default_factory=dict)
    """Object -> seen or unseen class, where the dataset says so; None: all objects."""
    is_loose: bool = False
    """The pictures lie in no folder of a sequence: as pictures they are independent of each other."""

    def frames(self) -> FrameSource:
        """The pictures, read when asked for."""
        return ImageFolder(self.pictures)

    def picture_of(self) -> dict[str, Path]:
        """Name -> picture, in order of the names. The pictures may differ in size."""
        return {file.stem: file for file in pictures_in(self.pictures)}

    def group_of(self, obj: int) -> Group | None:
        """Whether the object's class is seen or unseen; None where nothing says so."""
        return self.groups[obj] if obj in self.groups else self.groups.get(None)

    def annotation_files(self, number_of: Mapping[str, int]) -> dict[int | None, dict[int, Path]]:
        """Object -> frame number -> file in order of frames; the object is None for files that hold several.

        `number_of` gives the frame numbers of pictures. Raises ValueError when an annotation has no picture, or nothing
        is annotated.
        """
        folders = folders_in(self.annotations)
        if not folders:
            return {None: _numbered(self.annotations, number_of)}
        odd = [folder.name for folder in folders if not folder.name.isdecimal()]
        if odd:
            raise ValueError(f"expected folders named by object numbers in {self.annotations}, got {odd[0]!r}")
        return {int(folder.name): _numbered(folder, number_of) for folder in folders}


def annotated_videos(dataset: Dataset, root: Path | str, split: str | None = None) -> list[AnnotatedVideo]:
    """The videos of a split in the order of its list, or all by name.

    Raises ValueError when the folder, the list or a sequence that it names is missing.
    """
    split = split or dataset.default_split
    base = _base(dataset, Path(root), split)
    pictures, annotations = base / dataset.pictures, base / dataset.annotations
    names = _names(dataset, base, split) or [folder.name for folder in folders_in(annotations)]
    if not names and any(annotations.glob("*.png")):
        return [AnnotatedVideo(base.resolve().name, pictures, annotations, dataset.merges, is_loose=True)]
    listed = objects_by_video(LISTED[dataset.name], Path(root), split) if dataset.name in LISTED else {}
    unseen = _unseen_sequences(dataset, (base, Path(root)))
    videos = [
        AnnotatedVideo(
            name, pictures / name, annotations / name, dataset.merges, **_said_of(name, listed, dataset, unseen)
        )
        for name in names
    ]
    missing = [video.name for video in videos if not (video.pictures.is_dir() and video.annotations.is_dir())]
    if missing or not videos:
        lacking = f"pictures or annotations of {', '.join(missing[:5])}" if missing else "sequences"
        raise ValueError(f"there are no {lacking} in {base}; check that {dataset.name} was unpacked as published")
    return videos


def numbers_in(ids_hw: np.ndarray) -> set[int]:
    """The object numbers on an annotation."""
    return set(np.flatnonzero(np.bincount(ids_hw.ravel())).tolist()) - {0, VOID}


def is_one_mask(files: Iterable[Path]) -> bool:
    """Whether the annotations of a video hold nothing but 0 and 255. Raises ValueError when a file is broken."""
    return not any(numbers_in(read_ids(file)) for file in files)


def _said_of(name: str, listed: Mapping[str, Any], dataset: Dataset, unseen: frozenset[str] | None) -> dict[str, Any]:
    """What the dataset's lists say of a sequence: the spans and the groups of its objects."""
    objects = checked_objects(listed.get(name) or {}, f"{name} in the list of objects")
    spans = {obj: entry["frame_range"] for obj, entry in objects.items() if "frame_range" in entry}
    groups: dict[int | None, Group] = {
        obj: "seen" if entry["category"] in dataset.seen_classes else "unseen"
        for obj, entry in objects.items()
        if dataset.seen_classes and isinstance(entry.get("category"), str)
    }
    if unseen is not None:
        groups[None] = "unseen" if name in unseen else "seen"
    return {"spans": {obj: _span(span, name) for obj, span in spans.items()}, "groups": groups}


def _span(stated: Any, name: str) -> tuple[int, int]:
    try:
        return int(stated["start"]), int(stated["end"])
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"expected a start and an end as frame_range of {name}, got {str(stated)[:80]}") from error


def _unseen_sequences(dataset: Dataset, folders: Iterable[Path]) -> frozenset[str] | None:
    """The dataset's list of sequences of unseen classes; None where there is none."""
    files = [folder / dataset.unseen_list for folder in folders if dataset.unseen_list]
    found = next((file for file in files if file.is_file()), None)
    return None if found is None else frozenset(names_in(found))


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
    return [check_name(name) for name in names_in(found)]


def _numbered(folder: Path, number_of: Mapping[str, int]) -> dict[int, Path]:
    files = natural(folder.glob("*.png"))
    if not files:
        raise ValueError(f"expected PNG annotations in {folder}, got none")
    return dict(sorted(frames_of_files(files, number_of, str(folder)).items()))
