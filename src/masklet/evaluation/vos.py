"""Semi-supervised video object segmentation: objects are shown once, and the masks of the later frames are scored.

An object that appears later is shown when the run has come to the frame where it is first seen, and is absent before.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from masklet.evaluation.cases import Worst
from masklet.evaluation.datasets import Rules, dataset_named
from masklet.evaluation.folders import AnnotatedVideo
from masklet.evaluation.plan import Plan, PromptKind, VosProtocol
from masklet.evaluation.predictions import writer_of
from masklet.evaluation.runners import Runner, VideoRun
from masklet.evaluation.truth import FirstView, ObjectMasks, Truth, check_sizes
from masklet.evaluation.user import show
from masklet.metrics import JF, j_and_f


def measure(video: AnnotatedVideo, runner: Runner, plan: Plan, out: Path) -> dict[str, Any]:
    """Runs one video: writes its predictions and worst cases below `out`, and gives its scores frame by frame.

    Raises ValueError when an annotation is broken or the runner leaves out a frame that counts.
    """
    protocol, dataset = plan.protocol, dataset_named(plan.dataset)
    assert isinstance(protocol, VosProtocol)
    overlap = dataset.overlaps if protocol.overlap is None else protocol.overlap
    with video.frames() as frames:
        names = [frames.name_of(index) for index in range(len(frames))]
        truth = Truth(video, names)
        for view in truth.first_views.values():
            check_sizes({0: view.truth}, frames.video_hw, f"{video.name}, {names[view.frame]}")
        scores = Scores(truth, dataset.rules)
        clock = Clock()
        folder, write = out / "predictions" / video.name, writer_of(dataset, overlap=overlap)
        with runner.open(frames, overlap=overlap) as run:
            for frame, found in clock.time(tracked(run, truth.first_views, len(frames), protocol.prompt)):
                masks = complete(found, truth.first_views, frames.video_hw)
                write(folder, names[frame], masks, frames.video_hw)
                scores.take(frame, masks)
        objects = scores.conclude(video.name)
        cases = scores.worst.save(out / "cases", frames.__getitem__, video.name)
    return {
        "sequence": video.name,
        "tracked_frames": clock.frames,
        "seconds": clock.seconds,
        "objects": [
            record | {"group": video.group_of(record["object"]), "case": cases.get(record["object"])}
            for record in objects
        ],
    }


def tracked(
    run: VideoRun, views: dict[int, FirstView], count: int, prompt: PromptKind
) -> Iterator[tuple[int, ObjectMasks]]:
    """All frames in order with the masks of the objects shown so far; none before the first is shown."""
    starts = sorted({view.frame for view in views.values()})
    yield from ((frame, {}) for frame in range(starts[0] if starts else count))
    for start, end in pairwise([*starts, count]):
        for obj, view in views.items():
            if view.frame == start:
                show(prompt, view.truth, lambda given, obj=obj, start=start: run.prompt(start, obj, given))
        yield from run.follow(start, end)


def complete(found: ObjectMasks, objects: Iterable[int], video_hw: tuple[int, int]) -> ObjectMasks:
    """The masks of all objects, empty where none was found. Raises ValueError for one of another size."""
    for mask in found.values():
        if mask.shape != video_hw:
            raise ValueError(f"the runner gave a mask {mask.shape} for frames {video_hw}; resize it with masks.resize")
    empty = np.zeros(video_hw, dtype=bool)
    return {obj: found.get(obj, empty) for obj in objects}


class Scores:
    """J and F of every object on the frames that count, as the frames come."""

    def __init__(self, truth: Truth, rules: Rules) -> None:
        self._truth = truth
        self._rules = rules
        self._waiting: dict[int, list[int]] = {}
        for obj, frames in truth.counted(rules).items():
            for frame in frames:
                self._waiting.setdefault(frame, []).append(obj)
        self._scores: dict[int, dict[int, JF]] = {obj: {} for obj in truth.first_views}
        self._in_truth: set[int] = set()
        self.worst = Worst()

    def take(self, frame: int, masks: ObjectMasks) -> None:
        """Scores one frame."""
        objects = self._waiting.pop(frame, [])
        true_masks = self._truth.masks(frame) if objects else {}
        for obj in objects:
            truth, prediction = true_masks[obj], masks[obj]
            check_sizes({obj: truth}, prediction.shape, f"frame {frame}")
            if truth.any():
                self._in_truth.add(obj)
            elif self._rules.since == "seen" and not self._scores[obj] and not prediction.any():
                continue
            score = j_and_f(truth, prediction, self._rules.tolerance)
            self._scores[obj][frame] = score
            self.worst.note(obj, score.mean, frame, truth, prediction)

    def conclude(self, video: str) -> list[dict[str, Any]]:
        """One record per object that has frames that count. Raises ValueError when such a frame did not come."""
        if self._waiting:
            missing = sorted(self._waiting)[:5]
            raise ValueError(f"the runner left out frames {missing} of {video}; it must yield every frame")
        never_true = self._rules.since == "seen"
        return [
            {
                "object": obj,
                "frames": list(scores),
                "j": [score.j for score in scores.values()],
                "f": [score.f for score in scores.values()],
            }
            for obj, scores in self._scores.items()
            if scores and not (never_true and obj not in self._in_truth)
        ]


class Clock:
    """Counts the frames that an iterator gives and the time it takes to give them."""

    def __init__(self) -> None:
        self.frames = 0
        self.seconds = 0.0

    def time(self, results: Iterable[tuple[int, ObjectMasks]]) -> Iterator[tuple[int, ObjectMasks]]:
        """Passes results on. What is done with them is not counted."""
        started = time.perf_counter()
        for result in results:
            self.seconds += time.perf_counter() - started
            self.frames += 1
            yield result
            started = time.perf_counter()
