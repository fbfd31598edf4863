"""SA-V training files: NAME.mp4 at 24 frames per second, NAME_manual.json and NAME_auto.json for every fourth frame."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from masklet.data.formats.base import Entry, Holds, RecordWriter
from masklet.data.formats.files import as_int, as_list, as_object, is_number, natural, read_json, write_json
from masklet.data.records import (
    MAX_OBJECTS,
    STABILITY,
    Masklet,
    Record,
    RecordError,
    check_name,
    empty_rle,
    visible_frames,
)
from masklet.masks import Rle, decode_rle

STRIDE = 4
FPS = Fraction(24)
SMALL, MEDIUM = 32**2, 96**2
"""Areas in pixels at which masklets begin to be medium and large."""

KINDS = ("manual", "auto")
VIDEO_KEYS = (
    "video_id",
    "video_duration",
    "video_frame_count",
    "video_height",
    "video_width",
    "video_resolution",
    "video_environment",
    "video_split",
)
MASKLET_KEYS = (
    "masklet_id",
    "masklet_size_rel",
    "masklet_size_abs",
    "masklet_size_bucket",
    "masklet_visibility_changes",
    "masklet_first_appeared_frame",
    "masklet_frame_count",
    "masklet_edited_frame_count",
    "masklet_type",
)
"""Keys whose values are lists with one entry an object."""

STABILITY_KEY = "masklet_stability_score"
"""A table of scores in automatic files; in manual ones, as published, None for each object."""
KEYS = (*VIDEO_KEYS, "masklet", *MASKLET_KEYS, STABILITY_KEY, "masklet_num")


def read_sav(root: Path, split: str | None) -> list[Entry]:
    """The videos of a folder (and its folders) with JSON files, or of one JSON file. A split is a folder in the root.

    Manual and automatic masklets of a video become one record; automatic ones whose ids are taken get new ids, and
    their own are kept in what is extra.
    """
    if root.is_file():
        video, kind = split_name(root)
        return [Entry(video, root, partial(read_files, video, {kind: root}))]
    folder = root / check_name(split) if split else root
    if not folder.is_dir():
        raise ValueError(f"there is no folder {folder}; check the root and the split")
    files: dict[tuple[Path, str], dict[str, Path]] = {}
    for path in natural(path for kind in KINDS for path in folder.rglob(f"*_{kind}.json")):
        video, kind = split_name(path)
        files.setdefault((path.parent, video), {})[kind] = path
    return [Entry(name, parent / name, partial(read_files, name, found)) for (parent, name), found in files.items()]


def split_name(path: Path) -> tuple[str, str]:
    """Video and kind in the name of a JSON file. Raises ValueError for other names."""
    video, _, kind = path.stem.rpartition("_")
    if kind not in KINDS or not video or path.suffix != ".json":
        raise ValueError(f"expected a file called NAME_manual.json or NAME_auto.json, got {path}")
    return video, kind


def read_files(video: str, files: Mapping[str, Path]) -> Record:
    """The record of one video from its JSON files by kind. Raises RecordError where a file contradicts itself."""
    documents = {kind: as_object(read_json(files[kind]), files[kind]) for kind in KINDS if kind in files}
    first = next(iter(documents))
    sizes = {kind: _sizes(document, files[kind]) for kind, document in documents.items()}
    if len(set(sizes.values())) > 1:
        raise RecordError(f"{files[first]}: the manual and the automatic file give different sizes: {sizes}")
    height, width, count = sizes[first]
    masklets: list[Masklet] = []
    for kind, document in documents.items():
        masklets += _masklets(document, kind, files[kind], {masklet.id for masklet in masklets})
    mp4 = files[first].with_name(f"{video}.mp4")
    extra = {kind: _video_values(document) for kind, document in documents.items()}
    return Record(
        video, (height, width), count, tuple(masklets), FPS, mp4 if mp4.is_file() else None, extra={"sav": extra}
    )


class SavWriter(RecordWriter):
    """Writes the JSON files of a video and its MP4.

    Values that came from an SA-V file are written as they came, others are computed from the masks. Objects of unknown
    provenance are written as manual ones.
    """

    holds = Holds(provenance=KINDS, scores=(STABILITY,), rate=True, gaps=True, extra_of="sav")

    def _write(self, record: Record) -> None:
        folder = self.root / self.split if self.split else self.root
        self._save_video(record, folder / f"{record.video_id}.mp4")
        self._note_losses(record)
        for kind, masklets in zip(KINDS, _by_kind(record), strict=True):
            known = record.extra.get("sav", {})
            if masklets or kind in known or (kind == "manual" and not known and not record.masklets):
                document = _document(record, masklets, kind, self.split or "train")
                write_json(document, folder / f"{record.video_id}_{kind}.json")

    def _note_losses(self, record: Record) -> None:
        between = [frame for frame in record.annotated_frames if frame % STRIDE]
        if between:
            what = "SA-V annotates every fourth frame: masks on the frames between them are left out"
            self.losses.note(what, record.video_id)
        groups = dict(zip(KINDS, _by_kind(record), strict=True))
        if any(set(_frames_of(record, kind)) - set(one.masks) for kind, group in groups.items() for one in group):
            what = "SA-V cannot say that a frame is not annotated: the object became absent there"
            self.losses.note(what, record.video_id)
        if record.fps not in (None, FPS):
            what = "SA-V has 24 frames per second: these were kept one for one, at another rate"
            self.losses.note(what, record.video_id)
        if any(masklet.scores.get(STABILITY) for masklet in groups["manual"]):
            self.losses.note("stability scores of masklets that are not automatic are not kept", record.video_id)
        known = record.extra.get("sav", {}).get("auto") or {}
        if groups["auto"] and STABILITY_KEY not in known and _stability(record, groups["auto"]) is None:
            what = f"automatic masks without a stability score make a file without {STABILITY_KEY}"
            self.losses.note(what, record.video_id)


def bucket_of(area: float) -> str:
    """The published name of a masklet's size, from its mean area in pixels."""
    return "small" if area < SMALL else "medium" if area < MEDIUM else "large"


