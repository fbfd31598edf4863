from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from masklet.evaluation.davis import davis_videos, read_annotation

from .folders import PALETTE, sliding_squares, square, write_image_set, write_sequence


def save(path, values, palette=None):
    picture = Image.fromarray(np.array(values, dtype=np.uint8))
    if palette:
        picture.putpalette(palette)
    picture.save(path)
    return path


def test_without_an_image_set_all_sequences_come_by_name(tmp_path):
    for name in ("swan", "bear"):
        write_sequence(tmp_path, name, sliding_squares(1))
    assert [video.name for video in davis_videos(tmp_path)] == ["bear", "swan"]


def test_an_image_set_chooses_and_orders(tmp_path):
    for name in ("swan", "bear", "cat"):
        write_sequence(tmp_path, name, sliding_squares(1))
    write_image_set(tmp_path, "2017/val", ["swan", "bear", ""])
    assert [video.name for video in davis_videos(tmp_path, "2017/val")] == ["swan", "bear"]


def test_image_sets_may_list_pictures_with_their_annotations(tmp_path):
    write_sequence(tmp_path, "bear", sliding_squares(1))
    lines = [f"/JPEGImages/480p/bear/{t:05d}.jpg /Annotations/480p/bear/{t:05d}.png" for t in range(5)]
    write_image_set(tmp_path, "2016/val", lines)
    assert [video.name for video in davis_videos(tmp_path, "2016/val")] == ["bear"]


def test_what_is_missing_is_named(tmp_path):
    with pytest.raises(ValueError, match="Annotations"):
        davis_videos(tmp_path)
    write_sequence(tmp_path, "bear", sliding_squares(1))
    write_image_set(tmp_path, "2017/val", ["bear", "unicorn"])
    with pytest.raises(ValueError, match="unicorn"):
        davis_videos(tmp_path, "2017/val")
    with pytest.raises(ValueError, match="2017/val"):
        davis_videos(tmp_path, "2017/test-dev")


def test_annotations_find_their_frames_by_name(tmp_path):
    write_sequence(tmp_path, "bear", sliding_squares(1), every=2)
    (video,) = davis_videos(tmp_path)
    assert list(video.annotation_of(video.frames())) == [0, 2, 4]


def test_an_annotation_without_a_picture_is_refused(tmp_path):
    write_sequence(tmp_path, "bear", sliding_squares(1))
    (tmp_path / "JPEGImages/480p/bear/00003.jpg").unlink()
    (video,) = davis_videos(tmp_path)
    with pytest.raises(ValueError, match=r"00003\.png without a picture"):
        video.annotation_of(video.frames())


def test_palette_and_grey_annotations_hold_object_numbers(tmp_path):
    assert read_annotation(save(tmp_path / "p.png", [[0, 1, 2]], PALETTE)).tolist() == [[0, 1, 2]]
    assert read_annotation(save(tmp_path / "l.png", [[0, 1, 2]])).tolist() == [[0, 1, 2]]


def test_an_annotation_of_0_and_255_is_one_object(tmp_path):
    assert read_annotation(save(tmp_path / "l.png", [[0, 255]])).tolist() == [[0, 1]]
    assert read_annotation(save(tmp_path / "rgb.png", [[[0, 0, 0], [255, 255, 255]]])).tolist() == [[0, 1]]


def test_255_beside_object_numbers_is_background(tmp_path):
    assert read_annotation(save(tmp_path / "p.png", [[0, 1, 255]], PALETTE)).tolist() == [[0, 1, 0]]


def test_a_palette_annotation_keeps_the_mask_that_was_written(tmp_path):
    write_sequence(tmp_path, "bear", sliding_squares(1))
    ids_hw = read_annotation(tmp_path / "Annotations/480p/bear/00002.png")
    assert np.array_equal(ids_hw == 2, square(40, 28))
