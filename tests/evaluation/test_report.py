from __future__ import annotations

import csv
import json

import numpy as np
import pytest
from PIL import Image

from masklet.evaluation.plan import ImageProtocol, InteractiveProtocol, Plan, VosProtocol
from masklet.evaluation.plots import save_plots
from masklet.evaluation.report import as_text, decay, report


def vos_object(obj: int, j: list[float], f: list[float], case: str | None = None, group: str | None = None) -> dict:
    return {"object": obj, "frames": list(range(1, len(j) + 1)), "j": j, "f": f, "group": group, "case": case}


def vos_plan() -> Plan:
    return Plan("davis2017", "DAVIS", "val", VosProtocol())


VOS = [
    {
        "sequence": "a",
        "tracked_frames": 8,
        "seconds": 2.0,
        "objects": [vos_object(1, [1.0, 0.0], [0.8, 0.4], "a_1.jpg"), vos_object(2, [0.5], [0.3], "a_2.jpg")],
    },
    {"sequence": "b", "tracked_frames": 2, "seconds": 0.5, "objects": [vos_object(1, [0.9] * 4, [0.7] * 4)]},
]


def round_of(prompted: int, score: float) -> dict:
    return {"prompted": prompted, "clicks": 3 * prompted, "seconds": 10.0 * prompted, "j": score, "f": score}


def track(obj: int, tracker: str, scores: list[float]) -> dict:
    rounds = [round_of(n, score) for n, score in enumerate(scores, start=1)]
    return {"tracker": tracker, "mode": "offline", "object": obj, "rounds": rounds, "case": None}


INTERACTIVE = [
    {"sequence": "a", "tracks": [track(1, "masklet", [0.7, 0.9]), track(1, "nearest", [0.2, 0.6])]},
    {"sequence": "b", "tracks": [track(1, "masklet", [0.7, 0.8]), track(1, "nearest", [0.4, 0.8])]},
]
IMAGE = [
    {
        "sequence": "a",
        "pictures": [
            {"object": 1, "picture": "00000", "iou": {"1": 0.2, "3": 0.6}, "case": None},
            {"object": 2, "picture": "00000", "iou": {"1": 0.4, "3": 0.8}, "case": None},
        ],
    }
]


def test_scores_are_means_over_frames_then_over_objects_of_all_sequences():
    means = report(vos_plan(), VOS).means
    assert means["j"] == pytest.approx((0.5 + 0.5 + 0.9) / 3)
    assert means["f"] == pytest.approx((0.6 + 0.3 + 0.7) / 3)
    assert means["jf"] == pytest.approx((means["j"] + means["f"]) / 2)
    assert means["j_recall"] == pytest.approx((0.5 + 0 + 1) / 3)
    assert (means["objects"], means["sequences"], means["fps"]) == (3, 2, 4.0)


def test_sequences_are_means_over_their_objects():
    a, b = report(vos_plan(), VOS).tables["sequences"]
    assert (a["sequence"], b["sequence"]) == ("a", "b")
    assert a["j"] == pytest.approx(0.5)
    assert b["jf"] == pytest.approx(0.8)


def test_seen_and_unseen_classes_weigh_the_same_in_the_overall_score():
    objects = [vos_object(1, [0.9], [0.7], group="seen"), vos_object(2, [0.7], [0.5], group="seen")]
    unseen = [vos_object(1, [0.2], [0.4], group="unseen")]
    one = {"tracked_frames": 2, "seconds": 1.0}
    measured = [{"sequence": "a", "objects": objects, **one}, {"sequence": "b", "objects": unseen, **one}]
    found = report(vos_plan(), measured)
    scores = {name: found.means[name] for name in ("j_seen", "f_seen", "j_unseen", "f_unseen", "overall")}
    expected = {"j_seen": 0.8, "f_seen": 0.6, "j_unseen": 0.2, "f_unseen": 0.4, "overall": 0.5}
    assert scores == pytest.approx(expected)
    assert [row["group"] for row in found.rows] == ["seen", "seen", "unseen"]
    assert report(vos_plan(), measured[1:]).means["overall"] is None


def test_decay_is_the_first_quarter_less_the_last_with_shared_borders():
    scores = np.array([1.0, 0.9, 0.8, 0.6, 0.5, 0.4, 0.2, 0.1, 0.0])
    assert decay(scores) == pytest.approx(np.mean([1.0, 0.9, 0.8]) - np.mean([0.2, 0.1, 0.0]))
    assert decay(np.array([0.7])) == 0.0


