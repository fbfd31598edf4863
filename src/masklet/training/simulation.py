"""What the simulated user does with a batch of clips: policy only, no network.

Shares and counts are those of SAM 2 (arXiv 2408.00714, appendix D.2.2, and its published training code).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from masklet.clicks import next_click, noisy_box, sample_click
from masklet.masks import bounding_box
from masklet.model.prompt_encoder import BOX_MAX, BOX_MIN

Kind = Literal["mask", "box", "click"]


@dataclass(frozen=True)
class Simulation:
    """How often the user does what."""

    mask_share: float = 0.5
    """Batches whose objects are shown with their true masks."""
    box_share: float = 0.5
    """Boxes instead of clicks, among the frames that are shown without masks."""
    prompted_frames: int = 2
    """At most so many frames are shown before tracking; the first one always."""
    corrected_frames: int = 2
    """At most so many frames get correction clicks; the prompted ones first. None when masks are shown."""
    clicks: int = 7
    """Correction clicks on each of these frames."""
    true_click_share: float = 0.1
    """Correction clicks that are drawn from the object instead of the wrong region."""
    centred_share: float = 0.0
    """Clicks on the deepest wrong pixel, as in evaluation, instead of any."""
    taught_share: float = 0.0
    """Tracked frames that are remembered with their true masks instead of the network's."""
    as_in_use: bool = True
    """Clicks come with the answer before them, and frames attend to object pointers, as in a session: answers within
    limits and without gradients, pointers of the past, their ages measured as in a long video. False is as published:
    answers as they are, with gradients; pointers of later conditioning frames too, ages measured by the clip's length.
    """


@dataclass(frozen=True)
class Plan:
    """What will happen on the frames of one batch."""

    frames: int
    prompted: dict[int, Kind]
    """Frames shown before tracking, and how."""
    corrected: frozenset[int] = frozenset()
    clicks: int = 0
    """Clicks on each corrected frame."""
    true_click_share: float = 0.0
    """Share of these that are drawn from the object, whatever the answer was."""
    centred_share: float = 0.0
    """Share of all clicks that are on the deepest wrong pixel."""
    taught: frozenset[int] = frozenset()
    """Tracked frames that are remembered with their true masks."""
    as_in_use: bool = True
    """Whether the network meets its earlier answers and pointers as in a session."""

    def order(self) -> list[int]:
        """Prompted frames come first, as with a user who prompts before tracking; then all others in time."""
        return [*self.prompted, *(frame for frame in range(self.frames) if frame not in self.prompted)]


def draw_plan(simulation: Simulation, frames: int, rng: np.random.Generator) -> Plan:
    """A plan for clips of ``frames`` frames. Single pictures are always shown by box or click, and corrected."""
    masks = frames > 1 and rng.random() < simulation.mask_share
    shown = int(rng.integers(1, min(simulation.prompted_frames, frames) + 1))
    prompted = [0, *sorted((1 + rng.permutation(frames - 1)[: shown - 1]).tolist())]
    tracked = [frame for frame in range(frames) if frame not in prompted]
    return Plan(
        frames,
        prompted={frame: "mask" if masks else _box_or_click(simulation, rng) for frame in prompted},
        corrected=frozenset() if masks else _corrected(simulation, prompted, tracked, rng),
        clicks=simulation.clicks,
        true_click_share=simulation.true_click_share,
        centred_share=simulation.centred_share,
        taught=frozenset(frame for frame in tracked if rng.random() < simulation.taught_share),
        as_in_use=simulation.as_in_use,
    )


def _corrected(
    simulation: Simulation, prompted: list[int], tracked: list[int], rng: np.random.Generator
) -> frozenset[int]:
    """All prompted frames, and perhaps some others."""
    if not simulation.corrected_frames:
        return frozenset()
    most = min(simulation.corrected_frames, len(prompted) + len(tracked))
    many = int(rng.integers(len(prompted), max(len(prompted), most) + 1))
    return frozenset([*prompted, *rng.permutation(tracked)[: many - len(prompted)].tolist()])


def _box_or_click(simulation: Simulation, rng: np.random.Generator) -> Kind:
    return "box" if rng.random() < simulation.box_share else "click"


Shown = tuple[np.ndarray, np.ndarray]
"""Points in pixels (p, 2) and labels (p,)."""


def first_prompt(kind: Kind, truth_hw: np.ndarray, rng: np.random.Generator, centred_share: float = 0.0) -> Shown:
    """The first thing shown of one object: a noisy box, or a click inside it.

    What is not on the frame gets a click outside of it, or a box without extent where others get boxes.
    """
    if kind == "click":
        return correction(truth_hw, np.zeros_like(truth_hw), rng, centred_share)
    labels = np.array([BOX_MIN, BOX_MAX])
    if bounding_box(truth_hw) is None:
        return np.zeros((2, 2)), labels
    return noisy_box(truth_hw, rng).corners_xy, labels


def correction(
    truth_hw: np.ndarray, seen_hw: np.ndarray, rng: np.random.Generator, centred_share: float = 0.0
) -> Shown:
    """One click on one object where the answer is wrong: anywhere, or by the given chance in the middle of it."""
    is_centred = centred_share > 0 and rng.random() < centred_share
    centre = next_click(truth_hw, seen_hw) if is_centred else None
    points = centre or sample_click(truth_hw, seen_hw, rng)
    return points.xy, points.labels
