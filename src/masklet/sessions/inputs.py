"""Pictures and prompts -> what the network takes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from masklet.model.config import IMAGENET_MEAN, IMAGENET_STD, LOGIT_LIMIT
from masklet.model.prompt_encoder import PromptBatch
from masklet.model.sam2 import resize
from masklet.prompts import UnitPoints


def picture_tensor(picture: np.ndarray, hw: tuple[int, int], device: torch.device | str = "cpu") -> Tensor:
    """A still picture (h, w, 3) uint8 as the published image predictor takes it: (1, 3, *hw), normalised.

    Resized as floats, bilinearly with antialiasing.
    """
    return _normalised(resize(_unit_tensor(picture, device), hw, antialias=True))


def frame_tensor(frame: np.ndarray, hw: tuple[int, int], device: torch.device | str = "cpu") -> Tensor:
    """A frame (h, w, 3) uint8 as the published video predictor takes it: (1, 3, *hw), normalised.

    Resized as bytes with PIL's default filter.
    """
    height, width = hw
    resized = np.array(Image.fromarray(frame).resize((width, height)))
    return _normalised(_unit_tensor(resized, device))


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
    return _tensor(picture).to(device).permute(2, 0, 1)[None].float() / 255


def _normalised(unit_bchw: Tensor) -> Tensor:
    mean = torch.tensor(IMAGENET_MEAN, device=unit_bchw.device)[:, None, None]
    deviation = torch.tensor(IMAGENET_STD, device=unit_bchw.device)[:, None, None]
    return (unit_bchw - mean) / deviation
