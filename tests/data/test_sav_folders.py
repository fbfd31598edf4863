from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from masklet.data.formats.table import open_writer
from masklet.data.sav_folders import has_folders, validate_folders

from .formats.samples import in_pictures, masklet, nothing, pictures, square, two_squares

LAKE = "Annotations_6fps/lake"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A sound set of two videos of nine pictures, one of them with an object that enters later."""
    with open_writer(tmp_path / "val", "sav-frames") as writer:
        writer.add(in_pictures(tmp_path / "source", 9, two_squares([0, 4, 8], first=0), "lake"))
        writer.add(in_pictures(tmp_path / "source", 9, [masklet(0, {4: square(1, 1), 8: nothing()})], "park"))
    return tmp_path / "val"


def found(root: Path) -> dict[str, list[str]]:
    """Problems by path, where there are any."""
    return {path.relative_to(root).as_posix(): problems for path, problems in validate_folders(root) if problems}


def test_a_set_in_the_published_layout_is_sound(root: Path):
    assert has_folders(root)
    assert not has_folders(root.parent)
    assert [path.name for path, _ in validate_folders(root)] == ["sav_val.txt", "lake", "park"]
    assert found(root) == {}


def _save(array: np.ndarray) -> Callable[[Path], None]:
    return lambda path: Image.fromarray(array).save(path)


TWO_VALUES = square(0, 0).astype(np.uint8) + square(5, 5).astype(np.uint8) * 2


@pytest.mark.parametrize(
    ("file", "change", "problem"),
    [
        ("000/00004.png", _save(TWO_VALUES), "object 000: 1 masks hold more than one value beside 0; the first is 000"),
        ("000/00004.png", _save(np.zeros((5, 5), np.uint8)), "object 000: 1 masks are not of the pictures' size 18x12"),
        ("000/00004.png", lambda path: path.write_bytes(b"x"), "object 000: 1 masks cannot be read"),
        ("000/00005.png", _save(TWO_VALUES * 0), "object 000: 1 masks are not called as every fourth frame, 00000, 00"),
        ("000/00012.png", _save(TWO_VALUES * 0), "object 000: 1 masks have no picture of the same name; the first is"),
        ("7/00000.png", _save(square(0, 0)), "object 7: expected three digits as name"),
        ("007/00000.png", _save(nothing()), "object 007: it is seen on no frame"),
        ("007/note.txt", lambda path: path.write_text("x"), "object 007: there are no PNG masks"),
    ],
)
def test_what_is_wrong_with_masks_is_said(file: str, change: Callable[[Path], None], problem: str, root: Path):
    (root / LAKE / file).parent.mkdir(exist_ok=True)
    change(root / LAKE / file)
    (only,) = found(root)[LAKE]
    assert only.startswith(problem)


def test_what_is_wrong_with_pictures_is_said(root: Path):
    folder = root / "JPEGImages_24fps" / "lake"
    Image.new("RGB", (5, 5)).save(folder / "00003.jpg")
    (folder / "00008.jpg").rename(folder / "00009.jpg")
    first, second, third, _ = found(root)[LAKE]
    assert first == "pictures are not numbered one by one from 00000.jpg: 00009.jpg in place of 00008.jpg"
    assert second == "1 pictures are not of the size 18x12 of the first; the first is 00003.jpg"
    assert third.startswith("object 000: 1 masks have no picture of the same name")


def test_lists_and_folders_must_name_the_same_videos(root: Path):
    (root / "sav_val.txt").write_text("lake\nriver\nlake\n")
    pictures(root / "JPEGImages_24fps" / "hill", 1)
    problems = found(root)
    assert problems["sav_val.txt"] == ["river has no folder", "lake is named 2 times"]
    assert problems["Annotations_6fps/park"] == ["no list names it"]
    assert problems["Annotations_6fps/hill"][1] == f"there is no folder {root / 'Annotations_6fps' / 'hill'}"
    (root / "sav_val.txt").unlink()
    assert found(root)["."] == ["there is no list of videos, like sav_val.txt"]


@pytest.mark.parametrize("missing", ["JPEGImages_24fps", "Annotations_6fps"])
def test_a_missing_folder_is_named(missing: str, root: Path):
    (root / missing).rename(root / "elsewhere")
    with pytest.raises(ValueError, match=f"there is no folder .*{missing}"):
        list(validate_folders(root))


def test_the_size_of_a_set_without_readable_pictures_is_not_guessed(root: Path):
    (root / "JPEGImages_24fps" / "lake" / "00000.jpg").write_bytes(b"x")
    (problem,) = found(root)[LAKE]
    assert "00000.jpg cannot be read" in problem
    for path in (root / "JPEGImages_24fps" / "lake").iterdir():
        path.unlink()
    assert found(root)[LAKE] == [f"{root / 'JPEGImages_24fps' / 'lake'} holds no pictures"]
