"""What is costly to make and asked for again and again, kept in a bounded number of bytes."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

import numpy as np


class Sized(Protocol):
    """Something that knows how many bytes it takes."""

    @property
    def nbytes(self) -> int: ...


K = TypeVar("K", bound=Hashable)
V = TypeVar("V", bound=Sized)


@dataclass(frozen=True, eq=False)
class PackedMask:
    """A mask with one bit for each pixel."""

    bits: np.ndarray
    hw: tuple[int, int]

    @classmethod
    def of(cls, mask: np.ndarray) -> PackedMask:
        """Packs a bool mask (h, w)."""
        return cls(np.packbits(mask), (mask.shape[0], mask.shape[1]))

    @property
    def nbytes(self) -> int:
        """Of the bits."""
        return self.bits.nbytes

    @property
    def mask(self) -> np.ndarray:
        """(h, w) bool."""
        return np.unpackbits(self.bits, count=self.hw[0] * self.hw[1]).reshape(self.hw).astype(bool)


class Kept(Generic[K, V]):
    """A function whose first results are kept, as many as fit; others are made again whenever they are asked for.

    Videos are looked through from the front each time. To keep the latest results instead would keep those that are
    asked for last.
    """

    def __init__(self, make: Callable[[K], V], most_bytes: int) -> None:
        self._make = make
        self._free = most_bytes
        self._kept: dict[K, V] = {}

    def __call__(self, key: K) -> V:
        if key in self._kept:
            return self._kept[key]
        made = self._make(key)
        if made.nbytes <= self._free:
            self._free -= made.nbytes
            self._kept[key] = made
        return made
