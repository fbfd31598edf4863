from __future__ import annotations

import pytest
import torch

from masklet.evaluation.davis import davis_videos
from masklet.evaluation.sessions import session_tracker
from masklet.evaluation.user import FirstView, SimulatedUser
from masklet.evaluation.vos import evaluate_vos
from masklet.model.config import HieraConfig, MemoryConfig, NetworkConfig
from masklet.model.sam2 import SegmentationNetwork

from .folders import VIDEO_HW, sliding_squares, square, write_sequence

SMALL = NetworkConfig(
    name="small-for-tests",
    encoder=HieraConfig(embed_dim=16, heads=1, blocks=(1, 1, 2, 1), global_blocks=(3,)),
    image_size=64,
    width=64,
    mask_channels=(16, 8),
    decoder_heads=2,
    decoder_feedforward=64,
    memory=MemoryConfig(channels=16, slots=4, pointers=4, layers=1, feedforward=64),
)


@pytest.fixture(scope="module")
def network() -> SegmentationNetwork:
    torch.manual_seed(0)
    return SegmentationNetwork(SMALL).eval()


@pytest.fixture
def videos(tmp_path):
    write_sequence(tmp_path, "slide", sliding_squares(2))
    return davis_videos(tmp_path)


@pytest.mark.parametrize("prompt", ["mask", "box", "3-click"])
def test_sessions_are_scored_on_every_kind_of_prompt(network, videos, prompt):
    result = evaluate_vos(session_tracker(network), videos, prompt, progress=False)
    assert [(score.obj, score.frames) for score in result.scores] == [(1, 3), (2, 1)]
    assert result.tracked_frames == 5


def test_a_shown_mask_is_the_result_on_its_frame(network, videos):
    user = SimulatedUser("mask", {1: FirstView(0, square(4, 4))})
    first_frame, masks = next(iter(session_tracker(network)(videos[0].frames(), user)))
    assert first_frame == 0
    assert masks[1].shape == VIDEO_HW
    assert (masks[1] & square(4, 4)).sum() > 0.7 * (masks[1] | square(4, 4)).sum()


def test_objects_do_not_overlap_unless_asked(network, videos):
    user = SimulatedUser("mask", {1: FirstView(0, square(4, 4)), 2: FirstView(0, square(4, 4))})
    apart = next(iter(session_tracker(network)(videos[0].frames(), user)))[1]
    assert not (apart[1] & apart[2]).any()
    together = next(iter(session_tracker(network, non_overlap=False)(videos[0].frames(), user)))[1]
    assert (together[1] & together[2]).any()
