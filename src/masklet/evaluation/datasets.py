"""The benchmarks as values: where their files lie and which frames of an object count."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

Since = Literal["after shown", "shown", "seen"]


@dataclass(frozen=True)
class Rules:
    """Which annotated frames of an object count, and how far its contour may be off.

    Where truth and prediction are both empty, a frame that counts scores 1.
    """

    since: Since = "after shown"
    """The frame after the one where the object is first annotated; that frame; or the first remaining one where
    truth or prediction show the object."""
    leaves_out_first: bool = True
    """The first annotated frame does not count."""
    leaves_out_last: bool = True
    tolerance: float = 0.008
    """Of contours, as a share of the diagonal, rounded up to whole pixels."""


@dataclass(frozen=True)
class Dataset:
    """Folders relative to the root. Each is a pattern with `{split}`; of several lists or bases the first that exists
    is taken."""

    name: str
    pictures: str = "JPEGImages"
    annotations: str = "Annotations"
    bases: tuple[str, ...] = (".",)
    lists: tuple[str, ...] = ()
    """Text files that name the sequences of a split; without one, all are taken."""
    default_split: str | None = None
    overlaps: bool = False
    """Objects may share pixels: each has a folder of its own."""
    merges: bool = False
    """All objects together are one."""
    rules: Rules = field(default_factory=Rules)


SEEN = Rules(since="seen")

DATASETS: dict[str, Dataset] = {
    dataset.name: dataset
    for dataset in (
        Dataset(
            "davis2016",
            "JPEGImages/480p",
            "Annotations/480p",
            lists=("ImageSets/2016/{split}.txt", "ImageSets/480p/{split}.txt"),
            default_split="val",
            merges=True,
        ),
        Dataset(
            "davis2017",
            "JPEGImages/480p",
            "Annotations/480p",
            lists=("ImageSets/2017/{split}.txt",),
            default_split="val",
        ),
        Dataset("youtube-vos", bases=("{split}", "."), default_split="valid", rules=Rules(leaves_out_last=False)),
        Dataset("mose", bases=("{split}", "."), default_split="valid", rules=SEEN),
        Dataset(
            "lvos",
            bases=("{split}", "."),
            default_split="valid",
            rules=Rules(since="shown", leaves_out_first=False),
        ),
        Dataset(
            "sa-v",
            "JPEGImages_24fps",
            "Annotations_6fps",
            bases=("sav_{split}", "."),
            lists=("sav_{split}.txt",),
            default_split="val",
            overlaps=True,
            rules=SEEN,
        ),
        Dataset("folder", bases=("{split}", "."), lists=("{split}.txt",)),
    )
}
"""By the name that the command line knows. What each rule follows is said in docs/evaluation.md."""


def dataset_named(name: str) -> Dataset:
    """Raises ValueError when there is no such dataset."""
    if name not in DATASETS:
        raise ValueError(f"dataset must be one of {', '.join(DATASETS)}, got {name!r}")
    return DATASETS[name]
