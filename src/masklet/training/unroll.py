"""One batch of clips with a simulated user: prompt, track, correct, as a session would, but differentiably."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from masklet.memory import MemoryBank
from masklet.model.config import LOGIT_LIMIT
from masklet.model.outputs import FrameMemory, ImageFeatures, MaskPrediction, ObjectMask, Recollection
from masklet.model.prompt_encoder import PromptBatch
from masklet.model.sam2 import MASK_LOGIT, SegmentationNetwork, answered, resize
from masklet.training.batches import ClipBatch
from masklet.training.losses import LossWeights, prediction_terms, total, true_iou
from masklet.training.simulation import Kind, Plan, Shown, correction, first_prompt


@dataclass
class Outcome:
    """What one unrolled batch of o objects gave."""

    losses: list[Tensor] = field(default_factory=list)
    """(o,) for every answer of the network: each frame, and each click on it."""
    terms: dict[str, list[Tensor]] = field(default_factory=dict)
    """The losses' terms, as means over the objects, in the order of ``losses``."""
    prompt_iou: list[float] = field(default_factory=list)
    """True IoU of the answers on prompted frames, in order."""
    track_iou: list[float] = field(default_factory=list)
    """True IoU of the frames that were tracked without help, in order."""
    answers: dict[int, Tensor] = field(default_factory=dict)
    """Frame -> the low-res logits (o, 1, side, side) that were remembered."""
    shown: dict[int, list[Shown]] = field(default_factory=dict)
    """Frame -> points of each object."""

    def loss(self, objects: float) -> Tensor:
        """All answers' losses, summed as published, for a batch that counts as ``objects`` objects."""
        return torch.stack(self.losses).sum() / objects


@dataclass(frozen=True)
class Answer:
    """The network's last word on a frame, and what it was told."""

    mask: ObjectMask
    conditioned_ochw: Tensor
    prompts: PromptBatch | None = None