def changes_of(seen: Sequence[bool]) -> int:
    """How often an object comes or goes after its first appearance."""
    later = list(seen)[list(seen).index(True) :] if True in seen else []
    return sum(now != before for before, now in pairwise(later))


def derived_values(masks: Mapping[int, Rle], video_hw: tuple[int, int]) -> dict[str, Any]:
    """What SA-V publishes of a masklet, without "masklet_", computed from its masks.

    The first appearance is counted in annotated frames, as in the published files: there an object that is first seen
    on the 114th of 121 annotated frames of a video of 483 has 113.
    """
    seen = visible_frames(Masklet(0, masks))
    areas = [int(np.count_nonzero(decode_rle(masks[frame]))) for frame, is_seen in seen if is_seen]
    mean = sum(areas) / len(areas) if areas else 0.0
    return {
        "size_rel": mean / (video_hw[0] * video_hw[1]),
        "size_abs": mean,
        "size_bucket": bucket_of(mean),
        "visibility_changes": changes_of([is_seen for _, is_seen in seen]),
        "first_appeared_frame": next((place for place, (_, is_seen) in enumerate(seen) if is_seen), 0),
        "frame_count": len(seen),
        "edited_frame_count": 0,
    }


def _sizes(document: dict[str, Any], path: Path) -> tuple[int, int, int]:
    height, width, count = (
        as_int(document.get(key), f"{path}: {key}") for key in ("video_height", "video_width", "video_frame_count")
    )
    return height, width, count


def _masklets(document: dict[str, Any], kind: str, path: Path, taken: set[int]) -> list[Masklet]:
    frames = as_list(document.get("masklet"), f"{path}: masklet")
    ids = as_list(document.get("masklet_id"), f"{path}: masklet_id", MAX_OBJECTS)
    for frame, objects in enumerate(frames):
        if len(as_list(objects, f"{path}: masklet[{frame}]", MAX_OBJECTS)) != len(ids):
            raise RecordError(f"{path}: masklet[{frame}] has {len(objects)} masks, but there are {len(ids)} ids")
    values = _values_by_object(document, len(ids), path)
    scores = _scores_by_object(document, len(frames), len(ids), path)
    taken = set(taken)
    masklets = []
    for place, own in enumerate(ids):
        number = _free(as_int(own, f"{path}: masklet_id"), taken)
        taken.add(number)
        masks = {frame * STRIDE: _rle(objects[place], path) for frame, objects in enumerate(frames)}
        stability = {STABILITY: scores[place]} if scores[place] else {}
        masklets.append(Masklet(number, masks, None, kind, stability, {"sav": values[place]}))
    return masklets


def _rle(value: Any, path: Path) -> Rle:
    if not isinstance(value, dict) or set(value) != {"size", "counts"}:
        raise RecordError(f"{path}: expected run lengths {{size, counts}}, got {str(value)[:80]}")
    return Rle(size=value["size"], counts=value["counts"])


def _values_by_object(document: dict[str, Any], count: int, path: Path) -> list[dict[str, Any]]:
    """For each object its entries of the lists that a file has, stability scores apart."""
    values: list[dict[str, Any]] = [{} for _ in range(count)]
    for key in MASKLET_KEYS:
        if key in document:
            entries = as_list(document[key], f"{path}: {key}", MAX_OBJECTS)
            if len(entries) != count:
                raise RecordError(f"{path}: {key} has {len(entries)} entries, but there are {count} masklets")
            for entry, own in zip(entries, values, strict=True):
                own[key] = entry
    return values


