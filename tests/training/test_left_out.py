from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from masklet.data.datasets import open_dataset
from masklet.data.sampling import ClipSampling, DatasetClips
from masklet.training.augment import Augmented
from masklet.training.batches import Source
from masklet.training.left_out import LeftOut, left_out, told_left_out
from masklet.training.loop import Recipe, Run
from masklet.training.optim import Trapezoid
from masklet.training.parallel import Peers

from .conftest import SIZE
from .material import write_pictures


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    """One of three pictures."""
    path = write_pictures(tmp_path / "data", 3) / "images/1.png"
    path.write_bytes(b"no picture")
    return path


def learning_from(broken: Path, recipe: Recipe, **changes: object) -> Recipe:
    clips = DatasetClips(open_dataset("images", broken.parents[1]), ClipSampling(1, (SIZE, SIZE)))
    return replace(recipe, sources=(Source(Augmented(clips.clip), clips=4),), **changes)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_bad_record_is_noted_once_whichever_process_reads(workers: int, broken: Path, recipe: Recipe, tmp_path: Path):
    out = tmp_path / "run"
    Run(learning_from(broken, recipe, workers=workers, parts=2), out).train()
    (line,) = (out / "bad.jsonl").read_text().splitlines()
    assert json.loads(line)["path"] == str(broken)
    assert str(broken) in json.loads(line)["reason"]
    assert list(left_out(out)) == [broken]
    assert told_left_out(out) == f"1 record could not be used, see {out / 'bad.jsonl'}"


def test_a_run_that_goes_on_notes_what_is_new(broken: Path, recipe: Recipe, tmp_path: Path):
    out = tmp_path / "run"
    short = learning_from(broken, recipe, schedule=Trapezoid(steps=3))
    Run(short, out).train()
    other = broken.with_name("2.png")
    other.write_bytes(b"no picture either")
    Run(replace(short, schedule=Trapezoid(steps=9)), out).train()
    lines = [json.loads(line) for line in (out / "bad.jsonl").read_text().splitlines()]
    assert [line["path"] for line in lines] == [str(broken), str(other)]
    assert lines[1]["step"] >= 3


def test_what_peers_meet_is_counted_together(broken: Path, recipe: Recipe, tmp_path: Path):
    source = learning_from(broken, recipe).sources[0]
    batch = Run(replace(recipe, sources=(source,)), tmp_path / "alone")._batches()
    parts = [batch[index] for index in range(3)]
    for rank in range(2):
        LeftOut(tmp_path, 0, Peers(rank, 2)).note(1, parts)
    assert told_left_out(tmp_path).startswith("1 record could not be used, see ")
    assert (tmp_path / "bad_1.jsonl").read_text() == (tmp_path / "bad.jsonl").read_text()


def test_where_all_is_well_that_is_told(recipe: Recipe, tmp_path: Path):
    Run(replace(recipe, schedule=Trapezoid(steps=1)), tmp_path).train()
    assert told_left_out(tmp_path) == "all records could be used"
    assert not list(tmp_path.glob("bad*"))
