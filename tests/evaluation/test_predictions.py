from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from masklet.data.formats.files import read_ids
from masklet.evaluation.predictions import write_merged_prediction, write_overlapping_prediction, write_prediction
from masklet.video.writers import PALETTE

from .folders import VIDEO_HW, square


def test_a_palette_picture_holds_the_numbers_and_shows_the_colours(tmp_path):
    write_prediction(tmp_path / "clip", "00007", {1: square(4, 4), 9: square(40, 4)}, VIDEO_HW)
    path = tmp_path / "clip/00007.png"
    assert np.array_equal(read_ids(path), square(4, 4) + 9 * square(40, 4).astype(np.uint8))
    with Image.open(path) as picture:
        assert picture.mode == "P"
        assert picture.convert("RGB").getpixel((44, 8)) == tuple(PALETTE[9])


def test_shared_pixels_go_to_the_lowest_number(tmp_path):
    write_prediction(tmp_path, "0", {2: square(4, 4), 1: square(8, 4)}, VIDEO_HW)
    assert np.array_equal(read_ids(tmp_path / "0.png") == 1, square(8, 4))


def test_objects_that_are_one_are_black_and_white(tmp_path):
    write_merged_prediction(tmp_path, "0", {1: square(4, 4)}, VIDEO_HW)
    write_merged_prediction(tmp_path, "1", {}, VIDEO_HW)
    assert np.array_equal(read_ids(tmp_path / "0.png"), 255 * square(4, 4))
    assert not read_ids(tmp_path / "1.png").any()
    with Image.open(tmp_path / "0.png") as picture:
        assert picture.mode == "L"


def test_numbers_that_a_palette_cannot_hold_are_refused(tmp_path):
    for obj in (0, 255):
        with pytest.raises(ValueError, match="overlap"):
            write_prediction(tmp_path, "0", {obj: square(4, 4)}, VIDEO_HW)


def test_objects_that_overlap_lie_in_folders_of_their_own(tmp_path):
    write_overlapping_prediction(tmp_path, "00004", {0: square(4, 4), 12: square(8, 4)}, VIDEO_HW)
    assert np.array_equal(read_ids(tmp_path / "000/00004.png") > 0, square(4, 4))
    assert np.array_equal(read_ids(tmp_path / "012/00004.png") > 0, square(8, 4))
