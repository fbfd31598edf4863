"""What one does with SA-V files: check them, take out frames, count, and look at masklets."""

from __future__ import annotations

import csv
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from masklet.data.formats.files import as_object, is_number, pictures_in, read_json, save_frames, video_rate
from masklet.data.formats.sav import (
    FPS,
    KEYS,
    KINDS,
    MASKLET_KEYS,
    MEDIUM,
    SMALL,
    STABILITY_KEY,
    STRIDE,
    bucket_of,
    changes_of,
    derived_values,
    read_files,
    split_name,
)
from masklet.data.records import Masklet, Record, RecordError, visible_frames
from masklet.masks import areas

if TYPE_CHECKING:
    from matplotlib.axes import Axes

RATES = (6, 24)
PLACES = {"Indoor", "Outdoor"}
BUCKETS = ("small", "medium", "large")
AREA_SLACK = 0.01
"""Published areas may differ from the masks' by this share: some are means of rounded numbers."""

_TYPES: dict[str, type | tuple[type, ...]] = {
    "video_id": str,
    "video_duration": (int, float),
    "video_resolution": (int, float),
    "video_environment": (str, list),
    "video_split": str,
    "masklet": list,
    "masklet_num": int,
    **dict.fromkeys(MASKLET_KEYS, list),
}


@dataclass(frozen=True)
class MaskletFacts:
    """One masklet in numbers. Areas are means over the frames on which it is seen, in pixels and of the picture."""

    video_id: str
    id: int
    provenance: str
    area_px: float
    area_share: float
    size: str
    annotated_frames: int
    seen_frames: int
    visibility_changes: int
    returns: bool
    """Whether it disappears and comes back, which the published disappearance rate counts."""


def validate(path: Path) -> list[str]:
    """What is wrong with NAME_manual.json or NAME_auto.json and the MP4 beside it, in sentences, if anything.

    Raises OSError if the file cannot be opened.
    """
    try:
        video, kind = split_name(path)
        document = as_object(read_json(path), path)
    except ValueError as error:
        return [str(error)]
    problems = [*_key_problems(document, kind), *_video_problems(document, video)]
    try:
        record = read_files(video, {kind: path}).checked()
    except ValueError as error:
        return [*problems, str(error).removeprefix(f"{path}: ")]
    for masklet in record.masklets:
        problems += _masklet_problems(masklet, record, kind)
    return problems + _mp4_problems(path.with_name(f"{video}.mp4"), record)


def annotation_files(paths: Iterable[Path]) -> Iterator[Path]:
    """The SA-V JSON files among files and in folders. Raises ValueError for a path without any."""
    for path in paths:
        found = [path] if path.is_file() else sorted(one for kind in KINDS for one in path.rglob(f"*_{kind}.json"))
        if not found:
            raise ValueError(f"there are no files NAME_manual.json or NAME_auto.json in {path}")
        yield from found


def extract_frames(record: Record, folder: Path, fps: int = 24) -> int:
    """Writes the frames as FOLDER/VIDEO/00000.jpg, all or (6 fps) those that are annotated; their number.

    Raises ValueError for another rate, if the video is not there or if other pictures are in its folder; and if it is
    shorter than its JSON files say, after the frames that it has are written.
    """
    if fps not in RATES:
        raise ValueError(f"expected {RATES[0]} or {RATES[1]} frames per second, got {fps}")
    chosen = range(0, record.frame_count, 1 if fps == FPS else STRIDE)
    names = {record.name_of(frame) for frame in chosen}
    if record.frames is None:
        raise RecordError(f"there is no video of {record.video_id}; put {record.video_id}.mp4 beside its JSON files")
    target = folder / record.video_id
    stray = next((path for path in pictures_in(target) if path.stem not in names), None) if target.is_dir() else None
    if stray is not None:
        raise RecordError(f"{target} holds other pictures, like {stray.name}; remove them or give another folder")
    missing = save_frames(record, target, chosen)
    if missing:
        raise RecordError(f"{record.frames} is too short: {missing} of {len(chosen)} frames are missing in {target}")
    return len(chosen)


