"""The run behind ``track`` and ``demo``: prompts into a session, results into files."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Event
from typing import Any

import click
from tqdm import tqdm

from masklet.cli.behind import Behind
from masklet.cli.outputs import Output, opened
from masklet.cli.shown import Shown
from masklet.model.sam2 import SegmentationNetwork
from masklet.sessions.results import FrameResult, ObjectResult
from masklet.sessions.video import VideoSession
from masklet.video.source import FrameSource
from masklet.video.write import ResultWriter

_BAR = "{l_bar}{bar}| {n_fmt}/{total_fmt} [{elapsed}<{remaining}, {rate_noinv_fmt}]"


@dataclass(frozen=True)
class Span:
    """Frames to be followed, both ends included. None: from the prompts, to the end of the video."""

    start: int | None = None
    end: int | None = None
    backward: bool = False

    def of(self, shown: Sequence[Shown], source: FrameSource) -> Run:
        """With the frames filled in. Raises ValueError for an end on the wrong side."""
        prompted = [one.frame for one in shown]
        first = (max(prompted) if self.backward else min(prompted)) if self.start is None else self.start
        last = (0 if self.backward else len(source) - 1) if self.end is None else self.end
        if self.end is not None and (last > first if self.backward else last < first):
            side, advice = ("after", "leave out") if self.backward else ("before", "add")
            raise ValueError(f"--end {last} lies {side} frame {first}, where the run begins; {advice} --backward")
        return Run(first, last, self.backward)


@dataclass
class Run:
    """Frames that are being followed, and how far that has come."""

    first: int
    last: int
    backward: bool
    frames: int = 0
    """Frames done."""
    seconds: float = 0.0
    was_stopped: bool = False
    """Ctrl-C came before the last frame."""
    newest: FrameResult | None = None
    """What was found on the last frame done."""

    @property
    def next(self) -> int:
        """The first frame that is not done."""
        return self.first + (-self.frames if self.backward else self.frames)

    @property
    def done(self) -> range:
        """Frames done, in ascending order."""
        return range(self.next + 1, self.first + 1) if self.backward else range(self.first, self.next)

    @property
    def speed(self) -> str:
        """For people."""
        rate = self.frames / self.seconds if self.seconds else 0.0
        return f"{self.frames} frames, {rate:.2f} frames per second"


def follow(
    source: FrameSource,
    shown: Sequence[Shown],
    span: Span,
    outputs: Sequence[Output],
    load: Callable[[], SegmentationNetwork],
    **settings: Any,
) -> Run:
    """Follow what is shown through a video and write the outputs.

    ``load`` gives the network; ``settings`` are single ones of ``VideoSettings`` by name.

    Ctrl-C ends it after the frame at hand. Raises ValueError for prompts and frames that do not fit the video.
    """
    run = span.of(shown, source)
    with VideoSession(load(), source, **settings) as session:
        results = _begin(session, shown, run)
        with opened(outputs, source) as writers:
            # A video is written in ascending order, so after a run backward.
            later = [writer for writer in writers if run.backward and writer.ascending]
            at_once = [writer for writer in writers if writer not in later]
            with Behind() as behind:
                with stop_on_interrupt() as asked:
                    for result in _counted(results, run, asked):
                        behind.do(_record, result, list(result), source, shown, at_once)
                for frame in run.done if later else ():
                    result = session.result(frame)
                    behind.do(_record, result, list(result), source, shown, later)
            for writer in writers:
                writer.is_whole = not run.was_stopped
    return run


def _begin(session: VideoSession, shown: Sequence[Shown], run: Run) -> Iterator[FrameResult]:
    try:
        for one in shown:
            session.prompt(one.frame, one.obj, *one.prompts)
        return session.propagate(run.first, run.last, reverse=run.backward)
    except IndexError as error:
        raise ValueError(str(error)) from error


def _counted(results: Iterator[FrameResult], run: Run, asked: Event) -> Iterator[FrameResult]:
    """Results until the end or until asked to stop, counted and timed, behind a progress bar on a terminal."""
    begin = time.perf_counter()
    total = abs(run.last - run.first) + 1
    with tqdm(total=total, unit=" frames", bar_format=_BAR, disable=None) as bar:
        for result in results:
            yield result
            run.newest = result
            run.frames += 1
            run.seconds = time.perf_counter() - begin
            bar.update()
            if asked.is_set():
                run.was_stopped = run.frames < total
                return


def _record(
    result: FrameResult,
    objects: Sequence[ObjectResult],
    source: FrameSource,
    shown: Sequence[Shown],
    writers: Sequence[ResultWriter],
) -> None:
    """Hand a result and its objects to writers, with the frame's picture and the prompts given on it."""
    picture = source[result.frame]
    for writer in writers:
        writer.add(
            result.frame,
            picture,
            {one.obj: one.mask for one in objects},
            predicted_iou={one.obj: one.iou for one in objects},
            presence={one.obj: one.presence for one in objects},
            prompted={one.obj for one in objects if one.prompted},
            prompts=[one.marks for one in shown if one.frame == result.frame],
        )


@contextmanager
def stop_on_interrupt() -> Iterator[Event]:
    """Within it Ctrl-C sets the event, so that nothing is cut off halfway; a second Ctrl-C is as everywhere."""
    asked = Event()
    previous = signal.getsignal(signal.SIGINT)

    def ask(*_: object) -> None:
        asked.set()
        signal.signal(signal.SIGINT, previous)

    signal.signal(signal.SIGINT, ask)
    try:
        yield asked
    finally:
        signal.signal(signal.SIGINT, previous)


def report_damage(source: FrameSource) -> None:
    """Say what was wrong with the input although it could be read."""
    for problem in source.problems:
        click.echo(f"Warning: {problem}", err=True)
    if source.damaged:
        frame, reason = min(source.damaged.items())
        click.echo(f"Warning: {len(source.damaged)} damaged frames, the first is frame {frame}: {reason}", err=True)
