"""How well a network does on records that it does not learn from, and what that looks like before and after."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import cv2
import numpy as np

from masklet.clicks import next_click
from masklet.data.datasets import Dataset
from masklet.data.records import Masklet, Record, RecordError
from masklet.evaluation.runners import Runner
from masklet.evaluation.sessions import SessionRunner
from masklet.evaluation.truth import FirstView, ObjectMasks
from masklet.evaluation.user import correct
from masklet.evaluation.vos import tracked
from masklet.metrics import iou, j_and_f
from masklet.model.sam2 import SegmentationNetwork
from masklet.video.draw import PromptMarks, draw_label, overlay
from masklet.video.source import FrameSource

CLICKS = (1, 3, 5)
FOLLOWED = "J&F of objects that are followed"
EXAMPLES = 6
TILE_HEIGHT = 240
GAP = 6
PAPER = 24


@dataclass(frozen=True)
class Target:
    """An object, and the frame where it is first seen."""

    masklet: Masklet
    first: int

    @property
    def id(self) -> int:
        """The object's number in its record."""
        return self.masklet.id

    def truth(self, frame: int) -> np.ndarray:
        """Its mask on an annotated frame, bool (h, w)."""
        mask = self.masklet.mask(frame)
        assert mask is not None, "the frame is annotated"
        return mask

    def counts(self, frame: int) -> bool:
        """Whether the frame comes after the one on which the object is shown, and says where it is."""
        return frame > self.first and frame in self.masklet.masks


@dataclass(frozen=True)
class Example:
    """One picture or frame, as a person would judge it."""

    name: str
    frame: np.ndarray
    truth: ObjectMasks
    found: ObjectMasks
    marks: Sequence[PromptMarks] = ()


@dataclass
class Measured:
    """Scores of single objects (0 to 1) by what is measured, and the first examples."""

    scores: dict[str, list[float]] = field(default_factory=dict)
    examples: list[Example] = field(default_factory=list)

    def add(self, measure: str, score: float) -> None:
        """One more object."""
        self.scores.setdefault(measure, []).append(score)

    def show(self, example: Example) -> None:
        """Keeps it if it is among the first."""
        if len(self.examples) < EXAMPLES:
            self.examples.append(example)

    def means(self) -> dict[str, float]:
        """Over all objects."""
        return {measure: float(np.mean(scores)) for measure, scores in self.scores.items()}

    def score(self) -> float:
        """One number for all: the clicks' mean, and for videos the mean of that and of how objects are followed."""
        means = self.means()
        following = means.pop(FOLLOWED, None)
        clicking = float(np.mean(list(means.values())))
        return clicking if following is None else (clicking + following) / 2


