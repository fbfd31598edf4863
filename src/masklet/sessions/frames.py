"""A video's frames as the network's image encoder sees them."""

from __future__ import annotations

from collections import OrderedDict
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import torch

from masklet.model.outputs import ImageFeatures
from masklet.model.sam2 import SegmentationNetwork
from masklet.sessions.inputs import frame_tensor, resized_frame
from masklet.video.source import FrameSource


class EncodedFrames:
    """Image features of frames, made when asked for; those of the ``kept`` last ones are held.

    While the network computes, another thread reads and resizes the frame that is told to come next. It leaves torch
    alone, whose helper threads belong to the one that computes.
    """

    def __init__(self, network: SegmentationNetwork, source: FrameSource, kept: int):
        self._network, self._source, self._most = network, source, kept
        self._kept: OrderedDict[int, ImageFeatures] = OrderedDict()
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="masklet-read")
        self._ahead: tuple[int, Future[np.ndarray]] | None = None

    def __call__(self, frame: int, then: int | None = None) -> ImageFeatures:
        """Features of a frame. ``then`` is the one that is likely to be asked for next."""
        if frame in self._kept:
            self._kept.move_to_end(frame)
            return self._kept[frame]
        picture = self._picture(frame)
        if then is not None:
            self._expect(then)
        self._kept[frame] = self._encode(picture)
        if len(self._kept) > self._most:
            self._kept.popitem(last=False)
        return self._kept[frame]

    def close(self) -> None:
        """Let go of the features, and wait until no frame is being read."""
        self._kept.clear()
        self._ahead = None
        self._reader.shutdown(cancel_futures=True)

    @torch.inference_mode()
    def _encode(self, picture: np.ndarray) -> ImageFeatures:
        return self._network.encode_image(frame_tensor(picture, self._network.device))

    def _picture(self, frame: int) -> np.ndarray:
        ahead, self._ahead = self._ahead, None
        if ahead is not None and ahead[0] == frame:
            return ahead[1].result()
        return self._read(frame)

    def _expect(self, frame: int) -> None:
        exists = 0 <= frame < (self._source.frame_count or 0)
        if self._source.reads_ahead and exists and frame not in self._kept:
            self._ahead = frame, self._reader.submit(self._read, frame)

    def _read(self, frame: int) -> np.ndarray:
        return resized_frame(self._source[frame], self._network.config)
