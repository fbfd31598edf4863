from __future__ import annotations

import numpy as np
import pytest

from masklet.evaluation.datasets import DATASETS
from masklet.evaluation.folders import annotated_videos
from masklet.evaluation.image import measure
from masklet.evaluation.plan import ImageProtocol, Plan
from masklet.evaluation.report import report
from masklet.metrics import iou

from .fakes import Scripted
from .folders import sliding_squares, square, write_annotations, write_pictures

TRUTH = sliding_squares(1)


class Narrowing(Scripted):
    """Comes closer to a square of the truth with every click."""

    def picture(self, picture: np.ndarray):
        def begin():
            answers = iter([square(4, 4 + off) for off in (8, 6, 4, 2, 1)])
            return lambda prompt: next(answers)

        return begin


def measured(root, **protocol):
    write_pictures(root / "JPEGImages/clip", TRUTH)
    write_annotations(root / "Annotations/clip", TRUTH)
    (video,) = annotated_videos(DATASETS["folder"], root)
    plan = Plan("folder", str(root), None, ImageProtocol(**protocol))
    return measure(video, Narrowing(TRUTH, lambda frame, prompts: {}), plan, root / "out")["pictures"]


def test_the_iou_is_taken_after_each_number_of_clicks(tmp_path):
    first = measured(tmp_path)[0]
    assert (first["object"], first["picture"]) == (1, "00000")
    truth = TRUTH[0][1]
    expected = {"1": iou(truth, square(4, 12)), "3": iou(truth, square(4, 8)), "5": iou(truth, square(4, 5))}
    assert first["iou"] == expected


def test_every_object_of_every_picture_is_clicked_on_by_itself(tmp_path):
    records = [(record["picture"], record["object"]) for record in measured(tmp_path, clicks=(1,))]
    assert records == [(f"{t:05d}", obj) for t in range(5) for obj in TRUTH[t]]


def test_pictures_in_no_folder_of_a_sequence_are_compared_as_independent(tmp_path):
    """Those of a sequence are not: they may be frames of one video."""
    drawn = []
    for root, folder in ((tmp_path / "stills", ""), (tmp_path / "clips", "clip")):
        write_pictures(root / "JPEGImages" / folder, TRUTH)
        write_annotations(root / "Annotations" / folder, TRUTH)
        (video,) = annotated_videos(DATASETS["folder"], root)
        plan = Plan("folder", str(root), None, ImageProtocol())
        found = measure(video, Narrowing(TRUTH, lambda frame, prompts: {}), plan, root / "out")
        drawn.append(report(plan, [found]).drawn)
    assert drawn == [("sequence", "picture"), ("sequence",)]


def test_pictures_can_be_skipped(tmp_path):
    assert {record["picture"] for record in measured(tmp_path, every=3)} == {"00000", "00003"}


def test_clicks_start_at_one():
    with pytest.raises(ValueError, match="from 1 on"):
        ImageProtocol(clicks=(0, 1))
