from __future__ import annotations

import contextlib

import numpy as np
import pytest
import torch
from pycocotools import mask as coco

from masklet import masks


def blob(shape_hw: tuple[int, int], y0: int, y1: int, x0: int, x1: int) -> np.ndarray:
    mask = np.zeros(shape_hw, dtype=bool)
    mask[y0:y1, x0:x1] = True
    return mask


def test_resizing_logits_keeps_pixel_centres_aligned():
    resized = masks.resize_logits(torch.tensor([[0.0, 4.0]]), (1, 4))
    assert resized.tolist() == [[0, 1, 3, 4]]


def test_resizing_logits_keeps_leading_axes():
    logits = torch.randn(2, 3, 4, 5)
    resized = masks.resize_logits(logits, (8, 10))
    assert resized.shape == (2, 3, 8, 10)
    assert torch.equal(resized[1, 2], masks.resize_logits(logits[1, 2], (8, 10)))


@pytest.mark.parametrize("hw", [(5, 7), (17, 40), (50, 31)])
def test_logits_become_what_torch_makes_of_them(hw: tuple[int, int]):
    logits = torch.randn(2, 16, 16)
    wanted = torch.nn.functional.interpolate(logits[None], size=hw, mode="bilinear", align_corners=False)[0]
    torch.testing.assert_close(masks.resize_logits(logits, hw), wanted, atol=1e-5, rtol=1e-5)
    assert np.array_equal(masks.enlarged_masks(logits, hw, 0.5), masks.resize_logits(logits, hw).numpy() > 0.5)
    rounded = masks.resize_logits(logits.bfloat16(), hw)
    assert rounded.dtype == torch.bfloat16
    torch.testing.assert_close(rounded.float(), wanted, atol=0.05, rtol=0.05)


def test_threshold_is_strict():
    assert masks.threshold(torch.tensor([[-1.0, 0.0, 1.0]])).tolist() == [[False, False, True]]


def test_resizing_a_mask_up_and_back_gives_the_same_mask():
    mask = blob((20, 30), 5, 12, 7, 19)
    doubled = masks.resize(mask, (40, 60))
    assert doubled.shape == (40, 60)
    assert masks.areas(doubled) == 4 * masks.areas(mask)
    assert np.array_equal(masks.resize(doubled, (20, 30)), mask)


def test_overlap_goes_to_the_highest_logit_and_the_others_drop_to_minus_ten():
    logits = torch.tensor([[[5.0, -3.0, -20.0]], [[2.0, 4.0, -1.0]], [[5.0, -30.0, -2.0]]])
    separated = masks.without_overlap(logits)
    assert separated[:, 0].T.tolist() == [[5, -10, -10], [-10, 4, -30], [-20, -1, -10]]


def test_a_single_object_keeps_its_logits():
    logits = torch.randn(1, 4, 4)
    assert torch.equal(masks.without_overlap(logits), logits)


def test_stability_is_the_share_of_the_area_that_survives_a_higher_threshold():
    logits = torch.tensor([[[2.0, 0.5], [-0.5, -2.0]], [[-9.0, -9.0], [-9.0, -9.0]]])
    assert masks.stability_score(logits, delta=1.0).tolist() == pytest.approx([1 / 3, 1.0])
    assert masks.stability_score(logits[0], delta=0.1).item() == 1.0


def test_small_components_go_and_diagonal_neighbours_are_one_component():
    mask = blob((10, 10), 0, 3, 0, 3) | blob((10, 10), 3, 5, 3, 5) | blob((10, 10), 8, 9, 8, 9)
    cleaned = masks.remove_small_components(mask, min_area=13)
    assert np.array_equal(cleaned, mask & ~blob((10, 10), 8, 9, 8, 9))


def test_the_largest_component_stays_unless_told_otherwise():
    mask = blob((10, 10), 0, 2, 0, 2) | blob((10, 10), 8, 9, 8, 9)
    assert np.array_equal(masks.remove_small_components(mask, min_area=50), blob((10, 10), 0, 2, 0, 2))
    assert not masks.remove_small_components(mask, min_area=50, keep_largest=False).any()


def test_small_holes_are_filled_and_large_ones_stay():
    solid = blob((20, 20), 2, 18, 2, 18)
    holed = solid & ~blob((20, 20), 4, 6, 4, 6) & ~blob((20, 20), 10, 15, 10, 15)
    assert np.array_equal(masks.fill_small_holes(holed, min_area=5), solid & ~blob((20, 20), 10, 15, 10, 15))


@pytest.mark.parametrize("value", [False, True])
def test_uniform_masks_have_nothing_to_clean(value):
    mask = np.full((4, 4), value)
    assert np.array_equal(masks.fill_small_holes(mask, min_area=100), mask)
    assert np.array_equal(masks.remove_small_components(mask, min_area=100), mask)


def test_the_bounding_box_has_exclusive_right_and_bottom_edges():
    assert masks.bounding_box(blob((10, 20), 3, 7, 5, 6)) == (5, 3, 6, 7)
    assert masks.bounding_box(np.ones((10, 20), bool)) == (0, 0, 20, 10)
    assert masks.bounding_box(np.zeros((10, 20), bool)) is None


