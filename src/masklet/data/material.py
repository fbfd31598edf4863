"""Picture material for synthetic training clips: what the assets folder has, read on demand into a bounded cache.

| folder | content | source | licence |
|---|---|---|---|
| ccp_people_parts | photos + label PNG, person > 0 | Clothing Co-Parsing | Apache-2.0 (photo rights not stated) |
| fluent3d_mit | RGBA cut-outs of rendered objects | npm @lobehub/fluent-emoji-3d | MIT |
| fluent_anim_mit | animated RGBA cut-outs, frames stacked vertically | npm @lobehub/fluent-emoji-anim-1 | MIT |
| openclipart_pd | RGBA clip art | Debian openclipart-png | public domain |
| nuclei_cc0 | microscopy + 16-bit instance PNG | 2018 Data Science Bowl, corrected | CC0 |
| pybullet_clips | rendered clips + instance PNG | PyBullet, random meshes | zlib |
| bg_debian | wallpapers | Debian wallpaper packages | CC BY, CC BY-SA, GPL |
| kodak | photos | Kodak true-colour set | unrestricted use |
| video_unlabelled | clips as JPEG frames | EdgeTAM, EfficientTAM examples | Apache-2.0 (clip rights not stated) |
| masklets | masks of objects in clips and photos, a folder of PNG each | our own, tools/masklets.py | Apache-2.0 |

Every folder is optional; a kind of clip whose folder is missing is not made. Every fifth picture of people and of
nuclei is held out: no clip shows it, so that networks can be tested with it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

PEOPLE, NUCLEI = "ccp_people_parts", "nuclei_cc0"
KODAK, VIDEOS, MASKLETS = "kodak", "video_unlabelled", "masklets"
HELD_OUT_EVERY = 5
MAX_PHOTO_SIDE = 640
PHOTO_WEIGHT = 12
"""An annotated photo, or a short run of frames, is drawn as often as a run of so many."""


def held_out(pictures: Sequence[Path]) -> list[Path]:
    """Those of a folder's pictures, in the order of their names, that no clip shows."""
    return list(pictures[HELD_OUT_EVERY - 1 :: HELD_OUT_EVERY])


def learned(pictures: Sequence[Path]) -> list[Path]:
    """Those that clips are made of."""
    kept = set(held_out(pictures))
    return [path for path in pictures if path not in kept]


class ByteCache:
    """Least-recently-used cache of arrays, bounded by their size in bytes; pickles empty."""

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.held_bytes = 0
        self.arrays: OrderedDict[Hashable, np.ndarray] = OrderedDict()

    def get(self, key: Hashable, load: Callable[[], np.ndarray]) -> np.ndarray:
        if key in self.arrays:
            self.arrays.move_to_end(key)
            return self.arrays[key]
        array = load()
        array.setflags(write=False)
        self.arrays[key] = array
        self.held_bytes += array.nbytes
        while self.held_bytes > self.max_bytes and len(self.arrays) > 1:
            self.held_bytes -= self.arrays.popitem(last=False)[1].nbytes
        return array

    def __getstate__(self) -> dict[str, Any]:
        return {"max_bytes": self.max_bytes, "held_bytes": 0, "arrays": OrderedDict()}


