"""Pure functions on masks and mask logits.

Logits are torch tensors whose last two axes are height and width; positive means object. Masks are bool
numpy arrays (h, w), `masks_ohw` with one layer per object. `video_hw` is (height, width) of the picture.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypedDict, cast

import cv2
import numpy as np
from pycocotools import mask as coco

if TYPE_CHECKING:
    import torch

OVERLAP_LOGIT = -10.0
MAX_RLE_PIXELS = 1 << 26


class Rle(TypedDict):
    """COCO run lengths: `size` is [height, width], `counts` the compressed string."""

    size: list[int]
    counts: str


def resize_logits(logits: torch.Tensor, video_hw: tuple[int, int]) -> torch.Tensor:
    """Bilinear resize of logits (..., h, w) to (..., *video_hw), pixel centres aligned (align_corners off)."""
    import torch
    from torch.nn import functional

    *leading, h, w = logits.shape
    if _is_array(logits):
        # OpenCV does it in a fifth of torch's time.
        planes = logits.detach().reshape(-1, h, w).numpy()
        enlarged = np.empty((len(planes), *video_hw), dtype=np.float32)
        for plane, large in zip(planes, enlarged, strict=True):
            cv2.resize(plane, video_hw[::-1], dst=large, interpolation=cv2.INTER_LINEAR)
        return torch.from_numpy(enlarged).reshape(*leading, *video_hw)
    resized = functional.interpolate(logits.reshape(-1, 1, h, w), size=video_hw, mode="bilinear", align_corners=False)
    return resized.reshape(*leading, *video_hw)


def _is_array(logits: torch.Tensor) -> bool:
    """Whether numpy and OpenCV can work on them as they are."""
    import torch

    return logits.device.type == "cpu" and logits.dtype == torch.float32


def enlarged_masks(logits: torch.Tensor, video_hw: tuple[int, int], at: float = 0.0) -> np.ndarray:
    """bool (..., *video_hw): where logits (..., h, w) that are resized are above `at`. One mask is made at a time."""
    *leading, h, w = logits.shape
    planes = logits.reshape(-1, h, w)
    masks = np.empty((len(planes), *video_hw), dtype=bool)
    for mask, plane in zip(masks, planes, strict=True):
        threshold(resize_logits(plane, video_hw), at, mask)
    return masks.reshape(*leading, *video_hw)


def threshold(logits: torch.Tensor, at: float = 0.0, out: np.ndarray | None = None) -> np.ndarray:
    """The bool numpy mask where the logits are above `at`, same shape; written to `out` if that is given."""
    if _is_array(logits):
        return np.greater(logits.detach().numpy(), np.float32(at), out=out)
    above = (logits > at).cpu().numpy()
    if out is None:
        return above
    out[...] = above
    return out


def resize(mask: np.ndarray, video_hw: tuple[int, int]) -> np.ndarray:
    """Resizes one bool mask (h, w): a pixel is set where at least half of what it covers was set."""
    height, width = video_hw
    shrinking = height < mask.shape[0] or width < mask.shape[1]
    method = cv2.INTER_AREA if shrinking else cv2.INTER_LINEAR
    return cv2.resize(mask.astype(np.float32), (width, height), interpolation=method) >= 0.5


def without_overlap(logits_ohw: torch.Tensor) -> torch.Tensor:
    """Leaves each pixel to the object with the highest logit (the first of equals).

    The other objects' logits there become at most -10. Shape (o, ..., h, w), unchanged.
    """
    import torch

    winner = logits_ohw.argmax(dim=0, keepdim=True)
    wins = torch.zeros_like(logits_ohw, dtype=torch.bool).scatter_(0, winner, True)
    return torch.where(wins, logits_ohw, logits_ohw.clamp(max=OVERLAP_LOGIT))


def stability_score(logits: torch.Tensor, delta: float, at: float = 0.0) -> torch.Tensor:
    """How little the mask changes with its threshold: area above `at + delta` by area above `at - delta`.

    Logits (..., h, w) give scores (...) in 0..1; 1 where even the larger area is empty.
    """
    inner = (logits > at + delta).sum(dim=(-2, -1))
    outer = (logits > at - delta).sum(dim=(-2, -1))
    return (inner / outer.clamp(min=1)).where(outer > 0, 1.0)


def remove_small_components(mask: np.ndarray, min_area: int, keep_largest: bool = True) -> np.ndarray:
    """Clears the 8-connected parts of fewer than `min_area` pixels.

    With `keep_largest`, the largest part stays if all of them are small.
    """
    labels, areas = _components(mask)
    if len(areas) == 0:
        return mask.copy()
    stays = areas >= min_area
    if keep_largest and not stays.any():
        stays[areas.argmax()] = True
    return np.concatenate([[False], stays])[labels]


def fill_small_holes(mask: np.ndarray, min_area: int) -> np.ndarray:
    """Sets the 8-connected parts of the background of fewer than `min_area` pixels, also at the picture's border."""
    return ~remove_small_components(~mask, min_area, keep_largest=not mask.any())


