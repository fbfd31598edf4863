from __future__ import annotations

import numpy as np
import pytest

from masklet.evaluation.baselines import copy_first_mask, follow_flow
from masklet.evaluation.davis import davis_videos
from masklet.evaluation.user import FirstView, SimulatedUser
from masklet.metrics import iou

from .folders import sliding_squares, square, write_sequence


@pytest.fixture
def frames(tmp_path):
    write_sequence(tmp_path, "slide", sliding_squares(2))
    return davis_videos(tmp_path)[0].frames()


USER = SimulatedUser("mask", {1: FirstView(0, square(4, 4)), 2: FirstView(2, square(40, 28))})


def test_copying_leaves_objects_where_they_were_first_shown(frames):
    tracked = dict(copy_first_mask(frames, USER))
    assert list(tracked) == [0, 1, 2, 3, 4]
    assert np.array_equal(tracked[4][1], square(4, 4))
    assert [sorted(masks) for masks in tracked.values()] == [[1], [1], [1, 2], [1, 2], [1, 2]]


def test_flow_follows_a_sliding_object_and_leaves_a_still_one(frames):
    masks = dict(follow_flow(frames, USER))[4]
    truth = square(4 + 4 * 2, 4)
    assert iou(truth, masks[1]) > 0.5 > iou(truth, square(4, 4))
    assert iou(square(40, 28), masks[2]) > 0.9


def test_baselines_fill_boxes(frames):
    user = SimulatedUser("box", {1: FirstView(0, square(4, 4))})
    assert np.array_equal(dict(copy_first_mask(frames, user))[0][1], square(4, 4))


def test_baselines_refuse_clicks(frames):
    user = SimulatedUser("1-click", {1: FirstView(0, square(4, 4))})
    with pytest.raises(ValueError, match="mask"):
        list(copy_first_mask(frames, user))
