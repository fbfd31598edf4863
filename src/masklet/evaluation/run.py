"""Runs a plan over a dataset: sequence by sequence, in several processes if wanted, and again from where it stopped.

OUT/plan.json            what is computed; a folder belongs to one plan
OUT/sequences/NAME.json  what a finished sequence gave, written in one go
OUT/predictions, cases   see `predictions` and `cases`
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from tqdm import tqdm

from masklet.evaluation import image, interactive, vos
from masklet.evaluation.datasets import dataset_named
from masklet.evaluation.folders import AnnotatedVideo, annotated_videos
from masklet.evaluation.identity import identity
from masklet.evaluation.plan import Plan
from masklet.evaluation.runners import Runner, make_runner

MEASURES: dict[str, Callable[[AnnotatedVideo, Runner, Plan, Path], dict[str, Any]]] = {
    "vos": vos.measure,
    "interactive": interactive.measure,
    "image": image.measure,
}


def run(plan: Plan, out: Path, *, workers: int = 1, progress: bool | None = None) -> list[dict[str, Any]]:
    """What `measure` of the plan's kind gives for every sequence, in the dataset's order.

    Sequences that were finished before are taken from `out`. `workers` processes share the others, each with a copy of
    the network. The progress bar shows on a terminal, unless `progress` says otherwise. Raises ValueError when `out`
    belongs to another plan, or the dataset or weights cannot be had.
    """
    videos = annotated_videos(dataset_named(plan.dataset), plan.root, plan.split)
    claim(out, plan)
    waiting = [video for video in videos if not _file_of(out, video).is_file()]
    worker = Worker(plan, out)
    done = worker.one_by_one(waiting) if min(workers, len(waiting)) <= 1 else worker.together(waiting, workers)
    disable = None if progress is None else not progress
    bar = tqdm(total=len(videos), initial=len(videos) - len(waiting), unit=" sequences", disable=disable)
    with bar, closing(done):
        for name in done:
            bar.set_postfix_str(name)
            bar.update()
    return [json.loads(_file_of(out, video).read_text()) for video in videos]


def claim(out: Path, plan: Plan) -> None:
    """Writes the plan into its folder. Raises ValueError when the folder belongs to another one."""
    file = out / "plan.json"
    wanted = json.loads(json.dumps(identity(plan)))
    if file.is_file():
        found = json.loads(file.read_text())
        differing = [name for name in wanted if found.get(name) != wanted[name]]
        if differing:
            raise ValueError(
                f"{out} holds an evaluation that differs in {', '.join(differing)}; give another --out, or delete it"
            )
        return
    write_whole(file, json.dumps(wanted, indent=2) + "\n")


def write_whole(path: Path, text: str) -> None:
    """Writes a file that is there completely or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    partial.write_text(text)
    partial.replace(path)


@dataclass(frozen=True)
class Worker:
    """Measures sequences, with one runner that is made for the first of them."""

    plan: Plan
    out: Path

    @cached_property
    def runner(self) -> Runner:
        return make_runner(self.plan)

    def measure(self, video: AnnotatedVideo) -> str:
        """Measures a sequence, writes its file and gives its name."""
        measured = MEASURES[self.plan.kind](video, self.runner, self.plan, self.out)
        write_whole(_file_of(self.out, video), json.dumps(measured) + "\n")
        return video.name

    def one_by_one(self, videos: Sequence[AnnotatedVideo]) -> Generator[str, None, None]:
        """Measures in this process."""
        yield from map(self.measure, videos)

    def together(self, videos: Sequence[AnnotatedVideo], workers: int) -> Generator[str, None, None]:
        """Measures in processes of their own, and yields the names as they are finished."""
        threads = max((os.cpu_count() or 1) // workers, 1)
        pool = ProcessPoolExecutor(workers, get_context("spawn"), initializer=_start, initargs=(self, threads))
        try:
            for future in as_completed([pool.submit(_measure, video) for video in videos]):
                yield future.result()
        finally:
            pool.shutdown(cancel_futures=True)


_worker: Worker | None = None


def _start(worker: Worker, threads: int) -> None:
    """Prepares a process: its share of the processor's cores, and the runner when it is first needed."""
    import cv2
    import torch

    global _worker
    torch.set_num_threads(threads)
    cv2.setNumThreads(threads)
    _worker = worker


def _measure(video: AnnotatedVideo) -> str:
    assert _worker is not None, "the process was prepared"
    return _worker.measure(video)


def _file_of(out: Path, video: AnnotatedVideo) -> Path:
    return out / "sequences" / f"{video.name}.json"