def areas(masks_ohw: np.ndarray) -> np.ndarray:
    """Pixels per mask: (..., h, w) bool to (...) int64."""
    return np.count_nonzero(masks_ohw, axis=(-2, -1))


def bounding_box(mask: np.ndarray) -> tuple[int, int, int, int] | None:
    """Left, top, right and bottom edge (x0, y0, x1, y1) around the set pixels, x1 and y1 exclusive; None if empty."""
    rows = np.flatnonzero(mask.any(axis=1))
    if rows.size == 0:
        return None
    y0, y1 = int(rows[0]), int(rows[-1]) + 1
    columns = np.flatnonzero(mask[y0:y1].any(axis=0))
    return int(columns[0]), y0, int(columns[-1]) + 1, y1


def check_comparable(truth: np.ndarray, prediction: np.ndarray) -> None:
    """Raises ValueError unless both are bool masks (h, w) of one size."""
    for name, mask in (("truth", truth), ("prediction", prediction)):
        if mask.ndim != 2 or mask.dtype != bool:
            raise ValueError(f"{name} must be a bool array (h, w), got {mask.dtype} {mask.shape}; pass `logits > 0`")
    if truth.shape != prediction.shape:
        raise ValueError(f"truth is {truth.shape} but prediction is {prediction.shape}; resize one with masks.resize")


def encode_rle(mask: np.ndarray) -> Rle:
    """COCO run lengths of one bool mask (h, w)."""
    counts = cast(bytes, coco.encode(np.asfortranarray(mask, dtype=np.uint8))["counts"])
    height, width = mask.shape
    return Rle(size=[height, width], counts=counts.decode("ascii"))


def encode_runs(runs: np.ndarray, video_hw: tuple[int, int]) -> Rle:
    """COCO run lengths from plain ones: pixels outside and inside by turns, column by column, first those outside."""
    height, width = video_hw
    listed = {"size": [height, width], "counts": runs.tolist()}
    counts = cast(Any, coco).frPyObjects(listed, height, width)["counts"]
    return Rle(size=[height, width], counts=counts.decode("ascii"))


def run_lengths(rle: Rle) -> list[int]:
    """The plain run lengths of COCO's: the reverse of `encode_runs`."""
    return _parse_counts(rle["counts"]).tolist()


def overlap_shares(rles: Sequence[Rle], others: Sequence[Rle]) -> np.ndarray:
    """(n, m) float64: the part of each mask's area that lies in each other one; 0 for empty masks."""
    if not rles or not others:
        return np.zeros((len(rles), len(others)))
    shares = cast(Any, coco).iou(list(rles), list(others), [True] * len(others))
    return np.nan_to_num(np.asarray(shares, dtype=np.float64))


def rle_areas(rles: Sequence[Rle]) -> np.ndarray:
    """(n,) int64 pixels of each mask."""
    return np.asarray(cast(Any, coco).area(list(rles)), dtype=np.int64).reshape(len(rles))


def rle_union(rles: Sequence[Rle]) -> Rle:
    """All pixels of at least one of the masks, of which there must be one."""
    union = cast(Any, coco).merge(list(rles))
    return Rle(size=list(rles[0]["size"]), counts=union["counts"].decode("ascii"))


def suppress_boxes(boxes_px_xyxy: np.ndarray, scores: np.ndarray, max_iou: float) -> np.ndarray:
    """Indices of the boxes (n, 4) that stay, best score (n,) first: those with no better one of a higher IoU.

    Non-maximum suppression in float32; of equal scores the earlier box wins.
    """
    boxes = boxes_px_xyxy.astype(np.float32).reshape(-1, 4)
    x0, y0, x1, y1 = boxes.T
    box_areas = (x1 - x0) * (y1 - y0)
    left = np.argsort(-scores, kind="stable")
    stays: list[int] = []
    while left.size:
        best, left = left[0], left[1:]
        stays.append(int(best))
        widths = np.minimum(x1[best], x1[left]) - np.maximum(x0[best], x0[left])
        heights = np.minimum(y1[best], y1[left]) - np.maximum(y0[best], y0[left])
        shared = widths.clip(min=0) * heights.clip(min=0)
        either = box_areas[best] + box_areas[left] - shared
        iou = np.divide(shared, either, out=np.zeros_like(shared), where=either > 0)
        left = left[iou.astype(np.float64) <= max_iou]
    return np.array(stays, dtype=np.int64)


