from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest
import torch

from masklet.model.sam2 import SegmentationNetwork
from masklet.prompts import Mask, Points
from masklet.sessions.carrying import moved
from masklet.sessions.video import VideoSession

SQUARE = Points((15, 20))


@pytest.fixture
def looks(network: SegmentationNetwork, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many objects the network was asked to recall, call by call."""
    calls: list[int] = []
    recall = network.recall

    def counted(*given: Any) -> torch.Tensor:
        found = recall(*given)
        calls.append(len(found))
        return found

    monkeypatch.setattr(network, "recall", counted)
    return calls


def square(t: int) -> np.ndarray:
    """The clip's square on frame t."""
    mask = np.zeros((48, 80), dtype=bool)
    mask[10:30, 5 + 3 * t : 25 + 3 * t] = True
    return mask


def panned() -> list[np.ndarray]:
    """Frames of a picture that goes to the right by 3 pixels a frame, as the square of the clip does."""
    blobs = np.random.default_rng(0).integers(0, 255, (12, 40, 3), dtype=np.uint8)
    picture = cv2.resize(blobs, None, fx=4, fy=4, interpolation=cv2.INTER_CUBIC)
    return [picture[:, 40 - 3 * t : 120 - 3 * t].copy() for t in range(10)]


def middle(mask: np.ndarray) -> float:
    """From the left, in pixels."""
    return float(np.nonzero(mask)[1].mean())


def test_the_network_looks_at_keyframes_only(network, clip, looks):
    session = VideoSession(network, clip, keyframes=3)
    session.prompt(0, 1, SQUARE)
    results = list(session.propagate())
    assert [result.frame for result in results] == list(range(10))
    assert len(looks) == 3  # frames 1, 4 and 7


def test_a_keyframe_attends_to_the_keyframes_before_it(network, clip):
    every, some = (VideoSession(network, clip, keyframes=n, compact=False) for n in (1, 2))
    thinned = VideoSession(network, [clip[t] for t in (0, 1, 3, 5)], compact=False)
    for session in (every, some, thinned):
        session.prompt(0, 1, SQUARE)
    fifth = {name: list(s.propagate()) for name, s in (("every", every), ("some", some), ("thinned", thinned))}
    here, there = fifth["some"][3].low_res_ohw, fifth["thinned"][2].low_res_ohw
    assert (fifth["every"][3].low_res_ohw - here).abs().max() > 0
    assert (here > 0).eq(there > 0).float().mean() > 0.9  # pointers know that more time has passed


@pytest.mark.parametrize("reverse", [False, True])
def test_masks_between_keyframes_move_with_the_object(network, reverse: bool):
    session = VideoSession(network, panned(), keyframes=100)
    begin, further = (6, range(5, 2, -1)) if reverse else (2, range(3, 6))
    session.prompt(begin, 1, Mask(square(begin)))
    list(session.propagate(begin, further[0], reverse=reverse))
    session.prompt(further[0], 1, Mask(square(further[0])), replace=True)
    results = {result.frame: result[1].mask for result in session.propagate(further[0], further[-1], reverse=reverse)}
    went = middle(results[further[-1]]) - middle(results[further[0]])
    assert went == pytest.approx(-6 if reverse else 6, abs=2)


def test_still_frames_keep_the_masks_of_the_last_one_looked_at(network, clip, looks):
    frames = [clip[0]] * 4 + [clip[6]] * 3
    session = VideoSession(network, frames, still_below=1.0)
    session.prompt(0, 1, SQUARE)
    results = [result[1].mask for result in session.propagate()]
    assert len(looks) == 2  # frames 1 and 4
    assert np.array_equal(results[1], results[3])
    assert np.array_equal(results[4], results[6])


def test_an_object_shown_between_keyframes_is_carried_with_the_others(network, clip, looks):
    session = VideoSession(network, clip, keyframes=4)
    session.prompt(0, 1, SQUARE)
    run = session.propagate()
    for _ in range(3):
        next(run)
    session.prompt(3, 2, Points((60, 40)))
    result = next(run)
    assert result.frame == 3
    assert list(result.objects) == [1, 2]
    assert result[1].mask.any()
    assert len(list(run)) == 6
    assert looks == [1, 1, 1, 1, 1]  # frame 1, and both objects by themselves on frames 5 and 9


def test_a_camera_can_be_followed_by_keyframes(network, clip, looks):
    session = VideoSession(network, keyframes=3)
    session.step(clip[0])
    session.prompt(0, 1, SQUARE)
    assert all(session.step(frame)[1].mask.shape == (48, 80) for frame in clip[1:7])
    assert len(looks) == 2  # frames 1 and 4


def test_logits_are_taken_from_where_the_flow_points():
    logits = torch.zeros(1, 1, 16, 16)
    logits[..., 4:8, 4:8] = 5.0
    flow = np.zeros((256, 256, 2), dtype=np.float32)
    flow[..., 0] = 3 / 16
    expected = torch.zeros_like(logits)
    expected[..., 4:8, 1:5] = 5.0
    assert torch.allclose(moved(logits, flow), expected)
    wide = moved(logits.repeat_interleave(2, dim=-1), flow)
    assert torch.allclose(wide, expected.repeat_interleave(2, dim=-1))


@pytest.mark.parametrize("option", [{"keyframes": 0}, {"still_below": -1.0}])
def test_settings_that_make_no_sense_are_refused(network, clip, option):
    with pytest.raises(ValueError, match=next(iter(option))):
        VideoSession(network, clip, **option)
