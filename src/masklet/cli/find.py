"""The run behind ``everything``: a search of a picture or a video, results into files."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Any

from tqdm import tqdm

from masklet.cli.follow import stop_on_interrupt
from masklet.cli.outputs import Output, opened
from masklet.cli.records import Records
from masklet.masks import rle_areas
from masklet.model.sam2 import SegmentationNetwork
from masklet.sessions.everything import (
    FoundMask,
    MaskGenerator,
    MaskletFrame,
    MaskletGenerator,
    MaskletSettings,
    MaskSettings,
)
from masklet.sessions.everything.settings import data_engine_grids
from masklet.video.source import FrameSource
from masklet.video.write import ResultWriter

_PLACES = ("points_per_side", "point_grids", "crop_n_layers", "crop_n_points_downscale_factor")
"""Settings that say where the first frame is searched; later frames are searched where no mask is."""


@dataclass
class Found:
    """What came of a run, for people."""

    report: list[str]
    was_stopped: bool = False
    """Ctrl-C came before the end."""


def mask_settings(given: Mapping[str, Any]) -> MaskSettings:
    """Settings by name in place of those for pictures; own points put out a number of points."""
    return MaskSettings(**{**given, "points_per_side": None} if "point_grids" in given else given)


def first_settings(given: Mapping[str, Any], usual: MaskSettings) -> MaskSettings:
    """Settings by name in place of those for first frames of videos.

    A number of points scales the grids of the data engine. With a divisor, the two say the points of all layers.
    """
    if "point_grids" in given:
        return replace(usual, **given)
    if "crop_n_points_downscale_factor" in given:
        return replace(usual, **{"points_per_side": MaskSettings.points_per_side, **given, "point_grids": None})
    rest = {name: value for name, value in given.items() if name != "points_per_side"}
    grids = data_engine_grids(given["points_per_side"]) if "points_per_side" in given else usual.point_grids
    if given.get("crop_n_layers", 0) >= len(grids or ()):
        raise ValueError(
            f"videos have grids of points for {len(grids or ()) - 1} layers of crops, got --crop-layers "
            f"{given['crop_n_layers']}; say with --points-downscale how the points of further layers follow"
        )
    return replace(usual, **rest, point_grids=grids)


def masklet_settings(search: Mapping[str, Any], following: Mapping[str, Any]) -> MaskletSettings:
    """Settings by name in place of the usual ones. What is said about masks holds for all frames."""
    usual = MaskletSettings(**following)
    later = {name: value for name, value in search.items() if name not in _PLACES}
    area = search.get("min_mask_region_area", usual.min_region_area)
    first, discovery = first_settings(search, usual.first), replace(usual.discovery, **later)
    return replace(usual, first=first, discovery=discovery, min_region_area=area)


def find_in_picture(
    source: FrameSource,
    outputs: Sequence[Output],
    load: Callable[[], SegmentationNetwork],
    settings: MaskSettings,
    records: Records | None = None,
) -> Found:
    """Masks numbered from the largest to the smallest. Ctrl-C ends the search; what was found is written."""
    search = MaskGenerator(load(), settings).search(source[0])
    done, was_stopped = 0, False
    with opened(outputs, source, "auto") as writers:
        with stop_on_interrupt() as asked, tqdm(total=search.points, unit=" points", disable=None) as bar:
            for done in search:
                bar.update(done - bar.n)
                if asked.is_set():
                    was_stopped = done < search.points
                    break
        found = sorted(search.found(), key=lambda one: -one.area)
        _write_picture(writers, source[0], found)
        if records is not None:
            records.write(found)
        _conclude(writers, was_stopped)
    stopped = [f"Stopped after {done} of {search.points} points: what was found there is written."]
    return Found([f"{len(found)} masks", *(stopped if was_stopped else [])], was_stopped)


def find_in_video(
    source: FrameSource,
    outputs: Sequence[Output],
    load: Callable[[], SegmentationNetwork],
    settings: MaskletSettings,
    start: int,
    end: int | None,
) -> Found:
    """Masklets of frames ``start`` to ``end``. Ctrl-C ends it after the frame at hand, once there is a first one."""
    last = len(source) - 1 if end is None else end
    if not start <= last < len(source):
        raise ValueError(f"frames {start} to {last} were asked for, but the video has frames 0 to {len(source) - 1}")
    tally = _Tally(start, last)
    with MaskletGenerator(load(), source, settings) as generator, opened(outputs, source, "auto") as writers:
        frames = _begun(generator, start, end)
        total = last - start + 1
        with stop_on_interrupt() as asked, tqdm(total=total, unit=" frames", disable=None) as bar:
            for frame in frames:
                _write_frame(writers, source, frame)
                tally.add(frame)
                bar.update()
                if asked.is_set():
                    break
        _conclude(writers, tally.was_stopped)
    return tally.result


def _begun(generator: MaskletGenerator, start: int, end: int | None) -> Iterator[MaskletFrame]:
    """Results, of which the first one is there already; its search has a progress bar of its own."""
    with tqdm(unit=" points", desc="first frame", leave=False, disable=None) as bar:

        def watch(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        frames = generator.follow(start, end, watch=watch)
        first = next(frames)
    return chain([first], frames)


@dataclass
class _Tally:
    """What a run through a video has done."""

    start: int
    last: int
    begin: float = field(default_factory=time.perf_counter)
    frames: int = 0
    objects: set[int] = field(default_factory=set)
    later: int = 0
    merged: list[str] = field(default_factory=list)

    def add(self, frame: MaskletFrame) -> None:
        """Count a frame that is written."""
        self.frames += 1
        self.objects.update(frame.objects)
        self.later += len(frame.found) if frame.frame > self.start else 0
        self.merged += [f"object {one} is object {it} from frame {frame.frame} on" for one, it in frame.merged.items()]

    @property
    def done(self) -> int:
        """The last frame that is finished."""
        return self.start + self.frames - 1

    @property
    def was_stopped(self) -> bool:
        """Whether frames are missing."""
        return self.done < self.last

    @property
    def result(self) -> Found:
        """The report."""
        rate = self.frames / (time.perf_counter() - self.begin)
        summary = f"{len(self.objects)} objects, {self.later} found later; {self.frames} frames, {rate:.2f} a second"
        stopped = [f"Stopped: frames {self.start} to {self.done} are finished and written."] if self.was_stopped else []
        return Found([*self.merged, summary, *stopped], self.was_stopped)


def _conclude(writers: Iterable[ResultWriter], was_stopped: bool) -> None:
    for writer in writers:
        writer.is_whole = not was_stopped


def _write_picture(writers: Iterable[ResultWriter], picture: Any, found: Sequence[FoundMask]) -> None:
    numbered = dict(enumerate(found, 1))
    masks = {obj: one.mask for obj, one in numbered.items()}
    for writer in writers:
        writer.add(
            0,
            picture,
            masks,
            predicted_iou={obj: one.predicted_iou for obj, one in numbered.items()},
            stability={obj: one.stability for obj, one in numbered.items()},
        )


def _write_frame(writers: Iterable[ResultWriter], source: FrameSource, frame: MaskletFrame) -> None:
    """Large masks come first, so that small ones lie on top where masks are drawn."""
    areas = dict(zip(frame.objects, rle_areas(list(frame.rles.values())), strict=True))
    masks = {obj: frame.mask(obj) for obj in sorted(areas, key=lambda obj: -areas[obj])}
    picture = source[frame.frame]
    for writer in writers:
        writer.add(
            frame.frame,
            picture,
            masks,
            predicted_iou=frame.predicted_iou,
            presence=frame.presence,
            prompted=set(frame.found),
            stability=frame.stability,
            merged=frame.merged,
        )
