"""The neutral record of a video's masklets (a picture is a video of one frame) that stands between all formats.

Readers make records, writers take them, so a further format is one reader and one writer.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from masklet.masks import MAX_RLE_PIXELS, Rle, decode_rle, encode_rle

if TYPE_CHECKING:
    from masklet.video.source import FrameSource

MAX_FRAMES = 1_000_000
MAX_OBJECTS = 10_000
MAX_NAME = 200
"""Bytes, so that suffixes still fit into a file's name."""
PROVENANCES = ("manual", "auto", None)

SCORE, PREDICTED_IOU, STABILITY = "score", "predicted_iou", "stability_score"
SCORE_KINDS = {SCORE: "scores", PREDICTED_IOU: "predicted IoUs", STABILITY: "stability scores"}
"""Kinds of scores, and what they are called in sentences. SCORE is one of which nothing says what it is."""


class RecordError(ValueError):
    """A record, or the file that it is read from, contradicts itself."""


@dataclass(frozen=True)
class Masklet:
    """One object through a video.

    Attributes:
        id: a number of its own in the record, not negative.
        masks: frame -> run lengths. A frame that is missing is not annotated; an empty mask says that the object is
            absent. Readers may give a mapping that reads files when it is asked.
        name: what it is, or its category.
        provenance: "manual", "auto" or None where nothing says so.
        scores: kind -> frame -> score of the mask; the kinds are those of `SCORE_KINDS`.
        extra: what one format alone knows, by the name of the format.
    """

    id: int
    masks: Mapping[int, Rle]
    name: str | None = None
    provenance: str | None = None
    scores: Mapping[str, Mapping[int, float]] = field(default_factory=dict)
    extra: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def mask(self, frame: int) -> np.ndarray | None:
        """Bool (h, w); None where the frame is not annotated. Raises ValueError for broken run lengths."""
        rle = self.masks.get(frame)
        return None if rle is None else decode_rle(rle)

    def is_visible(self, frame: int) -> bool:
        """Whether the object is annotated on a frame and has pixels there."""
        rle = self.masks.get(frame)
        return rle is not None and rle["counts"] != _empty_counts(rle) and bool(decode_rle(rle).any())


@dataclass(frozen=True)
class Record:
    """What is known of one video.

    Attributes:
        video_id: its name, fit to be a file's.
        video_hw: height and width of the frames and of all masks, in pixels.
        frame_count: number of frames, annotated or not.
        masklets: the objects.
        fps: frames per second, None where nothing says so.
        frames: a video file, the pictures in order, or None where there are only masks.
        extra: what one format alone knows, by the name of the format.

    Raises:
        RecordError: when sizes, frame numbers or ids contradict each other or are over the limits.
    """

    video_id: str
    video_hw: tuple[int, int]
    frame_count: int
    masklets: tuple[Masklet, ...] = ()
    fps: Fraction | None = None
    frames: Path | tuple[Path, ...] | None = None
    extra: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_name(self.video_id)
        _check_sizes(self)
        ids = [masklet.id for masklet in self.masklets]
        if len(set(ids)) < len(ids):
            raise RecordError(f"{self.video_id}: expected ids that differ, got {_shortened(sorted(ids))}")
        for masklet in self.masklets:
            _check_masklet(masklet, self)

    @property
    def annotated_frames(self) -> list[int]:
        """Frames on which at least one object is annotated, in order."""
        return sorted(set().union(*(masklet.masks for masklet in self.masklets)))

    @property
    def is_picture(self) -> bool:
        """Whether there is one frame only."""
        return self.frame_count == 1

    def masks_at(self, frame: int) -> dict[int, np.ndarray]:
        """Id -> bool (h, w) of the objects annotated on a frame."""
        found = ((masklet.id, masklet.mask(frame)) for masklet in self.masklets)
        return {obj: mask for obj, mask in found if mask is not None}

    def name_of(self, frame: int) -> str:
        """A frame's file name without suffix: that of its picture, else five digits."""
        return self.frames[frame].stem if isinstance(self.frames, tuple) else f"{frame:05d}"

    def open_frames(self, *, strict: bool = False) -> FrameSource:
        """The frames, read when asked for. With `strict` broken ones are errors.

        Raises RecordError when there are none, fewer than annotated, or they are not of the masks' size.
        """
        from masklet.video.read import open_frames

        if self.frames is None:
            raise RecordError(f"{self.video_id} has masks but no frames; put its pictures or video beside them")
        source = open_frames(self.frames, fps=self.fps, strict=strict)
        last = max(self.annotated_frames, default=0)
        if source.video_hw == self.video_hw and (source.frame_count or 0) > last:
            return source
        (height, width), (h, w), count = source.video_hw, self.video_hw, source.frame_count
        source.close()
        raise RecordError(
            f"{self.video_id}: annotations are {w}x{h} and reach frame {last}, but the frames are {width}x{height} "
            f"and {count}; check that they belong together"
        )

    def checked(self) -> Record:
        """The same record with every mask read and decoded once. Raises ValueError or OSError if one cannot be."""
        masks: dict[int, dict[int, Rle]] = {masklet.id: {} for masklet in self.masklets}
        for frame in self.annotated_frames:
            for masklet in self.masklets:
                if frame in masklet.masks:
                    what = f"{self.video_id}: object {masklet.id}, frame {frame}"
                    masks[masklet.id][frame] = _checked_rle(masklet.masks[frame], self.video_hw, what)
        return replace(self, masklets=tuple(replace(one, masks=masks[one.id]) for one in self.masklets))


