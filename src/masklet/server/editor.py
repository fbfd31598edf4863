"""One video being edited: commands in, a document of objects, prompts and masks out.

The document is what the user sees and what undo restores. The `Tracker` beside it is the network's side.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Generator, Iterator
from dataclasses import dataclass
from functools import singledispatchmethod
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np

from masklet.model.sam2 import SegmentationNetwork
from masklet.prompts import Box, Mask, Points, Prompt
from masklet.server import schemas
from masklet.server.document import Document, Key, MaskValue
from masklet.server.errors import Refusal
from masklet.server.proposals import Proposals
from masklet.server.tracker import NO_PROMPTS, Tracker
from masklet.sessions.results import FrameResult, ObjectResult
from masklet.video.source import FrameSource

STATUS, LOOK = ("status",), ("look",)
ADDS_NOTHING = (
    schemas.Clear | schemas.ChangeObject | schemas.Dismiss | schemas.RemoveObject | schemas.SetLook | schemas.Stop
) | (schemas.Undo | schemas.Redo)
"""Commands that are carried out although the document is full."""

log = logging.getLogger(__name__)
FULL = "this video has as many masks as this server can hold; remove an object, or open the video again"


@dataclass(frozen=True)
class Run:
    """Tracking that is to be done: of all objects, or again of one around a correction."""

    start: int
    ends: tuple[tuple[int, bool], ...]
    """(last frame, whether backward), one after the other."""
    obj: int | None = None

    @property
    def total(self) -> int:
        """Frames, of which the first counts for each direction."""
        return sum(abs(end - self.start) + 1 for end, _ in self.ends)


class Editor:
    """Works on one video. All methods but ``stop`` belong to the thread of the network.

    Errors of commands are ValueError, IndexError or Refusal with a sentence for the user; the document is then as
    before.
    """

    def __init__(
        self,
        network: SegmentationNetwork,
        open_frames: Callable[[], FrameSource],
        on_change: Callable[[], object],
        max_objects: int = 100,
        document: Document | None = None,
        is_picture: Callable[[str], bool] = lambda identifier: False,
        check_disk: Callable[[], None] = lambda: None,
        spill_folder: Path | None = None,
    ):
        """``document`` is that of an earlier editor; ``is_picture`` says which pictures looks may name.

        ``check_disk`` raises Refusal when there is no room for what tracking has to remember in ``spill_folder``.
        """
        self.document = document or Document()
        self.max_objects = max_objects
        self._on_change = on_change
        self._is_picture = is_picture
        self._check_disk = check_disk
        self._tracker = Tracker(network, open_frames, self.document, spill_folder)
        self._proposals = Proposals(network, self.document)
        self._stopped = Event()
        self._run: Run | None = None
        self._corrections: list[tuple[int, int]] = []
        """(object, frame) around which is to be tracked again, once what runs is done."""
        self._progress: dict[str, int | None] | None = None
        self._error = ""
        self._running: Generator[None] | None = None
        self._tell()

    def do(self, command: schemas.AnyCommand) -> Iterator[None] | None:
        """Carry out a command, as one step of undo. What takes long comes back as an iterator of small steps."""
        self.document.begin()
        try:
            if not isinstance(command, ADDS_NOTHING):
                self._check_room()
            return self._do(command)
        finally:
            self.document.begin()
            self._tell()

    def attend(self, frame: int) -> None:
        """Encode a frame, so that clicks on it are answered quickly."""
        if not self.is_tracking:
            self._tracker.session.encode_ahead(frame)

    def preview(self, command: schemas.Preview) -> str:
        """The mask that a click would give, as COCO run lengths at the video's size. Nothing changes."""
        click = Points((command.x, command.y), [int(command.positive)])
        self._check_place(command.frame, click)
        found = self._tracker.session.preview(command.frame, command.obj, click)
        return found.rle()["counts"]

    def stop(self) -> None:
        """End tracking after the frame that is being worked on. May be called from any thread."""
        self._stopped.set()

    def rest(self) -> None:
        """Give memory back until there is something to do again. Proposals stay."""
        if not self.is_busy:
            self._tracker.rest()
            self._tell()

    @property
    def is_awake(self) -> bool:
        """Whether memory is held that `rest` gives back."""
        return self._tracker.is_awake

    @property
    def is_tracking(self) -> bool:
        """Whether there are frames to be done."""
        return self._progress is not None

    @property
    def is_busy(self) -> bool:
        """Whether it tracks or looks for objects."""
        return self.is_tracking or self._proposals.is_looking

    def close(self) -> None:
        """Give everything back."""
        self.stop()
        self._tracker.rest()
        self.document.close()

    @singledispatchmethod
    def _do(self, command: Any) -> Iterator[None] | None:
        raise ValueError(f"there is no command {type(command).__name__}")

    @_do.register
    def _(self, command: schemas.Click) -> None:
        point = [command.x, command.y, int(command.positive)]
        click = Points(point[:2], [point[2]])
        earlier = self._checked(command, click) | self._tracker.remind(command.obj, command.frame)
        self._show(command, click, {**earlier, "points": [*earlier["points"], point]})

    @_do.register
    def _(self, command: schemas.DrawBox) -> None:
        box = Box(command.x0, command.y0, command.x1, command.y1).clipped(self._tracker.video_hw)
        self._checked(command, box)
        self._show(command, box, {**NO_PROMPTS, "box": [box.x0, box.y0, box.x1, box.y1]}, replace=True)

    @_do.register
    def _(self, command: schemas.DrawMask) -> None:
        drawn = Mask(self._tracker.decoded(command.counts))
        self._checked(command, drawn)
        self._show_drawn(command.obj, command.frame, drawn, command.counts)

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
        result = self._shown_instead(command.obj, command.frame, shown, wanted)
        self.document.put(("prompts", command.obj, command.frame), wanted)
        self._keep(command.frame, result.only(command.obj), tracked=False)

    @_do.register
    def _(self, command: schemas.Clear) -> None:
        self._prompts(command.obj, command.frame)
        self._clear(command.obj, command.frame)

    @_do.register
    def _(self, command: schemas.AddObject) -> None:
        self._check_new([command.obj])
        self._add(command.obj, command.name, command.colour)

    @_do.register
    def _(self, command: schemas.RemoveObject) -> None:
        self._object(command.obj)
        for kind in ("prompts", "mask", "object"):
            for key in self.document.keys(kind, command.obj):
                self.document.put(key, None)
        self._tracker.forget(command.obj)

    @_do.register
    def _(self, command: schemas.ChangeObject) -> None:
        wanted = command.model_dump(include={"name", "colour", "visible"}, exclude_none=True)
        changed = {**self._object(command.obj), **wanted}
        self.document.put(("object", command.obj), changed)

    @_do.register
    def _(self, command: schemas.SetLook) -> None:
        if command.behind is not None and not self._is_picture(command.behind):
            raise ValueError("there is no such picture; send it again")
        self.document.put(LOOK, command.model_dump(exclude={"op"}))

    @_do.register
    def _(self, command: schemas.Find) -> Iterator[None]:
        self._check_frame(command.frame)
        self._error = ""
        return self._telling(self._proposals.find(command.frame, self._tracker.frames[command.frame]))

    @_do.register
    def _(self, command: schemas.Pick) -> None:
        self._check_new([pick.obj for pick in command.picks])
        progress = self._proposals.progress
        if progress is None:
            raise ValueError("nothing is proposed; look for objects first")
        for pick in command.picks:
            self._proposals.look_at(pick.proposal)
        for pick in command.picks:
            counts = self._proposals.take(pick.proposal).counts.decode("ascii")
            self._add(pick.obj, pick.name, pick.colour)
            self._show_drawn(pick.obj, progress["frame"], Mask(self._tracker.decoded(counts)), counts)

    @_do.register
    def _(self, command: schemas.Dismiss) -> None:
        self._proposals.dismiss()

    @_do.register
    def _(self, command: schemas.Track) -> Iterator[None]:
        ends = [(command.forward_to, False), (command.backward_to, True)]
        run = Run(command.start, tuple((end, reverse) for end, reverse in ends if end is not None))
        if not run.ends:
            raise ValueError("expected a frame to track forward to, or one to track backward to")
        if not self.document.keys("prompts"):
            raise ValueError("there is nothing to follow yet; click an object first")
        self._check_run(run)
        if self._run is not None and self._run.obj is not None and not self._stopped.is_set():
            self._corrections.insert(0, (self._run.obj, self._run.start))
        return self._begin_run(run)

    @_do.register
    def _(self, command: schemas.Retrack) -> Iterator[None] | None:
        place = command.obj, command.frame
        self._prompts(*place)
        if self._stopped.is_set():
            self._corrections.clear()
        elif self._run is not None and (self._run.obj, self._run.start) != place:
            if place not in self._corrections:
                self._corrections.append(place)
            return None
        run = self._correction(*place)
        return self._begin_run(run) if run is not None else None

    @_do.register
    def _(self, command: schemas.Stop) -> None:
        self.stop()
        self._corrections.clear()

    @_do.register
    def _(self, command: schemas.Undo) -> None:
        self._restore(self.document.undo())

    @_do.register
    def _(self, command: schemas.Redo) -> None:
        self._restore(self.document.redo())

    def _restore(self, changed: Collection[Key]) -> None:
        self._stopped.set()
        self._corrections.clear()
        self._tracker.agree_on(changed)

    def _add(self, obj: int, name: str, colour: str) -> None:
        self.document.put(("object", obj), {"name": name, "colour": colour, "visible": True})

    def _show(self, command: Any, prompt: Prompt, wanted: dict[str, Any], *, replace: bool = False) -> None:
        """Prompt the network, and write down what it was shown and what it answers."""
        found = self._tracker.prompt(command.frame, command.obj, prompt, replace=replace)
        self.document.put(("prompts", command.obj, command.frame), wanted)
        self._keep(command.frame, found, tracked=False)

    def _show_drawn(self, obj: int, frame: int, drawn: Mask, counts: str) -> None:
        """A drawn mask is kept as it is, rather than as the network answers it."""
        self._tracker.prompt(frame, obj, drawn, replace=True)
        self.document.put(("prompts", obj, frame), {**NO_PROMPTS, "mask": counts})
        area = int(np.count_nonzero(drawn.array))
        self.document.put(("mask", obj, frame), MaskValue(counts.encode("ascii"), 1.0, area, tracked=False))

    def _shown_instead(self, obj: int, frame: int, shown: dict[str, Any], wanted: dict[str, Any]) -> FrameResult:
        """What the network answers to other prompts. Raises ValueError where what is left does not say enough."""
        try:
            return self._tracker.show_again(obj, frame, wanted)
        except ValueError as error:
            self._tracker.show_again(obj, frame, shown)
            raise ValueError(
                "what is left says only where the object is not; clear the frame to take back all clicks"
            ) from error

    def _clear(self, obj: int, frame: int) -> None:
        """Prompts of a frame are gone: what was tracked there comes back, or nothing."""
        self.document.put(("prompts", obj, frame), None)
        self.document.put(("mask", obj, frame), None)
        if self.document.keys("prompts", obj):
            found = self._tracker.clear(obj, frame)
            if found is not None:
                self._keep(frame, found, tracked=True)
            return
        for key in self.document.keys("mask", obj):
            self.document.put(key, None)
        self._tracker.forget(obj)

    def _reach(self, obj: int, frame: int, by: int) -> int:
        """The last frame, stepping by 1 or -1, before one that is prompted itself or was not tracked."""
        while self.document.get("mask", obj, frame + by) and not self.document.get("prompts", obj, frame + by):
            frame += by
        return frame

    def _correction(self, obj: int, frame: int) -> Run | None:
        """What has to be tracked again around a frame; None: nothing was tracked beside it, or it is shown no more."""
        if self.document.get("prompts", obj, frame) is None:
            return None
        ends = [(self._reach(obj, frame, 1), False), (self._reach(obj, frame, -1), True)]
        run = Run(frame, tuple((end, reverse) for end, reverse in ends if end != frame), obj)
        return run if run.ends else None

    def _begin_run(self, run: Run) -> Iterator[None]:
        if self._running is not None:
            self._running.close()
        self._stopped.clear()
        self._error = ""
        self._take_up(run)
        self._running = self._steps()
        return self._running

    def _take_up(self, run: Run | None) -> None:
        self._run = run
        self._progress = run and {"frame": run.start, "done": 0, "total": run.total, "obj": run.obj}

    def _steps(self) -> Generator[None]:
        """One frame a step: what was asked for, then the corrections that wait."""
        try:
            while self._run is not None:
                yield from self._follow(self._run)
                self._take_up(None if self._stopped.is_set() else self._next_correction())
        except Exception as error:  # noqa: BLE001 - it is logged or told
            self._corrections.clear()
            self._fail("tracking", error)
        finally:
            self._take_up(None)
            self._tell()

    def _next_correction(self) -> Run | None:
        while self._corrections:
            run = self._correction(*self._corrections.pop(0))
            if run is not None:
                return run
        return None

    def _follow(self, run: Run) -> Generator[None]:
        objects = None if run.obj is None else [run.obj]
        try:
            if run.obj is not None:
                self.document.resume(("prompts", run.obj, run.start))
            self._go_on_from(run)
            for end, reverse in run.ends:
                for result in self._tracker.session.propagate(run.start, end, reverse=reverse, objects=objects):
                    self._keep_all(result, objects)
                    self._tell()
                    yield
                    if self._stopped.is_set():
                        return
                    self._check_room()
        finally:
            self.document.begin()

    def _check_room(self) -> None:
        self._check_disk()
        if self.document.is_full:
            raise ValueError(FULL)

    def _fail(self, what: str, error: Exception) -> None:
        """The page is told why work that took long ended early, until there is more of it."""
        if isinstance(error, (ValueError, Refusal)):
            reason = str(error)
        else:
            log.error("%s ended with an error", what, exc_info=error)
            no_room = isinstance(error, OSError)
            reason = "the server has no room left" if no_room else "this is a fault of the server"
        self._error = f"{what} ended early: {reason}"

    def _go_on_from(self, run: Run) -> None:
        """Tracking begins with the masks that the user sees."""
        for _, obj in self.document.keys("object"):
            if run.obj in (None, obj):
                self._tracker.remind(obj, run.start)

    def _telling(self, steps: Iterator[None]) -> Iterator[None]:
        try:
            for _ in steps:
                self._tell()
                yield
        except Exception as error:  # noqa: BLE001 - it is logged or told
            self._proposals.dismiss()
            self._fail("looking for objects", error)
        self._tell()

    def _keep_all(self, result: FrameResult, objects: Collection[int] | None) -> None:
        for obj in result.objects if objects is None else objects:
            if self.document.get("prompts", obj, result.frame) is None:
                self._keep(result.frame, result[obj] if objects is None else result.only(obj), tracked=True)
        assert self._progress is not None
        self._progress = {**self._progress, "frame": result.frame, "done": (self._progress["done"] or 0) + 1}

    def _keep(self, frame: int, found: ObjectResult, *, tracked: bool) -> None:
        counts = found.rle()["counts"].encode("ascii")
        value = MaskValue(counts, round(found.iou, 3), int(np.count_nonzero(found.mask)), tracked)
        self.document.put(("mask", found.obj, frame), value)
        self._tracker.knows(found.obj, frame)

    def _checked(self, command: Any, prompt: Prompt) -> dict[str, Any]:
        """The earlier prompts of the frame. Raises ValueError or IndexError where the new one cannot be."""
        self._object(command.obj)
        self._check_place(command.frame, prompt)
        return self.document.get("prompts", command.obj, command.frame) or NO_PROMPTS

    def _check_place(self, frame: int, prompt: Prompt) -> None:
        self._check_frame(frame)
        prompt.check_inside(self._tracker.video_hw)

    def _check_frame(self, frame: int) -> None:
        count = len(self._tracker.frames)
        if frame >= count:
            raise IndexError(f"frame {frame} does not exist; the frames are 0 to {count - 1}")

    def _check_run(self, run: Run) -> None:
        last = len(self._tracker.frames) - 1
        wrong_way = any(end > run.start if reverse else end < run.start for end, reverse in run.ends)
        if wrong_way or max(run.start, *(end for end, _ in run.ends)) > last:
            raise ValueError(f"expected a stretch around frame {run.start} within frames 0 to {last}")

    def _check_new(self, objects: list[int]) -> None:
        for obj in objects:
            if self.document.get("object", obj) is not None or objects.count(obj) > 1:
                raise ValueError(f"there is an object {obj} already; choose a free number")
        if len(self.document.keys("object")) + len(objects) > self.max_objects:
            raise ValueError(f"there would be more than {self.max_objects} objects, which this server does not take")

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

    def _tell(self) -> None:
        status = {
            "tracking": self._progress,
            "proposing": self._proposals.progress,
            "can_undo": self.document.can_undo,
            "can_redo": self.document.can_redo,
            "error": self._error,
        }
        self.document.publish(STATUS, status)
        self._on_change()
