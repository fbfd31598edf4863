"""What can be wrong with weights."""

from __future__ import annotations


class CheckpointError(ValueError):
    """A file of weights is damaged, unsafe, or does not fit the network."""


class DownloadError(OSError):
    """Weights could not be had from the hub."""
