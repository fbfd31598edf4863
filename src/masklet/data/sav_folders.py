"""Checks the folders of SA-V val and test: pictures, masks by object, and the lists of videos."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from masklet.data.formats.files import folders_in, names_in, natural, picture_hw, pictures_in, read_ids
from masklet.data.formats.objects import SAV_FRAMES
from masklet.data.formats.sav import STRIDE
from masklet.video.source import size_name

DIGITS = 5


def has_folders(root: Path) -> bool:
    """Whether a folder is laid out as SA-V val and test."""
    return any((root / part).is_dir() for part in (SAV_FRAMES.pictures, SAV_FRAMES.annotations))


def validate_folders(root: Path) -> Iterator[tuple[Path, list[str]]]:
    """Each list of videos and each video with what is wrong with it, in sentences, if anything.

    Raises ValueError where the folder of pictures or that of masks is missing.
    """
    folders = [root / part for part in (SAV_FRAMES.pictures, SAV_FRAMES.annotations)]
    videos = {path.name for folder in folders for path in folders_in(folder)}
    lists = natural(root.glob("*.txt"))
    if not lists:
        yield root, ["there is no list of videos, like sav_val.txt"]
    for file in lists:
        yield file, list(_list_problems(file, videos))
    listed = {name for file in lists for name in _lines(file)}
    for video in natural(folders[1] / name for name in videos):
        unlisted = ["no list names it"] if lists and video.name not in listed else []
        yield video, unlisted + _video_problems(folders[0] / video.name, video)


def _lines(list_file: Path) -> list[str]:
    """The names in a list; none of one that is no text."""
    try:
        return names_in(list_file)
    except UnicodeDecodeError:
        return []


def _list_problems(list_file: Path, videos: set[str]) -> Iterator[str]:
    names = _lines(list_file)
    if not names:
        yield "it names no video"
    yield from (f"{name} has no folder" for name in names if name not in videos)
    lines = list_file.read_bytes().split(b"\n")
    times = Counter(line.strip() for line in lines if line.strip())
    yield from (f"{line.decode(errors='replace')} is named {n} times" for line, n in times.items() if n > 1)


def _video_problems(pictures: Path, masks: Path) -> list[str]:
    missing = [f"there is no folder {folder}" for folder in (pictures, masks) if not folder.is_dir()]
    if missing:
        return missing
    paths = pictures_in(pictures)
    if not paths:
        return [f"{pictures} holds no pictures"]
    try:
        video_hw = picture_hw(paths[0])
    except (ValueError, OSError) as error:
        return [f"{paths[0]} cannot be read: {error}"]
    objects = folders_in(masks)
    problems = list(_picture_problems(paths, video_hw))
    problems += [] if objects else ["there are no masks"]
    known = {path.stem for path in paths}
    for folder in objects:
        problems += [f"object {folder.name}: {problem}" for problem in _object_problems(folder, known, video_hw)]
    return problems


def _picture_problems(paths: Sequence[Path], video_hw: tuple[int, int]) -> Iterator[str]:
    expected = [f"{frame:0{DIGITS}d}.jpg" for frame in range(len(paths))]
    wrong = next(((path.name, name) for path, name in zip(paths, expected, strict=True) if path.name != name), None)
    if wrong:
        yield f"pictures are not numbered one by one from {expected[0]}: {wrong[0]} in place of {wrong[1]}"
    found: dict[str, list[str]] = defaultdict(list)
    for path in paths[1:]:
        try:
            other_hw = picture_hw(path)
        except (ValueError, OSError):
            found["pictures cannot be read"].append(path.name)
            continue
        if other_hw != video_hw:
            found[f"pictures are not of the size {size_name(video_hw)} of the first"].append(path.name)
    yield from _sentences(found)


def _object_problems(folder: Path, pictures: set[str], video_hw: tuple[int, int]) -> Iterator[str]:
    if not (folder.name.isdecimal() and len(folder.name) == 3):
        yield "expected three digits as name"
    masks = natural(folder.glob("*.png"))
    if not masks:
        yield "there are no PNG masks"
    found: dict[str, list[str]] = defaultdict(list)
    is_seen = False
    for path in masks:
        kinds, shows = _mask_problems(path, pictures, video_hw)
        is_seen = is_seen or shows
        for kind in kinds:
            found[kind].append(path.name)
    yield from _sentences(found)
    if masks and not is_seen and not found:
        yield "it is seen on no frame"


def _mask_problems(path: Path, pictures: set[str], video_hw: tuple[int, int]) -> tuple[list[str], bool]:
    """Kinds of what is wrong with a mask, and whether it shows the object."""
    problems = []
    name = path.stem
    if not (name.isdecimal() and len(name) == DIGITS and int(name) % STRIDE == 0):
        problems.append(f"masks are not called as every fourth frame, {0:0{DIGITS}d}, {STRIDE:0{DIGITS}d} ...")
    if name not in pictures:
        problems.append("masks have no picture of the same name")
    try:
        ids_hw = read_ids(path)
    except (ValueError, OSError):
        return [*problems, "masks cannot be read as black and white PNG"], False
    if ids_hw.shape != video_hw:
        problems.append(f"masks are not of the pictures' size {size_name(video_hw)}")
    values = np.flatnonzero(np.bincount(ids_hw.ravel()))
    if np.count_nonzero(values) > 1:
        problems.append("masks hold more than one value beside 0")
    return problems, bool(ids_hw.any())


def _sentences(found: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """Each kind of problem once, with the number of files and the first of them."""
    for what, names in found.items():
        yield f"{len(names)} {what}; the first is {names[0]}"
