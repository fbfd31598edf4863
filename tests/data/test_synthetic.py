"""Synthetic clips, made from a small folder of pictures that the test draws itself."""

from __future__ import annotations

import hashlib
import os
import pickle
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from masklet.data import synthetic
from masklet.data.preview import preview
from masklet.data.synthetic import Clip, Mixture, SyntheticClips

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
    assert {clip.source for clip in clips} == set(synthetic.KINDS)


def test_frames_and_masks_have_the_promised_shapes_and_types(clips: list[Clip]) -> None:
    for clip in clips:
        assert clip.frames_fhwc.shape == (5, SIZE, SIZE, 3)
        assert clip.frames_fhwc.dtype == np.uint8
        assert clip.masks_ofhw.shape in {(1, 5, SIZE, SIZE), (2, 5, SIZE, SIZE)}
        assert clip.masks_ofhw.dtype == bool


def test_every_target_is_visible_in_the_first_frame(clips: list[Clip]) -> None:
    shares = np.concatenate([clip.masks_ofhw[:, 0].mean((1, 2)) for clip in clips])
    assert shares.min() >= Mixture().min_area
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


IN_ANOTHER_PROCESS = """
import hashlib, sys
from masklet.data.synthetic import SyntheticClips

source = SyntheticClips(sys.argv[1], frames=3, size=64)
for seed in map(int, sys.argv[2:]):
    clip = source.clip(seed)
    print(clip.source, hashlib.sha256(clip.frames_fhwc.tobytes() + clip.masks_ofhw.tobytes()).hexdigest())
"""


def test_another_process_makes_the_same_clips(assets: Path) -> None:
    source = SyntheticClips(assets, frames=3, size=SIZE)
    here = []
    for seed in SEEDS:
        clip = source.clip(seed)
        content = clip.frames_fhwc.tobytes() + clip.masks_ofhw.tobytes()
        here.append(f"{clip.source} {hashlib.sha256(content).hexdigest()}")
    command = [sys.executable, "-c", IN_ANOTHER_PROCESS, str(assets), *map(str, SEEDS)]
    there = subprocess.run(
        command, env={**os.environ, "PYTHONHASHSEED": "7"}, capture_output=True, text=True, check=True
    )
    assert there.stdout.split("\n")[:-1] == here


COLOURS = ((255, 40, 40), (40, 40, 255), (40, 255, 40))


@pytest.fixture(scope="module")
def coloured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Material whose objects are red, blue and green where they are labelled and grey everywhere else."""
    folder = tmp_path_factory.mktemp("coloured")
    _write(folder / "kodak/0.png", np.full((40, 40, 3), 40, np.uint8))
    _write(folder / "kodak/0.jpg", np.full((40, 40, 3), 40, np.uint8))
    _write(folder / "fluent3d_mit/0.webp", np.dstack([np.full((48, 48, 3), 90, np.uint8), _disc(48, 48, 14)]))
    for frame in range(4):
        labels = np.zeros((120, 120), np.uint8)
        for number, (x, y) in enumerate(((45, 50), (70, 45), (62, 74)), 1):
            cv2.ellipse(labels, (x + 2 * frame, y), (10 + number, 9), 20 * number, 0, 360, number, -1)
        rgb = np.array([(40, 40, 40), *COLOURS], np.uint8)[labels]
        picture = cv2.imencode(".png", rgb[..., ::-1])[1].tobytes()
        for name in ("ccp_people_parts/0", "nuclei_cc0/0", f"pybullet_clips/0/{frame:02d}"):
            _write(folder / f"{name}.png", labels)
            (folder / f"{name}.jpg").write_bytes(picture)
        (folder / "video_unlabelled/0").mkdir(parents=True, exist_ok=True)
        (folder / f"video_unlabelled/0/{frame:04d}.jpg").write_bytes(picture)
        for number in range(1, 4):
            mask = (labels == number).astype(np.uint8) * 255
            _write(folder / f"masklets/video_unlabelled/0/{number}/{frame:04d}.png", mask)
    return folder


def _apart(shown: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Where colour and mask differ by more than a pixel; pieces of colour that do not touch the mask are mirrored."""
    one = np.ones((3, 3), np.uint8)
    _, pieces = cv2.connectedComponents(shown.astype(np.uint8))
    touching = np.isin(pieces, np.unique(pieces[mask & shown]))
    missing = cv2.erode(mask.astype(np.uint8), one).astype(bool) & ~shown
    stray = shown & touching & ~cv2.dilate(mask.astype(np.uint8), one).astype(bool)
    return missing | stray


