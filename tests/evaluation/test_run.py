from __future__ import annotations

import json
import pickle
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from io import StringIO

import pytest

from masklet.evaluation import run as running
from masklet.evaluation.baselines import MOVERS, CarriedRunner
from masklet.evaluation.datasets import dataset_named
from masklet.evaluation.folders import annotated_videos
from masklet.evaluation.plan import Plan, VosProtocol
from masklet.evaluation.run import Worker, claim, run
from masklet.model import arithmetic

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


@pytest.mark.parametrize("is_terminal", [True, False])
def test_progress_counts_sequences_on_a_terminal_also_those_of_an_earlier_run(
    plan, made, tmp_path, monkeypatch, is_terminal
):
    screen = StringIO()
    screen.isatty = lambda: is_terminal  # type: ignore[method-assign]
    monkeypatch.setattr(sys, "stderr", screen)
    run(plan, tmp_path / "out")
    (tmp_path / "out/sequences/b.json").unlink()
    first = screen.tell()
    run(plan, tmp_path / "out")
    shown = screen.getvalue()
    assert ("| 3/3 [" in shown[:first], "| 2/3 [" in shown[first:], "| 3/3 [" in shown[first:]) == (is_terminal,) * 3
    assert ("b]" in shown[first:], "sequences" in shown) == (is_terminal,) * 2


def test_a_finished_run_needs_no_network(plan, made, tmp_path):
    first = run(plan, tmp_path / "out", progress=False)
    assert run(plan, tmp_path / "out", progress=False) == first
    assert len(made) == 1


def test_a_folder_belongs_to_one_plan(plan, tmp_path):
    claim(tmp_path / "out", plan)
    claim(tmp_path / "out", replace(plan, device="cpu"))
    with pytest.raises(ValueError, match="differs in protocol, weights, weights_sha256;"):
        claim(tmp_path / "out", replace(plan, weights="sam2.1-hiera-tiny", protocol=VosProtocol("box")))
    assert json.loads((tmp_path / "out/plan.json").read_text())["weights"] == "pico"


def test_weights_that_were_written_anew_are_other_weights(plan, made, tmp_path):
    weights = tmp_path / "own.safetensors"
    weights.write_bytes(b"first")
    trained = replace(plan, weights=str(weights))
    first = run(trained, tmp_path / "out", progress=False)
    assert run(trained, tmp_path / "out", progress=False) == first
    weights.write_bytes(b"other")
    with pytest.raises(ValueError, match=r"differs in weights_sha256; give another --out"):
        run(trained, tmp_path / "out", progress=False)


def test_a_device_with_another_precision_does_not_go_on(plan, tmp_path, monkeypatch):
    monkeypatch.setattr(arithmetic, "processor_has_bfloat16", lambda: True)
    claim(tmp_path / "out", replace(plan, device="cpu"))
    monkeypatch.setattr(arithmetic, "processor_has_bfloat16", lambda: False)
    with pytest.raises(ValueError, match="differs in precision;"):
        claim(tmp_path / "out", replace(plan, device="cpu"))


def test_one_folder_may_be_called_by_several_names(plan, tmp_path, monkeypatch):
    claim(tmp_path / "out", plan)
    monkeypatch.chdir(tmp_path)
    claim(tmp_path / "out", replace(plan, root="data"))
    monkeypatch.chdir(tmp_path / "data")
    with pytest.raises(ValueError, match="differs in root;"):
        claim(tmp_path / "out", replace(plan, root="data"))


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
