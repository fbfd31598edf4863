"""masklet: promptable segmentation of images and videos.

    import masklet

    network = masklet.load("sam2.1-hiera-tiny")
    session = masklet.VideoSession(network, "clip.mp4")
    session.prompt(0, 1, masklet.Points((480, 270)))
    for frame in session.propagate():
        print(frame.frame, frame[1].mask.sum())

The names below are imported when first used, so that `import masklet` stays quick and does not load torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

__version__ = "0.1.0"

if TYPE_CHECKING:
    from masklet.checkpoints import load
    from masklet.prompts import Box, Mask, Points
    from masklet.sessions.image import ImageSession
    from masklet.sessions.video import VideoSession

__all__ = ["Box", "ImageSession", "Mask", "Points", "VideoSession", "__version__", "load"]

_HOMES = {
    "Box": "masklet.prompts",
    "ImageSession": "masklet.sessions.image",
    "Mask": "masklet.prompts",
    "Points": "masklet.prompts",
    "VideoSession": "masklet.sessions.video",
    "load": "masklet.checkpoints",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'masklet' has no attribute {name!r}; its public names are {', '.join(__all__)}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