def visible_frames(masklet: Masklet) -> list[tuple[int, bool]]:
    """(frame, whether the object is seen there) for the annotated frames, in order."""
    return [(frame, masklet.is_visible(frame)) for frame in sorted(masklet.masks)]


def empty_rle(video_hw: tuple[int, int]) -> Rle:
    """Run lengths of a mask without pixels."""
    return encode_rle(np.zeros(video_hw, dtype=bool))


def check_name(name: str) -> str:
    """The name itself. Raises RecordError unless it is fit to be a file's on any system, and a line of a list.

    Hidden files are left out where datasets are read, so a name does not begin with a dot.
    """
    is_plain = isinstance(name, str) and name.isprintable() and 0 < len(name.encode()) <= MAX_NAME
    if not is_plain or name[0] in ". " or name[-1] == " " or any(sign in name for sign in '/\\:*?"<>|'):
        raise RecordError(f"expected a name that can be a file's, got {str(name)[:80]!r}; rename it")
    return name


def pictures_of(record: Record) -> Iterator[Record]:
    """A record of one picture for each annotated frame, for formats that hold pictures only."""
    if record.is_picture:
        yield record
        return
    for frame in record.annotated_frames:
        yield Record(
            f"{record.video_id}-{record.name_of(frame)}"[-MAX_NAME:],
            record.video_hw,
            1,
            tuple(_alone(masklet, frame) for masklet in record.masklets if frame in masklet.masks),
        )


def _alone(masklet: Masklet, frame: int) -> Masklet:
    scores = {kind: {0: values[frame]} for kind, values in masklet.scores.items() if frame in values}
    return replace(masklet, masks={0: masklet.masks[frame]}, scores=scores, extra={})


def _checked_rle(rle: Rle, video_hw: tuple[int, int], what: str) -> Rle:
    _check_rle(rle, video_hw, what)
    try:
        decode_rle(rle)
    except ValueError as error:
        raise RecordError(f"{what}: {error}") from error
    return rle


def _check_sizes(record: Record) -> None:
    numbers = (*record.video_hw, record.frame_count)
    if len(numbers) != 3 or not all(type(number) is int and number > 0 for number in numbers):
        raise RecordError(f"{record.video_id}: expected a positive height, width and number of frames, got {numbers}")
    if math.prod(record.video_hw) > MAX_RLE_PIXELS or record.frame_count > MAX_FRAMES:
        raise RecordError(
            f"{record.video_id}: {numbers} is over the limits of {MAX_RLE_PIXELS} pixels and {MAX_FRAMES} frames"
        )
    if isinstance(record.frames, tuple) and len(record.frames) != record.frame_count:
        raise RecordError(f"{record.video_id}: {record.frame_count} frames but {len(record.frames)} pictures")
    if record.fps is not None and not 0 < record.fps <= 1000:
        raise RecordError(f"{record.video_id}: expected at most 1000 frames per second, got {record.fps}")
    if len(record.masklets) > MAX_OBJECTS:
        raise RecordError(f"{record.video_id}: {len(record.masklets)} objects, over the limit of {MAX_OBJECTS}")


def _check_masklet(masklet: Masklet, record: Record) -> None:
    what = f"{record.video_id}: object {masklet.id}"
    if type(masklet.id) is not int or not 0 <= masklet.id < 1 << 53:
        raise RecordError(f"{what}: expected a whole number from 0 as id")
    if masklet.provenance not in PROVENANCES:
        raise RecordError(f'{what}: expected "manual", "auto" or nothing as provenance, got {masklet.provenance!r}')
    strange = next((kind for kind in masklet.scores if kind not in SCORE_KINDS), None)
    if strange is not None:
        raise RecordError(f"{what}: expected scores of a kind among {', '.join(SCORE_KINDS)}, got {strange!r}")
    for frame in chain(masklet.masks, *masklet.scores.values()):
        if type(frame) is not int or not 0 <= frame < record.frame_count:
            raise RecordError(f"{what}: frame {frame} is outside of 0 to {record.frame_count - 1}")
    if isinstance(masklet.masks, dict):
        for frame, rle in masklet.masks.items():
            _check_rle(rle, record.video_hw, f"{what}, frame {frame}")


def _check_rle(rle: Any, video_hw: tuple[int, int], what: str) -> None:
    if not isinstance(rle, dict) or not isinstance(rle.get("counts"), str):
        raise RecordError(f"{what}: expected run lengths with a string of counts, got {str(rle)[:80]}")
    if rle.get("size") != list(video_hw):
        raise RecordError(f"{what}: expected a mask of size {list(video_hw)}, got {str(rle.get('size'))[:80]}")


def _empty_counts(rle: Rle) -> str:
    height, width = rle["size"]
    counts = _EMPTY.get((height, width))
    if counts is None and height * width <= MAX_RLE_PIXELS:
        counts = _EMPTY[height, width] = empty_rle((height, width))["counts"]
    return counts or ""


_EMPTY: dict[tuple[int, int], str] = {}


def _shortened(values: Sequence[object]) -> str:
    return ", ".join(map(str, values[:10])) + (" ..." if len(values) > 10 else "")