@dataclass(frozen=True)
class HeldOut:
    """Some objects of a dataset, the same each time, spread over its records.

    On the frame where an object is first seen it is clicked on, each click where the answer before is most wrong. In
    videos it is then shown by its mask there and followed.
    """

    dataset: Dataset
    most: int = 60
    """Objects."""
    frames: int = 40
    """A video is followed no longer than this."""
    min_area: float = 0.0001
    """Share of the picture; smaller objects are left out, as in training."""
    seed: int = 1

    def score(self, network: SegmentationNetwork) -> float:
        """One number, for a run to watch."""
        return self.measure(SessionRunner(network)).score()

    def measure(self, runner: Runner) -> Measured:
        """Raises RecordError when none of the records can be used."""
        if not self.cases:
            raise RecordError(f"nothing in {self.dataset.root} can be tested with\n{self.dataset.report()}")
        measured = Measured()
        for record, targets in self.cases:
            with record.open_frames(strict=True) as frames:
                for number in sorted({target.first for target in targets}):
                    shown = [target for target in targets if target.first == number]
                    example = click(runner, frames[number], number, shown, record.video_id, measured)
                    if record.is_picture:
                        measured.show(example)
                if not record.is_picture:
                    self._follow(runner, record, frames, targets, measured)
        return measured

    @cached_property
    def cases(self) -> list[tuple[Record, list[Target]]]:
        """Records that can be read with some of their objects."""
        count = min(self.most, len(self.dataset))
        places = np.linspace(0, len(self.dataset) - 1, count).round().astype(int).tolist()
        read = ((place, self._record(place)) for place in places)
        each = max(1, self.most // count)
        cases = [(record, self._some_targets(record, place, each)) for place, record in read if record is not None]
        return [(record, targets) for record, targets in cases if targets]

    def _record(self, place: int) -> Record | None:
        entry = self.dataset.entries[place]
        try:
            record = entry.read().checked()
            with record.open_frames(strict=True) as frames:
                frames[0]
        except (ValueError, OSError) as error:
            self.dataset.note_bad(entry, error)
            return None
        return record

    def _some_targets(self, record: Record, place: int, count: int) -> list[Target]:
        targets = list(targets_of(record, self.min_area))
        chosen = np.random.default_rng([self.seed, place]).permutation(len(targets))[:count]
        return [targets[index] for index in sorted(chosen.tolist())]

    def _follow(
        self, runner: Runner, record: Record, frames: FrameSource, targets: Sequence[Target], measured: Measured
    ) -> None:
        """From where the first object is seen, for some frames; only what is seen by then is shown."""
        end = min(min(target.first for target in targets) + self.frames, record.annotated_frames[-1] + 1)
        shown = [target for target in targets if target.first < end]
        views = {target.id: FirstView(target.first, target.truth(target.first)) for target in shown}
        scores: dict[int, list[float]] = {}
        example = None
        with runner.open(frames, overlap=True) as run:
            for number, found in tracked(run, views, end, "mask"):
                truth = {target.id: target.truth(number) for target in shown if target.counts(number)}
                for obj, mask in truth.items():
                    scores.setdefault(obj, []).append(j_and_f(mask, found[obj]).mean)
                if truth:
                    example = (number, truth, {obj: found[obj] for obj in truth})
        for of_object in scores.values():
            measured.add(FOLLOWED, float(np.mean(of_object)))
        if example is not None:
            number, truth, found = example
            measured.show(Example(f"{record.video_id}, frame {number}", frames[number], truth, found))


def targets_of(record: Record, min_area: float) -> Iterator[Target]:
    """The objects that are seen at all and cover enough of the picture where they are first seen."""
    needed = max(1, min_area * record.video_hw[0] * record.video_hw[1])
    for masklet in record.masklets:
        first = next((frame for frame in sorted(masklet.masks) if masklet.is_visible(frame)), None)
        if first is None:
            continue
        target = Target(masklet, first)
        if np.count_nonzero(target.truth(first)) >= needed:
            yield target


def click(
    runner: Runner, picture: np.ndarray, number: int, targets: Sequence[Target], name: str, measured: Measured
) -> Example:
    """Adds the IoU of objects after some numbers of clicks on a frame; gives what one click found."""
    begin = runner.picture(picture)
    truths = {target.id: target.truth(number) for target in targets}
    found, marks = {}, []
    for obj, truth in truths.items():
        nothing = np.zeros_like(truth)
        answers = correct(truth, nothing, begin(), max(CLICKS))
        for clicks in CLICKS:
            plural = "s" if clicks > 1 else ""
            measured.add(f"IoU after {clicks} click{plural}", iou(truth, answers[min(clicks, len(answers)) - 1]))
        first = next_click(truth, nothing)
        assert first is not None, "the object is seen"
        found[obj] = answers[0]
        marks.append(PromptMarks(obj, first.xy.tolist(), first.labels.tolist()))
    return Example(name, picture, truths, found, marks)


def table(before: Measured, after: Measured) -> str:
    """A line per measure, in per cent."""
    lines = [("", "before", "after", "gain", "objects")]
    then, now = before.means(), after.means()
    for measure, scores in after.scores.items():
        old, new = 100 * then[measure], 100 * now[measure]
        lines.append((measure, f"{old:.1f}", f"{new:.1f}", f"{new - old:+.1f}", str(len(scores))))
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join([line[0].ljust(widths[0]), *(cell.rjust(w) for cell, w in zip(line[1:], widths[1:], strict=True))])
        for line in lines
    )


def sheet(before: Measured, after: Measured) -> np.ndarray:
    """A row per example: the truth, what was found before and what is found after. RGB uint8 (h, w, 3)."""
    rows = []
    for old, new in zip(before.examples, after.examples, strict=True):
        rows.append(
            [
                tile(old, old.truth, f"{old.name}: truth"),
                tile(old, old.found, f"before: {mean_iou(old):.2f}"),
                tile(new, new.found, f"after: {mean_iou(new):.2f}"),
            ]
        )
    return stacked(rows)


def tile(example: Example, masks: ObjectMasks, label: str) -> np.ndarray:
    """The example's frame with masks, TILE_HEIGHT pixels high."""
    drawn = overlay(example.frame, masks, example.marks)
    width = max(1, round(TILE_HEIGHT * drawn.shape[1] / drawn.shape[0]))
    small = cv2.resize(drawn, (width, TILE_HEIGHT), interpolation=cv2.INTER_AREA)
    draw_label(small, label, (4, 4), height_px=11)
    return small


def mean_iou(example: Example) -> float:
    """Over the example's objects."""
    return float(np.mean([iou(truth, example.found[obj]) for obj, truth in example.truth.items()]))


def stacked(rows: Sequence[Sequence[np.ndarray]]) -> np.ndarray:
    """Tiles of one height in rows, each column as wide as its widest."""
    width = max(sum(tile.shape[1] + GAP for tile in row) for row in rows) - GAP
    paper = np.full((len(rows) * (TILE_HEIGHT + GAP) - GAP, width, 3), PAPER, dtype=np.uint8)
    for number, row in enumerate(rows):
        top, left = number * (TILE_HEIGHT + GAP), 0
        for drawn in row:
            paper[top : top + TILE_HEIGHT, left : left + drawn.shape[1]] = drawn
            left += drawn.shape[1] + GAP
    return paper