def decode_rle(rle: Any, max_pixels: int = MAX_RLE_PIXELS) -> np.ndarray:
    """The bool mask (h, w) of COCO run lengths, compressed (str or bytes) or a plain list of counts.

    The input may come from anywhere: a size over `max_pixels` or counts that do not add up to it raise ValueError
    before anything of that size is allocated. (pycocotools reads past the end of a malformed string, so the
    counts are parsed here.)
    """
    height, width = _rle_size(rle, max_pixels)
    counts = rle.get("counts")
    if isinstance(counts, (str, bytes)):
        runs = _parse_counts(counts)
    elif isinstance(counts, list):
        runs = _listed_counts(counts)
    else:
        raise ValueError(f"RLE counts must be a string or a list of integers, got {type(counts).__name__}")
    if runs.size == 0 or runs.min() < 0 or runs.max() > height * width or runs.sum() != height * width:
        raise ValueError(f"RLE counts do not add up to the {height * width} pixels of size {height}x{width}")
    is_object = np.arange(len(runs)) % 2 == 1
    return np.ascontiguousarray(np.repeat(is_object, runs).reshape(width, height).T)


def _components(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Labels (h, w), 0 for background, and the area of each label from 1 on."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    return labels, stats[1:, cv2.CC_STAT_AREA]


def _rle_size(rle: Any, max_pixels: int) -> tuple[int, int]:
    if not isinstance(rle, dict):
        raise ValueError(f'RLE must be {{"size": [height, width], "counts": ...}}, got {type(rle).__name__}')
    size = rle.get("size")
    if not isinstance(size, (list, tuple)) or [type(side) for side in size] != [int, int] or min(size) < 1:
        raise ValueError(f"RLE size must be two positive integers [height, width], got {str(size)[:80]}")
    height, width = size
    if height * width > max_pixels:
        raise ValueError(f"RLE size {height}x{width} is over the limit of {max_pixels} pixels")
    return height, width


def _listed_counts(counts: list[Any]) -> np.ndarray:
    if not all(type(count) is int and 0 <= count <= MAX_RLE_PIXELS for count in counts):
        raise ValueError("RLE counts must be integers from 0 to the number of pixels")
    return np.array(counts, dtype=np.int64)


def _parse_counts(counts: str | bytes) -> np.ndarray:
    """Run lengths (r,) int64 of COCO's string.

    Each number is a little-endian sequence of characters `chr(48 + bits)`: five value bits, bit 5 set when more follow,
    bit 4 of the last one the sign. From the fourth number on, the difference to the number two before is stored.
    """
    try:
        text = counts.encode("ascii") if isinstance(counts, str) else counts
    except UnicodeEncodeError as error:
        raise ValueError("RLE counts must be ASCII characters from '0' to 'o'") from error
    bits = np.frombuffer(text, dtype=np.uint8).astype(np.int64) - 48
    if bits.size == 0 or bits.min() < 0 or bits.max() > 63 or bits[-1] & 32:
        raise ValueError("RLE counts are empty, cut short or hold characters outside '0' to 'o'")
    starts = np.concatenate([[0], np.flatnonzero((bits & 32) == 0)[:-1] + 1])
    lengths = np.diff(starts, append=bits.size)
    if lengths.max() > 7:
        raise ValueError("RLE counts hold a number of more than 32 bits")
    place = np.arange(bits.size) - np.repeat(starts, lengths)
    values = np.add.reduceat((bits & 31) << (5 * place), starts)
    is_negative = bits[starts + lengths - 1] & 16 != 0
    values -= is_negative.astype(np.int64) << (5 * lengths)
    return _undo_differences(values)


def _undo_differences(values: np.ndarray) -> np.ndarray:
    runs = values.copy()
    runs[1::2] = np.cumsum(values[1::2])
    runs[2::2] = np.cumsum(values[2::2])
    return runs
