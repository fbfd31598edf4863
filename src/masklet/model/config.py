"""Every network masklet knows, as values.

Sizes of the published networks: facebookresearch/sam2, configurations of SAM 2 and SAM 2.1.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
TRUNK_STRIDE = 32
"""The coarsest stride of a trunk, in pixels; picture sizes are its multiples."""
LOGIT_LIMIT = 32.0
"""Low-res logits that are fed back as a mask prompt are clamped to +- this."""
WIDEST = 2.5
"""Pictures that are wider or taller than this are squeezed even by networks that keep their shape."""


@dataclass(frozen=True)
class HieraConfig:
    """Hierarchical vision transformer (arXiv 2306.00989) as SAM 2 uses it."""

    embed_dim: int
    heads: int
    blocks: tuple[int, int, int, int]
    global_blocks: tuple[int, ...]
    windows: tuple[int, int, int, int] = (8, 4, 14, 7)
    background_grid: tuple[int, int] = (7, 7)

    @property
    def channels(self) -> tuple[int, ...]:
        """Channels of the maps at strides 4, 8, 16 and 32."""
        return tuple(self.embed_dim * 2**stage for stage in range(4))


@dataclass(frozen=True)
class MobileStage:
    """A run of inverted-residual blocks; the first one has the stride."""

    expansion: int
    kernel: int
    stride: int
    channels: int
    blocks: int


@dataclass(frozen=True)
class MobileConfig:
    """Convolutional trunk of inverted residuals; by default EfficientNet-Lite0 (arXiv 1905.11946, "lite" variant)."""

    stem: int = 32
    stages: tuple[MobileStage, ...] = (
        MobileStage(expansion=1, kernel=3, stride=1, channels=16, blocks=1),
        MobileStage(expansion=6, kernel=3, stride=2, channels=24, blocks=2),
        MobileStage(expansion=6, kernel=5, stride=2, channels=40, blocks=2),
        MobileStage(expansion=6, kernel=3, stride=2, channels=80, blocks=3),
        MobileStage(expansion=6, kernel=5, stride=1, channels=112, blocks=3),
        MobileStage(expansion=6, kernel=5, stride=2, channels=192, blocks=4),
        MobileStage(expansion=6, kernel=3, stride=1, channels=320, blocks=1),
    )
    outputs: tuple[int, ...] = (1, 2, 4, 6)

    @property
    def channels(self) -> tuple[int, ...]:
        """Channels of the maps at strides 4, 8, 16 and 32."""
        return tuple(self.stages[stage].channels for stage in self.outputs)


@dataclass(frozen=True)
class MemoryConfig:
    """How a frame's mask is stored, and how later frames attend to it."""

    channels: int = 64
    slots: int = 7
    """Memories a frame attends to: the conditioning frames and the ``slots - 1`` most recent ones."""
    pointers: int = 16
    """Frames whose object pointers are attended to, conditioning frames not counted; 0: there are no pointers."""
    layers: int = 4
    heads: int = 1
    feedforward: int = 2048
    position_weight: float = 0.1
    """Share of the sine position that is added to the frame's features before the first layer."""
    keys_from_image: bool = False
    """Match the frame with the image features of the memory's frame instead of the memory's own features."""
    detailed: float = 1.0
    """Share of a memory that is attended to in detail, in squares of 2 x 2 cells: where the outline is, then inside. Of
    other squares the mean is. 1: all of it."""


@dataclass(frozen=True)
class NetworkConfig:
    """One whole network."""

    name: str
    encoder: HieraConfig | MobileConfig
    image_size: int = 1024
    """Side of the square that pictures are resized to, in pixels."""
    still_size: int = 0
    """The same for pictures that stand for themselves, whose encoding is no part of a race; 0: as ``image_size``."""
    keeps_shape: bool = False
    """Pictures are resized to about as many pixels as that square has, but in their own shape, and in a quick way.
    For networks of our own: the published ones learned from squares."""
    width: int = 256
    mask_channels: tuple[int, int] = (64, 32)
    """Width of the decoder's maps at strides 8 and 4."""
    decoder_heads: int = 8
    decoder_feedforward: int = 2048
    memory: MemoryConfig = MemoryConfig()
    marks_absence: bool = True
    """SAM 2.1: memories of frames without the object carry a learned mark."""
    dates_pointers: bool = True
    """SAM 2.1: object pointers carry their signed distance in time."""
    sketches_prompts: bool = False
    """Clicks and boxes are drawn onto the dense map too, besides being tokens."""
    tracks_with_candidates: bool = True
    """On frames without clicks the best of three candidates is taken, else the single mask."""
    trusts_single_mask: bool = False
    """Where something is shown, an unstable single mask stands. As published, the best candidate replaces it; but those
    of a small network know too little of what several clicks ask for."""
    weighs_stability: bool = False
    """A mask's predicted IoU is multiplied by how little the mask changes with its threshold: a small network often
    predicts a high IoU for a mask that it is not sure of."""

    @property
    def for_stills(self) -> NetworkConfig:
        """The same network for pictures that are no frames of a video."""
        return replace(self, image_size=self.still_size or self.image_size)

    @property
    def cells(self) -> int:
        """Both sides of the stride-16 map are multiples of so many cells, whatever the picture."""
        return (TRUNK_STRIDE if self.keeps_shape else self.image_size) // 16

    def canvas(self, picture_hw: tuple[int, int]) -> tuple[int, int]:
        """Height and width that pictures of this height and width are resized to, in pixels."""
        if not self.keeps_shape:
            return self.image_size, self.image_size
        return shaped(self.image_size, picture_hw)

    def common_canvas(self, picture_hws: Sequence[tuple[int, int]]) -> tuple[int, int]:
        """One canvas for pictures of several shapes: that of their mean shape."""
        ratio = math.exp(sum(math.log(h / w) for h, w in picture_hws) / len(picture_hws))
        return self.canvas((round(1024 * ratio), 1024))

    def low_res_hw(self, picture_hw: tuple[int, int]) -> tuple[int, int]:
        """Height and width of the low-res logits for such pictures, in pixels."""
        h, w = self.canvas(picture_hw)
        return h // 4, w // 4


