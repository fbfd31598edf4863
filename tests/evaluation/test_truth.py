from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from masklet.evaluation.datasets import DATASETS, Rules
from masklet.evaluation.folders import AnnotatedVideo, annotated_videos
from masklet.evaluation.truth import Truth, check_sizes

from .folders import (
    PALETTE,
    VIDEO_HW,
    Masks,
    sliding_squares,
    square,
    write_annotations,
    write_object_folders,
    write_pictures,
)

FRAMES = sliding_squares(1)
AFTER, SHOWN, SEEN = (Rules(since=since) for since in ("after shown", "shown", "seen"))


def truth_of(root, frames: list[Masks], *, every: int = 1, per_object: bool = False, dataset: str = "folder") -> Truth:
    write_pictures(root / "JPEGImages/clip", frames)
    write = write_object_folders if per_object else write_annotations
    write(root / "Annotations/clip", frames, every=every)
    (video,) = annotated_videos(DATASETS[dataset], root)
    return Truth(video, list(video.picture_of()))


def test_objects_are_first_viewed_where_they_have_pixels(tmp_path):
    truth = truth_of(tmp_path, FRAMES)
    assert {obj: view.frame for obj, view in truth.first_views.items()} == {1: 0, 2: 2}
    assert np.array_equal(truth.first_views[2].truth, square(40, 28))
    assert np.array_equal(truth.mask(3, 1), FRAMES[3][1])


def test_ends_do_not_count_nor_does_the_frame_where_an_object_is_shown(tmp_path):
    assert truth_of(tmp_path, FRAMES).counted(AFTER) == {1: [1, 2, 3], 2: [3]}


def test_rules_say_from_where_frames_count(tmp_path):
    truth = truth_of(tmp_path, FRAMES)
    assert truth.counted(SHOWN) == {1: [1, 2, 3], 2: [2, 3]}
    assert truth.counted(SEEN) == {1: [1, 2, 3], 2: [1, 2, 3]}
    assert truth.counted(Rules(since="shown", leaves_out_first=False)) == {1: [0, 1, 2, 3], 2: [2, 3]}
    assert truth.counted(Rules(leaves_out_last=False)) == {1: [1, 2, 3, 4], 2: [3, 4]}


def test_by_the_rule_of_mose_objects_count_before_they_are_seen(tmp_path):
    assert truth_of(tmp_path, FRAMES).counted(DATASETS["mose"].rules) == {1: [1, 2, 3], 2: [1, 2, 3]}


def test_by_the_rule_of_lvos_every_fifth_picture_between_the_ends_of_a_span_counts(tmp_path):
    """Pictures 0 to 30; object 1 is listed from 0 to 20, object 2, which is not, counts from after its first sight."""
    frames: list[Masks] = [{1: square(4, 4), 2: square(40, 28)}] * 31
    write_pictures(tmp_path / "p", frames[:1])
    write_annotations(tmp_path / "a", frames)
    video = AnnotatedVideo("clip", tmp_path / "p", tmp_path / "a", spans={1: (0, 20)})
    truth = Truth(video, [f"{t:05d}" for t in range(31)])
    assert truth.counted(DATASETS["lvos"].rules) == {1: [5, 10, 15], 2: list(range(1, 30))}


def test_only_annotated_frames_count(tmp_path):
    assert truth_of(tmp_path, FRAMES, every=2).counted(AFTER) == {1: [2], 2: []}


def test_objects_with_folders_of_their_own_may_overlap(tmp_path):
    frames: list[Masks] = [{1: square(4, 4), 3: square(8, 4)}] * 3
    truth = truth_of(tmp_path, frames, per_object=True)
    masks = truth.masks(1)
    assert (masks[1] & masks[3]).any()
    assert truth.counted(SEEN) == {1: [1], 3: [1]}


def test_merged_objects_are_one(tmp_path):
    write_pictures(tmp_path / "p", FRAMES)
    write_annotations(tmp_path / "a", FRAMES)
    truth = Truth(AnnotatedVideo("clip", tmp_path / "p", tmp_path / "a", merges=True), [f"{t:05d}" for t in range(5)])
    assert list(truth.first_views) == [1]
    assert np.array_equal(truth.mask(3, 1), FRAMES[3][1] | FRAMES[3][2])


def test_annotations_of_new_objects_alone_are_no_truth_to_score(tmp_path):
    """As in the validation split of YouTube-VOS, where object 1 is not annotated any more when object 2 appears."""
    truth = truth_of(tmp_path, FRAMES)
    assert truth.can_score
    hidden: list[Masks] = [FRAMES[0], {2: square(40, 28)}]
    folder = tmp_path / "hidden"
    write_pictures(folder / "JPEGImages/clip", FRAMES)
    write_annotations(folder / "Annotations/clip", hidden)
    (video,) = annotated_videos(DATASETS["folder"], folder)
    shown_only = Truth(video, list(video.picture_of()))
    assert not shown_only.can_score
    assert shown_only.counted(AFTER) == {1: [], 2: []}


def test_an_object_that_is_gone_after_its_first_frame_is_known_to_be_absent(tmp_path):
    frames: list[Masks] = [{1: square(4, 4)}, {}, {}]
    assert truth_of(tmp_path, frames).counted(AFTER) == {1: [1]}


def truth_of_values(root, values: list[list], *, palette: bool = False, merges: bool = False) -> Truth:
    """Annotations of frames by their pixels."""
    (root / "a").mkdir()
    for t, pixels in enumerate(values):
        picture = Image.fromarray(np.array(pixels, dtype=np.uint8))
        if palette:
            picture.putpalette(PALETTE)
        picture.save(root / "a" / f"{t}.png")
    return Truth(AnnotatedVideo("clip", root / "p", root / "a", merges), [str(t) for t in range(len(values))])


@pytest.mark.parametrize("palette", [False, True])
def test_palette_and_grey_annotations_hold_object_numbers(tmp_path, palette):
    masks = truth_of_values(tmp_path, [[[0, 1, 2]]], palette=palette).masks(0)
    assert {obj: mask.tolist() for obj, mask in masks.items()} == {1: [[False, True, False]], 2: [[False, False, True]]}


@pytest.mark.parametrize("white", [255, [255, 255, 255]])
def test_a_video_of_0_and_255_shows_one_object(tmp_path, white):
    black = [0, 0, 0] if isinstance(white, list) else 0
    truth = truth_of_values(tmp_path, [[[black, white]], [[black, black]], [[white, white]]])
    assert [truth.mask(frame, 1).tolist() for frame in range(3)] == [[[False, True]], [[False, False]], [[True, True]]]


def test_void_is_no_object_on_a_frame_that_all_objects_have_left(tmp_path):
    truth = truth_of_values(tmp_path, [[[0, 255]], [[1, 255]], [[0, 255]], [[0, 2]]])
    assert {obj: view.frame for obj, view in truth.first_views.items()} == {1: 1, 2: 3}
    assert truth.mask(1, 1).tolist() == [[True, False]]
    assert not truth.mask(2, 1).any()


def test_merged_objects_are_all_but_background(tmp_path):
    truth = truth_of_values(tmp_path, [[[0, 1, 2]], [[0, 0, 255]]], merges=True)
    assert [truth.mask(frame, 1).tolist() for frame in (0, 1)] == [[[False, True, True]], [[False, False, True]]]


def test_annotations_of_another_size_are_refused():
    with pytest.raises(ValueError, match="bear, 00000"):
        check_sizes({1: np.zeros((2, 2), bool)}, VIDEO_HW, "bear, 00000")
