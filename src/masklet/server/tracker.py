"""The network's side of one video that is edited: opened when it is needed, put away when nobody works.

It is shown what the user sees: after an undo, after a rest, after a restart of the server. Masks that were tracked are
not all shown again, but the one that a click corrects or that tracking goes on from is.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from masklet.masks import decode_rle
from masklet.model.sam2 import SegmentationNetwork
from masklet.prompts import Box, Mask, Points, Prompt
from masklet.server.document import Document, Key, MaskValue
from masklet.sessions.results import FrameResult, ObjectResult
from masklet.sessions.video import VideoSession
from masklet.video.source import FrameSource

SESSION_RAM_BYTES = 32 << 20
CACHED_FRAMES = 2
NO_PROMPTS: dict[str, Any] = {"points": [], "box": None, "mask": None}


class Tracker:
    """Answers prompts and follows objects, and knows of which masks of the document the network has heard."""

    def __init__(
        self,
        network: SegmentationNetwork,
        open_frames: Callable[[], FrameSource],
        document: Document,
        spill_folder: Path | None = None,
    ):
        """``spill_folder`` is where results of earlier frames lie that are not held in memory."""
        self._network = network
        self._open_frames = open_frames
        self._document = document
        self._spill_folder = spill_folder
        self._session: VideoSession | None = None
        self._frames: FrameSource | None = None
        self._known: defaultdict[int, set[int]] = defaultdict(set)

    @property
    def is_awake(self) -> bool:
        """Whether memory is held."""
        return self._frames is not None

    @property
    def frames(self) -> FrameSource:
        """The video, opened."""
        if self._frames is None:
            self._frames = self._open_frames()
        return self._frames

    @property
    def video_hw(self) -> tuple[int, int]:
        """Height and width of the video."""
        return self.frames.video_hw

    @property
    def session(self) -> VideoSession:
        """The session, which has seen all prompted masks."""
        if self._session is None:
            self._session = VideoSession(
                self._network,
                self.frames,
                ram_bytes=SESSION_RAM_BYTES,
                cached_frames=CACHED_FRAMES,
                spill_folder=self._spill_folder,
            )
            self._show_all()
        return self._session

    def rest(self) -> None:
        """Give all memory back. The next use opens everything again."""
        if self._session is not None:
            self._session.close()
        if self._frames is not None:
            self._frames.close()
        self._session = self._frames = None
        self._known.clear()

    def knows(self, obj: int, frame: int) -> None:
        """The mask of the document is the network's own."""
        self._known[obj].add(frame)

    def prompt(self, frame: int, obj: int, prompt: Prompt, *, replace: bool = False) -> ObjectResult:
        """The answer for this object."""
        result = self.session.prompt(frame, obj, prompt, replace=replace)
        self.knows(obj, frame)
        return result.only(obj)

    def clear(self, obj: int, frame: int) -> ObjectResult | None:
        """Take back the prompts of a frame: what was tracked there, if anything was."""
        if frame not in self._prompted(obj):
            return None
        self._known[obj].discard(frame)
        found = self.session.clear(frame, obj).only(obj)
        return found if found.mask.any() else None

    def forget(self, obj: int) -> None:
        """As if the object had never been there."""
        self._known.pop(obj, None)
        if obj in self.session.objects:
            self.session.remove(obj)

    def show_again(self, obj: int, frame: int, wanted: dict[str, Any] | None) -> FrameResult:
        """Put these prompts in place of what the network was shown on a frame."""
        shown = self._prompted(obj)
        if frame in shown:
            self._known[obj] -= {frame} if len(shown) > 1 else self._known[obj].copy()
            self.session.clear(frame, obj)
        for prompt in _prompts_of(wanted or NO_PROMPTS, self.video_hw):
            self.prompt(frame, obj, prompt)
        return self.session.result(frame)

    def remind(self, obj: int, frame: int) -> dict[str, Any]:
        """Show a mask that the user sees but that the network has not made or has forgotten: as prompts, if it was."""
        seen = self._document.get("mask", obj, frame)
        if seen is None or not seen.area or frame in self._known[obj]:
            return {}
        self.prompt(frame, obj, self._mask(seen))
        return {"mask": seen.counts.decode("ascii")}

    def agree_on(self, changed: Collection[Key]) -> None:
        """Show the network what undo or redo changed."""
        prompts = [key for key in changed if key[0] == "prompts"]
        for _, obj, frame in (key for key in changed if key[0] == "mask"):
            self._known[obj].discard(frame)
        for obj in dict.fromkeys(key[1] for key in changed if key[0] in ("object", "prompts")):
            if not self._document.keys("prompts", obj):
                self.forget(obj)
        for key in prompts:
            if self._document.keys("prompts", key[1]):
                self.show_again(key[1], key[2], self._document.get(*key))

    def decoded(self, counts: str) -> np.ndarray:
        """(h, w) bool. Raises ValueError for run lengths that are not of the video's size."""
        return decode_rle({"size": list(self.video_hw), "counts": counts})

    def _prompted(self, obj: int) -> tuple[int, ...]:
        return self.session.prompted_frames(obj) if obj in self.session.objects else ()

    def _show_all(self) -> None:
        """The masks of prompted frames, as the user sees them. An empty one says something of a known object only."""
        places = [key[1:] for key in self._document.keys("prompts")]
        seen = [(obj, frame, self._document.get("mask", obj, frame)) for obj, frame in places]
        for obj, frame, mask in sorted(seen, key=lambda one: one[2] is None or not one[2].area):
            if mask is not None and (mask.area or self._prompted(obj)):
                self.prompt(frame, obj, self._mask(mask))

    def _mask(self, value: MaskValue) -> Mask:
        return Mask(self.decoded(value.counts.decode("ascii")))


def _prompts_of(shown: dict[str, Any], video_hw: tuple[int, int]) -> Iterator[Prompt]:
    """The prompts one by one, as they were given."""
    if shown["mask"] is not None:
        yield Mask(decode_rle({"size": list(video_hw), "counts": shown["mask"]}))
    if shown["box"] is not None:
        yield Box.of(shown["box"])
    for x, y, label in shown["points"]:
        yield Points((x, y), [label])
