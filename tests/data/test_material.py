from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from masklet.data.material import MASKLETS, NUCLEI, PEOPLE, VIDEOS, Material, held_out


def test_no_clip_shows_every_fifth_picture_of_people_and_of_nuclei(tmp_path: Path):
    for folder in ("kodak", PEOPLE, NUCLEI):
        (tmp_path / folder).mkdir()
        for value in range(11):
            flat = np.full((4, 4), 20 * value, np.uint8)
            assert cv2.imwrite(str(tmp_path / folder / f"{value:02d}.jpg"), flat)
            assert cv2.imwrite(str(tmp_path / folder / f"{value:02d}.png"), flat)
    (tmp_path / "fluent3d_mit").mkdir()
    assert cv2.imwrite(str(tmp_path / "fluent3d_mit/0.webp"), np.zeros((4, 4, 4), np.uint8))
    material, rng = Material(tmp_path), np.random.default_rng(0)
    for drawn in (material.person, material.cells):
        seen = {int(drawn(rng)[1][0, 0]) // 20 for _ in range(300)}
        assert seen == set(range(11)) - {4, 9}
    assert [path.stem for path in held_out(sorted((tmp_path / PEOPLE).glob("*.jpg")))] == ["04", "09"]


@pytest.fixture
def filmed(tmp_path: Path) -> Path:
    """A video of 12 frames with a box that is annotated on two runs of them and a larger one that is on all."""
    (tmp_path / "fluent3d_mit").mkdir()
    assert cv2.imwrite(str(tmp_path / "fluent3d_mit/0.webp"), np.zeros((4, 4, 4), np.uint8))
    for folder in (f"{VIDEOS}/a", f"{MASKLETS}/{VIDEOS}/a/box", f"{MASKLETS}/{VIDEOS}/a/room"):
        (tmp_path / folder).mkdir(parents=True)
    for frame in range(12):
        assert cv2.imwrite(str(tmp_path / VIDEOS / f"a/{frame:04d}.jpg"), np.full((16, 16), 20 * frame, np.uint8))
        box, room = np.zeros((16, 16), np.uint8), np.zeros((16, 16), np.uint8)
        box[2:6, frame], room[:, :13] = 255, 255
        assert cv2.imwrite(str(tmp_path / MASKLETS / VIDEOS / f"a/room/{frame:04d}.png"), room)
        if frame not in (5, 6):
            assert cv2.imwrite(str(tmp_path / MASKLETS / VIDEOS / f"a/box/{frame:04d}.png"), box)
    return tmp_path


def test_a_shot_is_of_frames_that_follow_each_other_each_with_its_own_mask(filmed: Path):
    material, rng = Material(filmed), np.random.default_rng(0)
    assert sorted(len(shot) for shot in material.shots) == [5, 5, 12]
    for _ in range(50):
        shot = material.shot(rng, 4)
        times = [round(float(rgb.mean()) / 20) for rgb, _ in shot]
        assert abs(np.diff(times)).max() <= 2
        for time, (_, masks) in zip(times, shot, strict=True):
            if masks[0].sum() == 4 * 255:
                assert masks[0, 2:6, time].all()


def test_what_two_objects_of_a_shot_share_belongs_to_the_one_that_was_drawn(filmed: Path):
    material, rng = Material(filmed), np.random.default_rng(0)
    seen = set()
    for _ in range(50):
        masks = material.shot(rng, 3)[0][1] > 0
        seen.add(tuple(masks.sum(axis=(1, 2)).tolist()))
        assert masks.sum(axis=0).max() == 1
    assert {(4, 204), (208, 0)} <= seen <= {(4, 204), (208, 0), (208,)}


def test_an_annotated_photo_is_a_shot_of_one_frame_in_the_size_that_photos_have_here(filmed: Path):
    (filmed / MASKLETS / "kodak/half").mkdir(parents=True)
    (filmed / "kodak").mkdir()
    half = np.zeros((400, 800), np.uint8)
    half[:, :400] = 255
    assert cv2.imwrite(str(filmed / "kodak/01.jpg"), half)
    assert cv2.imwrite(str(filmed / MASKLETS / "kodak/half/01.png"), half)
    material, rng = Material(filmed), np.random.default_rng(0)
    shots = [shot for shot in (material.shot(rng, 4) for _ in range(50)) if len(shot) == 1]
    rgb, masks = shots[0][0]
    assert rgb.shape == (320, 640, 3)
    assert masks.shape == (1, 320, 640)
    assert masks[0].mean() == 255 / 2
