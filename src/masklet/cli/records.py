"""Automatic masks as users of the published generator keep them: a JSON file, or a folder of pictures and a table."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from masklet.data.formats.files import replacing
from masklet.sessions.everything import FoundMask
from masklet.sessions.everything.settings import OutputMode
from masklet.video.writers import save_picture

COLUMNS = (
    "id",
    *("area", "bbox_x0", "bbox_y0", "bbox_w", "bbox_h"),
    *("point_input_x", "point_input_y", "predicted_iou", "stability_score"),
    *("crop_box_x0", "crop_box_y0", "crop_box_w", "crop_box_h"),
)
TABLE = "metadata.csv"


@dataclass(frozen=True)
class Records:
    """Where all that is known of each mask goes. Raises ValueError for a path that would not do, before any work."""

    path: Path
    mode: OutputMode = "coco_rle"

    def __post_init__(self) -> None:
        path = self.path
        if self.mode == "binary_mask":
            if path.is_file() or (path.is_dir() and any(path.iterdir())):
                raise ValueError(f"expected a new or empty folder for --records with binary masks, got {path}")
        elif path.suffix.lower() != ".json" or path.is_dir():
            raise ValueError(f"expected a .json file for --records with run lengths, got {path}")

    def write(self, found: Sequence[FoundMask]) -> None:
        """The published dictionaries as JSON; binary masks as pictures 0.png, 1.png ... and a table of the rest.

        The layouts are those of facebookresearch/segment-anything's ``amg.py``.
        """
        if self.mode == "binary_mask":
            _write_folder(self.path, found)
            return
        with replacing(self.path) as file:
            json.dump([one.record(self.mode) for one in found], file)


def _write_folder(folder: Path, found: Sequence[FoundMask]) -> None:
    for number, one in enumerate(found):
        save_picture(Image.fromarray(one.mask), folder / f"{number}.png")
    with replacing(folder / TABLE) as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(COLUMNS)
        table.writerows([number, *_row(one)] for number, one in enumerate(found))


def _row(found: FoundMask) -> list[float]:
    record = found.record("coco_rle")
    point = record["point_coords"][0]
    return [
        record["area"],
        *record["bbox"],
        *point,
        record["predicted_iou"],
        record["stability_score"],
        *record["crop_box"],
    ]