def test_areas_count_pixels_per_object():
    layers = np.stack([blob((10, 10), 0, 2, 0, 3), np.zeros((10, 10), bool)])
    assert masks.areas(layers).tolist() == [6, 0]


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning:pycocotools")
@pytest.mark.parametrize("density", [0.0, 0.01, 0.5, 0.99, 1.0])
def test_rle_round_trips_and_agrees_with_coco(density):
    mask = np.random.default_rng(3).random((37, 53)) < density
    rle = masks.encode_rle(mask)
    assert isinstance(rle["counts"], str)
    assert rle["size"] == [37, 53]
    assert np.array_equal(masks.decode_rle(rle), mask)
    assert np.array_equal(coco.decode({"size": [37, 53], "counts": rle["counts"].encode()}), mask)


def test_rle_of_long_runs_round_trips():
    mask = blob((1100, 2000), 0, 1100, 700, 1900)
    mask[5, 100] = True
    assert np.array_equal(masks.decode_rle(masks.encode_rle(mask)), mask)


def test_rle_with_listed_counts_decodes_column_by_column():
    assert masks.decode_rle({"size": [2, 2], "counts": [1, 2, 1]}).tolist() == [[False, True], [True, False]]


def test_plain_run_lengths_and_coco_ones_are_the_same_mask():
    mask = blob((37, 53), 3, 30, 0, 20)
    mask[4, 7] = False
    rle = masks.encode_rle(mask)
    assert sum(masks.run_lengths(rle)) == mask.size
    assert masks.encode_runs(np.array(masks.run_lengths(rle)), (37, 53)) == rle


def test_shares_areas_and_union_of_run_lengths_are_those_of_the_masks():
    layers = [blob((10, 10), 0, 4, 0, 10), blob((10, 10), 2, 10, 0, 10), np.zeros((10, 10), bool)]
    rles = [masks.encode_rle(layer) for layer in layers]
    assert masks.overlap_shares(rles, rles).tolist() == [[1, 0.5, 0], [0.25, 1, 0], [0, 0, 0]]
    assert masks.overlap_shares([], rles).shape == (0, 3)
    assert masks.rle_areas(rles).tolist() == [40, 80, 0]
    assert masks.rle_areas([]).tolist() == []
    assert np.array_equal(masks.decode_rle(masks.rle_union(rles[:2])), layers[0] | layers[1])


def test_of_boxes_that_overlap_the_best_stays_and_of_equals_the_first():
    boxes = np.array([[0, 0, 10, 10], [0, 0, 10, 9], [0, 0, 10, 7], [20, 20, 30, 30], [20, 20, 30, 30]])
    scores = np.array([0.5, 0.9, 0.8, 0.7, 0.7])
    assert masks.suppress_boxes(boxes, scores, max_iou=0.75).tolist() == [1, 3]
    assert masks.suppress_boxes(boxes, scores, max_iou=0.85).tolist() == [1, 2, 3]


def test_a_box_that_would_be_suppressed_by_a_suppressed_one_stays():
    boxes = np.array([[0, 0, 10, 10], [0, 4, 10, 14], [0, 8, 10, 18]])
    assert masks.suppress_boxes(boxes, np.array([3, 2, 1]), max_iou=0.4).tolist() == [0, 2]


def test_boxes_without_area_suppress_nothing():
    assert masks.suppress_boxes(np.zeros((2, 4), int), np.ones(2), max_iou=0.5).tolist() == [0, 1]
    assert masks.suppress_boxes(np.zeros((0, 4), int), np.ones(0), max_iou=0.5).tolist() == []


@pytest.mark.parametrize(
    ("rle", "message"),
    [
        (None, "RLE must be"),
        ({"counts": "04"}, "size must be"),
        ({"size": [2, -2], "counts": "04"}, "size must be"),
        ({"size": [True, 2], "counts": "04"}, "size must be"),
        ({"size": [1 << 20, 1 << 20], "counts": "04"}, "over the limit"),
        ({"size": [2, 2]}, "a string or a list"),
        ({"size": [2, 2], "counts": ""}, "empty, cut short"),
        ({"size": [2, 2], "counts": "0T"}, "empty, cut short"),
        ({"size": [2, 2], "counts": "\x00"}, "empty, cut short"),
        ({"size": [2, 2], "counts": "0\u00e9"}, "ASCII"),
        ({"size": [2, 2], "counts": "oooooooo4"}, "32 bits"),
        ({"size": [2, 2], "counts": "5"}, "add up"),
        ({"size": [2, 2], "counts": "@4"}, "add up"),
        ({"size": [2, 2], "counts": [5, -1]}, "integers from 0"),
        ({"size": [2, 2], "counts": [1.5, 2.5]}, "integers from 0"),
        ({"size": [2, 2], "counts": [1 << 70]}, "integers from 0"),
        ({"size": [2, 2], "counts": []}, "add up"),
    ],
)
def test_malformed_rle_is_refused(rle, message):
    with pytest.raises(ValueError, match=message):
        masks.decode_rle(rle)


def test_random_bytes_never_decode_to_another_size():
    rng = np.random.default_rng(0)
    for _ in range(300):
        counts = rng.integers(48, 112, size=rng.integers(1, 30)).astype(np.uint8).tobytes()
        with contextlib.suppress(ValueError):
            assert masks.decode_rle({"size": [9, 11], "counts": counts}).shape == (9, 11)