@lru_cache
def shaped(side: int, picture_hw: tuple[int, int]) -> tuple[int, int]:
    """Multiples of the trunk's stride whose product is near ``side`` squared and whose ratio is near the picture's."""
    ratio = min(max(picture_hw[0] / picture_hw[1], 1 / WIDEST), WIDEST)
    cells = side // TRUNK_STRIDE
    sides = range(1, 2 * cells + 1)

    def misfit(rows_columns: tuple[int, int]) -> float:
        rows, columns = rows_columns
        return math.hypot(math.log(rows / columns / ratio), math.log(rows * columns / cells**2))

    rows, columns = min(((rows, columns) for rows in sides for columns in sides), key=misfit)
    return rows * TRUNK_STRIDE, columns * TRUNK_STRIDE


_TINY = HieraConfig(embed_dim=96, heads=1, blocks=(1, 2, 7, 2), global_blocks=(5, 7, 9))
_SMALL = replace(_TINY, blocks=(1, 2, 11, 2), global_blocks=(7, 10, 13))
_BASE_PLUS = HieraConfig(
    embed_dim=112, heads=2, blocks=(2, 3, 16, 3), global_blocks=(12, 16, 20), background_grid=(14, 14)
)
_LARGE = HieraConfig(embed_dim=144, heads=2, blocks=(2, 6, 36, 4), global_blocks=(23, 33, 43), windows=(8, 4, 16, 8))
_TRUNKS = {"tiny": _TINY, "small": _SMALL, "base-plus": _BASE_PLUS, "large": _LARGE}

_SAM21 = {
    f"sam2.1-hiera-{size}": NetworkConfig(f"sam2.1-hiera-{size}", encoder=trunk) for size, trunk in _TRUNKS.items()
}
_SAM20 = {
    f"sam2-hiera-{size}": NetworkConfig(f"sam2-hiera-{size}", encoder=trunk, marks_absence=False, dates_pointers=False)
    for size, trunk in _TRUNKS.items()
}

PICO = NetworkConfig(
    name="pico",
    encoder=MobileConfig(),
    image_size=480,
    still_size=640,
    keeps_shape=True,
    width=128,
    decoder_heads=4,
    decoder_feedforward=512,
    memory=MemoryConfig(
        slots=5, pointers=0, layers=2, heads=2, feedforward=512, position_weight=0.0, keys_from_image=True, detailed=0.2
    ),
    dates_pointers=False,
    sketches_prompts=True,
    tracks_with_candidates=False,
    trusts_single_mask=True,
    weighs_stability=True,
)

MODELS: dict[str, NetworkConfig] = {**_SAM21, **_SAM20, PICO.name: PICO}


@dataclass(frozen=True)
class Trades:
    """What accuracy is given for speed. Nothing is, unless it is asked for.

    network = masklet.load("sam2.1-hiera-tiny", trades=Trades(fast=True))
    """

    fast: bool = False
    """The preset: half the side, two memories fewer. What else is given goes before it."""
    image_size: int | None = None
    """``NetworkConfig.image_size``, a multiple of 32. Small things are lost first. None: as trained."""
    memories: int | None = None
    """Memories a frame attends to, as ``MemoryConfig.slots``. Fewer forget sooner. None: as trained."""
    pooled_memory: int = 1
    """Memories are averaged over so many cells along each side before they are attended to."""
    detailed_memory: float | None = None
    """``MemoryConfig.detailed``: memories are averaged so but for this share. None: as trained."""

    def resolved(self, config: NetworkConfig) -> Trades:
        """The same for one network, with what the preset says filled in."""
        if not self.fast:
            return self
        side = config.image_size // 2 // TRUNK_STRIDE * TRUNK_STRIDE
        return Trades(
            image_size=self.image_size or side,
            memories=self.memories or max(config.memory.slots - 2, 2),
            pooled_memory=self.pooled_memory,
            detailed_memory=self.detailed_memory,
        )


NO_TRADES = Trades()
