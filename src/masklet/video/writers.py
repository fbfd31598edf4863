"""The kinds of output. Each takes one frame's results at a time and leaves usable files whenever it is stopped."""

from __future__ import annotations

import io
import json
import math
import os
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

from masklet.closing import Closing
from masklet.masks import encode_rle
from masklet.video.draw import PromptMarks, check_mask, draw_label, overlay
from masklet.video.encode import VideoWriter
from masklet.video.source import FrameSource

MAX_PALETTE_ID = 255
SHEET_TILES = 12
SHEET_TILE_PX = 320


@dataclass(frozen=True)
class FrameResult:
    """What is known of one frame: `masks` maps object ids to bool (h, w), the others object ids to numbers."""

    index: int
    frame: np.ndarray
    masks: Mapping[int, np.ndarray]
    predicted_iou: Mapping[int, float]
    presence: Mapping[int, float]
    prompted: Collection[int]
    prompts: Sequence[PromptMarks]
    stability: Mapping[int, float]
    merged: Mapping[int, int]
    """Objects that turned out to be others, and which ones."""

    @property
    def union(self) -> np.ndarray:
        """Bool (h, w): where any object is."""
        return np.logical_or.reduce([np.zeros(self.frame.shape[:2], dtype=bool), *self.masks.values()])


class ResultWriter(Closing, ABC):
    """Writes results frame by frame. A `with` block closes it, also after an error or Ctrl-C.

    `ascending` says that frames must come in ascending order, as a video needs them.
    """

    ascending = False
    is_whole = True
    """Whether all results came that were asked for. Whoever stops early without an error says so before closing."""

    def __init__(self, path: Path, source: FrameSource) -> None:
        self.path = path
        self.source = source
        self.written = 0
        path.parent.mkdir(parents=True, exist_ok=True)

    def add(
        self,
        frame_index: int,
        frame: np.ndarray,
        masks: Mapping[int, np.ndarray],
        *,
        predicted_iou: Mapping[int, float] | None = None,
        presence: Mapping[int, float] | None = None,
        prompted: Collection[int] = (),
        prompts: Sequence[PromptMarks] = (),
        stability: Mapping[int, float] | None = None,
        merged: Mapping[int, int] | None = None,
    ) -> None:
        """Takes one frame (h, w, 3) uint8 and its masks by object id, bool (h, w), with what else is known of them.

        Raises ValueError if a mask is not of the frame's size.
        """
        for object_id, mask in masks.items():
            check_mask(mask, frame.shape[:2], object_id)
        known = (predicted_iou or {}, presence or {}, prompted, prompts, stability or {}, merged or {})
        self._write(FrameResult(frame_index, frame, masks, *known))
        self.written += 1

    @abstractmethod
    def _write(self, result: FrameResult) -> None: ...

    def __exit__(self, *error: object) -> None:
        self.is_whole = self.is_whole and not any(error)
        self.close()


class OverlayVideo(ResultWriter):
    """The frames with masks and prompts drawn on them, with the source's frame times and sound."""

    ascending = True

    def __init__(self, path: Path, source: FrameSource) -> None:
        super().__init__(path, source)
        self._video = VideoWriter(path, source)

    def _write(self, result: FrameResult) -> None:
        self._video.add(result.index, overlay(result.frame, result.masks, result.prompts))

    def close(self) -> None:
        self._video.close()


class CutoutVideo(ResultWriter):
    """The objects alone on a transparent ground, as VP9 with alpha."""

    ascending = True

    def __init__(self, path: Path, source: FrameSource) -> None:
        super().__init__(path, source)
        self._video = VideoWriter(path, source, alpha=True)

    def _write(self, result: FrameResult) -> None:
        self._video.add(result.index, cut_out(result.frame, result.union, bleed_px=4))

    def close(self) -> None:
        self._video.close()


