"""Who is followed: numbers that stay, who became one with whom, who makes room. Policy only, no network."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from masklet import masks
from masklet.masks import Rle
from masklet.sessions.everything.settings import MaskletSettings


class Roster:
    """The objects of a video. Numbers count from 1 in the order of discovery and are never given twice."""

    def __init__(self, settings: MaskletSettings):
        self._settings = settings
        self._born: dict[int, int] = {}
        self._seen: dict[int, int] = {}
        self._alike: Counter[tuple[int, int]] = Counter()
        self._next = 1

    @property
    def objects(self) -> tuple[int, ...]:
        """Those that are followed."""
        return tuple(self._born)

    def admit(self, frame: int) -> int:
        """The number of a new object."""
        obj, self._next = self._next, self._next + 1
        self._born[obj] = self._seen[obj] = frame
        return obj

    def dismiss(self, obj: int) -> None:
        """No longer follow an object."""
        del self._born[obj], self._seen[obj]
        self._alike = Counter({pair: count for pair, count in self._alike.items() if obj not in pair})

    def note(self, frame: int, rles: Mapping[int, Rle]) -> dict[int, int]:
        """Takes the masks of a frame; objects that turned out to be others, and which ones, are dismissed."""
        visible = [obj for obj, area in zip(rles, masks.rle_areas(list(rles.values())), strict=True) if area]
        self._seen.update(dict.fromkeys(visible, frame))
        pairs = self._same(visible, [rles[obj] for obj in visible])
        self._alike = Counter({pair: self._alike[pair] + 1 for pair in pairs})
        merged: dict[int, int] = {}
        proven = [pair for pair, times in self._alike.items() if times >= self._settings.merge_after]
        for younger, older in sorted(proven):
            if younger not in merged:
                merged[younger] = merged.get(older, older)
        for younger in merged:
            self.dismiss(younger)
        return merged

    def make_room(self, wanted: int, frame: int) -> list[int]:
        """Dismisses objects that have long been out of sight, so that ``wanted`` new ones may come. Gives those."""
        by_last_sight = sorted((seen, obj) for obj, seen in self._seen.items())
        long_gone = [obj for seen, obj in by_last_sight if frame - seen >= self._settings.retire_after]
        leaving = long_gone[: max(wanted - self.room, 0)]
        for obj in leaving:
            self.dismiss(obj)
        return leaving

    @property
    def room(self) -> int:
        """How many objects may still come."""
        return self._settings.max_objects - len(self._born)

    def _same(self, objects: Sequence[int], rles: Sequence[Rle]) -> set[tuple[int, int]]:
        """(younger, older) for duplicates, and for pieces of objects that were there before them."""
        shares = masks.overlap_shares(rles, rles)
        same = overlaps(shares, masks.rle_areas(rles)) > self._settings.duplicate_iou
        born = np.array([self._born[obj] for obj in objects])
        same |= (shares > self._settings.fragment_share) & (born[:, None] > born[None, :])
        return {(objects[a], objects[b]) for a, b in np.argwhere(same) if objects[a] > objects[b]}


def overlaps(shares: np.ndarray, areas: np.ndarray) -> np.ndarray:
    """IoU (n, n) of n masks from the part of each that lies in each other one, and their areas in pixels."""
    shared = shares * areas[:, None]
    either = areas[:, None] + areas[None, :] - shared
    return np.divide(shared, either, out=np.zeros_like(shared), where=either > 0)
