from __future__ import annotations

import pytest

from masklet.sessions.everything.grids import Crop, crops_of, layer_grids, point_grid


def test_points_are_the_centres_of_equal_fields_row_by_row():
    assert point_grid(2).tolist() == [[0.25, 0.25], [0.75, 0.25], [0.25, 0.75], [0.75, 0.75]]


def test_each_layer_has_fewer_points_by_the_factor():
    assert [len(grid) for grid in layer_grids(32, layers=2, downscale=2)] == [32**2, 16**2, 8**2]


def test_layers_without_points_are_refused():
    with pytest.raises(ValueError, match="leave none in layer 3"):
        layer_grids(4, layers=3, downscale=2)


def test_without_layers_the_crop_is_the_picture():
    assert [crop.xyxy for crop in crops_of((30, 50), 0, 0.3)] == [(0, 0, 50, 30)]


def test_crops_overlap_by_a_part_of_the_short_side_and_end_at_the_picture():
    crops = crops_of((100, 200), layers=1, overlap_ratio=0.25)
    # 25 pixels of overlap: spans of ceil(225 / 2) = 113 and ceil(125 / 2) = 63 pixels
    assert [crop.xyxy for crop in crops[1:]] == [
        (0, 0, 113, 63),
        (0, 38, 113, 100),
        (88, 0, 200, 63),
        (88, 38, 200, 100),
    ]
    assert [crop.layer for crop in crops] == [0, 1, 1, 1, 1]


def test_the_second_layer_has_sixteen_crops_with_half_the_overlap():
    second = [crop for crop in crops_of((400, 400), 2, 0.25) if crop.layer == 2]
    assert len(second) == 16
    assert (second[0].y1 - second[1].y0, second[0].hw) == (50, (138, 138))


def test_a_picture_that_is_too_small_for_crops_is_refused():
    with pytest.raises(ValueError, match="too small for 3 layers"):
        crops_of((3, 3), 3, 0.3)


@pytest.mark.parametrize(
    ("box", "is_cut"),
    [
        ((130, 40, 160, 60), False),
        ((119, 40, 160, 60), True),
        ((130, 40, 181, 60), True),
        ((130, 5, 160, 60), False),
        ((130, 40, 160, 81), True),
    ],
)
def test_boxes_near_inner_edges_of_a_crop_are_cut_and_those_at_the_edge_of_the_picture_are_not(
    box: tuple[int, int, int, int], is_cut: bool
):
    assert Crop(99, 0, 201, 101, layer=1).cuts(box, (200, 400)) is is_cut
