"""Semi-supervised video object segmentation: objects are shown once, and the masks of the later frames are scored.

    videos = davis_videos("DAVIS", "2017/val")
    result = evaluate_vos(session_tracker(masklet.load("sam2.1-hiera-tiny")), videos, prompt="3-click")
    print(result.table())
    result.save("out")

A tracker is a function `(frames, user) -> iterator of (frame, {object: mask})`. It first has the user show the objects,
`user.prompt(answer)`, and then yields the frames in any order. As in the DAVIS benchmark, the frame where an object
is first seen and the video's last annotated frame do not count, and a score is the mean over the frames of an
object, then over the objects of all videos.
"""

from __future__ import annotations

import csv
import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
from tqdm import tqdm

from masklet.evaluation.davis import AnnotatedVideo, read_annotation
from masklet.evaluation.user import FirstView, ObjectMasks, PromptKind, SimulatedUser
from masklet.metrics import JF, j_and_f
from masklet.video.read import FrameSource

Tracker = Callable[[FrameSource, SimulatedUser], Iterable[tuple[int, ObjectMasks]]]


@dataclass(frozen=True)
class ObjectScore:
    """One object's means over `frames` scored frames."""

    video: str
    obj: int
    frames: int
    j: float
    f: float

    @property
    def jf(self) -> float:
        return (self.j + self.f) / 2


@dataclass(frozen=True)
class VosResult:
    """What a tracker scored. `seconds` is the time spent in it, reading of frames included, scoring excluded."""

    prompt: PromptKind
    scores: list[ObjectScore]
    tracked_frames: int
    seconds: float

    @property
    def mean(self) -> JF:
        """Mean over the objects of all videos."""
        return JF(*np.mean([(score.j, score.f) for score in self.scores], axis=0).tolist())

    @property
    def fps(self) -> float:
        """Frames tracked per second."""
        return self.tracked_frames / self.seconds if self.seconds else 0.0

    def table(self) -> str:
        """The scores as text, one line per object and the mean."""
        rows = [(f"{s.video} {s.obj}", s.jf, s.j, s.f) for s in self.scores]
        rows.append((f"mean of {len(self.scores)}", self.mean.mean, self.mean.j, self.mean.f))
        return _as_table(("object", "J&F", "J", "F"), rows)

    def save(self, folder: Path | str, name: str = "vos") -> tuple[Path, Path]:
        """Writes `name`.csv (a line per object) and `name`.json (means and all), and returns their paths."""
        table, summary = Path(folder, f"{name}.csv"), Path(folder, f"{name}.json")
        table.parent.mkdir(parents=True, exist_ok=True)
        rows = [asdict(score) | {"jf": score.jf} for score in self.scores]
        with table.open("w", newline="") as file:
            writer = csv.DictWriter(file, fieldnames=list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
        means = {"prompt": self.prompt, "jf": self.mean.mean, "j": self.mean.j, "f": self.mean.f, "fps": self.fps}
        summary.write_text(json.dumps(means | {"objects": rows}, indent=2) + "\n")
        return table, summary


def evaluate_vos(
    tracker: Tracker, videos: Sequence[AnnotatedVideo], prompt: PromptKind = "mask", progress: bool = True
) -> VosResult:
    """Runs a tracker over videos and scores it. Shows a progress bar with the mean J&F so far unless told otherwise.

    Raises ValueError when an annotation is broken or the tracker leaves out a frame that counts.
    """
    scores: list[ObjectScore] = []
    clock = _Clock()
    bar = tqdm(videos, unit="video", disable=not progress)
    for video in bar:
        scores += _score_video(tracker, video, prompt, clock)
        if scores:
            bar.set_postfix_str(f"J&F {np.mean([score.jf for score in scores]):.3f}")
    if not scores:
        raise ValueError("expected videos with at least three annotated frames, got none that can be scored")
    return VosResult(prompt, scores, clock.frames, clock.seconds)


def compare(results: Mapping[str, VosResult]) -> str:
    """J&F of several trackers beside each other as text, one line per object and the mean."""
    first = next(iter(results.values()))
    columns = [{(s.video, s.obj): s.jf for s in result.scores} for result in results.values()]
    rows = [(f"{video} {obj}", *(column[video, obj] for column in columns)) for video, obj in columns[0]]
    rows.append((f"mean of {len(first.scores)}", *(result.mean.mean for result in results.values())))
    return _as_table(("J&F", *results), rows)


@dataclass
class _Clock:
    """Counts the frames that an iterator gives and the time it takes to give them."""

    frames: int = 0
    seconds: float = 0.0

    def time(self, track: Callable[[], Iterable[tuple[int, ObjectMasks]]]) -> Iterator[tuple[int, ObjectMasks]]:
        started = time.perf_counter()
        for result in track():
            self.seconds += time.perf_counter() - started
            self.frames += 1
            yield result
            started = time.perf_counter()


@dataclass
class _Truth:
    """The annotations of one video and where its objects are first seen."""

    files: dict[int, Path]
    video_hw: tuple[int, int]
    first_views: dict[int, FirstView] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for frame in self.files:
            ids_hw = self.ids(frame)
            for obj in np.unique(ids_hw[ids_hw > 0]).tolist():
                self.first_views.setdefault(obj, FirstView(frame, ids_hw == obj))

    def ids(self, frame: int) -> np.ndarray:
        ids_hw = read_annotation(self.files[frame])
        if ids_hw.shape != self.video_hw:
            raise ValueError(f"annotation {self.files[frame]} is {ids_hw.shape}, its pictures are {self.video_hw}")
        return ids_hw

    def judged(self) -> dict[int, list[int]]:
        """Frame -> the objects that count there."""
        known = {frame: [obj for obj, view in self.first_views.items() if view.frame < frame] for frame in self.files}
        last = max(self.files)
        return {frame: objects for frame, objects in known.items() if objects and frame != last}


def _score_video(tracker: Tracker, video: AnnotatedVideo, prompt: PromptKind, clock: _Clock) -> list[ObjectScore]:
    with video.frames() as frames:
        truth = _Truth(video.annotation_of(frames), frames.video_hw)
        user = SimulatedUser(prompt, truth.first_views)
        waiting = truth.judged()
        scores: dict[int, list[JF]] = {obj: [] for obj in truth.first_views}
        for frame, masks in clock.time(lambda: tracker(frames, user)):
            if frame not in waiting:
                continue
            ids_hw = truth.ids(frame)
            empty = np.zeros(truth.video_hw, dtype=bool)
            for obj in waiting.pop(frame):
                scores[obj].append(j_and_f(ids_hw == obj, masks.get(obj, empty)))
    if waiting:
        raise ValueError(
            f"the tracker left out frames {sorted(waiting)[:5]} of {video.name}; it must yield every frame"
        )
    return [
        ObjectScore(video.name, obj, len(of_obj), *np.mean(of_obj, axis=0).tolist())
        for obj, of_obj in scores.items()
        if of_obj
    ]


def _as_table(header: Sequence[str], rows: Sequence[tuple]) -> str:
    width = max(len(str(row[0])) for row in [header, *rows])
    lines = [f"{header[0]:<{width}}" + "".join(f"{name:>12}" for name in header[1:])]
    lines += [f"{row[0]:<{width}}" + "".join(f"{value:>12.3f}" for value in row[1:]) for row in rows]
    return "\n".join(lines)