@pytest.mark.parametrize("kind", ["photo", "cells", "rendered", "filmed"])
def test_masks_stay_on_the_pixels_of_their_object_under_a_moving_camera(kind: str, coloured: Path) -> None:
    source = SyntheticClips(coloured, frames=4, size=SIZE, max_objects=2)
    colours_checked = set()
    for seed in range(40):
        frames_fhwc, masks_ofhw = source._attempt(np.random.default_rng(seed), kind)
        bright_fhwc = frames_fhwc > 147
        for masks_fhw in masks_ofhw:
            shares = bright_fhwc[masks_fhw].mean(axis=0)
            channels = [int(shares.argmax())] if shares.max() > 0.9 else [0, 1, 2]
            colours_checked.add(tuple(channels))
            for bright_hwc, mask in zip(bright_fhwc, masks_fhw, strict=True):
                assert not _apart(bright_hwc[..., channels].max(axis=2), mask).any(), f"seed {seed}"
    assert {(0,), (1,), (2,)} <= colours_checked


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


ONLY_PHOTOS = Mixture(scene=0, crowd=0, cells=0, rendered=0, filmed=0)


def test_a_mixture_makes_only_the_kinds_that_it_names(assets: Path) -> None:
    mixed = SyntheticClips(assets, frames=1, size=SIZE, mixture=ONLY_PHOTOS)
    assert {mixed.clip(seed).source for seed in range(6)} == {"photo"}


@pytest.mark.parametrize("parts", [0.0, 1.0])
def test_a_mixture_tells_whether_people_or_their_parts_are_targets(parts: float, tmp_path: Path, assets: Path) -> None:
    shutil.copytree(assets, tmp_path, dirs_exist_ok=True)
    halves = np.zeros((90, 60), np.uint8)
    halves[20:70, 10:30], halves[20:70, 30:50] = 1, 2
    for index in range(3):
        _write_labelled(tmp_path / f"ccp_people_parts/{index}", np.random.default_rng(index), halves)
    mixed = SyntheticClips(tmp_path, frames=1, size=SIZE, max_objects=2, mixture=replace(ONLY_PHOTOS, parts=parts))
    assert any(len(mixed.clip(seed).masks_ofhw) == 2 for seed in range(12)) == bool(parts)


def test_whole_pictures_show_their_targets_smaller_than_views_around_them(tmp_path: Path, assets: Path) -> None:
    shutil.copytree(assets, tmp_path, dirs_exist_ok=True)
    for index in range(3):
        someone_far = (_disc(90, 60, 8) > 127).astype(np.uint8)
        _write_labelled(tmp_path / f"ccp_people_parts/{index}", np.random.default_rng(index), someone_far)

    def mean_area(whole: float) -> float:
        mixture = replace(ONLY_PHOTOS, whole=whole, min_area=0.001)
        mixed = SyntheticClips(tmp_path, frames=1, size=SIZE, mixture=mixture)
        return float(np.mean([mixed.clip(seed).masks_ofhw.mean() for seed in range(30)]))

    assert mean_area(1.0) < 0.5 * mean_area(0.0)


def test_a_mixture_of_which_the_folder_has_nothing_is_refused(assets: Path, tmp_path: Path) -> None:
    shutil.copytree(assets, tmp_path, dirs_exist_ok=True)
    shutil.rmtree(tmp_path / "ccp_people_parts")
    with pytest.raises(ValueError, match=r"photo=0\.2.*masklet\.data\.material"):
        SyntheticClips(tmp_path, mixture=ONLY_PHOTOS)


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
