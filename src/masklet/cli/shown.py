"""Prompts as they are typed or written in a JSON file -> prompts as sessions take them."""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import add
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from masklet.masks import decode_rle
from masklet.prompts import Box, Mask, Points, Prompt
from masklet.video.draw import PromptMarks
from masklet.video.source import check_pixels

MAX_JSON_BYTES = 16 << 20
MAX_ENTRIES = 10_000
MAX_POINTS = 1_000
"""Points in one entry."""
MAX_NUMBER = 10**9
"""Frame and object numbers."""

_TYPED = re.compile(r"(?:(?P<frame>\d{1,9}):)?(?P<what>.+?)(?:@(?P<object>\d{1,9}))?", re.DOTALL)
_FIELDS = ("frame", "object", "points", "labels", "box", "mask")


@dataclass(frozen=True)
class Shown:
    """What the user shows of one object on one frame."""

    frame: int
    obj: int
    prompts: tuple[Prompt, ...]

    @property
    def marks(self) -> PromptMarks:
        """For drawing; masks are not drawn."""
        points = [prompt for prompt in self.prompts if isinstance(prompt, Points)]
        boxes = [prompt for prompt in self.prompts if isinstance(prompt, Box)]
        return PromptMarks(
            self.obj,
            [xy for some in points for xy in some.xy.tolist()],
            [label for some in points for label in some.labels.tolist()],
            boxes[0].corners_xy.ravel().tolist() if boxes else None,
        )


def merged(shown: Iterable[Shown]) -> list[Shown]:
    """One entry per frame and object, in their order: a box, then all clicks in one; or a mask.

    Raises ValueError where that is not possible.
    """
    together: dict[tuple[int, int], list[Prompt]] = {}
    for one in shown:
        together.setdefault((one.frame, one.obj), []).extend(one.prompts)
    return [Shown(frame, obj, _merged(prompts, frame, obj)) for (frame, obj), prompts in sorted(together.items())]


def _merged(prompts: list[Prompt], frame: int, obj: int) -> tuple[Prompt, ...]:
    boxes = [prompt for prompt in prompts if isinstance(prompt, Box)]
    masks = [prompt for prompt in prompts if isinstance(prompt, Mask)]
    clicks = [prompt for prompt in prompts if isinstance(prompt, Points)]
    if len(boxes) > 1 or len(masks) > 1 or (masks and (boxes or clicks)):
        raise ValueError(
            f"object {obj} has {len(boxes)} boxes, {len(masks)} masks and {len(clicks)} clicks on frame {frame}; "
            f"expected one mask, or clicks with at most one box: write @{obj + 1} after what belongs to another object"
        )
    return (*boxes, *masks, *([reduce(add, clicks)] if clicks else []))


def typed_click(text: str) -> Shown:
    """``FRAME:X,Y``, with ``:-`` behind it a negative click, with ``@2`` of object 2."""
    return _typed(text, _click)


def typed_box(text: str) -> Shown:
    """``FRAME:X0,Y0,X1,Y1``, with ``@2`` of object 2."""
    return _typed(text, lambda what: Box(*_numbers(what, 4)))


def typed_mask(text: str) -> Shown:
    """``FRAME:FILE``, with ``@2`` of object 2."""
    frame, what, obj = _parts(text)
    return Shown(frame, obj, (read_mask(Path(what).expanduser(), obj),))


TYPED = {"click": typed_click, "box": typed_box, "mask": typed_mask}


def _typed(text: str, read: Callable[[str], Prompt]) -> Shown:
    frame, what, obj = _parts(text)
    return Shown(frame, obj, (read(what),))


def _parts(text: str) -> tuple[int, str, int]:
    """(frame, what is shown, object). Without numbers they are frame 0 and object 1."""
    match = _TYPED.fullmatch(text)
    if match is None:
        raise ValueError("nothing is shown")
    return int(match["frame"] or 0), match["what"], int(match["object"] or 1)


def _click(what: str) -> Points:
    where, _, sign = what.partition(":")
    if sign not in ("", "+", "-"):
        raise ValueError(f"a click ends in :- if it is negative, got :{sign}")
    return Points(_numbers(where, 2), [0 if sign == "-" else 1])


def _numbers(text: str, count: int) -> list[float]:
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) != count:
        raise ValueError(f"{text!r} is not {count} numbers with commas between them")
    return numbers


def read_mask(path: Path, obj: int) -> Mask:
    """The mask of an object in a picture file.

    Palette pictures hold object numbers. Of pictures with alpha the opaque part counts, of others the bright part.
    Raises FileNotFoundError, or ValueError for what is no picture or does not show the object.
    """
    if not path.is_file():
        raise FileNotFoundError(f"there is no mask {path}; expected a picture of the frame's size")
    try:
        with Image.open(path) as picture:
            check_pixels(picture.height, picture.width, path)
            return Mask(_object_in(picture, obj, path))
    except (OSError, SyntaxError, struct.error, Image.DecompressionBombError) as error:
        raise ValueError(f"mask {path} cannot be read: {error}") from error


