from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from masklet.data.records import PREDICTED_IOU, Masklet, Record, RecordError, empty_rle, pictures_of
from masklet.masks import Rle, encode_rle

HW = (6, 8)


def corner(side: int = 2) -> np.ndarray:
    mask = np.zeros(HW, dtype=bool)
    mask[:side, :side] = True
    return mask


def seen_then_absent(obj: int = 1) -> Masklet:
    return Masklet(obj, {0: encode_rle(corner()), 2: empty_rle(HW)}, name="dog", scores={PREDICTED_IOU: {0: 0.9}})


def test_a_frame_is_visible_absent_or_not_annotated():
    one = seen_then_absent()
    assert [one.is_visible(frame) for frame in range(3)] == [True, False, False]
    assert one.mask(1) is None
    absent = one.mask(2)
    assert absent is not None
    assert not absent.any()
    assert (one.mask(0) == corner()).all()


def test_an_empty_mask_that_is_written_in_an_unusual_way_is_not_visible():
    assert not Masklet(1, {0: Rle(size=[2, 2], counts="400")}).is_visible(0)


def test_a_record_knows_its_annotated_frames_and_masks():
    other = Masklet(5, {2: encode_rle(corner(3))})
    record = Record("lake", HW, 4, (seen_then_absent(), other))
    assert record.annotated_frames == [0, 2]
    assert {obj: int(mask.sum()) for obj, mask in record.masks_at(2).items()} == {1: 0, 5: 9}
    assert record.masks_at(1) == {}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"video_hw": (6, 9)}, r"expected a mask of size \[6, 9\]"),
        ({"frame_count": 2}, "frame 2 is outside of 0 to 1"),
        ({"frame_count": 0}, "expected a positive height, width and number of frames"),
        ({"video_hw": (1 << 14, 1 << 14)}, "over the limits"),
        ({"masklets": (seen_then_absent(), seen_then_absent())}, "expected ids that differ, got 1, 1"),
        ({"masklets": (seen_then_absent(-1),)}, "expected a whole number from 0 as id"),
        ({"fps": Fraction(0)}, "frames per second"),
        ({"frames": (Path("0.jpg"),)}, "4 frames but 1 pictures"),
        ({"masklets": (Masklet(1, {}, provenance="guess"),)}, '"manual", "auto" or nothing'),
        ({"masklets": (Masklet(1, {}, scores={"beauty": {0: 1.0}}),)}, "scores of a kind among score, predicted_iou"),
        ({"masklets": (Masklet(1, {}, scores={PREDICTED_IOU: {9: 1.0}}),)}, "frame 9 is outside of 0 to 3"),
        ({"masklets": (Masklet(1, {0: None}),)}, "expected run lengths"),  # type: ignore[dict-item]
    ],
)
def test_a_record_that_contradicts_itself_is_refused(change: dict, message: str):
    sound = {"video_id": "lake", "video_hw": HW, "frame_count": 4, "masklets": (seen_then_absent(),)}
    Record(**sound)
    with pytest.raises(RecordError, match=message):
        Record(**{**sound, **change})


@pytest.mark.parametrize("name", ["", "..", "a/b", "a\\b", "a:b", "x" * 300, "line\nbreak", " . "])
def test_a_name_that_could_lead_elsewhere_is_refused(name: str):
    with pytest.raises(RecordError, match="a name that can be a file's"):
        Record(name, HW, 1)


def test_broken_run_lengths_are_found_by_checking():
    record = Record("lake", HW, 1, (Masklet(1, {0: Rle(size=[6, 8], counts="11")}),))
    with pytest.raises(RecordError, match="lake: object 1, frame 0: RLE counts do not add up"):
        record.checked()


def test_frames_that_are_not_of_the_masks_size_are_refused(tmp_path: Path):
    path = tmp_path / "0.png"
    Image.fromarray(np.zeros((5, 8, 3), dtype=np.uint8)).save(path)
    with pytest.raises(RecordError, match=r"annotations are 8x6 .* the frames are 8x5"):
        Record("lake", HW, 1, frames=(path,)).open_frames()


def test_frames_of_a_record_without_any_are_an_error_that_says_what_to_do():
    with pytest.raises(RecordError, match="put its pictures or video beside them"):
        Record("lake", HW, 1).open_frames()


def test_each_annotated_frame_becomes_a_picture_of_its_own():
    first, second = pictures_of(Record("lake", HW, 4, (seen_then_absent(),)))
    assert (first.video_id, second.video_id) == ("lake-00000", "lake-00002")
    assert first.masklets[0].scores == {PREDICTED_IOU: {0: 0.9}}
    assert not second.masklets[0].is_visible(0)