class Material:
    """The pictures of one assets folder, drawn at random.

    Args:
        assets: folder with some of the sub-folders listed in this module's docstring.
        cache_bytes: bound on the decoded pictures this object holds.

    Raises:
        ValueError: if the folder has no cut-outs or nothing to put behind them.
    """

    def __init__(self, assets: Path, cache_bytes: int = 1000 << 20) -> None:
        self.assets = Path(assets)
        self.cache = ByteCache(cache_bytes)
        self.people = learned(self._pictures(PEOPLE))
        self.objects = self._pictures("fluent3d_mit", ".webp")
        self.clip_art = self._pictures("openclipart_pd", ".webp")
        self.animations = self._pictures("fluent_anim_mit", ".webp")
        self.nuclei = learned(self._pictures(NUCLEI))
        self.photos = self._pictures(KODAK) + self._pictures("bg_debian")
        self.rendered = self._clips("pybullet_clips")
        self.videos = self._clips(VIDEOS)
        self.shots = self._shots()
        self._check()

    def person(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """A photo (h, w, 3) and its label map (h, w), 0 for what is not the person."""
        return self._labelled(_pick(rng, self.people))

    def cells(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """A microscopy image (h, w, 3) and its instance map (h, w), 0 for background."""
        return self._labelled(_pick(rng, self.nuclei))

    def object(self, rng: np.random.Generator) -> np.ndarray:
        """A still cut-out, RGBA with straight alpha (h, w, 4)."""
        mostly_rendered = self.objects and (not self.clip_art or rng.random() < 0.75)
        return self._rgba(_pick(rng, self.objects if mostly_rendered else self.clip_art))

    def animation(self, rng: np.random.Generator) -> np.ndarray:
        """An animated cut-out, RGBA with straight alpha (phases, h, w, 4)."""
        strip = self._rgba(_pick(rng, self.animations))
        side = strip.shape[1]
        return strip[: len(strip) // side * side].reshape(-1, side, side, 4)

    def photo(self, rng: np.random.Generator) -> np.ndarray:
        """A photo, a wallpaper or one frame of a video (h, w, 3)."""
        if self.videos and (not self.photos or rng.random() < 0.4):
            return self._rgb(_pick(rng, _pick(rng, self.videos)))
        return self._rgb(_pick(rng, self.photos))

    def video(self, rng: np.random.Generator, frames: int) -> list[np.ndarray]:
        """Frames (h, w, 3) of a real video that follow each other, forwards or backwards."""
        return [self._rgb(path) for path in _window(rng, _pick(rng, self.videos), frames)]

    def rendering(self, rng: np.random.Generator, frames: int) -> list[tuple[np.ndarray, np.ndarray]]:
        """Frames (h, w, 3) of a rendered clip with their instance maps (h, w)."""
        return [self._labelled(path) for path in _window(rng, _pick(rng, self.rendered), frames)]

    def shot(self, rng: np.random.Generator, frames: int) -> list[tuple[np.ndarray, np.ndarray]]:
        """Frames (h, w, 3) of a real video, each with the masks (o, h, w) of the objects annotated on all of them.

        uint8, 0 or 255. An object drawn at random comes first; what two objects share belongs to the earlier. Of a
        photo there is one frame only.
        """
        shares = np.array([max(len(shot), PHOTO_WEIGHT) for shot in self.shots], float)
        lead = self.shots[int(rng.choice(len(shares), p=shares / shares.sum()))]
        picked = _window(rng, sorted(lead), frames) if len(lead) > 1 else [*lead]
        others = [shot for shot in self.shots if shot is not lead and set(picked) <= shot.keys()]
        return [(self._rgb(frame), self._apart(frame, [lead, *others])) for frame in picked]

    def _check(self) -> None:
        if not (self.objects or self.clip_art):
            raise ValueError(f"expected cut-outs (*.webp) in {self.assets}/fluent3d_mit or openclipart_pd, found none")
        if not (self.photos or self.videos):
            raise ValueError(f"expected pictures in {self.assets}/kodak, bg_debian or video_unlabelled, found none")

    def _pictures(self, folder: str, suffix: str = ".jpg") -> list[Path]:
        return sorted((self.assets / folder).glob(f"*{suffix}"))

    def _clips(self, folder: str) -> list[list[Path]]:
        folders = sorted(path for path in (self.assets / folder).glob("*") if path.is_dir())
        return [frames for frames in (sorted(path.glob("*.jpg")) for path in folders) if frames]

    def _shots(self) -> list[dict[Path, Path]]:
        """Runs of annotated frames: for each the frames that follow each other, with the masks of one object."""
        shots: list[dict[Path, Path]] = []
        for video in filter(None, (*self.videos, self._pictures(KODAK))):
            annotated = self.assets / MASKLETS / video[0].parent.relative_to(self.assets)
            for folder in sorted(path for path in annotated.glob("*") if path.is_dir()):
                shots.append({})
                for frame in video:
                    mask = folder / f"{frame.stem}.png"
                    if mask.exists():
                        shots[-1][frame] = mask
                    elif shots[-1]:
                        shots.append({})
        return [shot for shot in shots if shot]

    def _rgb(self, path: Path) -> np.ndarray:
        return self.cache.get(path, lambda: _bounded(cv2.cvtColor(_read(path, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)))

    def _rgba(self, path: Path) -> np.ndarray:
        return self.cache.get(path, lambda: _with_alpha(_read(path, cv2.IMREAD_UNCHANGED)))

    def _apart(self, frame: Path, shots: Sequence[Mapping[Path, Path]]) -> np.ndarray:
        """The masks (o, h, w) of one frame, each without what an earlier one has."""
        height, width = self._rgb(frame).shape[:2]
        masks = np.stack([cv2.resize(self._mask(shot[frame]), (width, height)) for shot in shots])
        earlier = np.maximum.accumulate(masks, axis=0)[:-1]
        masks[1:][earlier > 0] = 0
        return masks

    def _mask(self, path: Path) -> np.ndarray:
        return self.cache.get(path, lambda: _read(path, cv2.IMREAD_GRAYSCALE))

    def _labelled(self, path: Path) -> tuple[np.ndarray, np.ndarray]:
        png = path.with_suffix(".png")
        rgb, labels = self._rgb(path), self.cache.get(png, lambda: _read(png, cv2.IMREAD_UNCHANGED))
        if rgb.shape[:2] != labels.shape:
            raise ValueError(f"{png} has shape {labels.shape} but its photo {rgb.shape[:2]}; they must be equal")
        return rgb, labels


def _pick(rng: np.random.Generator, choices: list[Any]) -> Any:
    return choices[rng.integers(len(choices))]


def _window(rng: np.random.Generator, paths: list[Path], frames: int) -> list[Path]:
    stride = int(rng.integers(1, 3))
    stride = max(1, min(stride, (len(paths) - 1) // max(1, frames - 1)))
    span = (frames - 1) * stride + 1
    start = int(rng.integers(max(1, len(paths) - span + 1)))
    picked = [paths[min(start + i * stride, len(paths) - 1)] for i in range(frames)]
    return picked[::-1] if rng.random() < 0.5 else picked


def _read(path: Path, flag: int) -> np.ndarray:
    image = cv2.imread(str(path), flag)
    if image is None:
        raise ValueError(f"expected a picture that OpenCV reads in {path}, got something else; remove or replace it")
    return image


def _bounded(rgb: np.ndarray) -> np.ndarray:
    scale = MAX_PHOTO_SIDE / max(rgb.shape[:2])
    return rgb if scale >= 1 else cv2.resize(rgb, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)


def _with_alpha(image: np.ndarray) -> np.ndarray:
    if image.ndim == 3 and image.shape[2] == 4:
        return cv2.cvtColor(image, cv2.COLOR_BGRA2RGBA)
    raise ValueError(f"expected a picture with an alpha channel, got shape {image.shape}")
