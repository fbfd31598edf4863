"""What a run leaves to look at: settings, a log line per step and per score, TensorBoard's log, the curve."""

from __future__ import annotations

import json
import warnings
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from masklet.masks import resize_logits
from masklet.model.prompt_encoder import BOX_MIN
from masklet.training.batches import ClipBatch
from masklet.training.settings import write_settings
from masklet.training.unroll import Outcome
from masklet.video.draw import PromptMarks, overlay

if TYPE_CHECKING:
    from masklet.training.loop import Recipe

RECENT = 20
LOG = "log.jsonl"
SCORES = "scores.jsonl"


@dataclass(frozen=True)
class Taken:
    """A step of the optimiser."""

    outcomes: Sequence[Outcome]
    """One of each batch."""
    loss: float
    gradient: float
    """Norm, before it was clipped."""
    rate: float
    """Learning rate of what learns fastest."""


class Report:
    """Written by the leading process alone; for the others everything here does nothing."""

    def __init__(self, folder: Path, recipe: Recipe, settings: Mapping[str, Any], *, active: bool, first: int):
        self.folder, self.recipe, self.active = folder, recipe, active
        self.recent: deque[dict[str, Any]] = deque(maxlen=RECENT)
        self.board = None
        if active:
            folder.mkdir(parents=True, exist_ok=True)
            forget_after(folder / LOG, first)
            forget_after(folder / SCORES, first + 1)
            write_settings(folder, settings)
            self.board = open_board(folder, first)

    def __enter__(self) -> Report:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self.board is not None:
            self.board.close()
        self.draw()

    def draw(self) -> None:
        """The curve, as far as it goes."""
        if self.active and self.recent:
            draw_curve(self.folder)

    def add(self, step: int, taken: Taken, parts: Sequence[ClipBatch], seconds: float, waited: float) -> None:
        """One step: what it gave, how long it took, and how long its batches were waited for."""
        if not self.active:
            return
        record = {
            "step": step,
            "loss": round(taken.loss, 4),
            "prompt_iou": mean([iou for outcome in taken.outcomes for iou in outcome.prompt_iou]),
            "track_iou": mean([iou for outcome in taken.outcomes for iou in outcome.track_iou]),
            "clips": sum(len(part.frames_bfchw) for part in parts),
            "seconds": round(seconds, 3),
            "waited": round(waited, 3),
            "gradient": round(taken.gradient, 4),
            "rate": float(f"{taken.rate:.4g}"),
        }
        self.recent.append(record)
        with (self.folder / LOG).open("a") as log:
            log.write(json.dumps(record) + "\n")
        self._show(record, taken.outcomes[0], parts[0])

    def add_score(self, step: int, score: float) -> None:
        """What validation says of the weights after ``step`` steps."""
        if not self.active:
            return
        with (self.folder / SCORES).open("a") as log:
            log.write(json.dumps({"step": step, "score": round(score, 4)}) + "\n")
        if self.board is not None:
            self.board.add_scalar("score", score, step)

    def summary(self, processes: int) -> dict[str, str]:
        """For the progress bar: means over the last steps."""
        if not self.recent:
            return {}
        waited = sum(record["waited"] for record in self.recent)
        seconds = max(waited + sum(record["seconds"] for record in self.recent), 1e-9)
        clips = sum(record["clips"] for record in self.recent) * processes
        tracked = [record["track_iou"] for record in self.recent if record["track_iou"] is not None]
        return {
            "loss": f"{mean([record['loss'] for record in self.recent]):.3f}",
            "iou": f"{mean(tracked) or 0:.3f}",
            "clips/s": f"{clips / seconds:.2f}",
            "waits": f"{waited / seconds:.0%}",
        }

    def _show(self, record: dict[str, Any], outcome: Outcome, batch: ClipBatch) -> None:
        if self.board is None:
            return
        for name in ("loss", "prompt_iou", "track_iou", "gradient", "rate", "seconds", "waited"):
            if record[name] is not None:
                self.board.add_scalar(name, record[name], record["step"])
        for name, values in outcome.terms.items():
            self.board.add_scalar(f"terms/{name}", torch.stack(values).mean(), record["step"])
        if record["step"] % self.recipe.picture_every == 0:
            self.board.add_image("first clip", picture(outcome, batch), record["step"], dataformats="HWC")


