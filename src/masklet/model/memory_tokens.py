"""Memories -> the keys and values of memory attention. The two ways are chosen once, when a network is made."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from einops import rearrange
from torch import Tensor, nn

from masklet.model.attention import Shifts
from masklet.model.config import NetworkConfig
from masklet.model.detail import Places, places_of, with_squares
from masklet.model.memory_attention import KnownKeys, MemoryTokens, grid_tokens
from masklet.model.outputs import FrameMemory, Recollection
from masklet.model.positions import sine_grid, sine_scalar


class UndatedPointers(nn.Module):
    """SAM 2: pointers do not say how old they are."""

    def forward(self, ages_m: Tensor, span: int, channels: int) -> Tensor:
        return ages_m.new_zeros(len(ages_m), channels)


class DatedPointers(nn.Module):
    """SAM 2.1: signed age as a sine encoding, projected to the memory's width."""

    def __init__(self, width: int, channels: int):
        super().__init__()
        self.width = width
        self.project = nn.Linear(width, channels)

    def forward(self, ages_m: Tensor, span: int, channels: int) -> Tensor:
        return self.project(sine_scalar(ages_m / span, self.width))


class Coarsens:
    """Memories that may be attended to more coarsely than they are kept."""

    pooled: int = 1
    """Memories are averaged over so many cells along each side. More than 1 trades accuracy for speed."""
    detailed: float = 1.0
    """As ``MemoryConfig.detailed``."""

    @property
    def chooses_places(self) -> bool:
        """Whether memories are attended to in detail at some places only."""
        return self.detailed < 1 and self.pooled == 1

    def places(self, belief_o1hw: Tensor) -> Tensor | None:
        """``FrameMemory.places_om`` for the probability (o, 1, h, w) that a pixel of the canvas is inside."""
        return places_of(belief_o1hw, self.detailed) if self.chooses_places else None


class KeysFromMemory(nn.Module, Coarsens):
    """As published: keys are the memory features, placed in space and time; object pointers follow as extra tokens."""

    def __init__(self, config: NetworkConfig):
        super().__init__()
        self.detailed = config.memory.detailed
        self.channels = config.memory.channels
        self.age = nn.Parameter(torch.zeros(config.memory.slots, self.channels))
        self.date = DatedPointers(config.width, self.channels) if config.dates_pointers else UndatedPointers()

    def forward(self, recollection: Recollection) -> MemoryTokens:
        keys, values = [], []
        for slot, memory in recollection.maps:
            features_ochw = memory.features_ochw
            position_1chw = sine_grid(*features_ochw.shape[1:], device=features_ochw.device)
            keys.append(grid_tokens(features_ochw + position_1chw + self.age[slot, :, None, None], self.pooled))
            values.append(grid_tokens(features_ochw, self.pooled))
        places = places_in([memory for _, memory in recollection.maps])
        if places is not None:
            values = [places.of_cells(torch.cat(values, dim=1))]
        unplaced = 0
        if recollection.pointers:
            pointers_omc, date_mc = self._pointers(recollection)
            keys.append(pointers_omc + date_mc)
            values.append(pointers_omc)
            unplaced = pointers_omc.shape[1]
        return MemoryTokens(torch.cat(keys, dim=1), torch.cat(values, dim=1), unplaced, self.pooled, places)

    def _pointers(self, recollection: Recollection) -> tuple[Tensor, Tensor]:
        """Every pointer is cut into tokens of the memory's width: (o, m, channels) and their dates (m, channels)."""
        ages, pointers = zip(*recollection.pointers, strict=True)
        pointers_opc = torch.stack(pointers, dim=1)
        tokens_omc = rearrange(pointers_opc, "o p (pieces c) -> o (p pieces) c", c=self.channels)
        ages_p = torch.tensor(ages, dtype=torch.float32, device=pointers_opc.device)
        dates_pc = self.date(ages_p, recollection.pointer_span, self.channels)
        return tokens_omc, dates_pc.repeat_interleave(tokens_omc.shape[1] // len(ages), dim=0)


class KeysFromImage(nn.Module, Coarsens):
    """Keys are the image features of the remembered frames: what looks alike is the same thing.

    A small network learns this correspondence much faster than one hidden in the memory features. Keys are the same for
    all objects and for as long as a frame is remembered, so they are made once, with the frame's features.
    """

    def __init__(self, config: NetworkConfig):
        super().__init__()
        self.norm = nn.LayerNorm(config.width)
        self.age = nn.Parameter(torch.zeros(config.memory.slots, config.width))
        self.detailed = config.memory.detailed

    def tokens(self, stride16_bchw: Tensor) -> Tensor:
        """What a frame's keys are projected from: (b, n, c)."""
        return self.norm(grid_tokens(stride16_bchw, self.pooled))

    def forward(self, recollection: Recollection) -> MemoryTokens:
        slots, memories = zip(*recollection.maps, strict=True)
        keys = [memory.keys_olhnd for memory in memories if memory.keys_olhnd is not None]
        assert len(keys) == len(memories), "this network remembers image features"
        places = places_in(memories)
        if places is not None:
            return self._at_places(slots, memories, keys, places)
        values_omc = torch.cat([grid_tokens(memory.features_ochw, self.pooled) for memory in memories], dim=1)
        rows = max(map(len, keys))
        keys_olhmd = torch.cat([key.expand(rows, -1, -1, -1, -1) for key in keys], dim=3)
        ages = Shifts(self.age[list(slots)], self.age, slots)
        return MemoryTokens(KnownKeys(keys_olhmd, ages), values_omc, unplaced=0, pooled=self.pooled)

    def _at_places(
        self, slots: tuple[int, ...], memories: Sequence[FrameMemory], keys: Sequence[Tensor], places: Places
    ) -> MemoryTokens:
        values = [with_squares(grid_tokens(memory.features_ochw), *places.hw) for memory in memories]
        ages = Shifts(self.age[list(slots)], self.age, slots, squares_hw=places.hw)
        return MemoryTokens(KnownKeys(places.of_each(keys), ages), places.of_each(values), unplaced=0, places=places)


def places_in(memories: Sequence[FrameMemory]) -> Places | None:
    """Where these are attended to, if not everywhere alike."""
    frames = tuple(memory.places_om for memory in memories if memory.places_om is not None)
    assert len(frames) in (0, len(memories)), "one network makes them all"
    if not frames:
        return None
    h, w = memories[0].features_ochw.shape[-2:]
    return Places(frames, (h, w))
