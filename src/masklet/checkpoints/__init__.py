"""Weights in and out: every file format in, one out; names of published checkpoints, downloads, built-in weights.

Imported when first used, so that listing the checkpoints does not load torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from masklet.checkpoints.files import describe, save_network
    from masklet.checkpoints.loading import load_network
    from masklet.checkpoints.loading import load_network as load
    from masklet.checkpoints.names import from_published, to_published

__all__ = ["describe", "from_published", "load", "load_network", "save_network", "to_published"]

_HOMES = {
    "describe": ("files", "describe"),
    "from_published": ("names", "from_published"),
    "load": ("loading", "load_network"),
    "load_network": ("loading", "load_network"),
    "save_network": ("files", "save_network"),
    "to_published": ("names", "to_published"),
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it has {', '.join(__all__)}")
    module, attribute = _HOMES[name]
    return getattr(import_module(f"{__name__}.{module}"), attribute)
