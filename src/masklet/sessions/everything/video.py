"""Automatic masklets: all objects of a video, found and followed without a prompt.

    for frame in MaskletGenerator(network, "clip.mp4").follow():
        print(frame.frame, frame.objects)

The first frame is searched as in the data engine of SAM 2 (arXiv 2408.00714): a grid of points on the whole frame and
coarser ones on overlapping crops. What enters later is found by searching again, now and then, where no mask is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Any

import numpy as np

from masklet import masks
from masklet.closing import Closing
from masklet.masks import Rle
from masklet.model.sam2 import SegmentationNetwork
from masklet.prompts import Mask
from masklet.sessions.everything.enlarge import Enlarger
from masklet.sessions.everything.picture import FoundMask, MaskGenerator
from masklet.sessions.everything.roster import Roster
from masklet.sessions.everything.settings import MaskletSettings
from masklet.sessions.results import FrameResult
from masklet.sessions.settings import VideoSettings
from masklet.sessions.video import VideoSession
from masklet.video.read import FrameSource, open_frames

Watcher = Callable[[int, int], None]
"""Is told how many points of a search are done, and of how many."""


@dataclass(frozen=True)
class MaskletFrame:
    """All objects on one frame, by number; masks are run lengths until they are asked for."""

    frame: int
    video_hw: tuple[int, int]
    rles: Mapping[int, Rle]
    """Empty masks for objects that are out of sight."""
    predicted_iou: Mapping[int, float]
    presence: Mapping[int, float]
    """Probability that the object is visible."""
    stability: Mapping[int, float]
    """How little each mask changes with its threshold, 0 to 1, as for masks of pictures; 0 for empty masks."""
    found: tuple[int, ...] = ()
    """Objects that were found on this frame."""
    merged: Mapping[int, int] = field(default_factory=dict)
    """Objects that turned out to be others, and which ones: from this frame on they are not followed any more."""
    retired: tuple[int, ...] = ()
    """Objects that made room for those that were found here."""

    @property
    def objects(self) -> tuple[int, ...]:
        """Numbers of all that are followed."""
        return tuple(self.rles)

    def mask(self, obj: int) -> np.ndarray:
        """(h, w) bool."""
        return masks.decode_rle(self.rles[obj], max_pixels=self.video_hw[0] * self.video_hw[1])


@dataclass(frozen=True)
class _Seen:
    rle: Rle
    predicted_iou: float
    presence: float
    stability: float


class MaskletGenerator(Closing):
    """Finds and follows the objects of one video.

    ``frames`` is anything that ``video.read.open_frames`` takes. Memory does not grow with the video's length:
    results are kept as long as tracking needs them.
    """

    def __init__(
        self,
        network: SegmentationNetwork,
        frames: Any,
        settings: MaskletSettings | None = None,
        video: VideoSettings | None = None,
        **options: Any,
    ):
        """``options`` are single settings by name, as in ``MaskletGenerator(network, "clip.mp4", max_objects=16)``."""
        self.network = network
        self.settings = replace(settings or MaskletSettings(), **options)
        self._owns_source = not isinstance(frames, FrameSource)
        self._source = open_frames(frames)
        video = video or VideoSettings()
        self._session = VideoSession(network, self._source, replace(video, keep_frames=video.keep_frames or 1))
        self._roster = Roster(self.settings)
        video_hw = self._source.video_hw
        self._enlarger = Enlarger(network.config.low_res_hw(video_hw), video_hw)
        self._nothing = masks.encode_rle(np.zeros(video_hw, dtype=bool))
        self._searches = 0

    def follow(self, start: int = 0, end: int | None = None, *, watch: Watcher | None = None) -> Iterator[MaskletFrame]:
        """Results from frame ``start`` to ``end``, both included, one by one. A generator follows a video once.

        Raises IndexError when the video has no frame ``start``.
        """
        if self._searches:
            raise ValueError("this generator has followed its video already; make another one")
        yield self._begin(start, watch)
        for frame in count(start + 1):
            if (end is not None and frame > end) or not self._exists(frame):
                return
            yield self._advance(frame, start)

    def close(self) -> None:
        """Give back memory, the temporary file, and the frames if the generator opened them."""
        self._session.close()
        if self._owns_source:
            self._source.close()

    def _begin(self, frame: int, watch: Watcher | None) -> MaskletFrame:
        search = MaskGenerator(self.network, self.settings.first).search(self._source[frame])
        self._searches += 1
        for done in search:
            if watch is not None:
                watch(done, search.points)
        return self._with_new(frame, {}, {}, search.found())

    def _advance(self, frame: int, start: int) -> MaskletFrame:
        seen = self._tracked(frame)
        merged = self._roster.note(frame, {obj: one.rle for obj, one in seen.items()})
        for obj in merged:
            self._session.remove(obj)
            del seen[obj]
        every = self.settings.discover_every
        is_due = every and (frame - start) % every == 0
        return self._with_new(frame, seen, merged, self._discovered(frame, seen) if is_due else [])

    def _tracked(self, frame: int) -> dict[int, _Seen]:
        if not self._roster.objects:
            return {}
        (result,) = self._session.propagate(frame, max_frames=0)
        return self._read(result, self._roster.objects)

    def _with_new(
        self, frame: int, seen: dict[int, _Seen], merged: Mapping[int, int], candidates: Sequence[FoundMask]
    ) -> MaskletFrame:
        """The result of a frame after the best of the candidates have joined."""
        new = self._new_ones(candidates, [one.rle for one in seen.values()])
        retired = self._roster.make_room(len(new), frame)
        for obj in retired:
            self._session.remove(obj)
            del seen[obj]
        found = self._join(frame, new[: self._roster.room])
        seen = {**seen, **found}
        return MaskletFrame(
            frame,
            self._source.video_hw,
            {obj: one.rle for obj, one in seen.items()},
            {obj: one.predicted_iou for obj, one in seen.items()},
            {obj: one.presence for obj, one in seen.items()},
            {obj: one.stability for obj, one in seen.items()},
            tuple(found),
            merged,
            tuple(retired),
        )

    def _discovered(self, frame: int, seen: Mapping[int, _Seen]) -> list[FoundMask]:
        """Masks at points of the grid that no object covers."""
        grid = self._open_points(self.settings.discovery.grids[0], [one.rle for one in seen.values()])
        self._searches += 1
        if not len(grid):
            return []
        settings = replace(self.settings.discovery, points_per_side=None, point_grids=(grid,), crop_n_layers=0)
        return MaskGenerator(self.network, settings).generate(self._source[frame])

    def _open_points(self, grid: np.ndarray, known: Sequence[Rle]) -> np.ndarray:
        """At most ``max_points`` points outside of what is known; from search to search others of them."""
        if known:
            height, width = self._source.video_hw
            covered_hw = masks.decode_rle(masks.rle_union(known), max_pixels=height * width)
            x, y = (grid * (width, height)).astype(int).clip(0, (width - 1, height - 1)).T
            grid = grid[~covered_hw[y, x]]
        stride = max(-(-len(grid) // self.settings.max_points), 1)
        return grid[self._searches % stride :: stride]

    def _new_ones(self, candidates: Sequence[FoundMask], known: Sequence[Rle]) -> list[FoundMask]:
        """Candidates, best first, that do not repeat each other and lie outside of what is known for the most part."""
        known = [masks.rle_union(known)] if known else []
        new: list[FoundMask] = []
        for one in sorted(candidates, key=lambda one: -one.predicted_iou):
            covered = masks.overlap_shares([one.rle], known).max(initial=0)
            if covered <= self.settings.max_covered and not self._repeats(one, new):
                new.append(one)
        return new

    def _repeats(self, one: FoundMask, others: Sequence[FoundMask]) -> bool:
        areas = np.array([other.area for other in others])
        shared = masks.overlap_shares([one.rle], [other.rle for other in others])[0] * one.area
        return bool((shared > self.settings.duplicate_iou * (areas + one.area - shared)).any())

    def _join(self, frame: int, new: Sequence[FoundMask]) -> dict[int, _Seen]:
        """New objects as the tracker sees them. One that is too small for it is let go."""
        joined: dict[int, _Seen] = {}
        for one in new:
            obj = self._roster.admit(frame)
            result = self._session.prompt(frame, obj, Mask(one.mask))
            joined |= self._read(result, (obj,))
        for obj in [obj for obj, one in joined.items() if one.rle == self._nothing]:
            self._roster.dismiss(obj)
            self._session.remove(obj)
            del joined[obj]
        return joined

    def _read(self, result: FrameResult, objects: Sequence[int]) -> dict[int, _Seen]:
        """Cleaned masks at the video's size. Stability is judged before they are enlarged."""
        seen = {}
        offset = self.settings.first.stability_score_offset
        stability_o = masks.stability_score(result.low_res_ohw.float(), offset).tolist()
        for obj in objects:
            o = result.objects.index(obj)
            patch = self._enlarger.enlarge(result.low_res_ohw[o].float().cpu().numpy()).patch(0.0)
            if patch is not None:
                patch = patch.cleaned(self.settings.min_region_area, self._source.video_hw)
            rle = self._nothing if patch is None else patch.rle(self._source.video_hw)
            stability = 0.0 if patch is None else stability_o[o]
            seen[obj] = _Seen(rle, float(result.iou_o[o]), float(result.presence_o[o]), stability)
        return seen

    def _exists(self, frame: int) -> bool:
        total = self._source.frame_count
        if total is not None:
            return frame < total
        try:
            self._source[frame]
        except IndexError:
            return False
        return True
