from __future__ import annotations

import json
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from masklet.data.datasets import open_dataset
from masklet.data.formats.table import open_writer
from masklet.data.records import PREDICTED_IOU, STABILITY, Record, RecordError
from masklet.masks import encode_rle

from .samples import HW, masklet, nothing, square, video

FRAMES = 9


def published(kind: str) -> dict[str, Any]:
    """A file with every published key: two masklets on frames 0, 4 and 8; the second one leaves and returns.

    As published, manual files have no scores but None for each masklet, and count first appearances in floats.
    """
    masks = [[square(0, 0), square(9, 4)], [square(1, 0), nothing()], [square(2, 0), square(9, 4)]]
    stability = [[0.97, 0.99], [0.95, 0.0], [0.96, 0.98]] if kind == "auto" else [None, None]
    return {
        "video_id": "sav_000001",
        "video_duration": FRAMES / 24,
        "video_frame_count": float(FRAMES),
        "video_height": float(HW[0]),
        "video_width": float(HW[1]),
        "video_resolution": float(HW[0] * HW[1]),
        "video_environment": "Outdoor",
        "video_split": "train",
        "masklet": [[dict(encode_rle(mask)) for mask in row] for row in masks],
        "masklet_id": [0, 1],
        "masklet_size_rel": [16 / 216, 16 / 216],
        "masklet_size_abs": [16.0, 16.0],
        "masklet_size_bucket": ["small", "small"],
        "masklet_visibility_changes": [0, 2],
        "masklet_first_appeared_frame": [0, 0] if kind == "auto" else [0.0, 0.0],
        "masklet_frame_count": [3, 3],
        "masklet_edited_frame_count": [2, 1] if kind == "manual" else [0, 0],
        "masklet_type": [kind, kind],
        "masklet_stability_score": stability,
        "masklet_num": 2,
    }


def write_published(folder: Path, change: dict[str, Any] | None = None, *, with_video: bool = True) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for kind in ("manual", "auto"):
        document = {**published(kind), **(change or {})}
        (folder / f"sav_000001_{kind}.json").write_text(json.dumps(document))
    if with_video:
        video(folder / "sav_000001.mp4", FRAMES)
    return folder


def test_a_training_video_is_one_record_of_manual_and_automatic_masklets(tmp_path: Path):
    (record,) = open_dataset("sav", write_published(tmp_path))
    assert (record.video_id, record.video_hw, record.frame_count, record.fps) == ("sav_000001", HW, FRAMES, 24)
    assert [(one.id, one.provenance) for one in record.masklets] == [
        (0, "manual"), (1, "manual"), (2, "auto"), (3, "auto"),
    ]  # fmt: skip
    assert record.annotated_frames == [0, 4, 8]
    assert [record.masklets[1].is_visible(frame) for frame in (0, 4, 8)] == [True, False, True]
    assert record.masklets[3].scores == {STABILITY: {0: 0.99, 4: 0.0, 8: 0.98}}
    with record.open_frames() as frames:
        assert round(float(frames[4].mean()) / 10) == 4


@pytest.mark.parametrize("change", [{}, {"masklet_note": [1, 2], "origin": {"of": "a later release"}}])
def test_a_round_trip_loses_nothing(change: dict[str, Any], tmp_path: Path):
    source = write_published(tmp_path / "source", change)
    with open_writer(tmp_path / "out", "sav") as writer:
        for record in open_dataset("sav", source):
            writer.add(record)
    assert writer.losses.sentences() == []
    for path in source.iterdir():
        copy = tmp_path / "out" / path.name
        if path.suffix == ".json":
            assert json.loads(copy.read_text()) == json.loads(path.read_text())
        else:
            assert copy.read_bytes() == path.read_bytes()


@pytest.mark.parametrize(
    "change",
    [
        {"masklet_stability_score": [[0.97, 0.95, 0.96], [0.99, 0.0, 0.98]]},
        {
            "masklet": [[], [], []],
            "masklet_num": 0,
            **{key: [] for key in published("auto") if key.startswith("masklet_") and key != "masklet_num"},
        },
    ],
    ids=["scores by object", "no masklets"],
)
def test_unusual_files_come_back_too(change: dict[str, Any], tmp_path: Path):
    source = write_published(tmp_path / "source", change, with_video=False)
    with open_writer(tmp_path / "out", "sav") as writer:
        for record in open_dataset("sav", source):
            writer.add(record)
    copy = json.loads((tmp_path / "out" / "sav_000001_auto.json").read_text())
    assert copy == json.loads((source / "sav_000001_auto.json").read_text())


def test_what_is_published_of_masklets_is_computed_for_others(tmp_path: Path):
    source = write_published(tmp_path / "source", with_video=False)
    (record,) = open_dataset("sav", source / "sav_000001_manual.json")
    bare = deepcopy(record)
    for part in (bare, *bare.masklets):
        part.extra.clear()  # type: ignore[attr-defined]
    with open_writer(tmp_path / "out", "sav") as writer:
        writer.add(bare)
    written = json.loads((tmp_path / "out" / "sav_000001_manual.json").read_text())
    assert list(written) == list(published("manual"))
    not_computed = {"video_environment": [], "masklet_edited_frame_count": [0, 0]}
    assert written == {**published("manual"), **not_computed}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"masklet_id": [0]}, r"masklet\[0\] has 2 masks, but there are 1 ids"),
        ({"masklet_type": ["manual"]}, "masklet_type has 1 entries, but there are 2 masklets"),
        ({"masklet": [[None, None]]}, "expected run lengths"),
        ({"masklet": "all"}, "expected a list"),
        ({"video_height": 13.0}, r"expected a mask of size \[13, 18\]"),
        ({"video_height": 12.5}, "expected a whole number"),
        ({"video_frame_count": 1e12}, "over the limits"),
        ({"video_frame_count": 4}, "frame 4 is outside of 0 to 3"),
        ({"masklet": [[{"size": list(HW), "counts": "1"}] * 2] * 3}, "RLE counts do not add up"),
        ({"masklet_stability_score": [[0.5]]}, "is no table of 3 frames and 2 masklets"),
    ],
)
def test_a_file_that_contradicts_itself_is_left_out_with_its_path(change: dict[str, Any], message: str, tmp_path: Path):
    dataset = open_dataset("sav", write_published(tmp_path, change, with_video=False))
    with pytest.raises(RecordError, match=message):
        dataset[0].checked()
    assert list(dataset) == []
    assert list(dataset.bad) == [tmp_path / "sav_000001"]
    assert "1 records, 1 of them bad" in dataset.report()