class PictureWriter(ResultWriter):
    """One picture per frame in a folder, named like the source's frame; or one file, if the path ends in a suffix."""

    is_single = False

    def __init__(self, path: Path, source: FrameSource) -> None:
        super().__init__(path, source)
        self.is_single = path.suffix.lower() in (".png", ".jpg", ".jpeg")

    def _write(self, result: FrameResult) -> None:
        if self.is_single and self.written:
            raise ValueError(f"{self.path} can hold one frame only; give a folder to get one picture per frame")
        picture = self._picture(result)
        save_picture(picture, self.path if self.is_single else self.path / f"{self.source.name_of(result.index)}.png")

    @abstractmethod
    def _picture(self, result: FrameResult) -> Image.Image: ...


class OverlayPicture(PictureWriter):
    """One frame with masks and prompts drawn on it."""

    def _picture(self, result: FrameResult) -> Image.Image:
        return Image.fromarray(overlay(result.frame, result.masks, result.prompts))


class CutoutPictures(PictureWriter):
    """The objects alone on a transparent ground."""

    def _picture(self, result: FrameResult) -> Image.Image:
        return Image.fromarray(cut_out(result.frame, result.union))


class PalettePictures(PictureWriter):
    """Palette PNGs whose indices are the object ids, 0 where there is none; where objects overlap, the higher id."""

    def _picture(self, result: FrameResult) -> Image.Image:
        ids = np.zeros(result.frame.shape[:2], dtype=np.uint8)
        for object_id, mask in sorted(result.masks.items()):
            if not 1 <= object_id <= MAX_PALETTE_ID:
                raise ValueError(
                    f"object {object_id} does not fit a palette PNG, which holds ids 1 to {MAX_PALETTE_ID}; "
                    'use the format "png-objects" or "rle"'
                )
            ids[mask] = object_id
        picture = Image.fromarray(ids)
        picture.putpalette(PALETTE.tobytes())
        return picture


class ObjectFolders(ResultWriter):
    """One folder per object with a black and white PNG per frame: `001/00000.png`. Overlaps stay."""

    def _write(self, result: FrameResult) -> None:
        for object_id, mask in result.masks.items():
            path = self.path / f"{object_id:03d}" / f"{self.source.name_of(result.index)}.png"
            save_picture(Image.fromarray(mask.astype(np.uint8) * 255), path)


class RleFile(ResultWriter):
    """One JSON document with COCO run lengths.

    After every frame the file is a whole document: frames are written over its end together with a new end.
    """

    def __init__(self, path: Path, source: FrameSource) -> None:
        super().__init__(path, source)
        self._file = path.open("wb", buffering=0)
        head = json.dumps({"format": "masklet-rle", "version": 1, "video": _video_info(source)})
        self._file.write(head.removesuffix("}").encode() + b', "frames": [' + self._end(complete=False))
        self._end_at = self._file.tell() - len(self._end(complete=False))

    def _write(self, result: FrameResult) -> None:
        entry = {
            "frame": result.index,
            "time": round(self.source.time_of(result.index), 6) if self.source.fps else None,
            "objects": [_object_entry(object_id, result) for object_id in sorted(result.masks)],
        }
        text = (b",\n" if self.written else b"\n") + json.dumps(entry).encode()
        self._file.seek(self._end_at)
        self._file.write(text + self._end(complete=False))
        self._end_at += len(text)

    def close(self) -> None:
        if self._file.closed:
            return
        self._file.seek(self._end_at)
        self._file.write(self._end(complete=self.is_whole))
        self._file.truncate()
        self._file.close()

    @staticmethod
    def _end(*, complete: bool) -> bytes:
        return b'\n], "complete": %s}\n' % json.dumps(complete).encode()


