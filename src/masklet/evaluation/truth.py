"""The true masks of one video, and which of them count."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from masklet.data.formats.files import read_ids
from masklet.evaluation.datasets import Rules
from masklet.evaluation.folders import ONE, AnnotatedVideo, is_one_mask, numbers_in

ObjectMasks = dict[int, np.ndarray]
"""Object number -> bool mask (h, w)."""


@dataclass(frozen=True)
class FirstView:
    """Where an object was seen first."""

    frame: int
    truth: np.ndarray


class Truth:
    """Annotations of the objects that are seen at all. Frames are numbered as in `names`."""

    def __init__(self, video: AnnotatedVideo, names: list[str]) -> None:
        files = video.annotation_files({name: number for number, name in enumerate(names)})
        self._of_all = files.pop(None, {})
        self._of_one: dict[int, dict[int, Path]] = {obj: of_obj for obj, of_obj in files.items() if obj is not None}
        self._is_one = video.merges or is_one_mask(self._of_all.values())
        self._video = video
        self._names = names
        self.first_views: dict[int, FirstView] = {}
        self._tells_new_objects_only = True
        for frame in self.frames:
            self._look(frame)

    @property
    def frames(self) -> list[int]:
        """All annotated frames, in order."""
        return sorted(set(self._of_all).union(*self._of_one.values()))

    @property
    def can_score(self) -> bool:
        """Whether more is annotated than where objects are shown, as published for splits with a hidden truth."""
        return not self._tells_new_objects_only

    def frames_of(self, obj: int) -> list[int]:
        """The frames on which an object is annotated, if only as absent."""
        return list(self._of_one.get(obj, self._of_all))

    def masks(self, frame: int) -> ObjectMasks:
        """The known objects on an annotated frame."""
        return {obj: mask for obj, mask in self._read(frame).items() if obj in self.first_views}

    def mask(self, frame: int, obj: int) -> np.ndarray:
        """One object on a frame on which it is annotated."""
        if obj in self._of_one:
            return read_ids(self._of_one[obj][frame]) > 0
        ids_hw = read_ids(self._of_all[frame])
        return ids_hw > 0 if self._is_one else ids_hw == obj

    def counted(self, rules: Rules) -> dict[int, list[int]]:
        """Frames that count, by object; none where only the objects' first views are annotated."""
        return {obj: self._counted(obj, rules) if self.can_score else [] for obj in self.first_views}

    def _counted(self, obj: int, rules: Rules) -> list[int]:
        frames = self.frames_of(obj)
        if rules.span_step and obj in self._video.spans:
            first, last = self._video.spans[obj]
            span = range(first, last, rules.span_step)[1:]
            return [frame for frame in frames if self._names[frame].isdecimal() and int(self._names[frame]) in span]
        inner = frames[int(rules.leaves_out_first) : len(frames) - int(rules.leaves_out_last)]
        shown = self.first_views[obj].frame
        earliest = {"after shown": shown + 1, "shown": shown}.get(rules.since, 0)
        return [frame for frame in inner if frame >= earliest]

    def _look(self, frame: int) -> None:
        """Notes the objects that are first seen on a frame."""
        seen = {obj: mask for obj, mask in self._read(frame).items() if mask.any()}
        if not seen or seen.keys() & self.first_views.keys():
            self._tells_new_objects_only = False
        for obj, mask in seen.items():
            self.first_views.setdefault(obj, FirstView(frame, mask))

    def _read(self, frame: int) -> ObjectMasks:
        found = {obj: read_ids(files[frame]) > 0 for obj, files in self._of_one.items() if frame in files}
        if frame not in self._of_all:
            return found
        ids_hw = read_ids(self._of_all[frame])
        if self._is_one:
            return {ONE: ids_hw > 0}
        return {obj: ids_hw == obj for obj in sorted(numbers_in(ids_hw).union(self.first_views))}


def check_sizes(masks: ObjectMasks, video_hw: tuple[int, int], where: str) -> None:
    """Raises ValueError when a true mask is not of the pictures' size."""
    for mask in masks.values():
        if mask.shape != video_hw:
            raise ValueError(f"the annotation of {where} is {mask.shape}, its pictures are {video_hw}; get both again")