def test_a_hidden_truth_gives_no_scores_but_a_note():
    hidden = [{"sequence": "a", "tracked_frames": 8, "seconds": 2.0, "objects": []}]
    found = report(vos_plan(), hidden)
    assert found.means["jf"] is None
    assert "predictions" in found.notes[0]


def test_everything_is_written(tmp_path):
    (tmp_path / "cases").mkdir()
    for name in ("a_1.jpg", "a_2.jpg"):
        Image.new("RGB", (400, 300), (name == "a_2.jpg" and "red") or "blue").save(tmp_path / "cases" / name)
    found = report(vos_plan(), VOS)
    paths = found.save(tmp_path) + save_plots(found, tmp_path)
    names = ["results.json", "objects.csv", "sequences.csv", "gallery.png", "jf_by_sequence.png"]
    assert [path.name for path in paths] == names
    with (tmp_path / "objects.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["sequence"], row["object"]) for row in rows] == [("a", "1"), ("a", "2"), ("b", "1")]
    assert float(rows[1]["jf"]) == pytest.approx(0.4)
    assert json.loads((tmp_path / "results.json").read_text())["means"] == found.means
    with Image.open(tmp_path / "gallery.png") as gallery:
        red, _, blue = gallery.convert("RGB").getpixel((200, 150))  # type: ignore[misc]
        assert red > 200 > blue, "the worst case comes first"


def test_interactive_curves_are_means_over_objects():
    plan = Plan("davis2017", "DAVIS", "val", InteractiveProtocol(modes=("offline",), rounds=2))
    found = report(plan, INTERACTIVE)
    ours = [point for point in found.tables["curves"] if point["tracker"] == "masklet"]
    assert [(p["budget"], p["clicks"], p["seconds"]) for p in ours] == [(1, 3.0, 10.0), (2, 6.0, 20.0)]
    assert [p["jf"] for p in ours] == pytest.approx([0.7, 0.85])
    assert found.means["offline"] == pytest.approx({"masklet": 0.775, "nearest": 0.5})
    assert [row["sequence"] for row in found.rows] == ["a", "b"]
    assert found.rows[0]["jf"] == pytest.approx(0.8)


def test_interactions_needed_are_those_where_the_mean_curve_reaches_the_target(tmp_path):
    plan = Plan("davis2017", "DAVIS", "val", InteractiveProtocol(modes=("offline",), rounds=2))
    found = report(plan, INTERACTIVE)
    needed = {(row["tracker"], row["target"]): row for row in found.tables["needed"]}
    assert needed["masklet", 0.7]["clicks"] == 3.0
    assert needed["nearest", 0.7]["clicks"] == 6.0
    assert needed["nearest", 0.75]["clicks"] is None
    assert needed["nearest", 0.75]["objects_reaching"] == 0.5
    assert [path.name for path in save_plots(found, tmp_path)] == ["jf_by_interactions.png", "jf_by_time.png"]


def test_targets_can_be_chosen_and_tell_how_many_times_fewer_clicks_are_needed():
    plan = Plan("davis2017", "DAVIS", "val", InteractiveProtocol(modes=("offline",), rounds=2))
    found = report(plan, INTERACTIVE, targets=[0.65])
    assert {row["target"] for row in found.tables["needed"]} == {0.65}
    (row,) = found.tables["ratios"]
    assert (row["tracker"], row["baseline"], row["target"], row["ratio"]) == ("masklet", "nearest", 0.65, 2.0)
    assert (row["low"], row["high"]) == (2.0, None), "a draw of sequence a alone leaves the baseline at 0.6"
    assert found.notes == []


def test_ratios_of_one_sequence_have_no_interval_and_a_note():
    plan = Plan("davis2017", "DAVIS", "val", InteractiveProtocol(modes=("offline",), rounds=2))
    found = report(plan, INTERACTIVE[:1])
    assert {row["low"] for row in found.tables["ratios"]} == {None}
    assert "only one sequence" in found.notes[0]


def test_image_scores_are_means_over_masks(tmp_path):
    plan = Plan("folder", "stills", None, ImageProtocol(clicks=(1, 3)))
    found = report(plan, IMAGE)
    assert found.means == pytest.approx({"iou_1": 0.3, "iou_3": 0.7, "masks": 2})
    assert [path.name for path in save_plots(found, tmp_path)] == ["iou_1_by_sequence.png", "iou_by_clicks.png"]


def test_text_is_aligned_and_shows_what_is_unknown():
    lines = as_text([{"name": "a", "score": 0.51234}, {"name": "longer", "score": None}]).splitlines()
    assert lines == ["name    score", "a       0.512", "longer  -"]