class ContactSheet(ResultWriter):
    """A grid of at most twelve drawn frames with their numbers, spread evenly over those written.

    Holds small pictures only: every second one goes, and from then on every second is taken, when there are too many.
    """

    def __init__(self, path: Path, source: FrameSource) -> None:
        super().__init__(path, source)
        self._tiles: list[np.ndarray] = []
        self._stride = 1

    def _write(self, result: FrameResult) -> None:
        if self.written % self._stride:
            return
        self._tiles.append(_tile(result))
        if len(self._tiles) == 2 * SHEET_TILES:
            self._tiles = self._tiles[::2]
            self._stride *= 2

    def close(self) -> None:
        if self._tiles:
            count = min(len(self._tiles), SHEET_TILES)
            chosen = np.linspace(0, len(self._tiles) - 1, count).round().astype(int)
            save_picture(Image.fromarray(_grid([self._tiles[place] for place in chosen])), self.path)


def cut_out(frame: np.ndarray, mask: np.ndarray, bleed_px: int = 0) -> np.ndarray:
    """RGBA (h, w, 4): the frame where the mask is, else transparent and black.

    `bleed_px` keeps colours that far around the mask, so that lossy colour at its edge does not darken.
    """
    kept = mask
    if bleed_px:
        disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * bleed_px + 1, 2 * bleed_px + 1))
        kept = cv2.dilate(mask.astype(np.uint8), disc).astype(bool)
    colours = np.where(kept[..., None], frame, 0)
    return np.dstack([colours, mask.astype(np.uint8) * 255]).astype(np.uint8)


def save_picture(picture: Image.Image, path: Path) -> None:
    """Writes a picture in whole or not at all, making its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    kind = "PNG" if path.suffix.lower() == ".png" else "JPEG"
    data = io.BytesIO()
    picture.save(data, kind, **({"compress_level": 3} if kind == "PNG" else {"quality": 92}))
    unfinished = path.with_name(f".{path.name}.part")
    unfinished.write_bytes(data.getvalue())
    os.replace(unfinished, path)  # noqa: PTH105 - as Path.replace, but says that the target may exist


def _davis_palette() -> np.ndarray:
    """(256, 3) uint8. Three bits of the index after the other fill each channel from the top (PASCAL VOC, DAVIS)."""
    index = np.arange(256)
    palette = np.zeros((256, 3), dtype=np.uint8)
    for place in range(8):
        for channel in range(3):
            palette[:, channel] |= ((index >> (3 * place + channel) & 1) << (7 - place)).astype(np.uint8)
    return palette


PALETTE = _davis_palette()


def _video_info(source: FrameSource) -> dict[str, Any]:
    height, width = source.video_hw
    name = source.path.name if source.path else None
    fps = float(source.fps) if source.fps else None
    return {"name": name, "height": height, "width": width, "fps": fps, "frame_count": source.frame_count}


def _object_entry(object_id: int, result: FrameResult) -> dict[str, Any]:
    return {
        "object": object_id,
        "segmentation": encode_rle(result.masks[object_id]),
        "predicted_iou": _rounded(result.predicted_iou.get(object_id)),
        "presence": _rounded(result.presence.get(object_id)),
        "prompted": object_id in result.prompted,
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(float(value), 4)


def _tile(result: FrameResult) -> np.ndarray:
    drawn = overlay(result.frame, result.masks, result.prompts)
    height, width = drawn.shape[:2]
    scale = SHEET_TILE_PX / max(height, width)
    size = (max(round(width * scale), 1), max(round(height * scale), 1))
    tile = cv2.resize(drawn, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    draw_label(tile, str(result.index), (0, 0))
    return tile


def _grid(tiles: list[np.ndarray], gap_px: int = 6) -> np.ndarray:
    height, width = tiles[0].shape[:2]
    columns = min(math.ceil(math.sqrt(len(tiles) * height / width * 1.4)), len(tiles))
    rows = math.ceil(len(tiles) / columns)
    sheet = np.full((rows * (height + gap_px) + gap_px, columns * (width + gap_px) + gap_px, 3), 24, dtype=np.uint8)
    for place, tile in enumerate(tiles):
        y = gap_px + place // columns * (height + gap_px)
        x = gap_px + place % columns * (width + gap_px)
        sheet[y : y + height, x : x + width] = tile
    return sheet