def facts(record: Record) -> list[MaskletFacts]:
    """Every masklet of any dataset in numbers."""
    return [_facts(masklet, record) for masklet in record.masklets]


def summary(found: Sequence[MaskletFacts], videos: int) -> dict[str, float]:
    """Counts and means over masklets, the disappearance rate among them, as SA-V's authors define it."""
    count = max(len(found), 1)
    sizes = Counter(one.size for one in found)
    return {
        "videos": videos,
        "masklets": len(found),
        "masklets_manual": sum(one.provenance == "manual" for one in found),
        "masklets_auto": sum(one.provenance == "auto" for one in found),
        "masks": sum(one.seen_frames for one in found),
        "masklets_per_video": len(found) / max(videos, 1),
        **{f"share_{size}": sizes[size] / count for size in BUCKETS},
        "mean_area_share": sum(one.area_share for one in found) / count,
        "disappearance_rate": sum(one.returns for one in found) / count,
        "mean_visibility_changes": sum(one.visibility_changes for one in found) / count,
    }


def write_statistics(found: Sequence[MaskletFacts], videos: int, folder: Path) -> None:
    """Writes masklets.csv and statistics.png. Raises ValueError with the remedy if matplotlib is missing."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "masklets.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(MaskletFacts)])
        writer.writeheader()
        writer.writerows(asdict(one) for one in found)
    _plot(found, videos, folder / "statistics.png")


def only(record: Record, kind: str | None) -> Record:
    """The record with the masklets of one provenance; None: with all."""
    from dataclasses import replace

    kept = tuple(masklet for masklet in record.masklets if kind in (None, masklet.provenance))
    if not kept:
        raise ValueError(f"{record.video_id} has no {kind or ''} masklets".replace("  ", " "))
    return replace(record, masklets=kept)


def _key_problems(document: dict[str, Any], kind: str) -> Iterator[str]:
    needed = [key for key in KEYS if key != STABILITY_KEY]
    for key in needed:
        if key not in document:
            yield f"{key} is missing"
        elif key in _TYPES and not _is_of_type(document[key], _TYPES[key]):
            yield f"{key} is of type {type(document[key]).__name__}"
    for key in document:
        if key not in KEYS:
            yield f"{key} is no published key"
    if kind == "auto" and not document.get(STABILITY_KEY) and document.get("masklet_num"):
        yield f"{STABILITY_KEY} is missing from an automatic file"
    count = len(document["masklet_id"]) if isinstance(document.get("masklet_id"), list) else 0
    if document.get("masklet_num", count) != count:
        yield f"masklet_num is {document['masklet_num']}, but there are {count} ids"
    types = document.get("masklet_type")
    if isinstance(types, list) and any(one != kind for one in types):
        yield f"masklet_type is not always {kind}"


def _video_problems(document: dict[str, Any], video: str) -> Iterator[str]:
    numbers: dict[str, Any] = {
        key: document.get(f"video_{key}") for key in ("height", "width", "frame_count", "resolution", "duration")
    }
    if document.get("video_id") != video:
        yield f"video_id is {document.get('video_id')!r}, but the file is called {video}"
    sizes = [numbers[key] for key in ("height", "width", "resolution")]
    if all(map(is_number, sizes)) and sizes[0] * sizes[1] != sizes[2]:
        yield f"video_resolution is {sizes[2]}, but {sizes[0]} x {sizes[1]} is {sizes[0] * sizes[1]}"
    count, duration, table = numbers["frame_count"], numbers["duration"], document.get("masklet")
    if is_number(count) and is_number(duration) and abs(duration - count / FPS) > 1:
        yield f"video_duration is {duration} s, but {count} frames at 24 per second last {float(count / FPS):.2f} s"
    if is_number(count) and isinstance(table, list) and len(table) != math.ceil(count / STRIDE):
        yield f"{len(table)} frames are annotated; every fourth of {count} would be {math.ceil(count / STRIDE)}"
    places = document.get("video_environment")
    if isinstance(places, (str, list)) and set(map(str, [places] if isinstance(places, str) else places)) - PLACES:
        yield f"video_environment is {places}; expected Indoor or Outdoor"


def _masklet_problems(masklet: Masklet, record: Record, kind: str) -> Iterator[str]:
    """Where published values and masks disagree."""
    stated = {key.removeprefix("masklet_"): value for key, value in masklet.extra.get("sav", {}).items()}
    computed = derived_values(masklet.masks, record.video_hw)
    del computed["edited_frame_count"]
    what = f"masklet {stated.get('id')}"
    for key, value in computed.items():
        if key in stated and not _agrees(stated[key], value):
            yield f"{what}: masklet_{key} is {stated[key]}, but its masks say {value}"
    edited = stated.get("edited_frame_count", 0)
    if kind == "auto" and edited:
        yield f"{what}: masklet_edited_frame_count is {edited}, but automatic masklets are not edited"


def _agrees(stated: Any, computed: Any) -> bool:
    if isinstance(stated, float) and is_number(computed):
        return math.isclose(stated, computed, rel_tol=AREA_SLACK)
    return stated == computed


def _is_of_type(value: Any, kind: type | tuple[type, ...]) -> bool:
    """Whether a value is of a kind; numbers are such that a float can hold."""
    return isinstance(value, kind) and (not isinstance(value, (bool, int, float)) or is_number(value))


def _mp4_problems(path: Path, record: Record) -> list[str]:
    if not path.is_file():
        return [f"{path.name} is missing"]
    try:
        video_hw, count, fps = video_rate(path)
    except ValueError as error:
        return [str(error)]
    found = {"size": (video_hw, record.video_hw), "number of frames": (count, record.frame_count), "rate": (fps, FPS)}
    return [f"{path.name}: its {what} is {is_}, expected {said}" for what, (is_, said) in found.items() if is_ != said]


def _facts(masklet: Masklet, record: Record) -> MaskletFacts:
    seen = visible_frames(masklet)
    masks = (masklet.mask(frame) for frame, is_seen in seen if is_seen)
    sizes = [int(areas(mask)) for mask in masks if mask is not None]
    mean = sum(sizes) / len(sizes) if sizes else 0.0
    changes = changes_of([is_seen for _, is_seen in seen])
    return MaskletFacts(
        record.video_id,
        masklet.id,
        masklet.provenance or "",
        round(mean, 2),
        mean / math.prod(record.video_hw),
        bucket_of(mean),
        len(seen),
        len(sizes),
        changes,
        changes > 1,
    )


def _plot(found: Sequence[MaskletFacts], videos: int, path: Path) -> None:
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ValueError("plots need matplotlib; install it with: pip install masklet[eval]") from error
    figure = Figure(figsize=(11, 7), layout="constrained")
    (per_video, size), (area, visible) = cast(Any, figure.subplots(2, 2))
    _histogram(per_video, list(Counter(one.video_id for one in found).values()), "masklets in a video", "videos")
    counts = Counter(one.size for one in found)
    size.bar(
        [f"{name}\n{text}" for name, text in zip(BUCKETS, _bucket_texts(), strict=True)], [counts[b] for b in BUCKETS]
    )
    size.set_ylabel("masklets")
    _histogram(
        area, [math.sqrt(one.area_share) for one in found], "square root of the share of the picture", "masklets"
    )
    shares = [one.seen_frames / one.annotated_frames for one in found if one.annotated_frames]
    _histogram(visible, shares, "share of frames on which it is seen", "masklets")
    values = summary(found, videos)
    figure.suptitle(
        f"{len(found)} masklets in {videos} videos; {100 * values['disappearance_rate']:.1f} % disappear and return"
    )
    figure.savefig(path, dpi=110)


def _histogram(axes: Axes, values: Sequence[float], name: str, unit: str) -> None:
    axes.hist(values or [0], bins=30)
    axes.set_xlabel(name)
    axes.set_ylabel(unit)


def _bucket_texts() -> tuple[str, str, str]:
    low, high = math.isqrt(SMALL), math.isqrt(MEDIUM)
    return f"below {low}²", f"{low}² to {high}²", f"from {high}²"
