"""What benchmarks compare: masklet and the published package with the same seeded weights, behind the same calls."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from itertools import islice
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from PIL import Image

from masklet import load
from masklet.checkpoints import from_published
from masklet.model.config import MODELS, NetworkConfig
from masklet.model.precision import Precision
from masklet.model.sam2 import SegmentationNetwork
from masklet.process import keep_freed_memory
from masklet.prompts import Points
from masklet.sessions.everything import MaskGenerator
from masklet.sessions.image import ImageSession
from masklet.sessions.video import VideoSession

CHECKPOINT, PEER_CONFIG = "sam2.1_hiera_tiny", "configs/sam2.1/sam2.1_hiera_t.yaml"
PLACES = ((480, 270), (200, 150), (700, 400), (320, 420))
"""Clicks, one for each object, in pixels of a frame."""
NO_THRESHOLDS: dict[str, Any] = {"pred_iou_thresh": 0.0, "stability_score_thresh": 0.0}


def our_config(image_size: int) -> NetworkConfig:
    return replace(MODELS[CHECKPOINT.replace("_hiera_", "-hiera-")], image_size=image_size)


class Reference:
    """Seeded weights and drawn pictures."""

    def __init__(self, folder: Path, image_size: int):
        self._scenes, self._weights = (_module(folder / f"{name}.py") for name in ("scenes", "weights"))
        self.image_size = image_size

    def picture(self, t: int = 0, hw: tuple[int, int] = (540, 960)) -> np.ndarray:
        return self._scenes.frame(1, t, *hw)

    def weights(self) -> dict[str, torch.Tensor]:
        return {name: torch.from_numpy(array) for name, array in self._weights.state_dict(CHECKPOINT).items()}

    def write_clip(self, folder: Path, frames: int, hw: tuple[int, int] = (540, 960)) -> None:
        for t in range(frames):
            Image.fromarray(self.picture(t, hw)).save(folder / f"{t:05d}.jpg", quality=95)


class Contestant:
    """What all of them can do."""

    def follow(self, folder: Path, objects: int) -> Iterator[np.ndarray]:
        """Masks (objects, h, w) of one frame after the other, the objects shown on the first."""
        raise NotImplementedError

    def begin(self, folder: Path, objects: int) -> None:
        """Gets ready to follow."""
        self._steps = self.follow(folder, objects)

    def step(self, frames: int = 1) -> np.ndarray:
        """Follows through so many frames more, and gives the masks of the last."""
        return list(islice(self._steps, frames))[-1]


class Sessions(Contestant):
    """What follows by masklet's sessions."""

    _network: SegmentationNetwork

    def computing(self, precision: Precision) -> AbstractContextManager:
        self._network.set_precision(precision)
        return nullcontext()

    def follow(self, folder: Path, objects: int) -> Iterator[np.ndarray]:
        with VideoSession(self._network, folder) as session:
            for obj in range(objects):
                session.prompt(0, obj, Points(PLACES[obj]))
            for result in session.propagate():
                yield result.masks_ohw


class Ours(Sessions):
    """masklet, in a process like any that has called ``masklet.load``."""

    name = "masklet"
    precisions: tuple[Precision, ...] = ("auto", "exact", "plain")

    def __init__(self, reference: Reference):
        keep_freed_memory()
        self._network = SegmentationNetwork(our_config(reference.image_size)).eval()
        self._network.load_state_dict(from_published(reference.weights()))
        self._picture = ImageSession(self._network)

    def encode(self, picture: np.ndarray) -> np.ndarray:
        self._picture.set_image(picture)
        return self._picture.features.stride16_bchw.numpy()

    def click(self, times: int = 1) -> np.ndarray:
        return [self._picture.predict(Points(PLACES[0])).masks for _ in range(times)][-1]

    def everything(self, picture: np.ndarray, points: int) -> Any:
        return MaskGenerator(self._network, points_per_side=points, **NO_THRESHOLDS).records(picture)


class Pico(Sessions):
    """The built-in network."""

    name = "pico"
    precisions: tuple[Precision, ...] = ("auto",)

    def __init__(self, reference: Reference):
        self._network = load("pico")


class Theirs(Contestant):
    """The published package."""

    name = "sam2"
    precisions = ("bfloat16", "float32")

    def __init__(self, reference: Reference):
        override = [f"++model.image_size={reference.image_size}"]
        build = import_module("sam2.build_sam").build_sam2_video_predictor
        self._network = build(PEER_CONFIG, device="cpu", hydra_overrides_extra=override)
        self._network.load_state_dict(reference.weights())
        self._picture = self._sized(import_module("sam2.sam2_image_predictor").SAM2ImagePredictor(self._network))

    def computing(self, precision: str) -> AbstractContextManager:
        return torch.autocast("cpu", torch.bfloat16) if precision == "bfloat16" else nullcontext()

    def encode(self, picture: np.ndarray) -> np.ndarray:
        self._picture.set_image(picture)
        return self._picture.get_image_embedding().float().numpy()

    def click(self, times: int = 1) -> np.ndarray:
        for _ in range(times):
            masks, _, _ = self._picture.predict(np.array([PLACES[0]]), np.array([1]), multimask_output=True)
        return masks > 0

    def everything(self, picture: np.ndarray, points: int) -> Any:
        kind = import_module("sam2.automatic_mask_generator").SAM2AutomaticMaskGenerator
        generator = kind(self._network, points_per_side=points, **NO_THRESHOLDS)
        self._sized(generator.predictor)
        return generator.generate(picture)

    def follow(self, folder: Path, objects: int) -> Iterator[np.ndarray]:
        state = self._network.init_state(str(folder))
        for obj in range(objects):
            self._network.add_new_points_or_box(state, 0, obj, points=[PLACES[obj]], labels=[1])
        for _, _, logits in self._network.propagate_in_video(state):
            yield (logits[:, 0] > 0).numpy()

    def _sized(self, predictor: Any) -> Any:
        side = self._network.image_size
        predictor._bb_feat_sizes = [(side // stride, side // stride) for stride in (4, 8, 16)]
        return predictor


def _module(path: Path) -> ModuleType:
    spec = spec_from_file_location(f"reference_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    found = module_from_spec(spec)
    spec.loader.exec_module(found)
    return found
