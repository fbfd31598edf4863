from __future__ import annotations

import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from masklet.model.sam2 import SegmentationNetwork
from masklet.prompts import Points
from masklet.sessions.frames import EncodedFrames
from masklet.sessions.inputs import frame_tensor, resized_frame
from masklet.sessions.video import VideoSession
from masklet.video.pictures import ArrayFrames
from masklet.video.source import FrameError

PATIENCE_S = 20


class Noted(ArrayFrames):
    """Frames that note who read them, and of which one may be broken."""

    def __init__(self, frames: list[np.ndarray], *, reads_ahead: bool = True, broken: int | None = None):
        self.reads: list[tuple[int, str]] = []
        self.is_reading = threading.Event()
        self.broken = broken
        self.delay = 0.0
        super().__init__(frames)
        self.reads_ahead = reads_ahead

    def _read(self, index: int) -> np.ndarray:
        self.reads.append((index, threading.current_thread().name))
        self.is_reading.set()
        time.sleep(self.delay)
        if index == self.broken:
            raise FrameError(index, "broken")
        return super()._read(index)

    @property
    def ahead(self) -> list[int]:
        """Frames that another thread read."""
        return [index for index, thread in self.reads if thread != threading.current_thread().name]


@torch.inference_mode()
def test_features_are_those_of_the_resized_frame_whoever_reads_it(network: SegmentationNetwork, clip):
    encoded = EncodedFrames(network, Noted(clip), kept=1)
    for frame in (0, 1, 5, 4):
        seen = network.encode_image(frame_tensor(resized_frame(clip[frame], network.config)))
        assert torch.equal(encoded(frame, then=frame + 1).stride16_bchw, seen.stride16_bchw)
    encoded.close()


def test_the_next_frame_is_read_once_and_by_another_thread(network: SegmentationNetwork, clip):
    source = Noted(clip)
    session = VideoSession(network, source)
    session.prompt(0, 1, Points((15, 20)))
    list(session.propagate(end=5))
    deadline = time.monotonic() + PATIENCE_S
    while len(source.reads) < 7 and time.monotonic() < deadline:
        time.sleep(0.01)  # a session that is closed at once leaves the frame after the last unread
    session.close()
    assert [index for index, _ in source.reads] == [0, 1, 2, 3, 4, 5, 6]
    assert source.ahead == [2, 3, 4, 5, 6]


def test_on_the_way_back_it_is_the_one_before(network: SegmentationNetwork, clip):
    source = Noted(clip)
    session = VideoSession(network, source)
    session.prompt(5, 1, Points((30, 20)))
    assert [result.frame for result in session.propagate(reverse=True)] == [5, 4, 3, 2, 1, 0]
    session.close()
    assert source.ahead == [3, 2, 1, 0]


def test_frames_that_others_might_miss_are_read_when_they_are_needed(network: SegmentationNetwork, clip):
    source = Noted(clip, reads_ahead=False)
    session = VideoSession(network, source)
    session.prompt(0, 1, Points((15, 20)))
    list(session.propagate())
    assert not source.ahead
    camera = VideoSession(network, iter(clip))
    camera.prompt(0, 1, Points((15, 20)))
    assert next(camera.propagate()).frame == 0


def test_features_of_the_last_frames_are_kept(network: SegmentationNetwork, clip):
    source = Noted(clip)
    encoded = EncodedFrames(network, source, kept=2)
    first = encoded(0)
    encoded(1)
    assert encoded(0) is first
    encoded(2)
    assert encoded(0) is first
    assert encoded(1) is not first
    assert [index for index, _ in source.reads] == [0, 1, 2, 1]
    encoded.close()


def test_a_broken_frame_is_told_when_it_is_its_turn(network: SegmentationNetwork, clip):
    encoded = EncodedFrames(network, Noted(clip, broken=2), kept=1)
    encoded(0, then=1)
    encoded(1, then=2)
    with pytest.raises(FrameError, match="broken"):
        encoded(2, then=3)
    encoded(3)
    encoded.close()


def test_closing_waits_for_the_frame_that_is_being_read(network: SegmentationNetwork, clip):
    source = Noted(clip)
    encoded = EncodedFrames(network, source, kept=1)
    encoded(0)
    source.delay = 0.2
    source.is_reading.clear()
    encoded(1, then=2)
    encoded.close()
    reads = len(source.reads)
    time.sleep(0.3)
    assert len(source.reads) == reads


def test_pictures_and_videos_are_read_ahead(network: SegmentationNetwork, clip, tmp_path: Path):
    for index, frame in enumerate(clip):
        Image.fromarray(frame).save(tmp_path / f"{index}.png")
    with VideoSession(network, tmp_path) as session, VideoSession(network, clip) as direct:
        for each in (session, direct):
            each.prompt(0, 1, Points((15, 20)))
        for ahead, plain in zip(session.propagate(), direct.propagate(), strict=True):
            assert np.array_equal(ahead.masks_ohw, plain.masks_ohw)
