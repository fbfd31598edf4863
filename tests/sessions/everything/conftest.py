"""A network that sees flat colours: an object is whatever has the colour at the point, or the colour remembered."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from masklet.model.config import HieraConfig, MemoryConfig, NetworkConfig
from masklet.model.outputs import FrameMemory, ImageFeatures, MaskPrediction, ObjectMask, Recollection
from masklet.model.prompt_encoder import NO_POINT, PromptBatch
from masklet.model.sam2 import ABSENT_LOGIT, SegmentationNetwork

PICTURE_HW = (96, 128)
GREY, RED, GREEN, BLUE = (110, 110, 110), (250, 20, 20), (20, 250, 20), (20, 20, 250)


class ColourNetwork:
    """What a segmentation network does, for pictures of a few flat colours. Large areas do not count as objects."""

    config = NetworkConfig(
        name="colours",
        encoder=HieraConfig(embed_dim=8, heads=1, blocks=(1, 1, 1, 1), global_blocks=()),
        image_size=256,
        memory=MemoryConfig(channels=3, slots=3, pointers=0),
    )
    device = torch.device("cpu")
    no_memory = torch.zeros(1)
    has_memory = True

    def __init__(self) -> None:
        self.asked = 0
        """Points that were decoded."""
        self.followed = 0
        """Objects that were followed, over all frames."""
        self.encoded = 0

    def eval(self) -> ColourNetwork:
        return self

    def encode_image(self, images_bchw: Tensor) -> ImageFeatures:
        self.encoded += len(images_bchw)
        stride16_bchw = torch.zeros(len(images_bchw), 3, 16, 16)
        return ImageFeatures(stride16_bchw, self.no_memory, F.avg_pool2d(images_bchw, 4))

    def without_memory(self, features: ImageFeatures) -> Tensor:
        return features.stride16_bchw

    def objects_at_once(self, features: ImageFeatures) -> None:
        """All of them."""

    def recall(self, features: ImageFeatures, recollection: Recollection, around_bnc: None) -> Tensor:
        colours_ochw = recollection.maps[0][1].features_ochw
        self.followed += len(colours_ochw)
        return colours_ochw

    def decode(
        self,
        features: ImageFeatures,
        conditioned_ochw: Tensor,
        prompts: PromptBatch,
        *,
        candidates: bool,
        stability: Any = None,
    ) -> MaskPrediction:
        assert prompts.points_unit_op2 is not None
        assert prompts.labels_op is not None
        picture_chw = features.stride4_bchw[0]
        colours_oc = conditioned_ochw[:, :, 0, 0]
        if not (prompts.labels_op == NO_POINT).any():
            x, y = (prompts.points_unit_op2[:, 0] * 64).long().clamp(max=63).T
            colours_oc = picture_chw[:, y, x].T
            self.asked += len(colours_oc)
        distance_ohw = (picture_chw[None] - colours_oc[:, :, None, None]).norm(dim=1)
        logits_o1hw = 40 * (1 - distance_ohw[:, None])
        share_o1 = (logits_o1hw > 0).float().mean(dim=(2, 3))
        iou_ok = torch.where(share_o1 < 0.4, 0.95, 0.1) - 0.01 * torch.arange(3 if candidates else 1)
        return MaskPrediction(
            logits_o1hw.expand(-1, iou_ok.shape[1], -1, -1),
            iou_ok,
            torch.zeros(*iou_ok.shape, 0),
            torch.where(share_o1[:, 0] > 0, 10.0, -10.0),
        )

    def choose(self, prediction: MaskPrediction) -> ObjectMask:
        present = (prediction.presence_o > 0)[:, None, None, None]
        logits_o1hw = torch.where(present, prediction.logits_okhw[:, :1], ABSENT_LOGIT)
        return ObjectMask(logits_o1hw, prediction.iou_ok[:, 0], torch.zeros(len(present), 0), prediction.presence_o)

    def adopt(self, features: ImageFeatures, masks_o1hw: Tensor, stability: Any = None) -> ObjectMask:
        logits_o1hw = F.interpolate(20 * masks_o1hw - 10, size=(64, 64), mode="bilinear", antialias=True)
        presence_o = torch.where(masks_o1hw.flatten(1).any(dim=1), 10.0, -10.0)
        return ObjectMask(logits_o1hw, torch.ones(len(presence_o)), torch.zeros(len(presence_o), 0), presence_o)

    def remember(self, features: ImageFeatures, mask: ObjectMask, *, prompted: bool) -> FrameMemory:
        inside_o1hw = (mask.logits_o1hw > 0).float()
        total_oc = (features.stride4_bchw * inside_o1hw).sum(dim=(2, 3))
        colours_oc = total_oc / inside_o1hw.sum(dim=(2, 3)).clamp(min=1)
        return FrameMemory(colours_oc[:, :, None, None], mask.pointer_oc)


@pytest.fixture
def colour_network() -> ColourNetwork:
    return ColourNetwork()


@pytest.fixture
def seer(colour_network: ColourNetwork) -> SegmentationNetwork:
    """The same, for the type checker."""
    return cast(SegmentationNetwork, colour_network)


def painted(*rectangles: tuple[tuple[int, int, int], int, int, int, int]) -> np.ndarray:
    """A grey picture with rectangles: colour, left, top, right, bottom."""
    picture = np.full((*PICTURE_HW, 3), GREY, dtype=np.uint8)
    for colour, x0, y0, x1, y1 in rectangles:
        picture[y0:y1, x0:x1] = colour
    return picture


def rectangle(x0: int, y0: int, x1: int, y1: int, picture_hw: tuple[int, int] = PICTURE_HW) -> np.ndarray:
    """(h, w) bool."""
    mask = np.zeros(picture_hw, dtype=bool)
    mask[y0:y1, x0:x1] = True
    return mask


def iou(a: np.ndarray, b: np.ndarray) -> float:
    return float((a & b).sum() / (a | b).sum())
