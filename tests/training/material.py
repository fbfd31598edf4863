"""Pictures and videos of bright squares on dark noise, as a person would bring them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

SIDE = 64
SQUARE = 20


def drawn(seed: int, shift: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """A picture (SIDE, SIDE, 3) and its mask, 0 and 255."""
    rng = np.random.default_rng(seed)
    picture = rng.integers(0, 60, (SIDE, SIDE, 3), dtype=np.uint8)
    x, y = rng.integers(2, SIDE - SQUARE - 12, 2)
    mask = np.zeros((SIDE, SIDE), np.uint8)
    mask[y : y + SQUARE, x + shift : x + shift + SQUARE] = 255
    picture[mask > 0] = 220
    return picture, mask


def write_pair(picture: np.ndarray, mask: np.ndarray, image_path: Path, mask_path: Path) -> None:
    for array, path in ((picture, image_path), (mask, mask_path)):
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(array).save(path)


def write_pictures(root: Path, count: int) -> Path:
    """images and masks."""
    for seed in range(count):
        write_pair(*drawn(seed), root / f"images/{seed}.png", root / f"masks/{seed}.png")
    return root


def write_videos(root: Path, count: int, frames: int = 4) -> Path:
    """Folders of pictures in videos, folders of PNG in masks; the square moves to the right."""
    for seed in range(count):
        for frame in range(frames):
            name = f"{seed}/{frame:05d}.png"
            write_pair(*drawn(seed, shift=2 * frame), root / "videos" / name, root / "masks" / name)
    return root


def write_assets(folder: Path) -> Path:
    """A few pictures of each kind that synthetic clips need, and labelled people and cells."""
    rng = np.random.default_rng(0)
    for number in range(3):
        picture, mask = drawn(number)
        cut_out = np.dstack([picture, mask])
        for name, array in (("kodak", picture), ("fluent3d_mit", cut_out)):
            path = folder / name / f"{number}.{'jpg' if name == 'kodak' else 'webp'}"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(array).save(path)
        for name in ("ccp_people_parts", "nuclei_cc0"):
            labels = np.where(mask > 0, rng.integers(1, 3), 0).astype(np.uint8)
            write_pair(picture, labels, folder / name / f"{number}.jpg", folder / name / f"{number}.png")
    return folder
