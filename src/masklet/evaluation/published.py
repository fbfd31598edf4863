"""The published package `sam2` as a runner, so that it can be measured with the same command.

Install it in an environment of its own (``pip install sam2``). Its video predictor reads folders of JPEG files named
by numbers, as the benchmarks have them. On a graphics card it computes in bfloat16, as its own tools do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch

from masklet.checkpoints.registry import weights_path
from masklet.evaluation.runners import Runner, VideoRun
from masklet.evaluation.truth import ObjectMasks
from masklet.evaluation.user import Answer
from masklet.prompts import Box, Mask, Points, Prompt
from masklet.video.read import FrameSource

SIZES = {"tiny": "t", "small": "s", "base_plus": "b+", "large": "l"}
JPEG = (".jpg", ".jpeg")


class PublishedRunner(Runner):
    """A `SAM2VideoPredictor`, which serves for pictures too."""

    def __init__(self, predictor: Any, *, corrections_condition: bool = False) -> None:
        self._predictor = predictor
        predictor.add_all_frames_to_correct_as_cond = corrections_condition

    @classmethod
    def load(cls, weights: str, device: str, *, corrections_condition: bool = False) -> PublishedRunner:
        """Raises ValueError when `sam2` is not installed or the weights are no published checkpoint."""
        build_sam = _package("sam2.build_sam")
        path = weights_path(weights)
        predictor = build_sam.build_sam2_video_predictor(_config_of(path), str(path), device=device)
        return cls(predictor, corrections_condition=corrections_condition)

    def open(self, frames: FrameSource, *, overlap: bool) -> PublishedRun:
        self._predictor.non_overlap_masks = not overlap
        return PublishedRun(self._predictor, frames)

    def picture(self, picture: np.ndarray) -> Callable[[], Answer]:
        predictor = _package("sam2.sam2_image_predictor").SAM2ImagePredictor(self._predictor)
        with _precision(predictor.device):
            predictor.set_image(picture)
        return lambda: PublishedClicks(predictor).answer


class PublishedRun(VideoRun):
    """An inference state of the video predictor."""

    def __init__(self, predictor: Any, frames: FrameSource) -> None:
        self._predictor = predictor
        with _precision(predictor.device):
            self._state = predictor.init_state(video_path=str(_jpeg_folder(frames)))

    def prompt(self, frame: int, obj: int, prompt: Prompt) -> np.ndarray:
        target = {"inference_state": self._state, "frame_idx": frame, "obj_id": obj}
        with _precision(self._predictor.device):
            if isinstance(prompt, Mask):
                _, objects, logits = self._predictor.add_new_mask(**target, mask=prompt.array)
            elif isinstance(prompt, Box):
                _, objects, logits = self._predictor.add_new_points_or_box(**target, box=prompt.corners_xy.reshape(4))
            else:
                _, objects, logits = self._predictor.add_new_points_or_box(
                    **target, points=prompt.xy, labels=prompt.labels, clear_old_points=False
                )
        return _masks(objects, logits)[obj]

    def follow(self, start: int, end: int | None = None) -> Iterator[tuple[int, ObjectMasks]]:
        more = None if end is None else end - 1 - start
        steps = self._predictor.propagate_in_video(self._state, start_frame_idx=start, max_frame_num_to_track=more)
        while True:
            with _precision(self._predictor.device):
                step = next(steps, None)
            if step is None:
                return
            frame, objects, logits = step
            yield frame, _masks(objects, logits)

    def close(self) -> None:
        self._predictor.reset_state(self._state)


class PublishedClicks:
    """One object of a picture: each answer is fed back with the next click, and the first click gets candidates."""

    def __init__(self, predictor: Any) -> None:
        self._predictor = predictor
        self._points: Points | None = None
        self._box: Box | None = None
        self._low_res_1hw: np.ndarray | None = None

    def answer(self, prompt: Prompt) -> np.ndarray:
        if isinstance(prompt, Mask):
            raise ValueError("the published image predictor takes no drawn masks; use clicks or a box")
        if isinstance(prompt, Box):
            self._box = prompt
        else:
            self._points = prompt if self._points is None else self._points + prompt
        is_ambiguous = self._points is not None and len(self._points) == 1 and self._box is None
        with _precision(self._predictor.device):
            masks_khw, iou_k, low_res_khw = self._predictor.predict(
                point_coords=None if self._points is None else self._points.xy,
                point_labels=None if self._points is None else self._points.labels,
                box=None if self._box is None else self._box.corners_xy.reshape(4),
                mask_input=self._low_res_1hw,
                multimask_output=is_ambiguous,
            )
        best = int(np.argmax(iou_k))
        self._low_res_1hw = low_res_khw[best][None]
        return masks_khw[best] > 0


def _package(module: str) -> Any:
    try:
        return import_module(module)
    except ImportError as error:
        raise ValueError(
            f"the runner sam2 needs the package sam2, which cannot be imported ({error}); "
            "install it beside masklet with `pip install sam2`, or leave out --runner"
        ) from error


def _config_of(path: Path) -> str:
    version, _, size = path.stem.partition("_hiera_")
    if version not in ("sam2", "sam2.1") or size not in SIZES:
        raise ValueError(
            f"cannot tell the network of {path.name}; the runner sam2 takes the published checkpoints under their "
            f"own names, such as sam2.1_hiera_tiny.pt, or the names that `masklet models` lists"
        )
    return f"configs/{version}/{version}_hiera_{SIZES[size]}.yaml"


def _jpeg_folder(frames: FrameSource) -> Path:
    folder = frames.path
    if folder is None or not folder.is_dir():
        raise ValueError(f"the package sam2 reads folders of JPEG files, got {folder or 'frames in memory'}")
    odd = [file.name for file in folder.iterdir() if file.suffix.lower() not in JPEG or not file.stem.isdecimal()]
    if odd:
        raise ValueError(f"the package sam2 takes JPEG files named by numbers, got {odd[0]} in {folder}; rename them")
    return folder


def _masks(objects: Any, logits_o1hw: torch.Tensor) -> ObjectMasks:
    masks_ohw = (logits_o1hw[:, 0] > 0).cpu().numpy()
    return {int(obj): mask for obj, mask in zip(objects, masks_ohw, strict=True)}


def _precision(device: torch.device) -> AbstractContextManager[Any]:
    if torch.device(device).type == "cuda":
        return torch.autocast("cuda", dtype=torch.bfloat16)
    return nullcontext()
