"""What users can set about a session. The defaults are the published predictors', but for what is noted."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from masklet.model.sam2 import Stability

PUBLISHED_STABILITY = Stability()
Corrections = Literal["keep", "condition", "published"]


@dataclass(frozen=True)
class ImageSettings:
    """Settings of an ``ImageSession``."""

    mask_threshold: float = 0.0
    """Pixels with higher logits belong to the mask."""
    stability: Stability | None = PUBLISHED_STABILITY
    """When a single mask gives way to the best of three candidates. None: never."""
    max_hole_area: int = 0
    """Holes of at most so many low-res pixels are filled."""
    max_sprinkle_area: int = 0
    """Separate specks of at most so many low-res pixels are removed."""
    checks_prompts: bool = True
    """Refuse prompts outside the picture or without positive content. The published predictors take them."""


@dataclass(frozen=True)
class VideoSettings:
    """Settings of a ``VideoSession``."""

    stability: Stability | None = PUBLISHED_STABILITY
    """When a single mask gives way to the best of three candidates. None: never."""
    candidates_while_tracking: bool | None = None
    """Choose among three candidates on frames without clicks too. None: as ``NetworkConfig.tracks_with_candidates``
    says of the network, which is so for the published ones."""
    corrections: Corrections = "keep"
    """What becomes of clicks on a frame that was tracked already (they are answered with memory).

    "keep" (default): the corrected result stands when propagation passes the frame, and is remembered like the
    results around it. "condition": the frame moreover becomes a conditioning frame, which all others attend to, as in
    training. "published": as the published predictor does, the frame is tracked anew and the correction lost when a
    propagation passes.
    """
    checks_prompts: bool = True
    """Refuse prompts outside the picture, and first prompts without positive content. The published predictor takes
    them."""
    binarise_prompted: bool = True
    """Remember masks that a user prompted as certain."""
    non_overlap: bool = False
    """In results every pixel belongs to one object at most."""
    non_overlap_in_memory: bool = False
    """In memories every pixel belongs to one object at most."""
    max_conditioning: int | None = None
    """Attend to at most so many prompted frames, the nearest ones. None: to all."""
    memory_stride: int = 1
    """Distance between the tracked frames that are attended to."""
    keyframes: int = 1
    """The network follows into each so many-th frame; optical flow carries the masks to those between, which leave no
    memory: the most recent frames that did are attended to. More than 1 trades accuracy for speed."""
    still_below: float = 0.0
    """Frames that differ by less from the last one that the network followed into, in the mean over a grey picture of
    levels 0 to 255, keep its masks without the network. More than 0 trades accuracy for speed; noise of cameras is 1
    to 3."""
    clear_memory_around_prompts: bool = False
    """Forget the memories of tracked frames around a newly prompted one."""
    max_hole_area: int = 8
    """Holes of at most so many low-res pixels are filled in results."""
    objects_per_batch: int = 8
    """Objects that are tracked in one go. 1: a result does not depend on other objects to the last bit."""
    cached_frames: int = 4
    """Frames whose image features are held, so that clicks on the same frame are answered quickly."""
    ram_bytes: int = 32 << 20
    """Results and memories beyond this lie on disk."""
    step_disk_bytes: int = 8 << 30
    """Pictures given to ``step`` are kept on disk, so that they can be prompted later; beyond this the oldest go."""
    spill_folder: str | Path | None = None
    """Where all of that lies; None: in the system's temporary folder."""
    keep_frames: int | None = None
    """Forget what is so many frames behind the newest one, results and pictures given to ``step``, for cameras that
    never end. What the user prompted stays, and so do memories that are still attended to. None: keep all."""
    compact: bool = True
    """Hold memories as bfloat16, as published, and logits as float16. False: as float32."""
    offload: bool = True
    """Hold results and memories in the main memory. False: on the network's device."""

    def __post_init__(self) -> None:
        if self.corrections not in ("keep", "condition", "published"):
            raise ValueError(f'corrections must be "keep", "condition" or "published", got {self.corrections!r}')
        for name in ("memory_stride", "keyframes", "objects_per_batch", "cached_frames"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.still_below < 0:
            raise ValueError(f"still_below must be at least 0, got {self.still_below}")
        for name in ("max_conditioning", "keep_frames"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} must be at least 1, or None for no limit, got {value}")

    @property
    def skips_frames(self) -> bool:
        """Whether the network may leave out frames."""
        return self.keyframes > 1 or self.still_below > 0
