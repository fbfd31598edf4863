"""Tiny annotated videos in the published layouts: textured squares that slide over a textured background."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from masklet.evaluation.datasets import DATASETS

VIDEO_HW = (48, 64)
PALETTE = [level for level in range(256) for _ in range(3)]
Masks = dict[int, np.ndarray]


def square(x: int, y: int, side: int = 16) -> np.ndarray:
    mask = np.zeros(VIDEO_HW, dtype=bool)
    mask[y : y + side, x : x + side] = True
    return mask


def texture(seed: int, size_hw: tuple[int, int]) -> np.ndarray:
    coarse = np.random.default_rng(seed).integers(0, 256, (size_hw[0] // 4, size_hw[1] // 4, 3), dtype=np.uint8)
    return cv2.resize(coarse, size_hw[::-1], interpolation=cv2.INTER_CUBIC)


def sliding_squares(speed: int, frames: int = 5) -> list[Masks]:
    """Object 1 slides right from the left, object 2 stands still and is seen from frame 2 on."""
    masks = [{1: square(4 + speed * t, 4)} for t in range(frames)]
    return [found | ({2: square(40, 28)} if t >= 2 else {}) for t, found in enumerate(masks)]


def write_sequence(root: Path, name: str, masks: list[Masks], *, binary: bool = False, every: int = 1) -> None:
    """As in DAVIS."""
    write_pictures(root / "JPEGImages/480p" / name, masks)
    write_annotations(root / "Annotations/480p" / name, masks, binary=binary, every=every)


def write_pictures(folder: Path, masks: list[Masks]) -> None:
    folder.mkdir(parents=True)
    for t, found in enumerate(masks):
        Image.fromarray(_paint(found)).save(folder / f"{t:05d}.jpg", quality=95)


def write_annotations(folder: Path, masks: list[Masks], *, binary: bool = False, every: int = 1) -> None:
    """One PNG with object numbers per frame."""
    folder.mkdir(parents=True)
    for t in range(0, len(masks), every):
        _annotation(masks[t], binary).save(folder / f"{t:05d}.png")


def write_object_folders(folder: Path, masks: list[Masks], *, every: int = 4) -> None:
    """As in SA-V: one folder per object."""
    for obj in objects_of(masks):
        (folder / f"{obj:03d}").mkdir(parents=True)
        for t in range(0, len(masks), every):
            mask = masks[t].get(obj, np.zeros(VIDEO_HW, dtype=bool))
            Image.fromarray(mask.astype(np.uint8) * 255).save(folder / f"{obj:03d}" / f"{t:05d}.png")


def write_image_set(root: Path, name: str, lines: list[str]) -> None:
    file = root / "ImageSets" / f"{name}.txt"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("\n".join(lines) + "\n")


def write_dataset(dataset: str, root: Path, masks: list[Masks]) -> None:
    """One sequence "clip" as the benchmark publishes its usual split, with the lists that come with it."""
    layout = DATASETS[dataset]
    base = root / layout.bases[0].format(split=layout.default_split or ".")
    write_pictures(base / layout.pictures / "clip", masks)
    annotations = base / layout.annotations / "clip"
    if layout.overlaps:
        write_object_folders(annotations, masks)
    else:
        write_annotations(annotations, masks, binary=layout.merges)
    _LISTS.get(dataset, lambda *_: None)(root, base, masks)


def _list_davis_2016(root: Path, base: Path, masks: list[Masks]) -> None:
    names = (f"480p/clip/{t:05d}" for t in range(len(masks)))
    write_image_set(root, "2016/val", [f"/JPEGImages/{name}.jpg /Annotations/{name}.png" for name in names])


def _list_lvos(root: Path, base: Path, masks: list[Masks]) -> None:
    """Where each object is to be seen, and which videos show unknown classes."""
    seen = {obj: [t for t, found in enumerate(masks) if obj in found] for obj in objects_of(masks)}
    ranges = {obj: {"start": f"{of_obj[0]:05d}", "end": f"{of_obj[-1]:05d}"} for obj, of_obj in seen.items()}
    objects = {str(obj): {"frame_range": span} for obj, span in ranges.items()}
    (base / "valid_meta.json").write_text(json.dumps({"videos": {"clip": {"objects": objects}}}))
    (base / "unseen_videos.txt").write_text("clip\n")


def _list_youtube_vos(root: Path, base: Path, masks: list[Masks]) -> None:
    """Object 1 is of a class of the training set, others are not."""
    objects = {str(obj): {"category": "zebra" if obj == 1 else "plush_toy"} for obj in objects_of(masks)}
    (base / "meta.json").write_text(json.dumps({"videos": {"clip": {"objects": objects}}}))


_LISTS = {
    "davis2016": _list_davis_2016,
    "davis2017": lambda root, base, masks: write_image_set(root, "2017/val", ["clip"]),
    "youtube-vos": _list_youtube_vos,
    "lvos": _list_lvos,
    "sa-v": lambda root, base, masks: (base / "sav_val.txt").write_text("clip\n"),
}


def objects_of(masks: list[Masks]) -> list[int]:
    return sorted({obj for found in masks for obj in found})


def _paint(masks: Mapping[int, np.ndarray]) -> np.ndarray:
    picture = texture(0, VIDEO_HW)
    for obj, mask in masks.items():
        side = int(mask.any(axis=0).sum())
        picture[mask] = texture(obj, (16, 16))[:side, :side].reshape(-1, 3)
    return picture


def _annotation(masks: Mapping[int, np.ndarray], binary: bool) -> Image.Image:
    ids_hw = np.zeros(VIDEO_HW, dtype=np.uint8)
    for obj, mask in masks.items():
        ids_hw[mask] = 255 if binary else obj
    picture = Image.fromarray(ids_hw)
    if not binary:
        picture.putpalette(PALETTE)
    return picture
