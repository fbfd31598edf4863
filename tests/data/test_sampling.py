from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from masklet.data.datasets import open_dataset
from masklet.data.formats.table import open_writer
from masklet.data.records import Record, RecordError
from masklet.data.sampling import ClipSampling, DatasetClips, choose_frames, choose_objects, sample_clip

from .formats.samples import HW, in_pictures, in_video, masklet, nothing, square, two_squares


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_a_clip_has_its_size_and_targets_that_are_seen_first(tmp_path: Path):
    record = in_video(tmp_path / "lake.mp4", 9, two_squares([0, 4, 8]))
    for seed in range(6):
        clip = sample_clip(record, rng(seed), ClipSampling(frames=2, hw=(24, 36)))
        assert clip.frames_fhwc.shape == (2, 24, 36, 3)
        assert clip.masks_ofhw.shape[1:] == (2, 24, 36)
        assert clip.masks_ofhw[:, 0].any(axis=(1, 2)).all()


def test_masks_stay_on_their_frames(tmp_path: Path):
    record = in_pictures(tmp_path, 3, [masklet(1, {t: square(4 * t, 0, 4) for t in range(3)})])
    clip = sample_clip(record, rng(), ClipSampling(frames=3, hw=(36, 36), reverse_share=1.0))
    levels = [round(float(frame.mean()) / 10) for frame in clip.frames_fhwc]
    assert levels == [2, 1, 0]
    starts = [int(np.flatnonzero(mask.any(axis=0))[0]) for mask in clip.masks_ofhw[0]]
    assert starts == [16, 8, 0]


def test_frames_follow_each_other_by_a_stride():
    annotated = list(range(0, 40, 4))
    for seed in range(20):
        frames = choose_frames(annotated, rng(seed), ClipSampling(frames=3, strides=(2,), reverse_share=0))
        assert np.diff(frames).tolist() == [8, 8]


def test_about_as_many_clips_run_backward_as_asked_for():
    runs = [choose_frames(range(20), rng(seed), ClipSampling(frames=2, reverse_share=0.25)) for seed in range(400)]
    assert 0.18 < np.mean([run[0] > run[1] for run in runs]) < 0.32


def test_a_short_video_is_shown_to_and_fro():
    frames = choose_frames([0, 4, 8], rng(), ClipSampling(frames=7, reverse_share=0))
    assert frames == [0, 4, 8, 4, 0, 4, 8]
    assert choose_frames([3], rng(), ClipSampling(frames=3)) == [3, 3, 3]


def test_objects_that_stay_in_sight_are_chosen_more_often():
    stays = masklet(1, {t: square(0, 0) for t in range(4)})
    leaves = masklet(2, {t: square(9, 4) if t == 0 else nothing() for t in range(4)})
    record = Record("lake", HW, 4, (stays, leaves))
    sampling = ClipSampling(frames=4, max_objects=1)
    chosen = [choose_objects(record, range(4), rng(seed), sampling)[0].id for seed in range(300)]
    assert 0.72 < np.mean(np.array(chosen) == 1) < 0.88


def test_objects_are_left_out_where_they_are_tiny_or_not_annotated():
    tiny = masklet(1, {0: square(0, 0, 1), 1: square(0, 0, 1)})
    gap = masklet(2, {0: square(4, 4)})
    record = Record("lake", HW, 2, (tiny, gap))
    assert choose_objects(record, [0, 1], rng(), ClipSampling(min_area=0.01)) == []


def test_a_video_without_visible_objects_is_an_error(tmp_path: Path):
    record = in_pictures(tmp_path, 2, [masklet(1, {0: nothing(), 1: nothing()})])
    with pytest.raises(RecordError, match="no object was seen"):
        sample_clip(record, rng(), ClipSampling(frames=2, hw=(16, 16)))


def test_impossible_numbers_are_refused():
    with pytest.raises(ValueError, match="at least 1"):
        ClipSampling(frames=0)


def test_the_same_seed_gives_the_same_clip_and_bad_records_are_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    with open_writer(tmp_path / "set", "youtube-vos") as writer:
        for name in ("good", "bad"):
            masks = [masklet(1, {0: square(0, 0), 1: square(1, 0)})]
            writer.add(in_pictures(tmp_path / name, 2, masks, name))
    broken = tmp_path / "set/train/Annotations/bad/00001.png"
    broken.write_bytes(b"no picture")
    dataset = open_dataset("youtube-vos", tmp_path / "set")
    clips = DatasetClips(dataset, ClipSampling(frames=2, hw=(16, 16)))
    first, again = ([clips[seed] for seed in range(8)] for _ in range(2))
    assert all((a.frames_fhwc == b.frames_fhwc).all() for a, b in zip(first, again, strict=True))
    assert list(dataset.bad) == [tmp_path / "set/train/Annotations/bad"]
    assert str(broken) in caplog.text


def test_frame_rates_do_not_matter(tmp_path: Path):
    record = in_video(tmp_path / "lake.mp4", 2, [masklet(1, {0: square(0, 0), 1: square(0, 0)})])
    assert record.fps == Fraction(24)
    assert len(sample_clip(record, rng(), ClipSampling(frames=2, hw=(16, 16))).frames_fhwc) == 2
