"""Named results of the network's verbs. Batch axis o: one row per object."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import TypeVar

import torch
from torch import Tensor

R = TypeVar("R", bound="_Tensors")


class _Tensors:
    """A frozen record of tensors that moves and converts as one."""

    def to(self: R, *args, **kwargs) -> R:
        """``Tensor.to`` on every field that is a tensor."""
        moved = {f.name: getattr(self, f.name) for f in fields(self)}  # type: ignore[arg-type]
        return replace(self, **{k: v.to(*args, **kwargs) for k, v in moved.items() if isinstance(v, Tensor)})  # type: ignore[type-var]

    def rows(self: R, index: Tensor | slice) -> R:
        """The rows ``index`` of every tensor along the batch axis; those of a slice are not copied."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}  # type: ignore[arg-type]
        return replace(self, **{k: v[index] for k, v in values.items() if isinstance(v, Tensor)})  # type: ignore[type-var]


def stacked(records: Sequence[R]) -> R:
    """Records of one kind, joined along the batch axis of their tensors."""
    first = records[0]
    if len(records) == 1:
        return first
    names = [field.name for field in fields(first) if isinstance(getattr(first, field.name), Tensor)]  # type: ignore[arg-type]
    joined = {name: torch.cat([getattr(record, name) for record in records]) for name in names}
    return replace(first, **joined)  # type: ignore[type-var]


@dataclass(frozen=True)
class ImageFeatures(_Tensors):
    """What the image encoder says about pictures, before any memory."""

    stride16_bchw: Tensor
    stride8_bchw: Tensor
    """Already projected to the decoder's width at this stride."""
    stride4_bchw: Tensor
    """Already projected to the decoder's width at this stride."""
    keys_blhnd: Tensor | None = None
    """Of networks that match memories by image features: what later frames compare with, for each layer and head."""

    @property
    def canvas_hw(self) -> tuple[int, int]:
        """Height and width of the pictures as the network sees them, in pixels."""
        h, w = self.stride16_bchw.shape[-2:]
        return 16 * h, 16 * w

    @property
    def low_res_hw(self) -> tuple[int, int]:
        """Height and width of the masks that are made of them, in pixels."""
        h, w = self.stride4_bchw.shape[-2:]
        return h, w

    def of_objects(self, rows: slice) -> ImageFeatures:
        """What some objects see: one picture that all see, or each its own."""
        return self if len(self.stride16_bchw) == 1 else self.rows(rows)


@dataclass(frozen=True)
class MaskPrediction(_Tensors):
    """Candidate masks of the decoder."""

    logits_okhw: Tensor
    """Low-res logits; > 0 is inside."""
    iou_ok: Tensor
    """Predicted IoU of each candidate with the object, 0 to 1."""
    tokens_okc: Tensor
    """Decoder tokens that the candidates were made from."""
    presence_o: Tensor
    """Logit of the object being in the picture; <= 0 means absent."""

    def best(self) -> MaskPrediction:
        """The candidate of the highest predicted IoU, k = 1."""
        best_o = self.iou_ok.argmax(dim=1)
        row_o = torch.arange(len(best_o), device=best_o.device)
        return replace(
            self,
            logits_okhw=self.logits_okhw[row_o, best_o][:, None],
            iou_ok=self.iou_ok[row_o, best_o][:, None],
            tokens_okc=self.tokens_okc[row_o, best_o][:, None],
        )


@dataclass(frozen=True)
class ObjectMask(_Tensors):
    """One mask per object on one frame: what tracking reports and remembers."""

    logits_o1hw: Tensor
    """Low-res logits; -1024 everywhere where the object is absent."""
    iou_o: Tensor
    pointer_oc: Tensor
    """Object pointer: a summary of the object's looks for later frames."""
    presence_o: Tensor


@dataclass(frozen=True)
class FrameMemory(_Tensors):
    """What is kept of one frame."""

    features_ochw: Tensor
    pointer_oc: Tensor
    keys_olhnd: Tensor | None = None
    """``ImageFeatures.keys_blhnd`` of the frame. One row stands for all objects."""
    places_om: Tensor | None = None
    """Where it is attended to, if not everywhere alike (``detail.places_of``)."""

    def of_objects(self, rows: slice) -> FrameMemory:
        """What is kept of some objects."""
        some, keys = replace(self, keys_olhnd=None).rows(rows), self.keys_olhnd
        return replace(some, keys_olhnd=keys if keys is None or len(keys) == 1 else keys[rows])


@dataclass(frozen=True)
class Recollection:
    """The memories that one frame attends to, chosen by the memory bank."""

    maps: list[tuple[int, FrameMemory]]
    """(temporal slot, memory): slot 0 is the previous frame, the last slot a conditioning frame."""
    pointers: list[tuple[int, Tensor]]
    """(frames ago, object pointer (o, c)); negative: a frame still to come."""
    pointer_span: int
    """The distance in frames that pointers' times are measured by."""

    @property
    def objects(self) -> int:
        """How many objects are remembered."""
        return len(self.maps[0][1].features_ochw)

    def of_objects(self, rows: slice) -> Recollection:
        """The memories of some objects; nothing is copied."""
        maps = [(slot, memory.of_objects(rows)) for slot, memory in self.maps]
        return replace(self, maps=maps, pointers=[(age, pointer_oc[rows]) for age, pointer_oc in self.pointers])
