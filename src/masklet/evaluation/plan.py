"""What an evaluation computes, as plain values: importing this loads nothing heavy.

plan = Plan("davis2017", "DAVIS", "val", VosProtocol(prompt="3-click"))
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from masklet.model.config import NO_TRADES, Trades
from masklet.model.precision import Precision

PromptKind = Literal["mask", "box", "1-click", "3-click", "5-click"]
RunnerName = Literal["masklet", "sam2", "nearest", "flow"]
Mode = Literal["offline", "online"]
Corrections = Literal["keep", "condition", "published"]

PROMPTS: tuple[PromptKind, ...] = get_args(PromptKind)
RUNNERS: tuple[RunnerName, ...] = get_args(RunnerName)
MODES: tuple[Mode, ...] = get_args(Mode)
CORRECTIONS: tuple[Corrections, ...] = get_args(Corrections)
BASELINES: tuple[RunnerName, ...] = ("nearest", "flow")
TARGETS = (0.6, 0.7, 0.75, 0.8, 0.85, 0.9)
"""Values of J&F for which reports count the interactions. No part of a plan: what was measured tells them all."""


@dataclass(frozen=True)
class VosProtocol:
    """Semi-supervised: every object is shown once, where it is first seen."""

    prompt: PromptKind = "mask"
    overlap: bool | None = None
    """Whether objects may share pixels; None: as in the dataset."""

    def __post_init__(self) -> None:
        if self.prompt not in PROMPTS:
            raise ValueError(f"prompt must be one of {', '.join(PROMPTS)}, got {self.prompt!r}")


@dataclass(frozen=True)
class InteractiveProtocol:
    """Interactive, of the SAM 2 paper: objects one by one, some clicks on each of several frames.

    Offline, each round ends with a pass over the whole video and the frame of the lowest IoU is prompted next. Online,
    there is one pass that pauses where the IoU falls below `pause_below`, and prompts act on later frames only.
    """

    modes: tuple[Mode, ...] = MODES
    rounds: int = 8
    """Frames that are prompted at most."""
    clicks: int = 3
    """Clicks per frame at most."""
    pause_below: float = 0.75
    baselines: tuple[RunnerName, ...] = BASELINES

    def __post_init__(self) -> None:
        if self.rounds < 1 or self.clicks < 1 or not self.modes:
            raise ValueError(
                f"expected a mode, and at least one round and click, got {self.modes}, {self.rounds} and {self.clicks}"
            )


@dataclass(frozen=True)
class ImageProtocol:
    """Every annotated picture by itself: the IoU after some numbers of clicks."""

    clicks: tuple[int, ...] = (1, 3, 5)
    every: int = 1
    """Take each so many-th annotated picture of a sequence."""

    def __post_init__(self) -> None:
        if not self.clicks or min(self.clicks) < 1 or self.every < 1:
            raise ValueError(f"expected numbers of clicks and a step from 1 on, got {self.clicks} and {self.every}")


Protocol = VosProtocol | InteractiveProtocol | ImageProtocol

KINDS: dict[type, str] = {VosProtocol: "vos", InteractiveProtocol: "interactive", ImageProtocol: "image"}


@dataclass(frozen=True)
class Plan:
    """Everything that the numbers depend on."""

    dataset: str
    root: str
    split: str | None
    protocol: Protocol
    runner: RunnerName = "masklet"
    weights: str = "pico"
    corrections: Corrections = "condition"
    """What becomes of clicks on tracked frames, see ``VideoSettings.corrections``."""
    precision: Precision = "auto"
    """How our network computes, see ``SegmentationNetwork.set_precision``."""
    trades: Trades = NO_TRADES
    """What accuracy our network gives for speed."""
    keyframes: int = 1
    """See ``VideoSettings.keyframes``."""
    still_below: float = 0.0
    """See ``VideoSettings.still_below``."""
    device: str | None = None
    """None: the graphics card if there is one."""

    @property
    def kind(self) -> str:
        """vos, interactive or image."""
        return KINDS[type(self.protocol)]
