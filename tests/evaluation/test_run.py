from __future__ import annotations

import json
import pickle
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from masklet.evaluation import run as running
from masklet.evaluation.baselines import MOVERS, CarriedRunner
from masklet.evaluation.datasets import dataset_named
from masklet.evaluation.folders import annotated_videos
from masklet.evaluation.plan import Plan, VosProtocol
from masklet.evaluation.run import Worker, claim, run

from .fakes import oracle
from .folders import sliding_squares, write_annotations, write_pictures


class ThreadsForProcesses(ThreadPoolExecutor):
    """Prepared and used like processes, which would take seconds to start."""

    def __init__(self, workers, context, **options):
        super().__init__(workers, **options)


TRUTH = sliding_squares(1)
NAMES = ["a", "b", "c"]


@pytest.fixture
def plan(tmp_path) -> Plan:
    for name in NAMES:
        write_pictures(tmp_path / "data/JPEGImages" / name, TRUTH)
        write_annotations(tmp_path / "data/Annotations" / name, TRUTH)
    return Plan("folder", str(tmp_path / "data"), None, VosProtocol(), runner="nearest")


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list:
    """The runners that were made, which know everything."""
    runners = []
    monkeypatch.setattr(running, "make_runner", lambda plan: [runners.append(oracle(TRUTH)), runners[-1]][1])
    return runners


def test_sequences_come_in_the_dataset_order_with_one_runner(plan, made, tmp_path):
    assert [one["sequence"] for one in run(plan, tmp_path / "out", progress=False)] == NAMES
    assert [len(runner.runs) for runner in made] == [3]


def test_a_stopped_run_goes_on_with_the_sequences_that_are_left(plan, made, tmp_path, monkeypatch):
    measure = running.MEASURES["vos"]

    def stops_at_b(video, *rest):
        if video.name == "b":
            raise KeyboardInterrupt
        return measure(video, *rest)

    monkeypatch.setitem(running.MEASURES, "vos", stops_at_b)
    with pytest.raises(KeyboardInterrupt):
        run(plan, tmp_path / "out", progress=False)
    assert [file.name for file in (tmp_path / "out/sequences").iterdir()] == ["a.json"]
    monkeypatch.setitem(running.MEASURES, "vos", measure)
    assert [one["sequence"] for one in run(plan, tmp_path / "out", progress=False)] == NAMES
    assert len(made[-1].runs) == 2


def test_a_finished_run_needs_no_network(plan, made, tmp_path):
    first = run(plan, tmp_path / "out", progress=False)
    assert run(plan, tmp_path / "out", progress=False) == first
    assert len(made) == 1


def test_a_folder_belongs_to_one_plan(plan, tmp_path):
    claim(tmp_path / "out", plan)
    claim(tmp_path / "out", replace(plan, device="cuda"))
    with pytest.raises(ValueError, match="differs in protocol, weights"):
        claim(tmp_path / "out", replace(plan, weights="other.pt", protocol=VosProtocol("box")))
    assert json.loads((tmp_path / "out/plan.json").read_text())["weights"] == "pico"


def test_several_processes_give_the_same(plan, tmp_path, monkeypatch):
    runner = CarriedRunner(lambda picture: pytest.fail("masks need no image model"), MOVERS["nearest"])
    monkeypatch.setattr(running, "make_runner", lambda plan: runner)
    alone = run(plan, tmp_path / "alone", progress=False)
    monkeypatch.setattr(running, "ProcessPoolExecutor", ThreadsForProcesses)
    together = run(plan, tmp_path / "together", workers=2, progress=False)
    assert [one["objects"] for one in together] == [one["objects"] for one in alone]


def test_an_error_in_a_sequence_ends_the_run(plan, made, tmp_path):
    (tmp_path / "data/JPEGImages/b/00001.jpg").unlink()
    with pytest.raises(ValueError, match="has no picture"):
        run(plan, tmp_path / "out", progress=False)


def test_workers_and_sequences_can_be_sent_to_processes(plan, tmp_path):
    worker = Worker(plan, tmp_path)
    assert pickle.loads(pickle.dumps(worker)) == worker  # noqa: S301 - our own bytes
    videos = annotated_videos(dataset_named(plan.dataset), plan.root)
    assert pickle.loads(pickle.dumps(videos)) == videos  # noqa: S301


def test_a_worker_makes_its_runner_once(plan, made, tmp_path):
    worker = Worker(plan, tmp_path)
    assert worker.runner is worker.runner
    assert len(made) == 1
