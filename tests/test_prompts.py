from __future__ import annotations

import numpy as np
import pytest

from masklet.prompts import Box, Mask, Points, as_points, require_positive

VIDEO_HW = (100, 200)


def test_points_without_labels_are_positive():
    points = Points([[1, 2], [3, 4]])
    assert points.labels.tolist() == [1, 1]
    assert points.xy.dtype == np.float32


def test_a_bare_pair_is_one_click():
    points = Points((480, 270), 0)
    assert points.xy.tolist() == [[480, 270]]
    assert points.labels.tolist() == [0]


def test_added_points_keep_their_order_and_labels():
    both = Points([[1, 2]]) + Points([[3, 4], [5, 6]], [0, 1])
    assert both.xy.tolist() == [[1, 2], [3, 4], [5, 6]]
    assert both.labels.tolist() == [1, 0, 1]


def test_points_do_not_change_with_the_array_they_came_from():
    xy = np.array([[1.0, 2.0]], dtype=np.float32)
    points = Points(xy)
    xy[0] = 99
    assert points.xy.tolist() == [[1, 2]]


@pytest.mark.parametrize(
    ("xy", "labels", "message"),
    [
        ([], None, "shape"),
        ([[1, 2, 3]], None, "shape"),
        ([[[1, 2]]], None, "shape"),
        ([[np.nan, 2]], None, "finite"),
        ([["left", 2]], None, "numbers"),
        ([[1, 2]], [1, 0], "one label per point"),
        ([[1, 2]], [2], "1 .object. or 0"),
        ([[1, 2]], [0.5], "1 .object. or 0"),
    ],
)
def test_malformed_points_are_refused(xy, labels, message):
    with pytest.raises(ValueError, match=message):
        Points(xy, labels)


@pytest.mark.parametrize("xy", [(-0.1, 5), (200, 5), (5, -1), (5, 100)])
def test_points_outside_the_picture_are_refused(xy):
    with pytest.raises(ValueError, match="outside the picture, which is 200 wide and 100 high"):
        Points(xy).check_inside(VIDEO_HW)


def test_points_on_the_first_and_last_pixel_are_inside():
    Points([[0, 0], [199, 99]]).check_inside(VIDEO_HW)


def test_unit_coordinates_divide_x_by_width_and_y_by_height():
    assert Points([[50, 50]]).unit_xy(VIDEO_HW).tolist() == [[0.25, 0.5]]
    assert Box(0, 50, 200, 100).unit_xy(VIDEO_HW).tolist() == [[0, 0.5], [1, 1]]


@pytest.mark.parametrize("xyxy", [(5, 5, 5, 9), (5, 5, 9, 5), (9, 5, 5, 9)])
def test_empty_boxes_are_refused(xyxy):
    with pytest.raises(ValueError, match="empty"):
        Box(*xyxy)


@pytest.mark.parametrize("xyxy", [(1, 2, 3), [[1, 2, 3, 4]], (1, 2, np.inf, 4)])
def test_malformed_boxes_are_refused(xyxy):
    with pytest.raises(ValueError, match="box must"):
        Box.of(xyxy)


def test_a_box_of_an_array_equals_the_box_of_its_numbers():
    assert Box.of(np.array([1, 2, 3, 4], dtype=np.int64)) == Box(1, 2, 3, 4)


def test_a_box_that_reaches_outside_is_refused_until_clipped():
    box = Box(-5, 10, 210, 100)
    with pytest.raises(ValueError, match="clipped"):
        box.check_inside(VIDEO_HW)
    box.clipped(VIDEO_HW).check_inside(VIDEO_HW)
    assert box.clipped(VIDEO_HW) == Box(0, 10, 200, 100)


def test_clipping_a_box_wholly_outside_is_refused():
    with pytest.raises(ValueError, match="empty"):
        Box(300, 10, 400, 20).clipped(VIDEO_HW)


def test_integer_masks_with_one_value_are_masks():
    assert Mask(np.array([[0, 255]], dtype=np.uint8)).array.tolist() == [[False, True]]


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((2, 2, 3), bool), "shape"),
        (np.zeros((0, 2), bool), "shape"),
        (np.zeros((2, 2), np.float32), "must be bool"),
        (np.array([[0, 1, 2]]), "several values"),
    ],
)
def test_malformed_masks_are_refused(array, message):
    with pytest.raises(ValueError, match=message):
        Mask(array)


def test_masks_of_another_size_are_refused():
    with pytest.raises(ValueError, match="mask is 50x60 but the picture is 100x200"):
        Mask(np.ones((50, 60), bool)).check_inside(VIDEO_HW)


def test_a_box_becomes_two_points_before_the_clicks():
    merged = as_points(Points([[100, 50]], [0]), Box(0, 0, 100, 100), VIDEO_HW)
    assert merged.unit_xy_p2.tolist() == [[0, 0], [0.5, 1], [0.5, 0.5]]
    assert merged.labels_p.tolist() == [2, 3, 0]
    assert merged.unit_xy_p2.dtype == np.float32
    assert merged.labels_p.dtype == np.int32


def test_merging_nothing_gives_no_points():
    merged = as_points(None, None, VIDEO_HW)
    assert merged.unit_xy_p2.shape == (0, 2)
    assert merged.labels_p.shape == (0,)


def test_a_first_prompt_must_have_positive_content():
    with pytest.raises(ValueError, match="only negative clicks"):
        require_positive(Points([[1, 1]], [0]), None)
    with pytest.raises(ValueError, match="an empty mask"):
        require_positive(Mask(np.zeros((2, 2), bool)))
    with pytest.raises(ValueError, match="got nothing"):
        require_positive(None)


def test_negative_clicks_may_go_with_a_box():
    require_positive(Points([[1, 1]], [0]), Box(0, 0, 2, 2))
    require_positive(Points([[1, 1], [2, 2]], [0, 1]))
    require_positive(Mask(np.eye(2, dtype=bool)))
