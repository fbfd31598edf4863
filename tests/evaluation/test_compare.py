from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from masklet.evaluation.compare import compare, resampled


def write(folder: Path, rows: list[tuple[str, int, float]], kind: str = "vos", **plan: str) -> Path:
    folder.mkdir()
    results = {
        "plan": {"kind": kind, "weights": "pico", **plan},
        "key": ["sequence", "object"],
        "measures": ["jf"],
        "rows": [{"sequence": sequence, "object": obj, "jf": score} for sequence, obj, score in rows],
    }
    (folder / "results.json").write_text(json.dumps(results))
    return folder


def test_a_constant_gain_is_certain(tmp_path):
    rows = [(f"s{n}", 1, 0.1 * n) for n in range(8)]
    a = write(tmp_path / "a", rows)
    b = write(tmp_path / "b", [(name, obj, score + 0.05) for name, obj, score in rows], weights="tiny")
    ((found,), notes) = compare(a, b, draws=200)
    assert (found.measure, found.objects) == ("jf", 8)
    assert (found.difference, found.low, found.high) == pytest.approx((0.05, 0.05, 0.05))
    assert found.b - found.a == pytest.approx(0.05)
    assert notes == ["weights: pico | tiny"]


def test_the_interval_of_many_independent_sequences_is_that_of_the_mean(tmp_path):
    gains = np.random.default_rng(1).normal(0.02, 0.1, size=200)
    a = write(tmp_path / "a", [(f"s{n}", 1, 0.5) for n in range(200)])
    b = write(tmp_path / "b", [(f"s{n}", 1, 0.5 + gain) for n, gain in enumerate(gains)])
    ((found,), _) = compare(a, b, draws=4000)
    half = 1.96 * gains.std() / np.sqrt(200)
    assert (found.low, found.high) == pytest.approx((gains.mean() - half, gains.mean() + half), abs=0.002)


def test_objects_of_a_sequence_are_drawn_together():
    weights = resampled(["a", "a", "b"], 50, np.random.default_rng(0))
    assert weights is not None
    assert np.array_equal(weights[:, 0], weights[:, 1])
    assert set((weights[:, 0] + weights[:, 2]).tolist()) == {2}


def test_only_shared_objects_are_compared(tmp_path):
    a = write(tmp_path / "a", [("s", 1, 0.5), ("t", 1, 0.1), ("v", 1, 0.5)])
    b = write(tmp_path / "b", [("s", 1, 0.7), ("u", 1, 0.9), ("v", 1, 0.7)])
    ((found,), notes) = compare(a, b, draws=10)
    assert (found.objects, found.a, found.b) == (2, 0.5, 0.7)
    assert notes == ["objects: 3 | 3, of which 2 are compared"]


def test_one_sequence_gives_no_interval_and_a_note(tmp_path):
    a = write(tmp_path / "a", [("s", obj, 0.1 * obj) for obj in range(5)])
    b = write(tmp_path / "b", [("s", obj, 0.2 * obj) for obj in range(5)])
    ((found,), notes) = compare(a, b, draws=10)
    assert found.difference == pytest.approx(0.2)
    assert (found.low, found.high) == (None, None)
    assert notes == ["no intervals: there is only one sequence, and what it holds is not independent"]


def test_pictures_that_are_independent_are_drawn_one_by_one(tmp_path):
    gains = np.random.default_rng(1).normal(0.02, 0.1, size=100)
    folders = []
    for name, gain in (("a", 0 * gains), ("b", gains)):
        rows = [{"sequence": "stills", "picture": f"{n}", "object": 1, "iou_1": 0.5 + g} for n, g in enumerate(gain)]
        key, drawn = ["sequence", "picture", "object"], ["sequence", "picture"]
        results = {"plan": {"kind": "image"}, "key": key, "drawn": drawn, "measures": ["iou_1"], "rows": rows}
        folders.append(tmp_path / name)
        folders[-1].mkdir()
        (folders[-1] / "results.json").write_text(json.dumps(results))
    ((found,), notes) = compare(*folders, draws=4000)
    half = 1.96 * gains.std() / np.sqrt(100)
    assert (found.low, found.high) == pytest.approx((gains.mean() - half, gains.mean() + half), abs=0.003)
    assert notes == []


def test_what_only_one_of_two_runs_was_told_is_noted(tmp_path):
    a = write(tmp_path / "a", [("s", 1, 0.5), ("t", 1, 0.5)])
    b = write(tmp_path / "b", [("s", 1, 0.5), ("t", 1, 0.5)], keyframes="2")
    assert compare(a, b, draws=10)[1] == ["keyframes: - | 2"]


def test_what_cannot_be_compared_is_refused(tmp_path):
    a = write(tmp_path / "a", [("s", 1, 0.5)])
    with pytest.raises(ValueError, match="to the end first"):
        compare(a, tmp_path)
    with pytest.raises(ValueError, match="share no objects"):
        compare(a, write(tmp_path / "b", [("t", 1, 0.5)]))
    with pytest.raises(ValueError, match=r"of vos, .* of image"):
        compare(a, write(tmp_path / "c", [("s", 1, 0.5)], kind="image"))
    (tmp_path / "results.json").write_text("[]")
    with pytest.raises(ValueError, match="not written by"):
        compare(a, tmp_path)
