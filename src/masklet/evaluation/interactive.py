"""Interactive segmentation: a simulated user prompts frame after frame, and sees what the tracker makes of it.

The protocols are those of the SAM 2 paper (arXiv 2408.00714, section on promptable video segmentation). Every annotated
frame counts from where the object is first seen, the prompted ones included: they are part of what the user gets.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from masklet.evaluation.baselines import MOVERS, CarriedRunner
from masklet.evaluation.cases import Worst
from masklet.evaluation.datasets import dataset_named
from masklet.evaluation.folders import AnnotatedVideo
from masklet.evaluation.kept import Kept, PackedMask
from masklet.evaluation.plan import InteractiveProtocol, Mode, Plan
from masklet.evaluation.runners import Runner, VideoRun
from masklet.evaluation.truth import Truth, check_sizes
from masklet.evaluation.user import correct
from masklet.metrics import JF, j_and_f
from masklet.prompts import Mask
from masklet.video.read import FrameSource

EXAMINE_SECONDS = 30 / 300
"""Per frame that is looked through."""
LOCATE_SECONDS = 1.0
"""To find the object on a frame that is to be prompted."""
CLICK_SECONDS = 1.5
TRUTH_BYTES = 256 << 20
"""Of true masks of one object that are kept: some 5000 frames of 854x480."""


@dataclass(frozen=True)
class Round:
    """What has been spent, and what has come of it, after a number of prompted frames."""

    prompted: int
    clicks: int
    seconds: float
    """Of the user's time, simulated."""
    j: float
    f: float


def measure(video: AnnotatedVideo, runner: Runner, plan: Plan, out: Path) -> dict[str, Any]:
    """Runs all objects of one video by themselves, with the runner and the baselines, in every mode.

    Raises ValueError when an annotation is broken, or only the first views of the objects are annotated.
    """
    protocol = plan.protocol
    assert isinstance(protocol, InteractiveProtocol)
    trackers = {plan.runner: runner} | {
        name: CarriedRunner(runner.picture, MOVERS[name]) for name in protocol.baselines if name != plan.runner
    }
    worst = Worst()
    records = []
    with video.frames() as frames:
        truth = _scorable(video, frames)
        for obj in truth.first_views:
            user = User(truth, obj, protocol, dataset_named(plan.dataset).rules.tolerance, len(frames))
            for tracker, tracking in trackers.items():
                for mode in protocol.modes:
                    with tracking.open(frames, overlap=True) as run:
                        rounds = [asdict(done) for done in user.work(run, mode)]
                    records.append({"tracker": tracker, "mode": mode, "object": obj, "rounds": rounds})
                    if tracker == plan.runner:
                        user.note_worst(worst)
        cases = worst.save(out / "cases", frames.__getitem__, video.name)
    return {
        "sequence": video.name,
        "tracks": [record | {"case": cases.get(record["object"])} for record in records],
    }


class User:
    """One object of a video, the simulated user who segments it, and how good the masks are by now."""

    def __init__(self, truth: Truth, obj: int, protocol: InteractiveProtocol, tolerance: float, frames: int) -> None:
        self._obj = obj
        self._protocol = protocol
        self._tolerance = tolerance
        self._start = truth.first_views[obj].frame
        self._judged = [frame for frame in truth.frames_of(obj) if frame >= self._start]
        self._length = frames - self._start
        self._truth_on: Kept[int, PackedMask] = Kept(lambda frame: PackedMask.of(truth.mask(frame, obj)), TRUTH_BYTES)
        self._scores: dict[int, JF] = {}
        self._found: dict[int, PackedMask] = {}
        self._prompted: set[int] = set()

    def work(self, run: VideoRun, mode: Mode) -> Iterator[Round]:
        """One round per prompted frame; when nothing is left to be prompted, the last one is repeated."""
        self._scores, self._found, self._prompted = {}, {}, set()
        visits = self._visits(run, mode)
        clicks, prompted, seconds = 0, 0, EXAMINE_SECONDS * self._length if mode == "online" else 0.0
        for spent in islice(visits, self._protocol.rounds):
            clicks, prompted = clicks + spent, prompted + 1
            seconds += LOCATE_SECONDS + CLICK_SECONDS * spent
            seconds += EXAMINE_SECONDS * self._length if mode == "offline" else 0.0
            yield Round(prompted, clicks, seconds, *self._mean())
        for _ in range(prompted, self._protocol.rounds):
            yield Round(prompted, clicks, seconds, *self._mean())

    def note_worst(self, worst: Worst) -> None:
        """Hands over the worst frame of the last work."""
        frame = min(self._judged, key=lambda judged: self._scores[judged].mean)
        worst.note(self._obj, self._scores[frame].mean, frame, self._true_mask(frame), self._mask(frame))

    def _visits(self, run: VideoRun, mode: Mode) -> Iterator[int]:
        """Prompts one frame after the other and has the others followed; yields the clicks of each frame."""
        frame: int | None = self._start
        while frame is not None:
            spent = self._prompt(run, frame)
            self._watch(run, frame if mode == "online" else self._start, prompted=frame)
            yield spent
            frame = self._next_offline() if mode == "offline" else self._next_online(after=frame)

    def _next_offline(self) -> int | None:
        frame = min(self._judged, key=lambda judged: self._scores[judged].j)
        return frame if self._scores[frame].j < 1 else None

    def _next_online(self, after: int) -> int | None:
        return next((f for f in self._judged if f > after and self._scores[f].j < self._protocol.pause_below), None)

    def _prompt(self, run: VideoRun, frame: int) -> int:
        """Clicks on a frame, and takes over the answer. Gives the number of clicks."""
        truth = self._true_mask(frame)
        corrects = frame in (self._found if run.corrects else self._prompted)
        self._prompted.add(frame)
        if not corrects and not truth.any():
            self._take(frame, run.prompt(frame, self._obj, Mask(truth)), truth)
            return 1
        before = self._mask(frame) if corrects else np.zeros_like(truth)
        answers = correct(truth, before, lambda prompt: run.prompt(frame, self._obj, prompt), self._protocol.clicks)
        if answers:
            self._take(frame, answers[-1], truth)
        return len(answers)

    def _watch(self, run: VideoRun, start: int, prompted: int) -> None:
        """Has the video followed from a frame on. The prompted frame keeps what the user saw there."""
        judged = set(self._judged)
        for frame, masks in run.follow(start):
            if frame in judged and (frame != prompted or frame not in self._found):
                self._take(frame, masks[self._obj], self._true_mask(frame))

    def _take(self, frame: int, mask: np.ndarray, truth: np.ndarray) -> None:
        check_sizes({self._obj: truth}, mask.shape, f"frame {frame}")
        self._scores[frame] = j_and_f(truth, mask, self._tolerance)
        self._found[frame] = PackedMask.of(mask)

    def _true_mask(self, frame: int) -> np.ndarray:
        return self._truth_on(frame).mask

    def _mask(self, frame: int) -> np.ndarray:
        return self._found[frame].mask

    def _mean(self) -> tuple[float, float]:
        j, f = np.mean([self._scores[frame] for frame in self._judged], axis=0).tolist()
        return j, f


def _scorable(video: AnnotatedVideo, frames: FrameSource) -> Truth:
    truth = Truth(video, [frames.name_of(index) for index in range(len(frames))])
    if not truth.can_score:
        raise ValueError(f"only the first views of the objects of {video.name} are annotated; take a split with truth")
    return truth
