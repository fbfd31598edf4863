"""Scores against those of the published evaluators, whose numbers golden.json keeps."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from masklet.data.formats.files import save_ids
from masklet.evaluation.folders import AnnotatedVideo
from masklet.evaluation.plan import Plan, VosProtocol
from masklet.evaluation.report import report
from masklet.evaluation.vos import measure
from masklet.metrics import j_and_f

from .drawn import VIDEO_HW, pair_of, video_of
from .fakes import Scripted

GOLDEN = json.loads(Path(__file__).with_name("golden.json").read_text())
WITHIN = 1e-4


def called(case: dict) -> str:
    return f"{case['hw'][0]}p-{case['truth']}-{case['prediction']}"


@pytest.mark.parametrize("case", GOLDEN["pairs"], ids=called)
def test_masks_score_what_the_evaluator_of_davis_gives_them(case):
    found = j_and_f(*pair_of(case))
    assert (found.j, found.f) == pytest.approx((case["j"], case["f"]), abs=WITHIN)


@pytest.mark.parametrize(
    ("dataset", "evaluator", "first"), [("davis2017", "davis", 0), ("sa-v", "vos_benchmark", 0), ("lvos", "lvos", 1)]
)
def test_videos_score_what_the_published_evaluators_give_them(tmp_path, dataset, evaluator, first):
    """`first` is the number of the first frame in the names of files."""
    expected = GOLDEN[evaluator]
    names = sorted({about.split("_")[0] for about in expected})
    plan = Plan(dataset, str(tmp_path), None, VosProtocol())
    rows = report(plan, [measured(name, plan, tmp_path, first) for name in names]).rows
    assert {f"{row['sequence']}_{row['object']}" for row in rows} == expected.keys()
    for row in rows:
        scores = expected[f"{row['sequence']}_{row['object']}"]
        assert {measure: row[measure] for measure in scores} == pytest.approx(scores, abs=WITHIN)


def measured(name: str, plan: Plan, root: Path, first: int) -> dict:
    about = GOLDEN["videos"][name]
    truths, predictions = video_of(about["seed"], about["seen"])
    (root / "pictures" / name).mkdir(parents=True)
    for frame, ids_hw in enumerate(truths, start=first):
        Image.new("RGB", (VIDEO_HW[1], VIDEO_HW[0])).save(root / "pictures" / name / f"{frame:08d}.jpg")
        save_ids(ids_hw, root / "annotations" / name / f"{frame:08d}.png")
    spans = {obj: (start + first, end + first) for obj, (start, end) in enumerate(about["seen"], start=1)}
    video = AnnotatedVideo(name, root / "pictures" / name, root / "annotations" / name, spans=spans)
    objects = range(1, len(spans) + 1)
    runner = Scripted(
        [{obj: np.equal(ids_hw, obj) for obj in objects} for ids_hw in truths],
        lambda frame, prompts: {obj: np.equal(predictions[frame], obj) for obj in objects},
    )
    return measure(video, runner, plan, root / "out")
