from __future__ import annotations

import shutil

import numpy as np
import pytest

from masklet.data.formats.files import read_ids
from masklet.evaluation.baselines import MOVERS, CarriedRunner
from masklet.evaluation.datasets import DATASETS
from masklet.evaluation.folders import annotated_videos
from masklet.evaluation.plan import Plan, VosProtocol
from masklet.evaluation.vos import measure
from masklet.metrics import j_and_f
from masklet.prompts import Mask

from .fakes import Scripted, ScriptedRun, oracle
from .folders import VIDEO_HW, Masks, sliding_squares, square, write_dataset, write_object_folders

TRUTH = sliding_squares(3)


class HalfRun(ScriptedRun):
    """Gives every other frame."""

    def follow(self, start, end=None):
        return ((frame, masks) for frame, masks in super().follow(start, end) if frame % 2 == 0)


COPY = CarriedRunner(lambda picture: pytest.fail("masks need no image model"), MOVERS["nearest"])
EMPTY = np.zeros(VIDEO_HW, dtype=bool)


SEEN_BY_ALL = sliding_squares(1, frames=13)
"""Object 1 from frame 0 on, object 2 from frame 2 on."""
COUNTED = {
    "davis2016": {1: range(1, 12)},
    "davis2017": {1: range(1, 12), 2: range(3, 12)},
    "youtube-vos": {1: range(1, 13), 2: range(3, 13)},
    "mose": {1: range(1, 12), 2: range(1, 12)},
    "lvos": {1: [5, 10], 2: [7]},
    "sa-v": {1: [4, 8], 2: [4, 8]},
    "folder": {1: range(1, 12), 2: range(3, 12)},
}
"""Frames by object, by the rules of docs/evaluation.md. SA-V annotates every fourth."""
GROUPS = {"youtube-vos": {1: "seen", 2: "unseen"}, "lvos": {1: "unseen", 2: "unseen"}}


def measured(root, runner, dataset="folder", masks=TRUTH, **protocol):
    """The sequence's scores, by object, with all frames annotated."""
    write_dataset(dataset, root, masks)
    layout = DATASETS[dataset]
    if layout.overlaps:
        (folder,) = root.glob(f"*/{layout.annotations}/clip")
        shutil.rmtree(folder)
        write_object_folders(folder, masks, every=1)
    return measured_in(root, runner, dataset, **protocol)


def measured_in(root, runner, dataset, **protocol):
    plan = Plan(dataset, str(root), None, VosProtocol(**protocol))
    (video,) = annotated_videos(DATASETS[dataset], root)
    found = measure(video, runner, plan, root / "out")
    return {record["object"]: record for record in found["objects"]}, found


@pytest.mark.parametrize("dataset", DATASETS)
def test_every_benchmark_is_measured_by_its_rules_from_its_own_files(tmp_path, dataset):
    """The copy of an object's first mask is right where it stands still, and off by a pixel more with every frame."""
    write_dataset(dataset, tmp_path, SEEN_BY_ALL)
    objects, _ = measured_in(tmp_path, COPY, dataset)
    assert {obj: record["frames"] for obj, record in objects.items()} == {
        obj: list(frames) for obj, frames in COUNTED[dataset].items()
    }
    assert {obj: record["group"] for obj, record in objects.items() if record["group"]} == GROUPS.get(dataset, {})
    for obj, record in objects.items():
        copied = [truth_of(dataset, frame, obj, copied=True) for frame in record["frames"]]
        expected = [j_and_f(truth_of(dataset, f, obj), mask) for f, mask in zip(record["frames"], copied, strict=True)]
        assert list(zip(record["j"], record["f"], strict=True)) == expected
    assert 0 < min(objects[1]["j"]) < 1


def truth_of(dataset: str, frame: int, obj: int, *, copied: bool = False) -> np.ndarray:
    """The object on a frame; as a copy, what it was where it was seen first. In DAVIS 2016 all objects are one."""
    merged = [{1: np.logical_or.reduce(list(found.values()))} for found in SEEN_BY_ALL]
    frames = merged if dataset == "davis2016" else SEEN_BY_ALL
    if obj not in frames[frame]:
        return EMPTY
    first = next(number for number, found in enumerate(frames) if obj in found)
    return frames[first if copied else frame][obj]


@pytest.mark.parametrize("dataset", DATASETS)
def test_predictions_have_the_layout_of_the_benchmark(tmp_path, dataset):
    """Whoever predicts the truth writes what was published as the truth."""
    write_dataset(dataset, tmp_path, SEEN_BY_ALL)
    merged = [{1: truth_of(dataset, frame, 1)} for frame in range(13)]
    measured_in(tmp_path, oracle(merged if dataset == "davis2016" else SEEN_BY_ALL), dataset)
    (published,) = tmp_path.glob(f"**/{DATASETS[dataset].annotations}/clip")
    files = [file.relative_to(published) for file in sorted(published.glob("**/*.png"))]
    assert len(files) in (8, 13)
    for file in files:
        assert np.array_equal(read_ids(tmp_path / "out/predictions/clip" / file), read_ids(published / file))


