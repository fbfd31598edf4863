"""The network as the paper's figure draws it.

    pixels -> encode_image -> recall -> decode -> choose -> remember -> (memory bank) -> recall of later frames

Architecture: "SAM 2: Segment Anything in Images and Videos", arXiv 2408.00714.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from masklet.model.arithmetic import Computes, choose_arithmetic
from masklet.model.config import HieraConfig, NetworkConfig
from masklet.model.detail import with_squares
from masklet.model.hiera import Hiera
from masklet.model.layers import AbsentMark, Mlp, NoMark
from masklet.model.mask_decoder import MaskDecoder
from masklet.model.memory_attention import MemoryAttention
from masklet.model.memory_encoder import MemoryEncoder
from masklet.model.memory_tokens import Coarsens, KeysFromImage, KeysFromMemory
from masklet.model.mobile import Mobile
from masklet.model.neck import Neck
from masklet.model.outputs import FrameMemory, ImageFeatures, MaskPrediction, ObjectMask, Recollection, stacked
from masklet.model.precision import Precision
from masklet.model.prompt_encoder import PromptBatch, PromptEncoder

Some = TypeVar("Some", MaskPrediction, FrameMemory)

LARGE_PARTS = (
    "trunk",
    "memory_attention",
    "memory_encoder",
    "mask_decoder.transformer",
    "mask_decoder.to_stride8",
    "mask_decoder.to_stride4",
)
"""Where the time goes. The small rest is not worth a rounding."""
GRID_NUMBERS = 1 << 21
"""On a processor, so many numbers of the objects' grids are worked on at once: they shall stay in its cache."""
KEY_NUMBERS = 1 << 23
"""On a processor, so many numbers of keys are projected at once."""
ABSENT_LOGIT = -1024.0
ROUNDED = 5e-4
"""Twice the standard deviation of what bfloat16 does to the stability of seeded tiny networks' masks."""
DOUBT_LOGIT = 1.0
"""Stability that predicted IoUs are weighed by is told between this and its negative."""
MASK_LOGIT = 10.0
"""Certainty that is given to masks which the user draws."""


@dataclass(frozen=True)
class Stability:
    """When the single mask may stand for the object: its area hardly changes between the thresholds +-delta."""

    delta: float = 0.05
    threshold: float = 0.98

    def surely(self) -> Stability:
        """Of masks that roundings made a little more or less stable, those which are so without them too.

        In doubt the best candidate, which is predicted to be good, is the safer answer.
        """
        return replace(self, threshold=max(min(self.threshold + ROUNDED, 1.0), self.threshold))


class PointerHead(nn.Module):
    """Mask token -> object pointer; absent objects share one learned pointer."""

    def __init__(self, width: int):
        super().__init__()
        self.project = Mlp(width, width, width, layers=3)
        self.absent = nn.Parameter(torch.zeros(1, width))

    def forward(self, token_oc: Tensor, presence_o: Tensor) -> Tensor:
        return torch.where((presence_o > 0)[:, None], self.project(token_oc), self.absent)


class NoPointer(nn.Module):
    """For networks without object pointers: pointers of no channels."""

    def forward(self, token_oc: Tensor, presence_o: Tensor) -> Tensor:
        return token_oc.new_zeros(len(token_oc), 0)


