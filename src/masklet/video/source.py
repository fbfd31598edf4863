"""What every source of frames offers, and what it does about frames that are broken."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np

from masklet.closing import Closing

MAX_FRAME_PIXELS = 8192 * 8192
"""Larger pictures are refused, so that a small hostile file cannot fill the memory."""

ASSUMED_FPS = Fraction(24)
"""Gives frames without a rate their times."""


class VideoError(ValueError):
    """The input is no video or picture that can be read."""


class FrameError(VideoError):
    """One frame cannot be read. `frame` is its index."""

    def __init__(self, frame: int, message: str) -> None:
        super().__init__(message)
        self.frame = frame


class FrameSource(Closing, ABC):
    """Frames as RGB uint8 arrays (h, w, 3), read when asked for: `source[12]`, `source[-1]`, `for frame in source`.

    A frame that cannot be decoded does not end the work: the nearest earlier frame that can be (else the nearest later
    one) is given in its place, always the same one, and `damaged` says why. With `strict` it raises FrameError instead.
    Closing lets go of files; reading afterwards is an error.
    """

    video_hw: tuple[int, int]
    """Height and width that all frames have."""
    fps: Fraction | None = None
    """Frames per second (the average, where the rate varies); None when nothing says so."""
    path: Path | None = None
    """The file or folder, where there is one."""
    reads_ahead: bool = False
    """Frames may be read from several threads, and reading one before it is needed takes nothing from anybody."""

    def __init__(self, *, strict: bool = False) -> None:
        self.strict = strict
        self.damaged: dict[int, str] = {}
        """Broken frames met so far, with the reason."""
        self.problems: list[str] = []
        """What is wrong with the input as a whole, in sentences for the user."""
        self._stand_ins: dict[int, int] = {}

    @property
    @abstractmethod
    def frame_count(self) -> int | None:
        """Number of frames; None while it is not known."""

    @property
    def times(self) -> np.ndarray:
        """(n,) float64: when each frame is shown, in seconds on the file's own clock. n counts the known frames."""
        return np.arange(self.frame_count or 0) / float(self.fps or ASSUMED_FPS)

    def time_of(self, index: int) -> float:
        """When a frame is shown, in seconds on the file's own clock."""
        return index / float(self.fps or ASSUMED_FPS)

    @abstractmethod
    def _read(self, index: int) -> np.ndarray:
        """Frame `index` >= 0. Raises FrameError if it is broken, IndexError past the end."""

    def name_of(self, index: int) -> str:
        """A file name for results of a frame, without suffix."""
        return f"{index:05d}"

    def __len__(self) -> int:
        if self.frame_count is None:
            raise TypeError("the number of frames is not known until the last one was read; iterate instead of len()")
        return self.frame_count

    def __bool__(self) -> bool:
        return True

    def __getitem__(self, index: int) -> np.ndarray:
        frame = self._checked(index)
        if frame in self._stand_ins:
            return self._read(self._stand_ins[frame])
        try:
            return self._read(frame)
        except FrameError as error:
            if self.strict:
                raise
            self.damaged[frame] = str(error)
            return self._stand_in(frame, error)

    def __iter__(self) -> Iterator[np.ndarray]:
        index = 0
        while self.frame_count is None or index < self.frame_count:
            try:
                frame = self[index]
            except IndexError:
                return
            yield frame
            index += 1

    def _checked(self, index: int) -> int:
        count = self.frame_count
        if index < 0 and count is None:
            raise IndexError(f"frame {index} counts from the end, which is not known yet; use a frame number from 0 on")
        frame = index + (count or 0) if index < 0 else index
        if frame < 0 or (count is not None and frame >= count):
            raise IndexError(f"frame {index} does not exist; the frames are 0 to {(count or 0) - 1}")
        return int(frame)

    def _stand_in(self, frame: int, reason: FrameError) -> np.ndarray:
        for other in self._by_distance(frame):
            nearest = self._stand_ins.get(other, other)
            try:
                picture = self._read(nearest)
            except FrameError as error:
                self.damaged[other] = str(error)
                continue
            self._stand_ins[frame] = nearest
            return picture
        raise VideoError(f"no frame of {self.path or 'the input'} can be decoded; {reason}")

    def _by_distance(self, frame: int) -> Iterator[int]:
        yield from range(frame - 1, -1, -1)
        yield from range(frame + 1, self.frame_count or 0)


def check_pixels(height: int, width: int, what: object) -> None:
    """Raises VideoError when a picture has more than MAX_FRAME_PIXELS."""
    if height * width > MAX_FRAME_PIXELS:
        raise VideoError(
            f"{what} is {width}x{height} pixels, over the limit of {MAX_FRAME_PIXELS} pixels a frame; "
            "scale it down, or raise masklet.video.source.MAX_FRAME_PIXELS if you trust it"
        )


def check_frame(frame: np.ndarray, index: int, video_hw: tuple[int, int] | None) -> np.ndarray:
    """Raises VideoError unless an array from a caller is a frame (h, w, 3) uint8 of the right size."""
    if not isinstance(frame, np.ndarray) or frame.ndim != 3 or frame.shape[2] != 3 or frame.dtype != np.uint8:
        got = f"{frame.dtype} {frame.shape}" if isinstance(frame, np.ndarray) else type(frame).__name__
        raise VideoError(
            f"frame {index} must be an RGB uint8 array (height, width, 3), got {got}; "
            "drop an alpha channel with frame[..., :3], scale floats by 255"
        )
    if frame.size == 0 or (video_hw is not None and frame.shape[:2] != tuple(video_hw)):
        raise VideoError(f"frame {index} is {size_name(frame.shape)}, the first one {size_name(video_hw or (0, 0))}")
    check_pixels(frame.shape[0], frame.shape[1], f"frame {index}")
    return frame


def size_name(hw: tuple[int, ...]) -> str:
    """(height, width, ...) as people write it: width x height."""
    return f"{hw[1]}x{hw[0]}"
