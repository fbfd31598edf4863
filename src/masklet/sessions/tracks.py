"""What a video session knows of one object."""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from dataclasses import dataclass, field, replace
from typing import Any

from torch import Tensor

from masklet.memory import MemoryBank
from masklet.model.outputs import FrameMemory, ObjectMask
from masklet.prompts import Box, Mask, Points, Prompt


@dataclass(frozen=True)
class FramePrompts:
    """All that the user showed of one object on one frame."""

    points: Points | None = None
    box: Box | None = None
    mask: Mask | None = None
    with_memory: bool = False
    """Whether they correct what was tracked; otherwise the frame stands for itself."""

    def updated(self, prompts: tuple[Prompt, ...], replaces: bool) -> FramePrompts:
        """With ``prompts`` added, or in place of the earlier ones. A mask and clicks replace each other.

        Raises ValueError for combinations that have no meaning.
        """
        masks = [prompt for prompt in prompts if isinstance(prompt, Mask)]
        boxes = [prompt for prompt in prompts if isinstance(prompt, Box)]
        clicks = [prompt for prompt in prompts if isinstance(prompt, Points)]
        if not prompts or len(masks) + len(boxes) + len(clicks) < len(prompts):
            kinds = [type(prompt).__name__ for prompt in prompts]
            raise ValueError(f"expected Points, a Box or a Mask, got {kinds or 'nothing'}")
        if len(masks) > 1 or (masks and len(prompts) > 1) or len(boxes) > 1:
            raise ValueError("expected one Mask, or Points with at most one Box; give others in another call")
        if masks:
            return replace(self, points=None, box=None, mask=masks[0])
        earlier = FramePrompts() if replaces else self
        if boxes and earlier.points is not None:
            raise ValueError("a box must come before the clicks of its frame; pass replace=True to start with the box")
        points = earlier.points
        for more in clicks:
            points = more if points is None else points + more
        return replace(self, points=points, box=boxes[0] if boxes else earlier.box, mask=None)

    def without_mask(self) -> FramePrompts:
        """For safekeeping: a drawn mask lives on as the frame's result."""
        return replace(self, mask=None)

    def check_inside(self, video_hw: tuple[int, int]) -> None:
        """Raises ValueError when a prompt does not fit the picture."""
        for prompt in (self.points, self.box, self.mask):
            if prompt is not None:
                prompt.check_inside(video_hw)


@dataclass
class TrackedObject:
    """Prompts, results and memories of one object."""

    bank: MemoryBank
    masks: MutableMapping[int, ObjectMask]
    """Results by frame."""
    drafts: MutableMapping[int, ObjectMask]
    """Results of prompts that are not remembered yet: that happens when tracking goes on, not with every click."""
    prompts: dict[int, FramePrompts] = field(default_factory=dict)
    passed: dict[int, bool] = field(default_factory=dict)
    """Frames that propagation has passed; True: backward."""

    def latest(self, frame: int, corrects: bool | None = None) -> ObjectMask | None:
        """The object's result on a frame, if there is one.

        Of drafts, ``corrects`` takes only those that are answered with memory, or only those that are not.
        """
        if frame in self.drafts and corrects in (None, self.prompts[frame].with_memory):
            return self.drafts[frame]
        return self.masks.get(frame)

    def corrects(self, frame: int) -> bool:
        """Whether a prompt on this frame corrects what memory says, rather than standing for itself."""
        earlier = self.prompts.get(frame)
        was_tracked = earlier.with_memory if earlier is not None else frame in self.passed
        return was_tracked and any(other != frame for other in self.bank.conditioning)

    def keep(self, frame: int, mask: ObjectMask, memory: FrameMemory, *, conditions: bool) -> None:
        """Store a result with its memory, as a conditioning frame or as one among the tracked."""
        into, out_of = self.bank.conditioning, self.bank.tracked
        if not conditions:
            into, out_of = out_of, into
        self.masks[frame] = mask
        into[frame] = memory
        drop(out_of, frame)

    def carry(self, frame: int, mask: ObjectMask) -> None:
        """Store a result that leaves no memory."""
        self.masks[frame] = mask
        drop(self.bank.tracked, frame)

    def clear(self, frame: int) -> None:
        """Drop the prompts of a frame and what came of them.

        If no conditioning frame is left, corrected frames become such; without those too, all that was tracked goes.
        """
        self.prompts.pop(frame, None)
        for by_frame in (self.masks, self.drafts, self.bank.conditioning, self.bank.tracked):
            drop(by_frame, frame)
        if not self.prompts:
            self.forget_all()
        elif not self.bank.conditioning:
            self._promote_corrections()

    def forget_all(self) -> None:
        """As if the object had never been seen."""
        for by_frame in (self.prompts, self.masks, self.drafts, self.bank.conditioning, self.bank.tracked, self.passed):
            by_frame.clear()

    def forget_memories(self, first: int, last: int) -> None:
        """Drop the memories of tracked frames from ``first`` to ``last``. Those that the user corrected stay."""
        for frame in range(max(first, 0), last + 1):
            if frame not in self.prompts:
                drop(self.bank.tracked, frame)

    def forget_result(self, frame: int) -> None:
        """Drop what was found on a frame, unless the user prompted it."""
        if frame not in self.prompts:
            drop(self.masks, frame)
            drop(self.passed, frame)

    def _promote_corrections(self) -> None:
        for frame, prompts in self.prompts.items():
            self.prompts[frame] = replace(prompts, with_memory=False)
            if frame in self.bank.tracked:
                self.bank.conditioning[frame] = self.bank.tracked.pop(frame)


def drop(by_frame: MutableMapping[int, Any], frame: int) -> None:
    """Forget what a mapping has of a frame, if anything, without reading it as ``pop`` would."""
    if frame in by_frame:
        del by_frame[frame]


@dataclass(frozen=True)
class FrameKeys:
    """Keys of a frame, which the memories of all its objects share."""

    keys_olhnd: Tensor


class SharedKeys(MutableMapping[int, FrameMemory]):
    """Memories of one object whose keys, the same for all objects of a frame, are stored once in ``keys``."""

    def __init__(self, own: MutableMapping[int, FrameMemory], keys: MutableMapping[int, FrameKeys]):
        self._own = own
        self._keys = keys

    def __setitem__(self, frame: int, memory: FrameMemory) -> None:
        if memory.keys_olhnd is not None and frame not in self._keys:
            self._keys[frame] = FrameKeys(memory.keys_olhnd[:1])
        self._own[frame] = replace(memory, keys_olhnd=None)

    def __getitem__(self, frame: int) -> FrameMemory:
        memory = self._own[frame]
        return replace(memory, keys_olhnd=self._keys[frame].keys_olhnd) if frame in self._keys else memory

    def __delitem__(self, frame: int) -> None:
        del self._own[frame]

    def clear(self) -> None:
        self._own.clear()

    def __contains__(self, frame: object) -> bool:
        return frame in self._own

    def __iter__(self) -> Iterator[int]:
        return iter(self._own)

    def __len__(self) -> int:
        return len(self._own)
