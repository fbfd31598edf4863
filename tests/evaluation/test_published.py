"""On a stand-in for the package `sam2` with the calls of its predictors."""

from __future__ import annotations

import sys
from types import ModuleType

import numpy as np
import pytest
import torch

from masklet.evaluation.plan import Plan, VosProtocol
from masklet.evaluation.published import PublishedRunner
from masklet.evaluation.runners import make_runner
from masklet.prompts import Box, Mask, Points
from masklet.video.read import ArrayFrames, ImageFolder

from .folders import VIDEO_HW, sliding_squares, square, write_pictures


class VideoPredictor:
    """Finds what was last shown, on all frames."""

    device = torch.device("cpu")

    def __init__(self, config: str, checkpoint: str, device: str) -> None:
        self.made_with = config, checkpoint, device
        self.calls: list[dict] = []

    def init_state(self, video_path: str) -> dict:
        return {"path": video_path, "masks": {}}

    def add_new_mask(self, inference_state: dict, frame_idx: int, obj_id: int, mask: np.ndarray):
        inference_state["masks"][obj_id] = mask
        return frame_idx, *self._found(inference_state)

    def add_new_points_or_box(self, inference_state: dict, frame_idx: int, obj_id: int, **prompts):
        self.calls.append(prompts)
        return self.add_new_mask(inference_state, frame_idx, obj_id, square(4, 4))

    def propagate_in_video(self, inference_state: dict, start_frame_idx: int, max_frame_num_to_track: int | None):
        last = 4 if max_frame_num_to_track is None else start_frame_idx + max_frame_num_to_track
        for frame in range(start_frame_idx, last + 1):
            yield frame, *self._found(inference_state)

    def reset_state(self, inference_state: dict) -> None:
        inference_state.clear()

    def _found(self, state: dict) -> tuple[list[int], torch.Tensor]:
        masks = np.stack(list(state["masks"].values()))
        return list(state["masks"]), torch.from_numpy(masks)[:, None].float() - 0.5


class ImagePredictor:
    """Finds a square further right with every earlier low-res mask; the second of three candidates is the best."""

    device = torch.device("cpu")

    def __init__(self, model: VideoPredictor) -> None:
        self.calls: list[dict] = model.calls

    def set_image(self, picture: np.ndarray) -> None:
        assert picture.shape == (*VIDEO_HW, 3)

    def predict(self, **prompts):
        self.calls.append(prompts)
        count = 3 if prompts["multimask_output"] else 1
        masks = np.stack([square(4 * k, 4) for k in range(count)]).astype(np.float32)
        return masks, np.array([0.2, 0.9, 0.4][:count]), np.full((count, 8, 8), len(self.calls), np.float32)


@pytest.fixture
def sam2(monkeypatch: pytest.MonkeyPatch) -> None:
    build, image = ModuleType("sam2.build_sam"), ModuleType("sam2.sam2_image_predictor")
    build.build_sam2_video_predictor = VideoPredictor  # type: ignore[attr-defined]
    image.SAM2ImagePredictor = ImagePredictor  # type: ignore[attr-defined]
    for module in (ModuleType("sam2"), build, image):
        monkeypatch.setitem(sys.modules, module.__name__, module)


@pytest.fixture
def runner(sam2: None, tmp_path) -> PublishedRunner:
    (tmp_path / "sam2.1_hiera_base_plus.pt").write_bytes(b"")
    return PublishedRunner.load(str(tmp_path / "sam2.1_hiera_base_plus.pt"), "cpu", corrections_condition=True)


@pytest.fixture
def frames(tmp_path) -> ImageFolder:
    write_pictures(tmp_path / "clip", sliding_squares(1))
    return ImageFolder(tmp_path / "clip")


def test_the_network_is_told_by_the_name_of_the_checkpoint(runner, tmp_path):
    config, checkpoint, device = runner._predictor.made_with
    assert config == "configs/sam2.1/sam2.1_hiera_b+.yaml"
    assert checkpoint == str(tmp_path / "sam2.1_hiera_base_plus.pt")
    assert device == "cpu"
    assert runner._predictor.add_all_frames_to_correct_as_cond
    (tmp_path / "mine.pt").write_bytes(b"")
    with pytest.raises(ValueError, match="published checkpoints"):
        PublishedRunner.load(str(tmp_path / "mine.pt"), "cpu")


def test_videos_are_prompted_and_followed(runner, frames):
    with runner.open(frames, overlap=True) as run:
        assert np.array_equal(run.prompt(1, 7, Mask(square(8, 8))), square(8, 8))
        run.prompt(1, 3, Points((5, 5)))
        run.prompt(1, 3, Box(1, 2, 3, 4))
        assert [frame for frame, _ in run.follow(1, 3)] == [1, 2]
        masks = dict(run.follow(3))
    assert list(masks) == [3, 4]
    assert np.array_equal(masks[4][7], square(8, 8))
    clicks, box = runner._predictor.calls
    assert not clicks["clear_old_points"]
    assert box["box"].tolist() == [1, 2, 3, 4]
    assert not runner._predictor.non_overlap_masks


def test_clicks_on_a_picture_feed_back_the_best_candidate(runner):
    answer = runner.picture(np.zeros((*VIDEO_HW, 3), np.uint8))()
    assert np.array_equal(answer(Points((5, 5))), square(4, 4))
    answer(Points((9, 9), [0]))
    first, second = runner._predictor.calls
    assert first["multimask_output"]
    assert not second["multimask_output"]
    assert second["point_labels"].tolist() == [1, 0]
    assert second["mask_input"].shape == (1, 8, 8)


def test_frames_that_it_cannot_read_are_refused(runner, tmp_path):
    with pytest.raises(ValueError, match="folders of JPEG files"):
        runner.open(ArrayFrames(np.zeros((2, *VIDEO_HW, 3), np.uint8)), overlap=True)
    write_pictures(tmp_path / "named", sliding_squares(1))
    (tmp_path / "named/00000.jpg").rename(tmp_path / "named/first.jpg")
    with pytest.raises(ValueError, match=r"first\.jpg"):
        runner.open(ImageFolder(tmp_path / "named"), overlap=True)


def test_without_the_package_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "sam2", None)
    plan = Plan("folder", ".", None, VosProtocol(), runner="sam2", device="cpu")
    with pytest.raises(ValueError, match="pip install sam2"):
        make_runner(plan)
