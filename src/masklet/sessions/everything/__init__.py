"""All objects without a prompt: automatic masks of a picture, automatic masklets of a video.

Imported when first used, so that the settings can be read without loading torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from masklet.sessions.everything.picture import FoundMask, MaskGenerator, Search
    from masklet.sessions.everything.settings import MaskletSettings, MaskSettings
    from masklet.sessions.everything.video import MaskletFrame, MaskletGenerator

__all__ = [
    "FoundMask",
    "MaskGenerator",
    "MaskSettings",
    "MaskletFrame",
    "MaskletGenerator",
    "MaskletSettings",
    "Search",
]

_HOMES = {
    "FoundMask": "picture",
    "MaskGenerator": "picture",
    "MaskSettings": "settings",
    "MaskletFrame": "video",
    "MaskletGenerator": "video",
    "MaskletSettings": "settings",
    "Search": "picture",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it has {', '.join(__all__)}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