def test_a_folder_may_hold_splits_and_parts(tmp_path: Path):
    write_published(tmp_path / "train" / "sav_000", with_video=False)
    assert len(open_dataset("sav", tmp_path, "train")) == 1
    with pytest.raises(ValueError, match="there is no folder"):
        open_dataset("sav", tmp_path, "val")


def test_validation_folders_hold_overlapping_objects_and_a_list(tmp_path: Path):
    source = write_published(tmp_path / "source")
    with open_writer(tmp_path / "val", "sav-frames") as writer:
        for record in open_dataset("sav", source):
            writer.add(record)
    assert (tmp_path / "val" / "sav_val.txt").read_text() == "sav_000001\n"
    assert len(list((tmp_path / "val/JPEGImages_24fps/sav_000001").glob("*.jpg"))) == FRAMES
    folders = tmp_path / "val" / "Annotations_6fps" / "sav_000001"
    assert sorted(path.name for path in (folders / "001").iterdir()) == ["00000.png", "00004.png", "00008.png"]
    (back,) = open_dataset("sav-frames", tmp_path / "val", "sav_val")
    assert [one.id for one in back.masklets] == [0, 1, 2, 3]
    assert [back.masklets[1].is_visible(frame) for frame in (0, 4, 8)] == [True, False, True]


def automatic(kind: str, frames: dict[int, float]) -> Record:
    """One automatic masklet that is annotated on frames 0 and 4 of 9, with scores of a kind."""
    masks = {frame: square(frame, 0) for frame in (0, 3, 4)}
    return Record("lake", HW, FRAMES, (masklet(1, masks, provenance="auto", scores={kind: frames}),))


def test_automatic_masklets_are_filled_up_to_the_end_of_the_video(tmp_path: Path):
    with open_writer(tmp_path, "sav") as writer:
        writer.add(automatic(STABILITY, {0: 0.9, 4: 0.8}))
    assert any("became absent there" in loss for loss in writer.losses.sentences())
    document = json.loads((tmp_path / "lake_auto.json").read_text())
    assert len(document["masklet"]) == 3
    assert document["masklet_stability_score"] == [[0.9], [0.8], [0.0]]


@pytest.mark.parametrize(("kind", "frames"), [(PREDICTED_IOU, {0: 0.9, 4: 0.8}), (STABILITY, {0: 0.9, 3: 0.8})])
def test_other_scores_are_not_called_stability(kind: str, frames: dict[int, float], tmp_path: Path):
    with open_writer(tmp_path, "sav") as writer:
        writer.add(automatic(kind, frames))
    assert "masklet_stability_score" not in json.loads((tmp_path / "lake_auto.json").read_text())
    losses = "\n".join(writer.losses.sentences())
    assert "without a stability score" in losses
    assert ("predicted IoUs are not kept" in losses) == (kind == PREDICTED_IOU)


def test_stability_of_sa_1b_is_that_of_sa_v(tmp_path: Path):
    known = {"id": 3, "segmentation": dict(encode_rle(square(2, 2))), "predicted_iou": 0.9, "stability_score": 0.97}
    image = {"image_id": 1, "width": HW[1], "height": HW[0], "file_name": "sa_1.jpg"}
    (tmp_path / "sa_1.json").write_text(json.dumps({"image": image, "annotations": [known]}))
    (record,) = open_dataset("sa1b", tmp_path / "sa_1.json")
    with open_writer(tmp_path / "sav", "sav") as writer:
        writer.add(record)
    assert json.loads((tmp_path / "sav" / "sa_1_auto.json").read_text())["masklet_stability_score"] == [[0.97]]
    with open_writer(tmp_path / "sa1b", "sa1b") as writer:
        writer.add(record)
    back = json.loads((tmp_path / "sa1b" / "sa_1.json").read_text())["annotations"][0]
    assert {key: back[key] for key in known} == known


def test_a_list_of_videos_is_added_to(tmp_path: Path):
    for name in ("a.1", "my clip"):
        with open_writer(tmp_path, "sav-frames") as writer:
            writer.add(Record(name, HW, 1, (masklet(1, {0: square(0, 0)}),)))
    assert (tmp_path / "sav_val.txt").read_text() == "a.1\nmy clip\n"
    assert [one.video_id for one in open_dataset("sav-frames", tmp_path, "sav_val")] == ["a.1", "my clip"]
    with (
        open_writer(tmp_path, "sav-frames") as writer,
        pytest.raises(ValueError, match=r"sav_val\.txt lists it already"),
    ):
        writer.add(Record("a.1", HW, 1, (masklet(1, {0: square(0, 0)}),)))
