"""Pictures between background and objects, which a page draws: text, an emoji, a photo that was cut to fit."""

from __future__ import annotations

import hashlib
import io
import re
from pathlib import Path

import numpy as np
from PIL import Image

from masklet.server.errors import Refusal

MOST = 40
"""Pictures of one session."""

_NAME = re.compile(r"[0-9a-f]{32}")


class Pictures:
    """The pictures of one session in its folder, by what they show. All have the video's size."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def add(self, data: bytes, video_hw: tuple[int, int]) -> str:
        """Keeps a PNG file: its identifier. Raises Refusal for other files, sizes, and too many."""
        rgba = _decoded(data, video_hw)
        name = hashlib.sha256(rgba.tobytes()).hexdigest()[:32]
        if name not in self:
            self._folder.mkdir(exist_ok=True)
            if len(list(self._folder.iterdir())) >= MOST:
                raise Refusal(429, f"this session has {MOST} pictures, more than that it does not take")
            Image.fromarray(rgba).save(self._path(name), compress_level=3)
        return name

    def __contains__(self, name: str) -> bool:
        return _NAME.fullmatch(name) is not None and self._path(name).is_file()

    def path(self, name: str) -> Path:
        """The file. Raises Refusal when there is none."""
        if name not in self:
            raise Refusal(404, "there is no such picture")
        return self._path(name)

    def read(self, name: str) -> np.ndarray:
        """(h, w, 4) uint8 RGBA."""
        with Image.open(self.path(name)) as picture:
            return np.asarray(picture.convert("RGBA"))

    def _path(self, name: str) -> Path:
        return self._folder / f"{name}.png"


def _decoded(data: bytes, video_hw: tuple[int, int]) -> np.ndarray:
    """(h, w, 4) uint8. The size is looked at before anything is unpacked."""
    try:
        with Image.open(io.BytesIO(data), formats=["PNG"]) as picture:
            if picture.size != video_hw[::-1]:
                width, height = picture.size
                raise Refusal(
                    422, f"the picture is {width}x{height}, expected the video's size, {video_hw[1]}x{video_hw[0]}"
                )
            return np.asarray(picture.convert("RGBA"))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise Refusal(415, "expected a PNG picture that can be read") from error