class Unroll:
    """Runs the network over one batch. All objects are batched; ``rng_o`` gives each of them its own chance."""

    def __init__(
        self,
        network: SegmentationNetwork,
        batch: ClipBatch,
        plan: Plan,
        rng_o: Sequence[np.random.Generator],
        weights: LossWeights,
    ):
        self.network, self.batch, self.plan, self.rng_o, self.weights = network, batch, plan, rng_o, weights
        self.features = network.encode_image(batch.images())
        self.bank = MemoryBank(network.config.memory)
        self.outcome = Outcome()

    def run(self) -> Outcome:
        """Through all frames in the plan's order."""
        for frame in self.plan.order():
            kind = self.plan.prompted.get(frame)
            answer = self._tracked(frame) if kind is None else self._prompted(frame, kind)
            if frame in self.plan.corrected:
                answer = self._corrected(frame, answer)
            conditions = kind is not None or frame in self.plan.corrected
            memories = self.bank.conditioning if conditions else self.bank.tracked
            memories[frame] = self._remember(frame, answer.mask, known=kind == "mask" or frame in self.plan.taught)
            self.outcome.answers[frame] = answer.mask.logits_o1hw.detach()
        return self.outcome

    def _prompted(self, frame: int, kind: Kind) -> Answer:
        features = self._features(frame)
        if kind == "mask":
            return Answer(self.network.adopt(features, self._truth(frame), stability=None), features.stride16_bchw)
        shown = [first_prompt(kind, truth, rng, self.plan.centred_share) for truth, rng in self._truths(frame)]
        return self._ask(frame, self._points(frame, shown), self.network.without_memory(features))

    def _tracked(self, frame: int) -> Answer:
        conditioned_ochw = self.network.recall(self._features(frame), self._recollection(frame))
        return self._ask(frame, None, conditioned_ochw)

    def _corrected(self, frame: int, answer: Answer) -> Answer:
        """Click after click, each with the answer before it as mask prompt."""
        for _ in range(self.plan.clicks):
            seen_ohw = (resize(answer.mask.logits_o1hw, self.batch.hw)[:, 0] > 0).detach().cpu().numpy()
            shown = [
                correction(truth, np.zeros_like(seen) if self._blind(rng) else seen, rng, self.plan.centred_share)
                for (truth, rng), seen in zip(self._truths(frame), seen_ohw, strict=True)
            ]
            told = joined(answer.prompts, self._points(frame, shown))
            prompts = replace(told, mask_logits_o1hw=self._fed_back(answer.mask))
            answer = self._ask(frame, prompts, answer.conditioned_ochw)
        return answer

    def _fed_back(self, mask: ObjectMask) -> Tensor:
        """What the network is told of its last answer: (o, 1, side, side)."""
        logits_o1hw = mask.logits_o1hw
        return logits_o1hw.detach().clamp(-LOGIT_LIMIT, LOGIT_LIMIT) if self.plan.as_in_use else logits_o1hw

    def _recollection(self, frame: int) -> Recollection:
        if self.plan.as_in_use:
            return self.bank.select(frame)
        past = self.bank.select(frame, frames=self.batch.frames)
        if not self.network.config.memory.pointers:
            return past
        later = [(frame - t, memory.pointer_oc) for t, memory in self.bank.conditioning.items() if t > frame]
        return replace(past, pointers=[*past.pointers, *later])

    def _ask(self, frame: int, prompts: PromptBatch | None, conditioned_ochw: Tensor) -> Answer:
        told = prompts or PromptBatch.nothing(len(conditioned_ochw), conditioned_ochw.device)
        assert told.labels_op is not None
        ambiguous = told.labels_op.shape[1] == 1
        prediction = self.network.decode(
            self._features(frame), conditioned_ochw, told, candidates=ambiguous, stability=None
        )
        self._judge(prediction, frame, self.outcome.track_iou if prompts is None else self.outcome.prompt_iou)
        return Answer(self.network.choose(prediction), conditioned_ochw, prompts)

    def _judge(self, prediction: MaskPrediction, frame: int, ious: list[float]) -> None:
        h, w = (side // self.weights.reduction for side in self.batch.hw)
        truth_o1hw = self._truth(frame)
        seen_o = truth_o1hw.flatten(1).any(1)
        target_o1hw = F.adaptive_avg_pool2d(truth_o1hw, (h, w))
        judged = answered(prediction) if self.weights.as_answered else prediction
        compared = replace(judged, logits_okhw=resize(judged.logits_okhw, (h, w)))
        terms = prediction_terms(compared, target_o1hw, self.weights, seen_o)
        self.outcome.losses.append(total(terms))
        for name, term_o in terms.items():
            self.outcome.terms.setdefault(name, []).append(term_o.detach().mean())
        if seen_o.any():
            ious.append(true_iou(compared.best().logits_okhw.detach(), target_o1hw)[seen_o].mean().item())

    def _remember(self, frame: int, mask: ObjectMask, *, known: bool) -> FrameMemory:
        if not known:
            return self.network.remember(self._features(frame), mask, prompted=False)
        truth_o1hw = self._truth(frame)
        presence_o = torch.where(truth_o1hw.flatten(1).any(1), MASK_LOGIT, -MASK_LOGIT)
        return self.network.remember_belief(self._features(frame), truth_o1hw, replace(mask, presence_o=presence_o))

    def _features(self, frame: int) -> ImageFeatures:
        return self.features.rows(self.batch.clip_o * self.batch.frames + frame)

    def _truth(self, frame: int) -> Tensor:
        return self.batch.masks_ofhw[:, frame, None].float()

    def _truths(self, frame: int) -> list[tuple[np.ndarray, np.random.Generator]]:
        return list(zip(self.batch.masks_ofhw[:, frame].cpu().numpy(), self.rng_o, strict=True))

    def _blind(self, rng: np.random.Generator) -> bool:
        """Whether the user clicks somewhere on the object without looking at the answer."""
        return bool(rng.random() < self.plan.true_click_share)

    def _points(self, frame: int, shown: list[Shown]) -> PromptBatch:
        self.outcome.shown.setdefault(frame, []).extend(shown)
        points_op2, labels_op = (np.stack(parts) for parts in zip(*shown, strict=True))
        device = self.network.device
        unit_op2 = torch.as_tensor(points_op2 / self.batch.hw[::-1], dtype=torch.float32, device=device)
        return PromptBatch(unit_op2, torch.as_tensor(labels_op, dtype=torch.long, device=device))


def joined(first: PromptBatch | None, then: PromptBatch) -> PromptBatch:
    """The points of both, in order."""
    if first is None:
        return then
    assert first.points_unit_op2 is not None
    assert first.labels_op is not None
    assert then.points_unit_op2 is not None
    assert then.labels_op is not None
    return PromptBatch(
        torch.cat([first.points_unit_op2, then.points_unit_op2], dim=1),
        torch.cat([first.labels_op, then.labels_op], dim=1),
    )
