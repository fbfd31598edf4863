"""Which past frames a frame attends to: policy only, no layers.

The rules are those of SAM 2 (arXiv 2408.00714, section 4, and its published predictor).
"""

from __future__ import annotations

from collections.abc import MutableMapping
from dataclasses import dataclass, field

from torch import Tensor

from masklet.model.config import MemoryConfig
from masklet.model.outputs import FrameMemory, Recollection


@dataclass
class MemoryBank:
    """Memories of one object, by frame.

    ``conditioning`` holds frames that the user prompted, ``tracked`` all others. The mappings may be of any kind,
    such as one that moves old entries to disk.
    """

    config: MemoryConfig
    conditioning: MutableMapping[int, FrameMemory] = field(default_factory=dict)
    tracked: MutableMapping[int, FrameMemory] = field(default_factory=dict)
    max_conditioning: int | None = None
    """At most so many conditioning frames are attended to: the nearest ones in time. None: all."""
    stride: int = 1
    """Distance between the tracked frames that are attended to, the previous frame not counted."""
    sparse: bool = False
    """Not every tracked frame leaves a memory: the most recent ones that did are attended to, each ``stride``-th."""

    @property
    def reach(self) -> int:
        """Frames that tracking looks back over, conditioning frames not counted."""
        return max(self.config.slots * self.stride, self.config.pointers)

    def select(self, frame: int, *, reverse: bool = False, frames: int | None = None, own: bool = True) -> Recollection:
        """The memories for ``frame``.

        ``reverse`` when tracking backward, ``frames`` the video's length where known; without ``own``, what the frame
        itself may have left in memory is not among them.
        """
        conditioning = [t for t in self.conditioning if own or t != frame]
        attended = nearest_frames(conditioning, frame, self.max_conditioning)
        return Recollection(
            maps=self._maps(frame, reverse, attended),
            pointers=self._pointers(frame, reverse, frames, attended),
            pointer_span=max(self._pointer_limit(frames) - 1, 1),
        )

    def _maps(self, frame: int, reverse: bool, attended: list[int]) -> list[tuple[int, FrameMemory]]:
        maps = [(self.config.slots - 1, self.conditioning[t]) for t in attended]
        in_slots = self._recent(frame, reverse, attended) if self.sparse else self._in_slots(frame, reverse)
        for slot, t in reversed(list(enumerate(in_slots))):
            memory = self._other(t, attended)
            if memory is not None:
                maps.append((slot, memory))
        return maps

    def _in_slots(self, frame: int, reverse: bool) -> list[int]:
        """Slot 0 is the previous frame; the others lie on multiples of the stride before it."""
        direction = -1 if reverse else 1
        aligned = (direction * frame - 2) // self.stride * self.stride
        others = (direction * (aligned - step * self.stride) for step in range(self.config.slots - 2))
        return [frame - direction, *others]

    def _recent(self, frame: int, reverse: bool, attended: list[int]) -> list[int]:
        remembered = {*self.tracked, *self.conditioning} - {*attended}
        behind = sorted((t for t in remembered if (t > frame if reverse else t < frame)), reverse=not reverse)
        return behind[:: self.stride][: self.config.slots - 1]

    def _pointers(self, frame: int, reverse: bool, frames: int | None, attended: list[int]) -> list[tuple[int, Tensor]]:
        direction = -1 if reverse else 1
        limit = self._pointer_limit(frames)
        if not limit:
            return []
        ages = {t: direction * (frame - t) for t in attended}
        pointers = [(age, self.conditioning[t].pointer_oc) for t, age in ages.items() if age >= 0]
        for age in range(1, limit):
            memory = self._other(frame - direction * age, attended)
            if memory is not None:
                pointers.append((age, memory.pointer_oc))
        return pointers

    def _pointer_limit(self, frames: int | None) -> int:
        return self.config.pointers if frames is None else min(self.config.pointers, frames)

    def _other(self, frame: int, attended: list[int]) -> FrameMemory | None:
        """A tracked frame's memory, or that of a conditioning frame which is not attended to as such."""
        memory = self.tracked.get(frame)
        if memory is None and frame not in attended:
            memory = self.conditioning.get(frame)
        return memory


def nearest_frames(frames: list[int], frame: int, most: int | None) -> list[int]:
    """At most ``most`` of ``frames``: the nearest before, the nearest at or after, then whichever is closest."""
    if most is None or len(frames) <= most:
        return frames
    before = max((t for t in frames if t < frame), default=None)
    after = min((t for t in frames if t >= frame), default=None)
    chosen = [t for t in (before, after) if t is not None]
    rest = sorted((t for t in frames if t not in chosen), key=lambda t: abs(t - frame))
    return (chosen + rest)[:most]