def _object_in(picture: Image.Image, obj: int, path: Path) -> np.ndarray:
    """(h, w) bool."""
    if picture.mode == "P":
        return _of_number(np.asarray(picture), obj, path)
    if "A" in picture.getbands():
        return np.asarray(picture.getchannel("A")) >= 128
    grey_hw = np.asarray(picture if picture.mode.startswith("I") else picture.convert("L"))
    brightest = int(grey_hw.max())
    return grey_hw >= (brightest + 1) // 2 if brightest else np.zeros(grey_hw.shape, dtype=bool)


def _of_number(ids_hw: np.ndarray, obj: int, path: Path) -> np.ndarray:
    ids = [int(number) for number in np.unique(ids_hw) if number]
    if obj in ids:
        return ids_hw == obj
    if len(ids) > 1:
        raise ValueError(f"mask {path} holds the objects {ids[:8]} but not object {obj}; name one of them as @{ids[0]}")
    return ids_hw != 0


def read_prompts(path: Path) -> list[Shown]:
    """Prompts of a JSON file: a list of ``{"frame", "object", "points", "labels", "box", "mask"}``.

    Frame 0 and object 1 may be left out. ``points`` are [x, y] pairs, ``labels`` 1 or 0 for each, ``box`` is
    [x0, y0, x1, y1], ``mask`` the name of a picture (looked for beside the JSON file) or COCO run lengths.
    Raises FileNotFoundError, or ValueError naming the entry that is wrong.
    """
    entries = _read_json(path)
    if not isinstance(entries, list) or len(entries) > MAX_ENTRIES:
        got = f"{len(entries)} entries" if isinstance(entries, list) else type(entries).__name__
        raise ValueError(f"{path} must hold a list of at most {MAX_ENTRIES} prompts, got {got}")
    return [_read_entry(entry, f"{path}, entry {number}", path.parent) for number, entry in enumerate(entries, 1)]


def _read_json(path: Path) -> Any:
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}; expected prompts as JSON")
    with path.open("rb") as file:
        text = file.read(MAX_JSON_BYTES + 1)
    if len(text) > MAX_JSON_BYTES:
        raise ValueError(
            f"{path} is longer than {MAX_JSON_BYTES} bytes; expected prompts: give large masks as pictures"
        )
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not JSON: {error}") from error


def _read_entry(entry: Any, where: str, folder: Path) -> Shown:
    if not isinstance(entry, dict) or not entry.keys() <= set(_FIELDS):
        got = f"the fields {sorted(entry)[:8]}" if isinstance(entry, dict) else f"{entry!r:.60}"
        raise ValueError(f"{where}: expected an object with some of the fields {', '.join(_FIELDS)}, got {got}")
    frame, obj = _whole_number(entry, "frame", 0, where), _whole_number(entry, "object", 1, where)
    try:
        prompts = _prompts_of(entry, obj, folder)
    except (ValueError, OverflowError, FileNotFoundError) as error:
        raise ValueError(f"{where}: {error}") from error
    if not prompts:
        raise ValueError(f"{where}: shows nothing; expected points, a box or a mask")
    return Shown(frame, obj, prompts)


def _prompts_of(entry: dict[str, Any], obj: int, folder: Path) -> tuple[Prompt, ...]:
    prompts: list[Prompt] = []
    points, labels, mask = entry.get("points"), entry.get("labels"), entry.get("mask")
    if entry.get("box") is not None:
        prompts.append(Box.of(_short_list(entry["box"], "box", 4)))
    if points is not None:
        short_labels = None if labels is None else _short_list(labels, "labels", MAX_POINTS)
        prompts.append(Points(_short_list(points, "points", MAX_POINTS), short_labels))
    elif labels is not None:
        raise ValueError("labels without points; expected one label for each point")
    if isinstance(mask, str):
        prompts.append(read_mask(folder / mask, obj))
    elif mask is not None:
        prompts.append(Mask(decode_rle(mask)))
    return tuple(prompts)


def _short_list(value: Any, what: str, most: int) -> Sequence[Any]:
    if not isinstance(value, list) or len(value) > most:
        got = f"{len(value)} of them" if isinstance(value, list) else f"{value!r:.60}"
        raise ValueError(f"{what} must be a list of at most {most} items, got {got}")
    return value


def _whole_number(entry: dict[str, Any], field: str, otherwise: int, where: str) -> int:
    value = entry.get(field, otherwise)
    if type(value) is not int or not 0 <= value <= MAX_NUMBER:
        raise ValueError(f"{where}: {field} must be a whole number from 0 to {MAX_NUMBER}, got {value!r:.60}")
    return value
