"""One video being edited: commands in, a document of objects, prompts and masks out.

The document is what the user sees and what undo restores. The `VideoSession` beside it answers prompts and tracks;
after an undo it is shown again what the document says, as far as the two differ.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Generator, Iterator
from dataclasses import replace
from functools import singledispatchmethod
from threading import Event
from typing import Any

import numpy as np

from masklet.masks import decode_rle
from masklet.model.sam2 import SegmentationNetwork
from masklet.prompts import Box, Mask, Points, Prompt
from masklet.server import schemas
from masklet.server.document import Document, Key, MaskValue
from masklet.sessions.results import FrameResult, ObjectResult
from masklet.sessions.video import VideoSession
from masklet.video.source import FrameSource

STATUS = ("status",)
SESSION_RAM_BYTES = 32 << 20
NO_PROMPTS: dict[str, Any] = {"points": [], "box": None, "mask": None}


class Editor:
    """Works on one video. All methods but ``stop`` belong to the thread of the network.

    Errors of commands are ValueError or IndexError with a sentence for the user; the document is then as before.
    """

    def __init__(
        self, network: SegmentationNetwork, frames: FrameSource, on_change: Callable[[], object], max_objects: int = 100
    ):
        self.document = Document()
        self.frames = frames
        self.max_objects = max_objects
        self._on_change = on_change
        self._session = VideoSession(network, frames, ram_bytes=SESSION_RAM_BYTES)
        self._known: defaultdict[int, set[int]] = defaultdict(set)
        self._stopped = Event()
        self._progress: dict[str, int] | None = None
        self._running: Generator[None] | None = None
        self._tell()

    @property
    def video_hw(self) -> tuple[int, int]:
        """Height and width of the video."""
        return self.frames.video_hw

    def do(self, command: schemas.AnyCommand) -> Iterator[None] | None:
        """Carry out a command, as one step of undo. Tracking comes back as an iterator that does one frame a step."""
        self.document.begin()
        try:
            return self._do(command)
        finally:
            self.document.begin()
            self._tell()

    def stop(self) -> None:
        """End tracking after the frame that is being worked on. May be called from any thread."""
        self._stopped.set()

    def close(self) -> None:
        """Give everything back."""
        self.stop()
        self._session.close()
        self.frames.close()

    @singledispatchmethod
    def _do(self, command: Any) -> Iterator[None] | None:
        raise ValueError(f"there is no command {type(command).__name__}")

    @_do.register
    def _(self, command: schemas.Click) -> None:
        point = [command.x, command.y, int(command.positive)]
        click = Points(point[:2], [point[2]])
        earlier = self._checked(command, click) | self._remind(command.obj, command.frame)
        self._show(command, click, {**earlier, "points": [*earlier["points"], point]})

    @_do.register
    def _(self, command: schemas.DrawBox) -> None:
        box = Box(command.x0, command.y0, command.x1, command.y1).clipped(self.video_hw)
        self._checked(command, box)
        self._show(command, box, {**NO_PROMPTS, "box": [box.x0, box.y0, box.x1, box.y1]}, replace=True)

    @_do.register
    def _(self, command: schemas.DrawMask) -> None:
        drawn = Mask(self._decoded(command.counts))
        self._checked(command, drawn)
        self._show(command, drawn, {**NO_PROMPTS, "mask": command.counts}, replace=True)
        area = int(np.count_nonzero(drawn.array))
        as_drawn = MaskValue(command.counts.encode("ascii"), 1.0, area, tracked=False)
        self.document.put(("mask", command.obj, command.frame), as_drawn)

    @_do.register
    def _(self, command: schemas.DeletePoint) -> None:
        shown = self._prompts(command.obj, command.frame)
        if command.index >= len(shown["points"]):
            raise ValueError(
                f"there is no click {command.index} on frame {command.frame}; it has {len(shown['points'])}"
            )
        points = [point for place, point in enumerate(shown["points"]) if place != command.index]
        wanted = {**shown, "points": points}
        if wanted == NO_PROMPTS:
            self._clear(command.obj, command.frame)
            return
        self._check_positive(wanted)
        result = self._show_again(command.obj, command.frame, wanted)
        self.document.put(("prompts", command.obj, command.frame), wanted)
        self._keep(command.frame, _only(result, command.obj), tracked=False)

    @_do.register
    def _(self, command: schemas.Clear) -> None:
        self._prompts(command.obj, command.frame)
        self._clear(command.obj, command.frame)

    @_do.register
    def _(self, command: schemas.AddObject) -> None:
        if self.document.get("object", command.obj) is not None:
            raise ValueError(f"there is an object {command.obj} already; choose a free number")
        if len(self.document.keys("object")) >= self.max_objects:
            raise ValueError(f"there are {self.max_objects} objects, more than that this server does not take")
        self.document.put(("object", command.obj), {"name": command.name, "colour": command.colour, "visible": True})

    @_do.register
    def _(self, command: schemas.RemoveObject) -> None:
        self._object(command.obj)
        for kind in ("prompts", "mask", "object"):
            for key in self.document.keys(kind, command.obj):
                self.document.put(key, None)
        self._forget(command.obj)

    @_do.register
    def _(self, command: schemas.ChangeObject) -> None:
        wanted = command.model_dump(include={"name", "colour", "visible"}, exclude_none=True)
        changed = {**self._object(command.obj), **wanted}
        self.document.put(("object", command.obj), changed)

    @_do.register
    def _(self, command: schemas.Track) -> Iterator[None]:
        return self._track(command)

    @_do.register
    def _(self, command: schemas.Stop) -> None:
        self.stop()

    @_do.register
    def _(self, command: schemas.Undo) -> None:
        self._stopped.set()
        self._agree_on(self.document.undo())

    @_do.register
    def _(self, command: schemas.Redo) -> None:
        self._stopped.set()
        self._agree_on(self.document.redo())

    def _show(self, command: Any, prompt: Prompt, wanted: dict[str, Any], *, replace: bool = False) -> None:
        """Prompt the network, and write down what it was shown and what it answers."""
        result = self._session.prompt(command.frame, command.obj, prompt, replace=replace)
        self.document.put(("prompts", command.obj, command.frame), wanted)
        self._keep(command.frame, _only(result, command.obj), tracked=False)

    def _checked(self, command: Any, prompt: Prompt) -> dict[str, Any]:
        """The earlier prompts of the frame. Raises ValueError or IndexError where the new one cannot be."""
        self._object(command.obj)
        if command.frame >= len(self.frames):
            raise IndexError(f"frame {command.frame} does not exist; the frames are 0 to {len(self.frames) - 1}")
        prompt.check_inside(self.video_hw)
        return self.document.get("prompts", command.obj, command.frame) or NO_PROMPTS

    def _clear(self, obj: int, frame: int) -> None:
        """Prompts of a frame are gone: what was tracked there comes back, or nothing."""
        self.document.put(("prompts", obj, frame), None)
        self.document.put(("mask", obj, frame), None)
        if self.document.keys("prompts", obj):
            self._known[obj].discard(frame)
            found = _only(self._session.clear(frame, obj), obj)
            if found.mask.any():
                self._keep(frame, found, tracked=True)
            return
        for key in self.document.keys("mask", obj):
            self.document.put(key, None)
        self._forget(obj)

    def _track(self, command: schemas.Track) -> Iterator[None]:
        last = len(self.frames) - 1
        ends = [(command.forward_to, False), (command.backward_to, True)]
        runs = [(end, reverse) for end, reverse in ends if end is not None]
        if not runs:
            raise ValueError("expected a frame to track forward to, or one to track backward to")
        if not self.document.keys("prompts"):
            raise ValueError("there is nothing to follow yet; click an object first")
        forward_to, backward_to = command.forward_to or command.start, command.backward_to or 0
        if max(forward_to, command.start) > last or forward_to < command.start or backward_to > command.start:
            raise ValueError(f"expected a stretch around frame {command.start} within frames 0 to {last}")
        if self._running is not None:
            self._running.close()
        self._stopped.clear()
        total = sum(abs(end - command.start) + 1 for end, _ in runs)
        self._progress = {"frame": command.start, "done": 0, "total": total}
        self._running = self._steps(command.start, runs)
        return self._running

    def _steps(self, start: int, runs: list[tuple[int, bool]]) -> Generator[None]:
        """One frame a step."""
        try:
            for end, reverse in runs:
                for result in self._session.propagate(start, end, reverse=reverse):
                    self._keep_all(result)
                    self._tell()
                    yield
                    if self._stopped.is_set():
                        return
        finally:
            self._progress = None
            self.document.begin()
            self._tell()

    def _keep_all(self, result: FrameResult) -> None:
        for found in result:
            if self.document.get("prompts", found.obj, result.frame) is None:
                self._keep(result.frame, found, tracked=True)
        assert self._progress is not None
        self._progress = {**self._progress, "frame": result.frame, "done": self._progress["done"] + 1}

    def _keep(self, frame: int, found: ObjectResult, *, tracked: bool) -> None:
        counts = found.rle()["counts"].encode("ascii")
        value = MaskValue(counts, round(found.iou, 3), int(np.count_nonzero(found.mask)), tracked)
        self.document.put(("mask", found.obj, frame), value)
        self._known[found.obj].add(frame)

    def _agree_on(self, changed: Collection[Key]) -> None:
        """Show the network what undo or redo changed."""
        for obj in dict.fromkeys(key[1] for key in changed if key[0] in ("object", "prompts")):
            if not self.document.keys("prompts", obj):
                self._forget(obj)
        for kind, obj, *place in changed:
            if kind == "prompts" and self.document.keys("prompts", obj):
                self._show_again(obj, place[0], self.document.get(kind, obj, place[0]))

    def _show_again(self, obj: int, frame: int, wanted: dict[str, Any] | None) -> FrameResult:
        """Put these prompts in place of what the network was shown on a frame."""
        shown = self._session.prompted_frames(obj) if obj in self._session.objects else ()
        if frame in shown:
            self._known[obj] -= {frame} if len(shown) > 1 else self._known[obj].copy()
            self._session.clear(frame, obj)
        for prompt in _prompts_of(wanted or NO_PROMPTS, self.video_hw):
            self._session.prompt(frame, obj, prompt)
            self._known[obj].add(frame)
        return self._session.result(frame)

    def _remind(self, obj: int, frame: int) -> dict[str, Any]:
        """Show the network a mask that the user sees but that the network has forgotten, before it is corrected."""
        seen = self.document.get("mask", obj, frame)
        if seen is None or not seen.area or frame in self._known[obj]:
            return {}
        counts = seen.counts.decode("ascii")
        self._session.prompt(frame, obj, Mask(self._decoded(counts)))
        return {"mask": counts}

    def _decoded(self, counts: str) -> np.ndarray:
        return decode_rle({"size": list(self.video_hw), "counts": counts})

    def _forget(self, obj: int) -> None:
        self._known.pop(obj, None)
        if obj in self._session.objects:
            self._session.remove(obj)

    def _object(self, obj: int) -> dict[str, Any]:
        value = self.document.get("object", obj)
        if value is None:
            raise ValueError(f"there is no object {obj}; add it first")
        return value

    def _prompts(self, obj: int, frame: int) -> dict[str, Any]:
        value = self.document.get("prompts", obj, frame)
        if value is None:
            raise ValueError(f"object {obj} has no prompts on frame {frame}")
        return value

    def _check_positive(self, wanted: dict[str, Any]) -> None:
        if wanted["box"] is None and wanted["mask"] is None and not any(point[2] for point in wanted["points"]):
            raise ValueError("what is left says only where the object is not; clear the frame to take back all clicks")

    def _tell(self) -> None:
        status = {
            "tracking": self._progress,
            "can_undo": self.document.can_undo,
            "can_redo": self.document.can_redo,
        }
        self.document.publish(STATUS, status)
        self._on_change()


def _only(result: FrameResult, obj: int) -> ObjectResult:
    """One object of a result, without making the masks of the others."""
    o = [result.objects.index(obj)]
    alone = replace(
        result,
        objects=(obj,),
        low_res_ohw=result.low_res_ohw[o],
        iou_o=result.iou_o[o],
        presence_o=result.presence_o[o],
        prompted_o=result.prompted_o[o],
    )
    return alone[obj]


def _prompts_of(shown: dict[str, Any], video_hw: tuple[int, int]) -> Iterator[Prompt]:
    """The prompts one by one, as they were given."""
    if shown["mask"] is not None:
        yield Mask(decode_rle({"size": list(video_hw), "counts": shown["mask"]}))
    if shown["box"] is not None:
        yield Box.of(shown["box"])
    for x, y, label in shown["points"]:
        yield Points((x, y), [label])
