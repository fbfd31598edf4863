"""Memories in detail where the object and its outline are, and coarse elsewhere.

A map of cells is followed by the means of its squares of 2 x 2 cells, as in the first step of a pyramid. Of every
square either the four cells are remembered or the mean, which counts as much as all four of them (arXiv 2411.18933).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

SIDE = 2
"""Of a square, in cells."""
STRIDE = 16
"""Of a cell, in pixels."""
INSIDE = 0.3
"""What the middle of an object counts, where its outline counts 1."""


def squares_of(x_nd: Tensor, h: int, w: int) -> Tensor:
    """(..., h * w, d) -> the mean of each square (..., h * w / 4, d), row by row like the cells."""
    split = x_nd.unflatten(-2, (h // SIDE, SIDE, w // SIDE, SIDE))
    columns = (split.select(-4, row).select(-2, column) for row in range(SIDE) for column in range(SIDE))
    # A reduction over axes that lie apart is ten times slower on processors.
    return functools.reduce(torch.add, columns).mul(1 / SIDE**2).flatten(-3, -2)


def with_squares(x_nd: Tensor, h: int, w: int) -> Tensor:
    """(..., h * w, d) -> the cells, then their squares (..., h * w * 5 / 4, d)."""
    return torch.cat([x_nd, squares_of(x_nd, h, w)], dim=-2)


def detailed_squares(h: int, w: int, share: float) -> int:
    """How many squares of h x w cells a share of them is: at least one, unless the share is none."""
    return math.ceil(share * (h // SIDE) * (w // SIDE))


def places_of(belief_o1hw: Tensor, share: float) -> Tensor:
    """Where the memories of a frame are taken from, as indices into ``with_squares``: (o, m).

    ``belief_o1hw`` is the probability that a pixel of the canvas is inside. A share of the squares is kept in detail:
    those with most of an outline in or beside them, then those inside. Their cells come first, then the other squares.
    """
    inside_o1rc = F.avg_pool2d(belief_o1hw, SIDE * STRIDE)
    around_o1rc = F.avg_pool2d(inside_o1rc, 3, stride=1, padding=1)
    rows, columns = inside_o1rc.shape[-2:]
    interest_os = (4 * around_o1rc * (1 - around_o1rc) + INSIDE * inside_o1rc).flatten(1)
    order_os = interest_os.argsort(dim=1, descending=True, stable=True)
    detailed = detailed_squares(SIDE * rows, SIDE * columns, share)
    cells_s4 = _cells(rows, columns, belief_o1hw.device)
    cells_om = cells_s4[order_os[:, :detailed]].flatten(1)
    return torch.cat([cells_om, order_os[:, detailed:] + cells_s4.numel()], dim=1)


@dataclass(frozen=True)
class Places:
    """Where the memories of g frames of h x w cells are taken from, for each of o objects."""

    frames: tuple[Tensor, ...]
    """``places_of`` each frame."""
    hw: tuple[int, int]

    def of_each(self, frames: Sequence[Tensor]) -> Tensor:
        """Cells and squares of one frame each, (o or 1, ..., n, d) -> what is at the places (o, ..., g * m, d)."""
        return torch.cat([taken(x_ond, places_om) for x_ond, places_om in zip(frames, self.frames, strict=True)], -2)

    def of_all(self, x_ond: Tensor) -> Tensor:
        """The same where the frames lie one after the other, (o or 1, ..., g * n, d)."""
        each = x_ond.shape[-2] // len(self.frames)
        shifted = [places_om + number * each for number, places_om in enumerate(self.frames)]
        return taken(x_ond, torch.cat(shifted, dim=1))

    def of_cells(self, x_ond: Tensor) -> Tensor:
        """The same where the frames' squares are not there yet."""
        h, w = self.hw
        return self.of_all(with_squares(x_ond.unflatten(-2, (len(self.frames), h * w)), h, w).flatten(-3, -2))

    def counts(self) -> Tensor:
        """The number of cells that each memory stands for, as a logarithm to add to the scores of its key: (g * m,)."""
        h, w = self.hw
        are_squares = torch.cat([places_om[0] >= h * w for places_om in self.frames])
        return are_squares * math.log(SIDE * SIDE)


def taken(x_bknd: Tensor, places_om: Tensor) -> Tensor:
    """What is at each object's places on the last axis but one: (b or 1, ..., n, d) -> (o, ..., m, d)."""
    if x_bknd.is_cuda or torch.compiler.is_compiling():
        lead = (len(places_om), *x_bknd.shape[1:-2])
        index_okm1 = places_om.view(len(places_om), *[1] * (len(lead) - 1), -1, 1)
        return x_bknd.expand(*lead, -1, -1).gather(-2, index_okm1.expand(*lead, -1, x_bknd.shape[-1]))
    # On processors whole rows are copied faster than single numbers.
    shared = len(x_bknd) == 1
    rows = [x_bknd[0 if shared else row].index_select(-2, places_m) for row, places_m in enumerate(places_om)]
    return rows[0][None] if len(rows) == 1 else torch.stack(rows)


def _cells(rows: int, columns: int, device: torch.device) -> Tensor:
    """The four cells of each of rows x columns squares: (rows * columns, 4)."""
    numbers = torch.arange(SIDE * rows * SIDE * columns, device=device)
    return numbers.view(rows, SIDE, columns, SIDE).transpose(1, 2).reshape(-1, SIDE * SIDE)
