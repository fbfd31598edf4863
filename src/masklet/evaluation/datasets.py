"""The benchmarks as values: where their files lie and which frames of an object count."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, get_args

Since = Literal["after shown", "shown", "seen", "start"]
Group = Literal["seen", "unseen"]
GROUPS: tuple[Group, ...] = get_args(Group)
"""Whether an object is of a class that occurs in training sets."""


@dataclass(frozen=True)
class Rules:
    """Which annotated frames of an object count, and how far its contour may be off.

    Where truth and prediction are both empty, a frame that counts scores 1.
    """

    since: Since = "after shown"
    """The frame after the one where the object is first annotated; that frame; the first remaining one where truth or
    prediction show the object; or the first remaining one."""
    leaves_out_first: bool = True
    """The first annotated frame does not count."""
    leaves_out_last: bool = True
    span_step: int = 0
    """Where the dataset lists the first and the last picture of an object, those between count, each so many-th by the
    numbers in their names. 0: such lists are not used."""
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
    seen_classes: frozenset[str] = frozenset()
    """Classes of its training set; its list of objects says what each object is."""
    unseen_list: str = ""
    """A text file with the sequences whose objects are of unseen classes."""
    rules: Rules = field(default_factory=Rules)


YOUTUBE_VOS_CLASSES = """
airplane ape bear bike bird boat bucket bus camel cat cow crocodile deer dog dolphin duck eagle earless_seal elephant
fish fox frisbee frog giant_panda giraffe hand hat hedgehog horse knife leopard lion lizard monkey motorbike mouse
others owl paddle parachute parrot penguin person plant rabbit raccoon sedan shark sheep sign skateboard snail snake
snowboard squirrel surfboard tennis_racket tiger toilet train truck turtle umbrella whale zebra
"""
"""The 65 classes of the training set, in 2018 as in 2019."""

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
        Dataset(
            "youtube-vos",
            bases=("{split}", "."),
            default_split="valid",
            seen_classes=frozenset(YOUTUBE_VOS_CLASSES.split()),
            rules=Rules(leaves_out_last=False),
        ),
        Dataset("mose", bases=("{split}", "."), default_split="valid", rules=Rules(since="start")),
        Dataset(
            "lvos",
            bases=("{split}", "."),
            default_split="valid",
            unseen_list="unseen_videos.txt",
            rules=Rules(span_step=5),
        ),
        Dataset(
            "sa-v",
            "JPEGImages_24fps",
            "Annotations_6fps",
            bases=("sav_{split}", "."),
            lists=("sav_{split}.txt",),
            default_split="val",
            overlaps=True,
            rules=Rules(since="seen"),
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
