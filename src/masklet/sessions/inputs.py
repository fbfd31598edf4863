"""Pictures and prompts -> what the network takes."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import cv2
import numpy as np
import torch
from PIL import Image
from torch import Tensor

from masklet.model.config import IMAGENET_MEAN, IMAGENET_STD, LOGIT_LIMIT, NetworkConfig
from masklet.model.prompt_encoder import PromptBatch
from masklet.model.sam2 import resize
from masklet.prompts import UnitPoints


def picture_tensor(
    picture: np.ndarray, config: NetworkConfig, device: torch.device | str = "cpu", hw: tuple[int, int] | None = None
) -> Tensor:
    """A still picture (h, w, 3) uint8 as a network takes it: normalised, (1, 3, *hw); by default of its ``canvas``.

    Resized as the published image predictor does it, as floats, bilinearly with antialiasing.
    """
    hw = hw or config.canvas(_hw(picture))
    if config.keeps_shape:
        return frame_tensor(_quickly_resized(picture, hw), device)
    return _normalised(resize(_unit_tensor(picture, device), hw, antialias=True))


def resized_frame(frame: np.ndarray, config: NetworkConfig) -> np.ndarray:
    """A frame (h, w, 3) uint8 at the size of the network's ``canvas``.

    Resized as the published video predictor does it, as bytes with PIL's default filter.
    """
    height, width = config.canvas(_hw(frame))
    if config.keeps_shape:
        return _quickly_resized(frame, (height, width))
    return np.array(Image.fromarray(frame).resize((width, height)))


def frame_tensor(resized: np.ndarray, device: torch.device | str = "cpu") -> Tensor:
    """A ``resized_frame`` as a network takes it: normalised, (1, 3, h, w).

    On a processor from a table, the channels of a pixel side by side.
    """
    if torch.device(device).type != "cpu":
        return _normalised(_unit_tensor(resized, device))
    return torch.from_numpy(cv2.LUT(resized, _table())).permute(2, 0, 1)[None]


def drawn_tensor(mask_hw: np.ndarray, hw: tuple[int, int], device: torch.device | str = "cpu") -> Tensor:
    """A drawn mask (h, w) bool as (1, 1, *hw) of 0 and 1: set where at least half is covered."""
    mask_11hw = _tensor(mask_hw).to(device, torch.float32)[None, None]
    return (resize(mask_11hw, hw, antialias=True) >= 0.5).float()


def prompt_batch(
    points_of_objects: Sequence[UnitPoints], mask_logits_o1hw: Tensor | None, device: torch.device | str
) -> PromptBatch:
    """Prompts of o objects with equally many points; ``mask_logits_o1hw`` are earlier low-res logits."""
    if mask_logits_o1hw is not None:
        mask_logits_o1hw = mask_logits_o1hw.clamp(-LOGIT_LIMIT, LOGIT_LIMIT)
    if not len(points_of_objects[0].labels_p):
        return PromptBatch(mask_logits_o1hw=mask_logits_o1hw)
    points_op2 = np.stack([points.unit_xy_p2 for points in points_of_objects])
    labels_op = np.stack([points.labels_p for points in points_of_objects])
    return PromptBatch(
        torch.from_numpy(points_op2).to(device), torch.from_numpy(labels_op).to(device), mask_logits_o1hw
    )


def _tensor(array: np.ndarray) -> Tensor:
    """A tensor of the array's memory, or of a copy where torch could not use that: read-only, or strided backward."""
    return torch.from_numpy(np.require(array, requirements=("C", "W")))


def _unit_tensor(picture: np.ndarray, device: torch.device | str) -> Tensor:
    """(h, w, 3) uint8 -> (1, 3, h, w) float32 from 0 to 1."""
    return _sent(picture, device).permute(2, 0, 1)[None].float() / 255


def _sent(picture: np.ndarray, device: torch.device | str) -> Tensor:
    """A picture's bytes on a device. The processor does not wait for a GPU to have them."""
    tensor = _tensor(picture)
    return (
        tensor.pin_memory().to(device, non_blocking=True) if torch.device(device).type == "cuda" else tensor.to(device)
    )


def _hw(picture: np.ndarray) -> tuple[int, int]:
    return picture.shape[0], picture.shape[1]


def _quickly_resized(picture: np.ndarray, hw: tuple[int, int]) -> np.ndarray:
    """By OpenCV, in a fifth of the time, for networks that no published predictor has shown its pictures."""
    height, width = hw
    shrinking = max(picture.shape[0] / height, picture.shape[1] / width)
    way = cv2.INTER_AREA if shrinking >= 2 else cv2.INTER_LINEAR if shrinking > 1 else cv2.INTER_CUBIC
    return cv2.resize(np.ascontiguousarray(picture), (width, height), interpolation=way)


@cache
def _table() -> np.ndarray:
    """What becomes of each byte in each channel: (256, 1, 3) float32."""
    bytes_hw3 = np.repeat(np.arange(256, dtype=np.uint8)[:, None, None], 3, axis=2)
    return _normalised(_unit_tensor(bytes_hw3, "cpu"))[0].permute(1, 2, 0).contiguous().numpy()


def _normalised(unit_bchw: Tensor) -> Tensor:
    mean = torch.tensor(IMAGENET_MEAN, device=unit_bchw.device)[:, None, None]
    deviation = torch.tensor(IMAGENET_STD, device=unit_bchw.device)[:, None, None]
    return (unit_bchw - mean) / deviation