class SegmentationNetwork(nn.Module):
    """Every verb is a pure function of its arguments; what is remembered is the caller's."""

    has_memory: bool = True
    """False: the weights hold the image part alone, so nothing can be followed through a video."""
    rounds: bool = False
    """Whether large products are computed in fewer digits than float32 has."""

    def __init__(self, config: NetworkConfig):
        super().__init__()
        c, memory = config.width, config.memory
        self.config = config
        self.trunk = Hiera(config.encoder) if isinstance(config.encoder, HieraConfig) else Mobile(config.encoder)
        self.neck = Neck(config.encoder.channels, c)
        self.prompt_encoder = PromptEncoder(c, sketched=config.sketches_prompts)
        self.mask_decoder = MaskDecoder(config)
        self.mask_as_prompt = nn.Conv2d(1, 1, 4, stride=4)
        self.pointer = PointerHead(c) if memory.pointers else NoPointer()
        self.memory_encoder = MemoryEncoder(c, memory.channels)
        self.mark_absent = AbsentMark(memory.channels) if config.marks_absence else NoMark()
        self.memory_tokens = KeysFromImage(config) if memory.keys_from_image else KeysFromMemory(config)
        self.memory_attention = MemoryAttention(config)
        self.no_memory = nn.Parameter(torch.zeros(1, c, 1, 1))

    def set_precision(self, precision: Precision = "auto") -> SegmentationNetwork:
        """How the large products are computed where nothing learns, from now on. Returns the network itself.

        "exact": in float32. "auto": in bfloat16 where the device is faster with it and masks hardly change, else like
        "exact". "plain": by torch's own operators, as a new network does. What comes out is float32 always. Raises
        ValueError for others.
        """
        arithmetic = choose_arithmetic(precision, self.device)
        self.rounds = arithmetic.dtype != torch.float32
        for name in LARGE_PARTS:
            for module in self.get_submodule(name).modules():
                if isinstance(module, Computes):
                    module.compute_by(arithmetic)
        return self

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.no_memory.device

    def encode_image(self, images_bchw: Tensor) -> ImageFeatures:
        """Normalised RGB (b, 3, h, w) of the configuration's ``canvas`` -> features."""
        decoder = self.mask_decoder
        # What looks at them wants their channels side by side; their gradients come faster in planes.
        order = torch.contiguous_format if torch.is_grad_enabled() else torch.channels_last
        maps = self.neck(self.trunk(images_bchw), decoder.project8, decoder.project4)
        features = ImageFeatures(*(map_bchw.contiguous(memory_format=order) for map_bchw in maps))
        if not (isinstance(self.memory_tokens, KeysFromImage) and self.has_memory):
            return features
        tokens_bnc = self.memory_tokens.tokens(features.stride16_bchw)
        h, w = features.stride16_bchw.shape[-2:]
        keys_blhnd = self.memory_attention.project_keys(tokens_bnc, h, w, self.memory_tokens.pooled)
        if self.memory_tokens.chooses_places:
            keys_blhnd = with_squares(keys_blhnd, h, w)
        return replace(features, keys_blhnd=keys_blhnd)

    def without_memory(self, features: ImageFeatures) -> Tensor:
        """The stride-16 map of a still picture or of a frame that stands for itself: (b, c, h, w)."""
        return features.stride16_bchw + self.no_memory

    def look_around(self, features: ImageFeatures) -> Tensor:
        """The part of ``recall`` that is the same for all objects, for those who recall some after others."""
        return self.memory_attention.look_around(features.stride16_bchw)

    def recall(self, features: ImageFeatures, recollection: Recollection, around_bnc: Tensor | None = None) -> Tensor:
        """The stride-16 map, conditioned on the memories of o objects: (o, c, h, w).

        ``features`` holds one picture, or one for each object.
        """
        objects = recollection.objects
        tokens = sum(memory.features_ochw[0, 0].numel() for _, memory in recollection.maps)
        size = max(KEY_NUMBERS // (tokens * self.config.width), 1)
        if around_bnc is None and (size >= objects or not self._takes_turns):
            return self.memory_attention(features.stride16_bchw, self.memory_tokens(recollection))
        parts = (recollection.of_objects(slice(start, start + size)) for start in range(0, objects, size))
        return self.memory_attention.in_parts(features.stride16_bchw, map(self.memory_tokens, parts), around_bnc)

    def decode_all(self, features: ImageFeatures, conditioned_ochw: Tensor, prompts: PromptBatch) -> MaskPrediction:
        """All four masks (k = 4): the single one first, then the three that share out an ambiguous prompt."""
        h, w = conditioned_ochw.shape[-2:]
        tokens_opc, dense_ochw = self.prompt_encoder(prompts, h, w)
        position_1chw = self.prompt_encoder.positions.grid(h, w)
        return self.mask_decoder(features, conditioned_ochw, dense_ochw, tokens_opc, position_1chw)

    def decode(
        self,
        features: ImageFeatures,
        conditioned_ochw: Tensor,
        prompts: PromptBatch,
        *,
        candidates: bool,
        stability: Stability | None = Stability(),
    ) -> MaskPrediction:
        """Three candidate masks (k = 3), or the single one (k = 1).

        With ``stability`` an unstable single mask gives way to the best candidate, and predicted IoUs are weighed, each
        where the configuration says so; ``None`` takes everything as it was predicted.
        """

        def decoded(rows: slice) -> MaskPrediction:
            some_ochw = conditioned_ochw if len(conditioned_ochw) == 1 else conditioned_ochw[rows]
            prediction = self.decode_all(features.of_objects(rows), some_ochw, prompts.rows(rows))
            if stability is not None and self.config.weighs_stability:
                prediction = weighed(prediction)
            if candidates:
                return candidate_masks(prediction)
            is_trusted = self.config.trusts_single_mask and not prompts.is_nothing
            if stability is None or is_trusted:
                return single_mask(prediction)
            return stable_mask(prediction, stability.surely() if self.rounds else stability)

        return self._in_groups(prompts.objects, features, decoded)

    def choose(self, prediction: MaskPrediction) -> ObjectMask:
        """The candidate of the highest predicted IoU, or nothing where the object is absent."""
        best = answered(prediction.best())
        return ObjectMask(
            logits_o1hw=best.logits_okhw,
            iou_o=best.iou_ok[:, 0],
            pointer_oc=self.pointer(best.tokens_okc[:, 0], best.presence_o),
            presence_o=best.presence_o,
        )

    def adopt(
        self, features: ImageFeatures, masks_o1hw: Tensor, stability: Stability | None = Stability()
    ) -> ObjectMask:
        """Masks that the user drew, (o, 1, h, w) of 0 and 1 on the features' canvas, taken as they are.

        Only their object pointers come from the network.
        """
        nothing = PromptBatch.nothing(len(masks_o1hw), masks_o1hw.device)
        prompts = replace(nothing, mask_logits_o1hw=self.mask_as_prompt(masks_o1hw))
        seen = self.decode(features, features.stride16_bchw, prompts, candidates=False, stability=stability)
        drawn_o = masks_o1hw.flatten(1).any(dim=1)
        presence_o = torch.where(drawn_o, MASK_LOGIT, -MASK_LOGIT)
        pointer_oc = self.pointer(seen.tokens_okc[:, 0], torch.minimum(seen.presence_o, presence_o))
        logits_o1hw = resize((2 * masks_o1hw - 1) * MASK_LOGIT, features.low_res_hw, antialias=True)
        return ObjectMask(logits_o1hw, torch.ones_like(presence_o), pointer_oc, presence_o)

    def remember(self, features: ImageFeatures, mask: ObjectMask, *, prompted: bool) -> FrameMemory:
        """What later frames will find of this one. Masks that a user prompted are remembered as certain."""

        def remembered(rows: slice) -> FrameMemory:
            logits_o1hw = resize(mask.logits_o1hw[rows], features.canvas_hw)
            belief_o1hw = (logits_o1hw > 0).to(logits_o1hw.dtype) if prompted else logits_o1hw.sigmoid()
            return self.remember_belief(features.of_objects(rows), belief_o1hw, mask.rows(rows))

        memory = self._in_groups(len(mask.logits_o1hw), features, remembered)
        return replace(memory, keys_olhnd=features.keys_blhnd)

    def remember_belief(self, features: ImageFeatures, belief_o1hw: Tensor, mask: ObjectMask) -> FrameMemory:
        """As ``remember``, from the probability (o, 1, h, w) that a pixel of the canvas is inside."""
        memory_ochw = self.memory_encoder(features.stride16_bchw, (2 * belief_o1hw - 1) * MASK_LOGIT)
        memory_ochw = self.mark_absent(memory_ochw, mask.presence_o)
        places_om = self.memory_tokens.places(belief_o1hw) if isinstance(self.memory_tokens, Coarsens) else None
        return FrameMemory(memory_ochw, mask.pointer_oc, features.keys_blhnd, places_om)

    @property
    def _takes_turns(self) -> bool:
        """Whether some objects follow the others: on a processor where nothing learns."""
        return not torch.is_grad_enabled() and self.device.type == "cpu"

    def objects_at_once(self, features: ImageFeatures) -> int | None:
        """How many objects of such pictures a processor works on before it turns to others; elsewhere on all: None."""
        return max(GRID_NUMBERS // features.stride16_bchw[0].numel(), 1) if self._takes_turns else None

    def _in_groups(self, objects: int, features: ImageFeatures, work: Callable[[slice], Some]) -> Some:
        """Work on the rows of o objects. On a processor where nothing learns, some objects follow the others."""
        size = self.objects_at_once(features)
        if size is None:
            return work(slice(None))
        return stacked([work(slice(start, start + size)) for start in range(0, objects, size)])


def resize(x_bchw: Tensor, hw: tuple[int, int], antialias: bool = False) -> Tensor:
    """Bilinear resize to a height and a width."""
    if x_bchw.shape[-2:] == hw:
        return x_bchw
    return F.interpolate(x_bchw.float(), size=hw, mode="bilinear", align_corners=False, antialias=antialias)


def stabilities(logits_okhw: Tensor, delta: float) -> Tensor:
    """Area above ``delta`` by area above ``-delta``, (o, k); 1 where even the larger area is empty."""
    inner_ok, outer_ok = ((logits_okhw > at).sum(dim=(2, 3)).float() for at in (delta, -delta))
    return torch.where(outer_ok > 0, inner_ok / outer_ok, 1.0)


def weighed(prediction: MaskPrediction) -> MaskPrediction:
    """Predicted IoUs times the stability of their masks."""
    return replace(prediction, iou_ok=prediction.iou_ok * stabilities(prediction.logits_okhw, DOUBT_LOGIT))


def answered(prediction: MaskPrediction) -> MaskPrediction:
    """All masks as the network answers with them: empty where it says that the object is absent."""
    present_o111 = (prediction.presence_o > 0)[:, None, None, None]
    return replace(prediction, logits_okhw=torch.where(present_o111, prediction.logits_okhw, ABSENT_LOGIT))


def single_mask(prediction: MaskPrediction) -> MaskPrediction:
    """The mask that is trained for prompts which leave no doubt."""
    return MaskPrediction(
        prediction.logits_okhw[:, :1], prediction.iou_ok[:, :1], prediction.tokens_okc[:, :1], prediction.presence_o
    )


def candidate_masks(prediction: MaskPrediction) -> MaskPrediction:
    """The three masks that are trained to share out an ambiguous prompt."""
    return MaskPrediction(
        prediction.logits_okhw[:, 1:], prediction.iou_ok[:, 1:], prediction.tokens_okc[:, 1:], prediction.presence_o
    )


def stable_mask(prediction: MaskPrediction, stability: Stability) -> MaskPrediction:
    """The single mask where it is stable, else the best candidate. The token stays the single mask's, as published."""
    single, best = single_mask(prediction), candidate_masks(prediction).best()
    stable_o1 = stabilities(single.logits_okhw, stability.delta) >= stability.threshold
    return MaskPrediction(
        logits_okhw=torch.where(stable_o1[..., None, None], single.logits_okhw, best.logits_okhw),
        iou_ok=torch.where(stable_o1, single.iou_ok, best.iou_ok),
        tokens_okc=single.tokens_okc,
        presence_o=prediction.presence_o,
    )
