"""Everything that is on a frame, proposed for the user to pick from."""

from __future__ import annotations

from collections.abc import Generator

import numpy as np

from masklet.model.sam2 import SegmentationNetwork
from masklet.server.document import Document, MaskValue
from masklet.sessions.everything import FoundMask, MaskSettings, Search

SETTINGS = MaskSettings(
    points_per_side=16,
    points_per_batch=32,
    pred_iou_thresh=0.7,
    stability_score_thresh=0.85,
    min_mask_region_area=100,
)
"""More generous than the published ones, since a person chooses."""

MOST = 100
"""Proposals of a frame; those of the highest predicted IoU stay."""


class Proposals:
    """The proposals of one frame at a time, as ("proposal", number) in the document, which undo does not touch."""

    def __init__(self, network: SegmentationNetwork, document: Document) -> None:
        self._network = network
        self._document = document
        self._search: Generator[None] | None = None
        self.progress: dict[str, int] | None = None
        """Frame, points that are done and their total; None: nothing is proposed."""

    @property
    def is_looking(self) -> bool:
        """Whether a search goes on."""
        return self._search is not None

    def find(self, frame: int, picture: np.ndarray) -> Generator[None]:
        """Looks at a batch of points a step. The proposals come with the last one."""
        self.dismiss()
        search = Search(self._network, SETTINGS, picture)
        self.progress = {"frame": frame, "done": 0, "total": search.points}
        self._search = self._steps(search, frame)
        return self._search

    def dismiss(self) -> None:
        """Ends a search and forgets what it found."""
        if self._search is not None:
            self._search.close()
        self._search = self.progress = None
        for key in self._document.keys("proposal"):
            self._document.publish(key, None)

    def take(self, number: int) -> MaskValue:
        """A proposal, which is none from now on. Raises ValueError when there is none of that number."""
        mask = self.look_at(number)
        self._document.publish(("proposal", number), None)
        if not self._document.keys("proposal"):
            self.progress = None
        return mask

    def look_at(self, number: int) -> MaskValue:
        """A proposal. Raises ValueError when there is none of that number."""
        mask = self._document.get("proposal", number)
        if mask is None:
            raise ValueError(f"there is no proposal {number}; look for objects again")
        return mask

    def _steps(self, search: Search, frame: int) -> Generator[None]:
        for done in search:
            self.progress = {"frame": frame, "done": done, "total": search.points}
            yield
        best = sorted(search.found(), key=lambda found: -found.predicted_iou)[:MOST]
        for number, found in enumerate(best):
            self._document.publish(("proposal", number), _value(found))
        self._search = None


def _value(found: FoundMask) -> MaskValue:
    return MaskValue(found.rle["counts"].encode("ascii"), round(found.predicted_iou, 3), found.area, tracked=False)
