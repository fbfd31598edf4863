"""One batch of clips with a simulated user: prompt the first frame, correct it, then follow the object."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from masklet.clicks import noisy_box, sample_click
from masklet.memory import MemoryBank
from masklet.model.config import LOGIT_LIMIT
from masklet.model.outputs import FrameMemory, ImageFeatures, MaskPrediction, ObjectMask
from masklet.model.prompt_encoder import BOX_MAX, BOX_MIN, PromptBatch
from masklet.model.sam2 import SegmentationNetwork, resize, single_mask
from masklet.prompts import Points
from masklet.training.batches import ClipBatch
from masklet.training.losses import LossWeights, prediction_loss, true_iou


@dataclass(frozen=True)
class Simulation:
    """How the simulated user behaves, and how the network is taught to follow."""

    mask_share: float = 0.6
    """Share of batches whose first frame is remembered with its true mask; else with the prompted prediction."""
    box_share: float = 0.4
    """Share of batches whose first frame is prompted with boxes instead of clicks."""
    corrections: int = 2
    """Correction clicks on the first frame."""
    true_memory_share: float = 0.3
    """Share of tracked frames that are remembered with their true masks."""
    weights: LossWeights = field(default_factory=LossWeights)


@dataclass
class Outcome:
    """Losses and IoU of one unrolled batch."""

    prompt_losses: list[Tensor] = field(default_factory=list)
    track_losses: list[Tensor] = field(default_factory=list)
    prompt_iou: list[float] = field(default_factory=list)
    track_iou: list[float] = field(default_factory=list)

    def loss(self) -> Tensor:
        """Mean over frames of the tracking loss plus mean over clicks of the prompting loss."""
        return torch.stack(self.track_losses).mean() + torch.stack(self.prompt_losses).mean()


class Unroll:
    """Runs the network over one batch, as a session would, but differentiably and for all objects at once."""

    def __init__(
        self, network: SegmentationNetwork, batch: ClipBatch, simulation: Simulation, rng: np.random.Generator
    ):
        self.network, self.batch, self.simulation, self.rng = network, batch, simulation, rng
        self.features = network.encode_image(batch.images())
        self.bank = MemoryBank(network.config.memory)
        self.outcome = Outcome()

    def run(self) -> Outcome:
        """Prompt the first frame and track through the others."""
        prompted = self._prompt_first_frame()
        known = self.rng.random() < self.simulation.mask_share
        self.bank.conditioning[0] = self._remember(0, self._truth(0) if known else prompted, certain=True)
        for frame in range(1, self.batch.frames):
            self._track(frame)
        return self.outcome

    def _frame(self, frame: int) -> ImageFeatures:
        return self.features.rows(self.batch.clip_o * self.batch.frames + frame)

    def _truth(self, frame: int) -> Tensor:
        return self.batch.masks_ofhw[:, frame, None].float()

    def _track(self, frame: int) -> None:
        features = self._frame(frame)
        conditioned = self.network.recall(features, self.bank.select(frame))
        nothing = PromptBatch.nothing(len(conditioned), conditioned.device)
        prediction = self.network.decode_all(features, conditioned, nothing)
        self.outcome.track_losses.append(self._judge(prediction, frame, self.outcome.track_iou))
        known = self.rng.random() < self.simulation.true_memory_share
        logits = single_mask(prediction).logits_okhw
        belief = self._truth(frame) if known else resize(logits, self.network.config.image_size).sigmoid()
        self.bank.tracked[frame] = self._remember(frame, belief, certain=known)

    def _remember(self, frame: int, belief_o1hw: Tensor, *, certain: bool) -> FrameMemory:
        if certain:
            belief_o1hw = (belief_o1hw > 0.5).float()
        there_o = (belief_o1hw > 0.5).flatten(1).any(1).float() * 2 - 1
        pointer = belief_o1hw.new_zeros(len(belief_o1hw), 0)
        mask = ObjectMask(belief_o1hw, there_o, pointer, presence_o=there_o)
        return self.network.remember_belief(self._frame(frame), belief_o1hw, mask)

    def _judge(self, prediction: MaskPrediction, frame: int, ious: list[float]) -> Tensor:
        """Compared at half the picture's size: sharper than the low-res logits, cheaper than all pixels."""
        side = self.network.config.low_res * 2
        target = F.adaptive_avg_pool2d(self._truth(frame), side)
        logits = resize(prediction.logits_okhw, side)
        seen = self.batch.masks_ofhw[:, frame].flatten(1).any(1)
        if seen.any():
            ious.append(true_iou(logits[:, :1].detach(), target)[seen].mean().item())
        return prediction_loss(
            logits, prediction.iou_ok.float(), prediction.presence_o.float(), target, self.simulation.weights
        )

    def _prompt_first_frame(self) -> Tensor:
        """Box or click, then corrections; the probability of the last answer (o, 1, image_size, image_size)."""
        features = self._frame(0)
        conditioned = self.network.without_memory(features)
        truth_ohw = self.batch.masks_ofhw[:, 0].cpu().numpy()
        prompts = self._first_prompts(truth_ohw).to(conditioned.device)
        for _ in range(self.simulation.corrections):
            prediction = self.network.decode_all(features, conditioned, prompts)
            self.outcome.prompt_losses.append(self._judge(prediction, 0, self.outcome.prompt_iou))
            prompts = self._corrected(prompts, prediction, truth_ohw)
        prediction = self.network.decode_all(features, conditioned, prompts)
        self.outcome.prompt_losses.append(self._judge(prediction, 0, self.outcome.prompt_iou))
        return resize(single_mask(prediction).logits_okhw, self.network.config.image_size).sigmoid()

    def _first_prompts(self, truth_ohw: np.ndarray) -> PromptBatch:
        if self.rng.random() < self.simulation.box_share:
            boxes = [noisy_box(truth, self.rng).corners_xy for truth in truth_ohw]
            return self._points(np.stack(boxes), np.tile([BOX_MIN, BOX_MAX], (len(boxes), 1)))
        nothing = np.zeros_like(truth_ohw[0])
        return self._clicks([sample_click(truth, nothing, self.rng) for truth in truth_ohw])

    def _corrected(self, prompts: PromptBatch, prediction: MaskPrediction, truth_ohw: np.ndarray) -> PromptBatch:
        """The same prompts, one more click in the wrong region, and the previous answer as mask prompt."""
        assert prompts.points_unit_op2 is not None
        assert prompts.labels_op is not None
        before = self._answer(prediction, prompts.labels_op.shape[1])
        seen_ohw = (resize(before, truth_ohw.shape[-1])[:, 0] > 0).cpu().numpy()
        pairs = zip(truth_ohw, seen_ohw, strict=True)
        more = self._clicks([sample_click(truth, seen, self.rng) for truth, seen in pairs]).to(before.device)
        assert more.points_unit_op2 is not None
        assert more.labels_op is not None
        return PromptBatch(
            torch.cat([prompts.points_unit_op2, more.points_unit_op2], dim=1),
            torch.cat([prompts.labels_op, more.labels_op], dim=1),
            before.clamp(-LOGIT_LIMIT, LOGIT_LIMIT),
        )

    def _answer(self, prediction: MaskPrediction, points: int) -> Tensor:
        """What a session would show: the best candidate after one click, else the single mask."""
        best = prediction.best() if points == 1 else single_mask(prediction)
        return best.logits_okhw.detach().float()

    def _clicks(self, clicks: list[Points]) -> PromptBatch:
        return self._points(np.stack([click.xy for click in clicks]), np.stack([click.labels for click in clicks]))

    def _points(self, points_px_op2: np.ndarray, labels_op: np.ndarray) -> PromptBatch:
        side = self.batch.frames_bfchw.shape[-1]
        return PromptBatch(torch.as_tensor(points_px_op2).float() / side, torch.as_tensor(labels_op).long())
