"""Synthetic clips, made from a small folder of pictures that the test draws itself."""

from __future__ import annotations

import pickle
from pathlib import Path

import cv2
import numpy as np
import pytest

from masklet.data import synthetic
from masklet.data.preview import preview
from masklet.data.synthetic import Clip, SyntheticClips

SIZE = 64
SEEDS = (*range(12), 18, 52)
"""Of every kind: two are rare."""


def _picture(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    return cv2.resize(rng.integers(0, 256, (6, 8, 3), dtype=np.uint8), (width, height), interpolation=cv2.INTER_CUBIC)


def _disc(height: int, width: int, radius: int) -> np.ndarray:
    return cv2.circle(np.zeros((height, width), np.uint8), (width // 2, height // 2), radius, 255, -1, cv2.LINE_AA)


def _write(path: Path, image: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), image)


def _write_labelled(path: Path, rng: np.random.Generator, labels: np.ndarray) -> None:
    _write(path.with_suffix(".jpg"), _picture(rng, *labels.shape))
    _write(path.with_suffix(".png"), labels)


@pytest.fixture(scope="module")
def assets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, rng = tmp_path_factory.mktemp("assets"), np.random.default_rng(0)
    person = (_disc(90, 60, 20) > 127).astype(np.uint8)
    cells = cv2.connectedComponents(np.kron(np.eye(4, dtype=np.uint8), _disc(24, 24, 9)))[1].astype(np.uint16)
    for index in range(3):
        _write(folder / f"kodak/{index}.jpg", _picture(rng, 80, 120))
        _write(folder / f"fluent3d_mit/{index}.webp", np.dstack([_picture(rng, 48, 48), _disc(48, 48, 14 + 3 * index)]))
        strip = np.concatenate([np.dstack([_picture(rng, 32, 32), _disc(32, 32, 8 + phase)]) for phase in range(4)])
        _write(folder / f"fluent_anim_mit/{index}.webp", strip)
        _write_labelled(folder / f"ccp_people_parts/{index}", rng, person)
        _write_labelled(folder / f"nuclei_cc0/{index}", rng, cells)
        for frame in range(6):
            _write(folder / f"video_unlabelled/{index}/{frame:04d}.jpg", _picture(rng, 54, 96))
            moving = np.roll(_disc(64, 64, 12) > 127, frame, axis=1).astype(np.uint8)
            _write_labelled(folder / f"pybullet_clips/{index}/{frame:02d}", rng, moving)
            for thing, way in (("ball", 4), ("shadow", 12)):
                mask = np.roll(_disc(54, 96, 12), way * frame, axis=1)
                _write(folder / f"masklets/video_unlabelled/{index}/{thing}/{frame:04d}.png", mask)
    return folder


@pytest.fixture(scope="module")
def clips(assets: Path) -> list[Clip]:
    source = SyntheticClips(assets, frames=5, size=SIZE, max_objects=2)
    return [source.clip(seed) for seed in SEEDS]


def test_every_kind_of_clip_is_made(clips: list[Clip]) -> None:
    assert {clip.source for clip in clips} == set(synthetic.WEIGHTS)


def test_frames_and_masks_have_the_promised_shapes_and_types(clips: list[Clip]) -> None:
    for clip in clips:
        assert clip.frames_fhwc.shape == (5, SIZE, SIZE, 3)
        assert clip.frames_fhwc.dtype == np.uint8
        assert clip.masks_ofhw.shape in {(1, 5, SIZE, SIZE), (2, 5, SIZE, SIZE)}
        assert clip.masks_ofhw.dtype == bool


def test_every_target_is_visible_in_the_first_frame(clips: list[Clip]) -> None:
    shares = np.concatenate([clip.masks_ofhw[:, 0].mean((1, 2)) for clip in clips])
    assert shares.min() >= synthetic.MIN_AREA
    assert shares.max() <= synthetic.MAX_AREA


def test_targets_never_overlap(clips: list[Clip]) -> None:
    assert all(clip.masks_ofhw.sum(axis=0).max() <= 1 for clip in clips)


def test_targets_move_and_at_times_vanish_and_return(assets: Path) -> None:
    source = SyntheticClips(assets, frames=6, size=48, max_objects=3)
    masks = [mask for seed in range(40) for mask in source.clip(seed).masks_ofhw]
    seen = np.array([mask.any((1, 2)) for mask in masks])
    gone_then_back = [(~row[:i]).any() and row[i] for row in seen for i in range(1, 6)]
    assert 0.02 < (~seen).any(axis=1).mean() < 0.5
    assert any(gone_then_back)
    assert np.mean([(mask[0] != mask[1]).any() for mask in masks]) > 0.8


def test_the_same_seed_gives_the_same_clip_in_any_order_and_process(assets: Path) -> None:
    first = SyntheticClips(assets, size=SIZE)
    second = pickle.loads(pickle.dumps(first))  # noqa: S301
    wanted = [first.clip(seed) for seed in range(5)]
    for seed in reversed(range(5)):
        again = second[seed]
        assert np.array_equal(wanted[seed].frames_fhwc, again.frames_fhwc)
        assert np.array_equal(wanted[seed].masks_ofhw, again.masks_ofhw)
    assert not np.array_equal(wanted[0].frames_fhwc, wanted[1].frames_fhwc)


def test_a_photo_without_anybody_gives_no_target_instead_of_breaking_down(
    assets: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = SyntheticClips(assets, size=SIZE)
    nobody = np.zeros((90, 60, 3), np.uint8), np.zeros((90, 60), np.uint8)
    monkeypatch.setattr(source.material, "person", lambda rng: nobody)
    _, masks_ofhw = source._attempt(np.random.default_rng(0), "photo")
    assert len(masks_ofhw) == 0


def test_a_single_frame_is_a_clip_too(assets: Path) -> None:
    source = SyntheticClips(assets, frames=1, size=SIZE, max_objects=1)
    assert all(source.clip(seed).masks_ofhw.shape == (1, 1, SIZE, SIZE) for seed in range(5))


def test_kinds_whose_material_is_missing_are_left_out(assets: Path, tmp_path: Path) -> None:
    for folder in ("kodak", "fluent3d_mit"):
        (tmp_path / folder).symlink_to(assets / folder)
    source = SyntheticClips(tmp_path, size=SIZE)
    assert {source.clip(seed).source for seed in range(8)} == {"scene", "crowd"}


def test_a_folder_without_material_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="expected cut-outs"):
        SyntheticClips(tmp_path)


def test_impossible_numbers_are_refused(assets: Path) -> None:
    with pytest.raises(ValueError, match="got 0, 64 and 1"):
        SyntheticClips(assets, frames=0, size=64, max_objects=1)


def test_the_preview_shows_one_row_a_clip_and_one_column_a_frame(clips: list[Clip], tmp_path: Path) -> None:
    preview(clips[:3], tmp_path / "sheet.png")
    sheet = cv2.imread(str(tmp_path / "sheet.png"))
    assert sheet is not None
    assert sheet.shape == (3 * SIZE, 5 * SIZE, 3)
    with pytest.raises(ValueError, match="at least one clip"):
        preview([], tmp_path / "none.png")