def test_a_perfect_runner_scores_one(tmp_path):
    objects, found = measured(tmp_path, oracle(TRUTH))
    assert [objects[obj]["j"] + objects[obj]["f"] for obj in (1, 2)] == [[1.0] * 6, [1.0] * 2]
    assert found["tracked_frames"] == 5


def test_scores_are_those_of_the_frames_that_count(tmp_path):
    objects, _ = measured(tmp_path, COPY)
    scores = [j_and_f(TRUTH[t][1], square(4, 4)) for t in (1, 2, 3)]
    assert objects[1]["frames"] == [1, 2, 3]
    assert objects[1]["j"] == [score.j for score in scores]
    assert objects[1]["f"] == [score.f for score in scores]


def test_an_object_that_appears_later_is_shown_when_the_run_comes_there(tmp_path):
    runner = oracle(TRUTH)
    measured(tmp_path, runner)
    (run,) = runner.runs
    assert [(frame, obj) for frame, obj, _ in run.prompts] == [(0, 1), (2, 2)]
    assert all(isinstance(prompt, Mask) for _, _, prompt in run.prompts)
    assert run.followed == [(0, 2), (2, 5)]
    assert run.was_closed


def test_an_object_that_is_not_given_counts_as_empty(tmp_path):
    objects, _ = measured(tmp_path, Scripted(TRUTH, lambda frame, prompts: {1: TRUTH[frame][1]}))
    assert (objects[1]["j"], objects[2]["j"]) == ([1.0] * 3, [0.0])


def test_predictions_are_palette_pictures_of_every_frame(tmp_path):
    measured(tmp_path, oracle(TRUTH))
    files = sorted((tmp_path / "out/predictions/clip").iterdir())
    assert [file.name for file in files] == [f"{t:05d}.png" for t in range(5)]
    assert np.array_equal(read_ids(files[3]), TRUTH[3][1] + 2 * TRUTH[3][2].astype(np.uint8))


def test_predictions_that_overlap_have_a_folder_for_each_object(tmp_path):
    masks: list[Masks] = [{0: square(4, 4), 12: square(8, 4)}] * 4
    objects, _ = measured(tmp_path, oracle(masks), "sa-v", masks)
    folder = tmp_path / "out/predictions/clip"
    assert sorted(entry.name for entry in folder.iterdir()) == ["000", "012"]
    assert np.array_equal(read_ids(folder / "012/00003.png"), 255 * square(8, 4))
    assert sorted(objects) == [0, 12]


def test_the_sa_v_rule_counts_from_the_first_sight_of_truth_or_prediction(tmp_path):
    """Frames 1 and 2 show nothing: they do not count while nothing is predicted either; later absence counts."""
    masks: list[Masks] = [{0: mask} for mask in (square(4, 4), EMPTY, EMPTY, square(4, 4), EMPTY, square(4, 4))]
    objects, _ = measured(tmp_path / "right", oracle(masks), "sa-v", masks)
    assert objects[0]["frames"] == [3, 4]
    early = Scripted(masks, lambda frame, prompts: {0: square(4, 4)})
    objects, _ = measured(tmp_path / "early", early, "sa-v", masks)
    assert (objects[0]["frames"], objects[0]["j"]) == ([1, 2, 3, 4], [0.0, 0.0, 1.0, 0.0])


def test_the_davis_rule_scores_agreed_absence_as_one(tmp_path):
    masks: list[Masks] = [{1: mask} for mask in (square(4, 4), EMPTY, EMPTY, square(4, 4))]
    objects, _ = measured(tmp_path, oracle(masks), masks=masks)
    assert (objects[1]["frames"], objects[1]["j"]) == ([1, 2], [1.0, 1.0])


def test_the_worst_frame_of_each_object_is_drawn(tmp_path):
    _, found = measured(tmp_path, COPY)
    cases = {record["object"]: record["case"] for record in found["objects"]}
    assert all((tmp_path / "out/cases" / case).is_file() for case in cases.values())
    assert len(set(cases.values())) == 2


def test_leaving_out_a_frame_is_an_error(tmp_path):
    runner = oracle(TRUTH)
    runner.open = lambda frames, *, overlap: HalfRun(runner, len(frames))  # type: ignore[method-assign]
    with pytest.raises(ValueError, match=r"left out frames \[1, 3\] of clip"):
        measured(tmp_path, runner)


def test_masks_of_another_size_are_an_error(tmp_path):
    halves = Scripted(TRUTH, lambda frame, prompts: {1: np.zeros((VIDEO_HW[0] // 2, VIDEO_HW[1] // 2), bool)})
    with pytest.raises(ValueError, match="resize"):
        measured(tmp_path, halves)
