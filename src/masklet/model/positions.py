"""Where things are: sine grids, random Fourier features of points, rotary angles."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from einops import rearrange
from torch import Tensor, nn

from masklet.model.arithmetic import Kept

TEMPERATURE = 10000.0


def sine_waves(position: Tensor, channels: int) -> Tensor:
    """Sine and cosine of ``position`` (...) at ``channels / 2`` wavelengths: (..., channels / 2, 2).

    Wavelengths come in pairs, so that a sine and a cosine share one (Attention Is All You Need, section 3.5).
    """
    index = torch.arange(channels // 2, device=position.device, dtype=torch.float32)
    wavelength = TEMPERATURE ** (index * 2 / channels)
    angle = position[..., None] / wavelength
    return torch.stack([angle.sin(), angle.cos()], dim=-1)


def sine_grid(channels: int, h: int, w: int, device: torch.device | None = None) -> Tensor:
    """Position encoding of an h x w grid, normalised to one turn: (1, channels, h, w)."""
    y = torch.arange(1, h + 1, device=device, dtype=torch.float32) / (h + 1e-6) * 2 * math.pi
    x = torch.arange(1, w + 1, device=device, dtype=torch.float32) / (w + 1e-6) * 2 * math.pi
    half = channels // 2
    rows_ch1 = sine_waves(y, half).flatten(1).T[:, :, None].expand(half, h, w)
    columns_c1w = sine_waves(x, half).flatten(1).T[:, None, :].expand(half, h, w)
    return torch.cat([rows_ch1, columns_c1w])[None]


def sine_scalar(position_m: Tensor, channels: int) -> Tensor:
    """Encoding of a number, the sines first and then the cosines: (m,) -> (m, channels)."""
    index = torch.arange(channels // 2, device=position_m.device, dtype=torch.float32)
    wavelength = TEMPERATURE ** (2 * (index // 2) / (channels // 2))
    angle = position_m[:, None] / wavelength
    return torch.cat([angle.sin(), angle.cos()], dim=1)


class FourierPositions(nn.Module):
    """Random Fourier features of points in the unit square (arXiv 2006.10739)."""

    frequencies: Tensor

    def __init__(self, channels: int):
        super().__init__()
        self.register_buffer("frequencies", torch.randn(2, channels // 2))
        self._kept_grid = Kept()

    def forward(self, unit_xy: Tensor) -> Tensor:
        """(..., 2) -> (..., channels)."""
        angle = 2 * math.pi * ((2 * unit_xy - 1) @ self.frequencies)
        return torch.cat([angle.sin(), angle.cos()], dim=-1)

    def grid(self, h: int, w: int) -> Tensor:
        """Features of the cell centres of an h x w grid: (1, channels, h, w), channels side by side."""
        if torch.is_grad_enabled():
            return self._made_grid(h, w)
        return self._kept_grid.get((h, w), [self.frequencies], lambda: self._made_grid(h, w))

    def _made_grid(self, h: int, w: int) -> Tensor:
        device = self.frequencies.device
        unit_xy = torch.stack(torch.meshgrid(middles(w, device), middles(h, device), indexing="xy"), dim=-1)
        return rearrange(self(unit_xy), "h w c -> 1 c h w")


def middles(cells: int, device: torch.device | None = None) -> Tensor:
    """Where the middles of so many cells in a row lie between 0 and 1."""
    return (torch.arange(cells, device=device) + 0.5) / cells


def rotary_angles(channels: int, h: int, w: int, device: torch.device | None = None) -> Tensor:
    """Angles of axial rotary encoding: (h * w, channels / 2), first half along x, second along y.

    Source: arXiv 2104.09864, in two dimensions.
    """
    exponent = torch.arange(0, channels, 4, device=device, dtype=torch.float32) / channels
    frequency = 1.0 / TEMPERATURE**exponent
    cell = torch.arange(h * w, device=device)
    x = (cell % w).float()[:, None] * frequency
    y = (cell // w).float()[:, None] * frequency
    return torch.cat([x, y], dim=1)


def rotate(x_bhnd: Tensor, angles_nc: Tensor) -> Tensor:
    """Turn neighbouring channel pairs of every token (..., n, 2 c) by its angles."""
    cos, sin = angles_nc.cos().to(x_bhnd.dtype), angles_nc.sin().to(x_bhnd.dtype)
    even, odd = x_bhnd[..., 0::2], x_bhnd[..., 1::2]
    return torch.stack([even * cos - odd * sin, even * sin + odd * cos], dim=-1).flatten(-2)


@dataclass(frozen=True, eq=False)
class Rotation:
    """How the cells of a grid are turned."""

    angles_nc: Tensor
    _waves: dict[torch.dtype, tuple[Tensor, Tensor]] = field(default_factory=dict, repr=False)

    def waves(self, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Cosine and sine for every channel, (n, 2 c) each; made once."""
        if dtype not in self._waves:
            angles_nd = self.angles_nc.repeat_interleave(2, dim=1)
            self._waves[dtype] = angles_nd.cos().to(dtype), angles_nd.sin().to(dtype)
        return self._waves[dtype]

    def turn(self, x_bhnd: Tensor, quarter_bhnd: Tensor) -> Tensor:
        """``rotate`` of tokens that are there a second time, turned by a quarter: the same in two passes."""
        cos, sin = self.waves(x_bhnd.dtype)
        return torch.addcmul(x_bhnd * cos, quarter_bhnd, sin)


def quarter_turn(pairs: Tensor) -> Tensor:
    """Turn neighbouring pairs along the first axis by a quarter, (x, y) to (-y, x): weights that give turned tokens."""
    x, y = pairs.unflatten(0, (-1, 2)).unbind(1)
    return torch.stack([-y, x], dim=1).flatten(0, 1)
