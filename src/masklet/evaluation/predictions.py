"""Predicted masks as the benchmarks' servers take them.

FOLDER/SEQUENCE/00000.png        object numbers with a palette; 0 and 255 where all objects are one (DAVIS 2016)
FOLDER/SEQUENCE/000/00000.png    one folder per object, where objects may overlap (0 and 255)
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from masklet.data.formats.files import save_ids, save_mask
from masklet.evaluation.datasets import Dataset
from masklet.evaluation.folders import ONE
from masklet.evaluation.truth import ObjectMasks

MAX_ID = 254
"""255 marks pixels of no known object."""

Write = Callable[[Path, str, ObjectMasks, tuple[int, int]], None]
"""Takes a sequence's folder, the frame's name, its masks and the frames' height and width."""


def writer_of(dataset: Dataset, *, overlap: bool) -> Write:
    """What writes the predictions of a dataset."""
    if overlap:
        return write_overlapping_prediction
    return write_merged_prediction if dataset.merges else write_prediction


def write_prediction(folder: Path, frame_name: str, masks: ObjectMasks, video_hw: tuple[int, int]) -> None:
    """Writes one frame's masks of all objects into one PNG; where they overlap, the lowest number is kept."""
    ids_hw = np.zeros(video_hw, dtype=np.uint8)
    for obj in sorted(masks, reverse=True):
        if not 1 <= obj <= MAX_ID:
            raise ValueError(f"a palette holds objects 1 to {MAX_ID}, got {obj}; evaluate with overlap")
        ids_hw[masks[obj]] = obj
    save_ids(ids_hw, folder / f"{frame_name}.png")


def write_merged_prediction(folder: Path, frame_name: str, masks: ObjectMasks, video_hw: tuple[int, int]) -> None:
    """Writes the one object that all are merged into, or an empty mask."""
    save_mask(masks.get(ONE, np.zeros(video_hw, dtype=bool)), folder / f"{frame_name}.png")


def write_overlapping_prediction(folder: Path, frame_name: str, masks: ObjectMasks, video_hw: tuple[int, int]) -> None:
    """Writes one PNG for each object."""
    for obj, mask in masks.items():
        save_mask(mask, folder / f"{obj:03d}" / f"{frame_name}.png")
