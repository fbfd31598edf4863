"""Names of the ways to compute, kept apart from torch so that they can be listed without it."""

from __future__ import annotations

from typing import Literal, get_args

Precision = Literal["auto", "exact", "plain"]
"""What suits the device; float32; float32 by torch's own operators, the slowest, to compare with."""

PRECISIONS: tuple[Precision, ...] = get_args(Precision)