def _scores_by_object(document: dict[str, Any], frames: int, objects: int, path: Path) -> list[dict[int, float]]:
    """For each object frame -> stability, from a table of rows by frame, as that of the masks, or by object."""
    table = document.get(STABILITY_KEY)
    if not _has_scores(table):
        return [{} for _ in range(objects)]
    rows = [as_list(row, f"{path}: {STABILITY_KEY}") for row in as_list(table, f"{path}: {STABILITY_KEY}")]
    shapes = {(len(rows), len(row)) for row in rows}
    if shapes != {(frames, objects)} and shapes != {(objects, frames)}:
        raise RecordError(f"{path}: {STABILITY_KEY} is no table of {frames} frames and {objects} masklets")
    if not all(is_number(score) for row in rows for score in row):
        raise RecordError(f"{path}: {STABILITY_KEY} holds something else than numbers")
    by_object = [list(column) for column in zip(*rows, strict=True)] if shapes == {(frames, objects)} else rows
    return [{frame * STRIDE: score for frame, score in enumerate(row)} for row in by_object]


def _has_scores(table: Any) -> bool:
    return bool(table) and not (isinstance(table, list) and all(row is None for row in table))


def _free(number: int, taken: set[int]) -> int:
    return number if number not in taken else max(taken) + 1


def _video_values(document: dict[str, Any]) -> dict[str, Any]:
    """What a file says beside the masklets: of the video, in keys that are not published, and in rows without any.

    A table of stability that is not by frames is kept as it is too.
    """
    if not document["masklet_id"]:
        return dict(document)
    values = {key: value for key, value in document.items() if key not in (*MASKLET_KEYS, STABILITY_KEY, "masklet")}
    table: Any = document.get(STABILITY_KEY)
    if STABILITY_KEY not in document or (_has_scores(table) and len(table) == len(document["masklet"])):
        return values
    return {**values, STABILITY_KEY: table}


def _by_kind(record: Record) -> list[list[Masklet]]:
    """The masklets of the manual and of the automatic file."""
    return [[masklet for masklet in record.masklets if (masklet.provenance or "manual") == kind] for kind in KINDS]


def _frames_of(record: Record, kind: str) -> range:
    """The annotated frames of a file: every fourth of the video; of one that comes from SA-V, as many as it had."""
    if kind not in record.extra.get("sav", {}):
        return range(0, record.frame_count, STRIDE)
    masklets = _by_kind(record)[KINDS.index(kind)]
    kept = [frame for masklet in masklets for frame in masklet.masks if frame % STRIDE == 0]
    return range(0, max(kept, default=-1) + 1, STRIDE)


def _document(record: Record, masklets: Sequence[Masklet], kind: str, split: str) -> dict[str, Any]:
    known: dict[str, Any] = record.extra.get("sav", {}).get(kind) or {}
    document: dict[str, Any] = {**(known or _described(record, split)), "masklet_num": len(masklets)}
    if masklets or "masklet" not in document:
        document |= _columns(record, masklets, kind)
    if STABILITY_KEY in known:
        document[STABILITY_KEY] = known[STABILITY_KEY]
    return {key: document[key] for key in dict.fromkeys((*KEYS, *document)) if key in document}


def _columns(record: Record, masklets: Sequence[Masklet], kind: str) -> dict[str, Any]:
    """What a file holds by object: masks, values, and scores where they are known."""
    frames, absent = _frames_of(record, kind), empty_rle(record.video_hw)
    filled = [{frame: masklet.masks.get(frame, absent) for frame in frames} for masklet in masklets]
    rows = [_row(*pair, kind, record.video_hw) for pair in zip(masklets, filled, strict=True)]
    columns: dict[str, Any] = {"masklet": [[dict(masks[frame]) for masks in filled] for frame in frames]}
    columns |= {key: [row[key] for row in rows] for key in MASKLET_KEYS if all(key in row for row in rows)}
    stability = [None for _ in masklets] if kind == "manual" else _stability(record, masklets)
    return columns if stability is None else {**columns, STABILITY_KEY: stability}


def _stability(record: Record, masklets: Sequence[Masklet]) -> list[list[float]] | None:
    """Rows by frame of the scores of automatic masklets, 0 where one is not annotated; None where some are unknown."""
    frames, scores = _frames_of(record, "auto"), [masklet.scores.get(STABILITY, {}) for masklet in masklets]
    pairs = zip(masklets, scores, strict=True)
    if not masklets or any(frame in one.masks and frame not in known for one, known in pairs for frame in frames):
        return None
    return [[known.get(frame, 0.0) for known in scores] for frame in frames]


def _row(masklet: Masklet, masks: Mapping[int, Rle], kind: str, video_hw: tuple[int, int]) -> dict[str, Any]:
    """The masklet's values as they came from SA-V, else computed."""
    if "sav" in masklet.extra:
        return dict(masklet.extra["sav"])
    values = {f"masklet_{key}": value for key, value in derived_values(masks, video_hw).items()}
    return {**values, "masklet_id": masklet.id, "masklet_type": kind}


def _described(record: Record, split: str) -> dict[str, Any]:
    """What a file says of the video, for one that does not come from SA-V. Numbers are floats, as published."""
    height, width = record.video_hw
    return {
        "video_id": record.video_id,
        "video_duration": float(record.frame_count / (record.fps or FPS)),
        "video_frame_count": float(record.frame_count),
        "video_height": float(height),
        "video_width": float(width),
        "video_resolution": float(height * width),
        "video_environment": [],
        "video_split": split,
    }