def mean(values: Sequence[float]) -> float | None:
    """The mean, or None of nothing."""
    return round(float(np.mean(values)), 4) if len(values) else None


def picture(outcome: Outcome, batch: ClipBatch) -> np.ndarray:
    """The first clip: a row of predictions with what was shown of the objects, above a row of the truth."""
    objects = (batch.clip_o == 0).nonzero()[:, 0].tolist()
    rows = [[], []]
    for frame in range(batch.frames):
        rgb = np.ascontiguousarray(batch.frames_bfchw[0, frame].permute(1, 2, 0).cpu().numpy())
        logits = resize_logits(outcome.answers[frame][:, 0].float(), batch.hw).cpu().numpy()
        seen = {o + 1: logits[o] > 0 for o in objects}
        truth = {o + 1: batch.masks_ofhw[o, frame].cpu().numpy() for o in objects}
        rows[0].append(overlay(rgb, seen, [marks(outcome, frame, o) for o in objects]))
        rows[1].append(overlay(rgb, truth))
    return np.concatenate([np.concatenate(row, axis=1) for row in rows])


def marks(outcome: Outcome, frame: int, obj: int) -> PromptMarks:
    """All clicks that one object got on a frame, and its box."""
    objects = len(outcome.answers[frame])
    shown = outcome.shown.get(frame, [])[obj::objects]
    points = [(xy.tolist(), int(label)) for told in shown for xy, label in zip(*told, strict=True)]
    clicks = [(xy, label) for xy, label in points if label < BOX_MIN]
    corners = [xy for xy, label in points if label >= BOX_MIN]
    return PromptMarks(
        obj + 1,
        points_px_xy=[xy for xy, _ in clicks],
        labels=[label for _, label in clicks],
        box_px_xyxy=[*corners[0], *corners[1]] if corners else None,
    )


def open_board(folder: Path, first: int):
    """TensorBoard's writer, or None with a hint where it is not installed."""
    try:
        from torch.utils.tensorboard.writer import SummaryWriter
    except ImportError:
        warnings.warn("no TensorBoard log is written; pip install masklet[train] to get one", stacklevel=2)
        return None
    return SummaryWriter(str(folder / "board"), purge_step=first)


def forget_after(log: Path, first: int) -> None:
    """Drop the lines of steps that will be taken again; the log is there all the time."""
    if log.exists():
        kept = [line for line in log.read_text().splitlines() if _step(line) < first]
        beside = log.with_name(f"{log.name}.unfinished")
        beside.write_text("".join(line + "\n" for line in kept))
        beside.replace(log)


def _step(line: str) -> float:
    """A line that was cut off belongs to no step."""
    try:
        return json.loads(line)["step"]
    except (ValueError, KeyError, TypeError):
        return float("inf")


def draw_curve(folder: Path) -> None:
    """curve.png: loss and IoU over the steps, smoothed, and the scores of validation."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        warnings.warn("no curve is drawn; pip install masklet[train] to get one", stacklevel=2)
        return
    records = read_lines(folder / LOG)
    figure = Figure(figsize=(9, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    for axes, names in ((left, ["loss"]), (right, ["prompt_iou", "track_iou"])):
        for name in names:
            points = [(record["step"], record[name]) for record in records if record[name] is not None]
            if points:
                steps, values = zip(*points, strict=True)
                axes.plot(steps, smooth(np.array(values)), label=name)
        axes.set_xlabel("step")
    scores = read_lines(folder / SCORES)
    if scores:
        right.plot(
            [line["step"] for line in scores], [line["score"] for line in scores], marker=".", label="validation"
        )
    left.legend()
    right.legend()
    right.set_ylim(0, 1)
    figure.savefig(folder / "curve.png", dpi=120)


def read_lines(log: Path) -> list[dict[str, Any]]:
    """The records of a log, none where there is no such file."""
    return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []


def smooth(values: np.ndarray) -> np.ndarray:
    """Mean over a window of a fiftieth of the run."""
    window = max(1, len(values) // 50)
    padded = np.pad(values, (window // 2, window - 1 - window // 2), mode="edge")
    return np.convolve(padded, np.ones(window) / window, mode="valid")
