from __future__ import annotations

import numpy as np
import pytest
import torch

from masklet.checkpoints import save_network
from masklet.evaluation.plan import Plan, VosProtocol
from masklet.evaluation.runners import make_runner
from masklet.evaluation.sessions import SessionRunner
from masklet.model.config import HieraConfig, MemoryConfig, NetworkConfig, Trades
from masklet.model.sam2 import SegmentationNetwork
from masklet.prompts import Box, Mask, Points
from masklet.video.read import ArrayFrames

from .folders import VIDEO_HW, _paint, sliding_squares, square

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
FRAMES = ArrayFrames([_paint(masks) for masks in sliding_squares(2)])


@pytest.fixture(scope="module")
def runner() -> SessionRunner:
    torch.manual_seed(0)
    return SessionRunner(SegmentationNetwork(SMALL).eval())


def test_a_shown_mask_is_the_result_on_its_frame(runner):
    with runner.open(FRAMES, overlap=False) as run:
        answer = run.prompt(0, 1, Mask(square(4, 4)))
        frame, masks = next(iter(run.follow(0)))
    assert frame == 0
    assert np.array_equal(masks[1], answer)
    assert (masks[1] & square(4, 4)).sum() > 0.7 * (masks[1] | square(4, 4)).sum()


def test_the_end_is_not_followed(runner):
    with runner.open(FRAMES, overlap=False) as run:
        run.prompt(1, 1, Mask(square(4, 4)))
        assert [frame for frame, _ in run.follow(1, 3)] == [1, 2]
        assert [frame for frame, _ in run.follow(3)] == [3, 4]


@pytest.mark.parametrize("overlap", [True, False])
def test_objects_overlap_only_if_they_may(runner, overlap):
    with runner.open(FRAMES, overlap=overlap) as run:
        for obj in (1, 2):
            run.prompt(0, obj, Mask(square(4, 4)))
        masks = dict(run.follow(0, 1))[0]
    assert (masks[1] & masks[2]).any() == overlap


def test_clicks_on_a_picture_add_up_and_objects_start_anew(runner):
    begin = runner.picture(FRAMES[0])
    answer = begin()
    first = answer(Points((12, 12)))
    second = answer(Points((40, 30), [0]))
    assert first.shape == second.shape == VIDEO_HW
    assert np.array_equal(begin()(Points((12, 12))), first)
    assert begin()(Box(4, 4, 20, 20)).shape == VIDEO_HW


def test_a_plan_says_how_the_network_computes_and_what_is_left_out(runner, tmp_path):
    save_network(runner.network, tmp_path / "small.safetensors", description={})
    plan = Plan(
        "folder",
        "root",
        None,
        VosProtocol(),
        weights=str(tmp_path / "small.safetensors"),
        device="cpu",
        trades=Trades(memories=3),
        keyframes=2,
        still_below=1.5,
    )
    made = make_runner(plan)
    assert isinstance(made, SessionRunner)
    assert made.network.config.memory.slots == 3
    with made.open(FRAMES, overlap=True) as run:
        assert (run._session.settings.keyframes, run._session.settings.still_below) == (2, 1.5)
