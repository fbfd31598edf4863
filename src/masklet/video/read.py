"""Any input as frames: `open_frames` picks the kind of FrameSource.

with open_frames("clip.mp4") as frames:
    print(len(frames), frames.video_hw, frames.fps)
    last = frames[-1]
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from masklet.video.file import VideoFile
from masklet.video.pictures import ArrayFrames, ImageFiles, ImageFolder, IteratorFrames, is_picture_file
from masklet.video.source import FrameError, FrameSource, VideoError

__all__ = [
    "ArrayFrames",
    "FrameError",
    "FrameSource",
    "ImageFiles",
    "ImageFolder",
    "IteratorFrames",
    "VideoError",
    "VideoFile",
    "open_frames",
]


def open_frames(frames: Any, *, fps: Fraction | float | None = None, strict: bool = False) -> FrameSource:
    """Frames of a video file, a picture, a folder of pictures, an array, a sequence or an iterator.

    `frames` is a path; an array (h, w, 3) or (t, h, w, 3) uint8 RGB; a PIL picture; a sequence of paths, arrays or
    PIL pictures; an iterator of arrays; or a FrameSource, which is given back as it is. `fps` is for inputs that have
    no rate of their own. With `strict`, broken frames raise FrameError instead of being replaced by their neighbour.

    Raises FileNotFoundError, or VideoError if the input is none of these.
    """
    rate = None if fps is None else Fraction(fps).limit_denominator(1001)
    if isinstance(frames, FrameSource):
        return frames
    if isinstance(frames, (str, Path)):
        return _open_path(frames, rate, strict)
    if isinstance(frames, Image.Image):
        return ArrayFrames([frames], fps=rate)
    if isinstance(frames, np.ndarray):
        return ArrayFrames(frames[None] if frames.ndim == 3 else frames, fps=rate)
    if isinstance(frames, Sequence):
        return _open_sequence(frames, rate, strict)
    if isinstance(frames, Iterable):
        return IteratorFrames(frames, fps=rate)
    raise VideoError(f"cannot take frames from {type(frames).__name__}; pass a path, arrays or an iterator of arrays")


def _open_path(name: str | Path, fps: Fraction | None, strict: bool) -> FrameSource:
    path = Path(name)
    if path.is_dir():
        return ImageFolder(path, fps=fps, strict=strict)
    if not path.exists():
        advice = "download it first" if "://" in str(name) else "check the name"
        raise FileNotFoundError(f"there is no file {name}; {advice}")
    if not path.is_file():
        raise VideoError(f"{name} is neither a file nor a folder")
    if is_picture_file(path):
        picture = ImageFiles([path], fps=fps, strict=strict)
        picture.path = path
        return picture
    return VideoFile(path, strict=strict)


def _open_sequence(frames: Sequence[Any], fps: Fraction | None, strict: bool) -> FrameSource:
    if frames and all(isinstance(frame, (str, Path)) for frame in frames):
        return ImageFiles(frames, fps=fps, strict=strict)
    return ArrayFrames(frames, fps=fps)
