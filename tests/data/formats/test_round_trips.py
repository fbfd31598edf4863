"""Whatever a record holds, a format gives it back, or says what it could not keep."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from masklet.data.datasets import open_dataset
from masklet.data.formats import READABLE, WRITABLE
from masklet.data.formats.base import RecordWriter
from masklet.data.formats.coco import CocoWriter
from masklet.data.formats.table import READERS, WRITERS, format_of, open_writer
from masklet.data.records import (
    PREDICTED_IOU,
    SCORE,
    SCORE_KINDS,
    Masklet,
    Record,
    RecordError,
    check_name,
    pictures_of,
)
from masklet.masks import decode_rle, encode_rle

from .samples import HW, content, in_pictures, in_video, masklet, nothing, square, two_squares

WITHOUT_FRAMES = ("sav", "sav-frames", "coco", "davis16", "davis17", "youtube-vos", "mose", "lvos", "objects", "rle")
"""Formats of videos that can be read without frames."""

MASKS = arrays(bool, (5, 7))
SCORES = st.floats(0, 1, allow_subnormal=False)
KINDS = st.sampled_from(list(SCORE_KINDS))
SLOW = settings(max_examples=12, deadline=None)


def _is_name(text: str) -> bool:
    try:
        return check_name(text) == text
    except RecordError:
        return False


NAMES = st.text("aZ0 .-_,;()[]#%&+'~é木", min_size=1, max_size=12).filter(_is_name)
IDS = st.one_of(st.integers(0, 5), st.sampled_from([254, 255, 256, 999, 1000, 2**53 - 1]))
RATES = st.one_of(st.none(), st.fractions(Fraction(1, 10), 1000, max_denominator=1001))
CATEGORIES = st.one_of(st.none(), st.text(min_size=1, max_size=8).filter(lambda name: name != "object"))


@st.composite
def records(draw: st.DrawFn, frames: int = 3, stride: int = 4) -> Record:
    """Up to three objects of any id, shape, category and scores, on some of frames 0, 4, 8; at least one on frame 0."""
    masklets = []
    for place, obj in enumerate(draw(st.lists(IDS, min_size=1, max_size=3, unique=True))):
        annotated = draw(st.sets(st.integers(0, frames - 1))) | ({0} if place == 0 else set())
        masks = {number * stride: encode_rle(draw(MASKS)) for number in sorted(annotated)}
        scores = {kind: dict.fromkeys(masks, draw(SCORES)) for kind in draw(st.sets(KINDS)) if masks}
        masklets.append(Masklet(obj, masks, draw(CATEGORIES), None, scores))
    return Record(draw(NAMES), (5, 7), frames * stride, tuple(masklets), draw(RATES))


def written(record: Record, name: str, root: Path) -> RecordWriter:
    with open_writer(root, name) as writer:
        writer.add(record)
    return writer


def kept(record: Record, writer: RecordWriter) -> dict[int, dict[int, str]]:
    """What a format should give back, by what it says that it holds."""
    frames = record.annotated_frames
    masks = {
        one.id: {frame: one.mask(frame) for frame in (one.masks if writer.holds.gaps else frames)}
        for one in record.masklets
    }
    filled = {
        obj: {frame: np.zeros(record.video_hw, bool) if mask is None else mask for frame, mask in found.items()}
        for obj, found in masks.items()
    }
    if not writer.holds.overlap:
        filled = {obj: {frame: _on_top(filled, obj, frame) for frame in found} for obj, found in filled.items()}
    if not writer.holds.unseen:
        filled = {obj: found for obj, found in filled.items() if any(mask.any() for mask in found.values())}
    return {
        obj: {frame: encode_rle(mask)["counts"] for frame, mask in found.items()}
        for obj, found in filled.items()
        if found
    }


def _on_top(masks: dict[int, dict[int, np.ndarray]], obj: int, frame: int) -> np.ndarray:
    above = [found[frame] for other, found in masks.items() if other > obj]
    return masks[obj][frame] & ~np.logical_or.reduce([np.zeros((5, 7), bool), *above])


@pytest.mark.parametrize("name", [name for name in WITHOUT_FRAMES if name not in ("sav", "davis16")])
@SLOW
@given(record=records())
def test_what_a_format_holds_comes_back_as_it_was(name: str, record: Record):
    with TemporaryDirectory() as folder:
        writer = written(record, name, Path(folder))
        dataset = open_dataset(name, folder)
        (back,) = dataset
    assert not dataset.bad
    assert back.video_id == record.video_id
    ids, expected = new_ids(record, writer), kept(record, writer)
    assert content(back) == {ids[obj]: masks for obj, masks in expected.items()}
    for one in record.masklets:
        if one.id in expected:
            found = next(other for other in back.masklets if other.id == ids[one.id])
            assert found.name == (one.name if writer.holds.names else None)
            assert found.scores == scores_of(one, writer)
    if name in ("coco", "rle"):
        assert back.fps == record.fps
    said = "\n".join(["", *writer.losses.sentences()])
    assert ("numbered anew" in said) == any(new != old for old, new in ids.items())
    assert ("names of objects" in said) == (not writer.holds.names and any(one.name for one in record.masklets))
    for kind, text in SCORE_KINDS.items():
        given = kind not in writer.holds.scores and any(one.scores.get(kind) for one in record.masklets)
        assert (f"\n{text} are not kept" in said) == given


def new_ids(record: Record, writer: RecordWriter) -> dict[int, int]:
    """Palettes hold 1 to 254 and number all objects where one does not fit."""
    old = [one.id for one in record.masklets]
    fit = writer.holds.objects is None or all(1 <= obj <= writer.holds.objects for obj in old)
    return {obj: obj if fit else place for place, obj in enumerate(old, 1)}


def scores_of(one: Masklet, writer: RecordWriter) -> dict[str, dict[int, float]]:
    """Scores of kinds that a format holds; COCO has no annotations, thus no scores, where an object is absent."""
    is_coco = isinstance(writer, CocoWriter)
    found = {kind: dict(values) for kind, values in one.scores.items() if kind in writer.holds.scores}
    if is_coco:
        found = {kind: {f: s for f, s in values.items() if one.is_visible(f)} for kind, values in found.items()}
        if found.get(SCORE) == found.get(PREDICTED_IOU):
            found.pop(SCORE, None)
    return {kind: values for kind, values in found.items() if values}


@SLOW
@given(record=records())
def test_sa_v_fills_up_with_absence_and_says_so(record: Record):
    with TemporaryDirectory() as folder:
        writer = written(record, "sav", Path(folder))
        (back,) = open_dataset("sav", folder)
    frames = range(0, record.frame_count, 4)
    for one in record.masklets:
        found = next(masklet for masklet in back.masklets if masklet.id == one.id)
        assert list(found.masks) == list(frames)
        for frame in frames:
            before, after = one.mask(frame), found.mask(frame)
            assert after is not None
            assert (after == (nothing((5, 7)) if before is None else before)).all()
    assert back.video_id == record.video_id
    has_holes = any(set(frames) - set(one.masks) for one in record.masklets)
    assert has_holes == any("became absent" in loss for loss in writer.losses.sentences())


@SLOW
@given(record=records())
def test_davis_2016_joins_all_objects(record: Record):
    with TemporaryDirectory() as folder:
        written(record, "davis16", Path(folder))
        (back,) = open_dataset("davis16", folder)
    for frame in record.annotated_frames:
        union = np.logical_or.reduce(list(record.masks_at(frame).values()))
        (found,) = back.masks_at(frame).values()
        assert (found == union).all()


@SLOW
@given(record=records())
def test_sa_1b_makes_a_picture_of_each_frame(record: Record):
    with TemporaryDirectory() as folder:
        writer = written(record, "sa1b", Path(folder))
        back = {one.video_id: content(one) for one in open_dataset("sa1b", folder)}
    assert back == {one.video_id: content(one) for one in pictures_of(record)}
    assert any("each annotated frame became one" in loss for loss in writer.losses.sentences())


@pytest.mark.parametrize("name", [name for name in READABLE if name not in ("coco", "sa1b", "images", "davis16")])
@pytest.mark.parametrize("kind", ["pictures", "video"])
def test_frames_come_back_too_and_the_format_is_recognised(name: str, kind: str, tmp_path: Path):
    masklets = two_squares([0, 4, 8])
    if kind == "pictures":
        record = in_pictures(tmp_path / "source", 9, masklets)
    else:
        record = in_video(tmp_path / "source" / "park.mp4", 9, masklets)
    written(record, name, tmp_path / "out")
    assert format_of(tmp_path / "out") == ("youtube-vos" if name == "mose" else name)
    (back,) = open_dataset(None, tmp_path / "out")
    assert (back.frame_count, back.video_hw, content(back)) == (9, HW, content(record))
    with back.open_frames() as frames:
        assert [round(float(frame.mean()) / 10) for frame in frames] == list(range(9))


def test_coco_and_pictures_hold_the_annotated_frames(tmp_path: Path):
    record = in_pictures(tmp_path / "source", 9, two_squares([0, 4, 8]))
    written(record, "coco", tmp_path / "coco")
    (back,) = open_dataset(None, tmp_path / "coco")
    with back.open_frames() as frames:
        assert [round(float(frame.mean()) / 10) for frame in frames] == [0, 4, 8]
    written(record, "images", tmp_path / "images")
    singles = list(open_dataset(None, tmp_path / "images"))
    assert [one.name_of(0) for one in singles] == ["park-00000", "park-00004", "park-00008"]
    assert [len(one.masklets) for one in singles] == [1, 2, 2]


def test_what_a_format_cannot_hold_is_said(tmp_path: Path):
    overlapping = masklet(300, {0: square(0, 0)}, name="dog", provenance="manual", scores={PREDICTED_IOU: {0: 0.5}})
    other = masklet(301, {0: square(2, 2), 1: nothing()}, extra={"sav": {"masklet_edited_frame_count": 3}})
    writer = written(Record("park", HW, 2, (overlapping, other)), "davis17", tmp_path)
    said = "\n".join(writer.losses.sentences())
    for what in (
        "names",
        "manual or automatic",
        "predicted IoUs",
        "only sav knows",
        "overlap",
        "anew from 1",
        "no frames",
    ):
        assert what in said
    assert "became absent" in said


def test_what_a_format_holds_is_not_called_lost(tmp_path: Path):
    record = in_pictures(tmp_path / "source", 2, [masklet(1, {0: square(0, 0), 1: nothing()}, name="dog")])
    assert written(record, "youtube-vos", tmp_path / "out").losses.sentences() == []
    (back,) = open_dataset("youtube-vos", tmp_path / "out")
    assert [one.name for one in back.masklets] == ["dog"]


def test_every_named_format_has_its_reader_and_writer():
    assert list(READERS) == list(READABLE)
    assert set(WRITERS) == set(WRITABLE)


def test_a_second_video_of_the_same_name_is_refused(tmp_path: Path):
    record = Record("park", HW, 1, (masklet(1, {0: square(0, 0)}),))
    with open_writer(tmp_path, "objects") as writer:
        writer.add(record)
        with pytest.raises(ValueError, match="a second video is called park"):
            writer.add(record)


def test_arrays_hold_the_masks_of_each_object(tmp_path: Path):
    record = Record("park", HW, 9, two_squares([0, 4, 8]))
    written(record, "numpy", tmp_path / "park.npz")
    with np.load(tmp_path / "park.npz") as archive:
        assert archive["frames_2"].tolist() == [0, 4, 8]
        assert (archive["masks_1"][1] == decode_rle(record.masklets[0].masks[4])).all()
        assert archive["masks_2"].dtype == bool
        assert archive["video_hw"].tolist() == list(HW)


@pytest.mark.parametrize(
    ("name", "files"),
    [
        ("overlay", ["park.mp4"]),
        ("cutout-webm", ["park.webm"]),
        ("cutout-png", ["park/00000.png", "park/00004.png", "park/00008.png"]),
    ],
)
def test_views_show_the_annotated_frames(name: str, files: list[str], tmp_path: Path):
    record = in_pictures(tmp_path / "source", 9, two_squares([0, 4, 8]))
    writer = written(record, name, tmp_path / "out")
    assert sorted(str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*.*")) == files
    assert any("are left out" in loss for loss in writer.losses.sentences())
