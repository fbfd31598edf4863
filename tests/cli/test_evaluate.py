from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from masklet.cli import main
from masklet.cli.evaluate import evaluate as commands

from .conftest import frame_of


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A plain folder with one sequence of four pictures and a square on each."""
    for name in ("JPEGImages/clip", "Annotations/clip"):
        (tmp_path / "data" / name).mkdir(parents=True)
    for t in range(4):
        ids_hw = np.zeros(frame_of(0).shape[:2], dtype=np.uint8)
        ids_hw[10:30, 4 * t : 4 * t + 20] = 1
        Image.fromarray(frame_of(t)).save(tmp_path / f"data/JPEGImages/clip/{t:05d}.jpg")
        Image.fromarray(ids_hw).save(tmp_path / f"data/Annotations/clip/{t:05d}.png")
    return tmp_path / "data"


def evaluate(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["evaluate", *map(str, arguments)])


def measured(kind: str, root: Path, out: Path, weights: Path, *more: object) -> Result:
    about = ("--dataset", "folder", "--root", root, "--weights", weights, "--device", "cpu", "--out", out)
    return evaluate(kind, *about, *more)


def results(out: Path) -> dict:
    return json.loads((out / "results.json").read_text())


def test_vos_writes_results_predictions_plots_and_cases(root: Path, weights: Path, tmp_path: Path):
    found = measured("vos", root, tmp_path / "out", weights, "--prompt", "3-click")
    assert found.exit_code == 0, found.output
    assert set(found.stdout.split()) == {
        str(tmp_path / "out" / name)
        for name in ("results.json", "objects.csv", "sequences.csv", "gallery.png", "jf_by_sequence.png")
    }
    assert "objects  sequences" in found.stderr
    assert sorted(path.name for path in (tmp_path / "out/predictions/clip").iterdir())[-1] == "00003.png"
    assert results(tmp_path / "out")["plan"]["protocol"] == {"prompt": "3-click", "overlap": None}


def test_two_processes_that_go_on_with_a_stopped_run_find_the_same(root: Path, weights: Path, tmp_path: Path):
    for name in ("b", "c"):
        for part in ("JPEGImages", "Annotations"):
            shutil.copytree(root / part / "clip", root / part / name)
    alone, together = tmp_path / "alone", tmp_path / "together"
    assert measured("vos", root, alone, weights).exit_code == 0
    shutil.copytree(alone, together)
    shutil.rmtree(together / "predictions")
    for name in ("c", "clip"):
        (together / f"sequences/{name}.json").unlink()
    found = measured("vos", root, together, weights, "--workers", 2)
    assert found.exit_code == 0, found.output
    assert sorted(path.name for path in (together / "predictions").iterdir()) == ["c", "clip"]
    rows = [results(out)["rows"] for out in (alone, together)]
    assert [row["sequence"] for row in rows[1]] == ["b", "c", "clip"]
    assert [row["jf"] for row in rows[1]] == pytest.approx([row["jf"] for row in rows[0]], abs=0.01)


def test_interactive_tells_what_each_tracker_needs(root: Path, weights: Path, tmp_path: Path):
    options = ("--mode", "online", "--rounds", 2, "--clicks", 1)
    found = measured("interactive", root, tmp_path / "out", weights, *options)
    assert found.exit_code == 0, found.output
    needed = results(tmp_path / "out")["tables"]["needed"]
    assert {(row["mode"], row["tracker"]) for row in needed} == {
        ("online", name) for name in ("masklet", "nearest", "flow")
    }
    assert "jf_by_time.png" in found.stdout


def test_a_finished_run_tells_of_other_targets_without_measuring_again(root: Path, weights: Path, tmp_path: Path):
    options = ("--mode", "online", "--rounds", 1, "--clicks", 1)
    measured("interactive", root, tmp_path / "out", weights, *options)
    file = tmp_path / "out/sequences/clip.json"
    before = file.stat().st_mtime_ns
    found = measured("interactive", root, tmp_path / "out", weights, *options, "--target", 0.9, "--target", 0.05)
    assert found.exit_code == 0, found.output
    tables = results(tmp_path / "out")["tables"]
    for name in ("needed", "ratios"):
        assert list(dict.fromkeys(row["target"] for row in tables[name])) == [0.05, 0.9]
    assert "at_least" in found.stderr
    assert str(tmp_path / "out/ratios.csv") in found.stdout
    assert file.stat().st_mtime_ns == before


def test_image_takes_the_iou_after_the_clicks_asked_for(root: Path, weights: Path, tmp_path: Path):
    found = measured("image", root, tmp_path / "out", weights, "--clicks", 2, "--clicks", 1, "--every", 2)
    assert found.exit_code == 0, found.output
    assert list(results(tmp_path / "out")["means"]) == ["iou_1", "iou_2", "masks"]


def test_two_runs_are_compared(root: Path, weights: Path, tmp_path: Path):
    for runner in ("nearest", "flow"):
        assert measured("vos", root, tmp_path / runner, weights, "--runner", runner).exit_code == 0
    found = evaluate("compare", tmp_path / "nearest", tmp_path / "flow", "--json")
    jf, *_ = json.loads(found.stdout)
    assert jf["measure"] == "jf"
    assert jf["difference"] == pytest.approx(jf["b"] - jf["a"])
    assert "runner: nearest | flow" in found.stderr


def test_mistakes_end_in_one_line(root: Path, weights: Path, tmp_path: Path):
    cases = {
        "differs in protocol": measured_twice(root, weights, tmp_path),
        "pip install sam2": measured("vos", root, tmp_path / "b", weights, "--runner", "sam2"),
        "there is no list of the split 'nil'": measured("vos", root, tmp_path / "c", weights, "--split", "nil"),
        "to the end first": evaluate("compare", root, root),
    }
    for message, result in cases.items():
        assert (result.exit_code, message in result.stderr) == (2, True), result.output
        assert len(result.stderr.splitlines()) == 1


def measured_twice(root: Path, weights: Path, tmp_path: Path) -> Result:
    assert measured("vos", root, tmp_path / "a", weights, "--runner", "nearest").exit_code == 0
    return measured("vos", root, tmp_path / "a", weights, "--runner", "nearest", "--prompt", "box")


def test_the_commands_of_the_documentation_have_the_options_that_they_use():
    page = (Path(__file__).parents[2] / "docs/evaluation.md").read_text()
    lines = [line.split()[2:] for line in page.splitlines() if line.startswith("masklet evaluate ")]
    assert {words[0] for words in lines} == set(commands.commands)
    for name, *words in lines:
        known = {option for parameter in commands.commands[name].params for option in parameter.opts}
        assert {word for word in words if word.startswith("--")} <= known
