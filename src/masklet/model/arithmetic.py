"""How the large products of a network are computed. The ways differ in rounding and time only.

torch's own operators are right everywhere and the only ones with gradients. On a processor, products of float32 numbers
by oneDNN can be twice as fast as torch's choice, and attention out of plain matrix products is two to four times as
fast as the fused one where products of bfloat16 numbers have instructions of their own, but not tiles.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from masklet.model.precision import PRECISIONS, Precision

Made = TypeVar("Made")
Activation = Literal["none", "relu", "gelu"]
"""What a linear layer can end with, by oneDNN's names."""

ACTIVATIONS: dict[Activation, Callable[[Tensor], Tensor]] = {"none": lambda x: x, "relu": F.relu, "gelu": F.gelu}

SCORES_BYTES = 8 << 20
"""Attention's scores that are held at once: they shall stay in the processor's cache."""
MANY_ROWS = 256
"""In float32 so many queries are compared at once even beyond that: oneDNN puts the keys into its own order anew for
every product."""
BLOCK_QUERIES, BLOCK_KEYS = 1024, 2048
"""In bfloat16 so many queries are compared with so many keys at once."""
SURE_SUMS = (1e-20, 1e30)
"""Between these, sums of exponentials are right although nobody looked for the largest score first."""
WINDOW = 256
"""Up to so many queries, torch's fused attention is the faster one in float32, and without AVX-512 beyond them too;
beyond so many queries and keys, in bfloat16 on tiles."""
FEW = 16
"""One has few of what the other has so many times as many of."""
FEW_ROWS, SMALL_WEIGHT = 64, 1 << 17
"""Up to so many rows, to round them and to ask oneDNN takes longer than the faster product spares, unless the weight
has more numbers than that."""


@dataclass(frozen=True)
class Arithmetic:
    """Numbers that products are computed in, and whether they are made as suits a processor."""

    dtype: torch.dtype = torch.float32
    on_processor: bool = False

    @property
    def by_products(self) -> bool:
        """Whether attention is made of matrix products now. Those that learn take torch's operators."""
        return self.on_processor and not torch.is_grad_enabled()

    @property
    def has_tiles(self) -> bool:
        """Whether the processor multiplies tiles of such numbers, for which torch's fused attention is made."""
        is_asked = self.on_processor and self.dtype == torch.bfloat16 and not torch.compiler.is_compiling()
        return is_asked and processor_has_tiles()

    def linear(
        self, x: Tensor, weight: Tensor, bias: Tensor | None, kept: Kept | None = None, then: Activation = "none"
    ) -> Tensor:
        """(..., c) and (d, c) -> (..., d), in ``dtype`` but for few rows. ``kept`` holds rounded parameters."""
        if self == PLAIN or torch.is_grad_enabled():
            return ACTIVATIONS[then](F.linear(x, weight, bias))
        if x.numel() <= FEW_ROWS * x.shape[-1] and weight.numel() <= SMALL_WEIGHT:
            return ACTIVATIONS[then](F.linear(x.to(weight.dtype), weight, bias))
        parts = [weight] if bias is None else [weight, bias]
        if kept is not None and self.dtype != weight.dtype:
            parts = kept.get(self.dtype, parts, lambda: [part.to(self.dtype) for part in parts])
        return processor_linear(x.to(self.dtype), *(part.to(self.dtype) for part in parts), then=then)

    def attend(self, query_bhnd: Tensor, key_bhmd: Tensor, value_bhmc: Tensor, bias_m: Tensor | None = None) -> Tensor:
        """Scaled dot-product attention without gradients: (b, h, n, c).

        Values may have a width of their own, and where one axis has the length 1 it stands for all. ``bias_m`` is
        added to the scores of each key.
        """
        n, m = query_bhnd.shape[2], key_bhmd.shape[2]
        are_few = len(query_bhnd) * max(n, m) <= FEW_ROWS
        dtype = query_bhnd.dtype if are_few else self.dtype
        query, key, value = (x.to(dtype) for x in (query_bhnd, key_bhmd, value_bhmc))
        rows = max(SCORES_BYTES // (m * self.dtype.itemsize), MANY_ROWS if self.dtype == torch.float32 else 1)
        if not self.on_processor or are_few or self._is_fused_faster(query, key, value):
            return F.scaled_dot_product_attention(query, key, value, attn_mask=_mask(bias_m, query))
        scaled = query * query.shape[-1] ** -0.5
        if _are_few(m, n):
            return _few_keys(scaled, key, value, bias_m)
        if self.dtype == torch.float32:
            return _large_heads(scaled, key, value, partial(_by_rows, bias_m=bias_m, rows=rows))
        if rows >= n:
            return _small_heads(scaled, key, value, bias_m, heads_at_once=rows // n)
        return _large_heads(scaled, key, value, partial(_by_blocks, bias_m=bias_m, rows=rows))

    def _is_fused_faster(self, query_bhnd: Tensor, key_bhmd: Tensor, value_bhmc: Tensor) -> bool:
        n, m = query_bhnd.shape[2], key_bhmd.shape[2]
        if _are_few(m, n) or _are_few(n, m):
            return n < m
        are_of_one_width = value_bhmc.shape[3] == query_bhnd.shape[3]
        if self.dtype == torch.float32:
            return n <= WINDOW or (are_of_one_width and not processor_has_avx512())
        return min(n, m) > WINDOW and are_of_one_width and self.has_tiles

    def convolve(self, x_bchw: Tensor, conv: nn.Conv2d, kept: Kept, limit: float | None = None) -> Tensor:
        """A convolution in ``dtype``; what is below 0 or above ``limit`` becomes these.

        On a processor without gradients by oneDNN, with weights in its own order, which ``kept`` holds: to put them
        into it takes longer than many a convolution of a small network.
        """
        if not self.by_products or not _has_onednn(x_bchw, self.dtype):
            convolved_bchw = conv(x_bchw)
            return convolved_bchw if limit is None else F.hardtanh(convolved_bchw, 0.0, limit, inplace=True)
        x_bchw = x_bchw.to(self.dtype)
        kind = (self.dtype, *x_bchw.shape)
        ordered, bias = kept.get(kind, conv.parameters(), lambda: _ordered(conv, x_bchw))
        activation = ("none", []) if limit is None else ("hardtanh", [0.0, limit])
        sizes = (conv.padding, conv.stride, conv.dilation, conv.groups)
        return torch.ops.mkldnn._convolution_pointwise(x_bchw, ordered, bias, *sizes, *activation, "")


class Kept:
    """What is made of parameters for one kind of work, until either changes. Copies begin empty."""

    def __init__(self) -> None:
        self._made_of: Hashable = None
        self._made: Any = None

    def get(self, kind: Hashable, parameters: Iterable[Tensor], make: Callable[[], Made]) -> Made:
        """What was made of them last time, or what ``make`` makes now. Compiled code makes it itself, every time."""
        if torch.compiler.is_compiling():
            return make()
        parts = list(parameters)
        if any(part.is_inference() for part in parts):  # nobody can tell whether they changed
            return make()
        made_of = (kind, *((part.data_ptr(), part._version) for part in parts))
        if made_of != self._made_of:
            self._made_of, self._made = made_of, make()
        return self._made

    def __deepcopy__(self, memo: object) -> Kept:
        return Kept()

    def __reduce__(self) -> tuple[type[Kept], tuple[()]]:
        return Kept, ()


PLAIN = Arithmetic()
EXACT = Arithmetic(on_processor=True)


class Computes:
    """A module that computes as it is told."""

    arithmetic: Arithmetic = PLAIN
    is_delicate: bool = False
    """Whether masks would change if a processor rounded here: it computes in float32 then."""

    def compute_by(self, arithmetic: Arithmetic) -> None:
        """From now on."""
        self.arithmetic = EXACT if self.is_delicate and arithmetic.on_processor else arithmetic

    @property
    def is_plain(self) -> bool:
        """Whether torch's own operators are called for, as always where something learns."""
        return self.arithmetic == PLAIN or torch.is_grad_enabled()


def mark_delicate(part: nn.Module) -> None:
    """A processor is to compute in float32 there, whatever it is told."""
    for module in part.modules():
        if isinstance(module, Computes):
            module.is_delicate = True


def choose_arithmetic(precision: Precision, device: torch.device) -> Arithmetic:
    """What a name means on a device. Raises ValueError for unknown names."""
    if precision not in PRECISIONS:
        raise ValueError(f"precision must be one of {', '.join(PRECISIONS)}, got {precision!r}")
    if precision == "plain" or device.type not in ("cpu", "cuda"):
        return PLAIN
    is_cpu = device.type == "cpu"
    exact = EXACT if is_cpu else PLAIN
    if precision == "exact" or not (processor_has_bfloat16() if is_cpu else gpu_has_bfloat16(device)):
        return exact
    return Arithmetic(torch.bfloat16, on_processor=is_cpu)


def processor_has_bfloat16() -> bool:
    """Whether the processor has instructions for products of bfloat16 numbers; without them they are slow."""
    return any(getattr(torch.cpu, name, bool)() for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"))


def processor_has_avx512() -> bool:
    """Whether it has AVX-512 and torch makes use of it."""
    return torch.backends.cpu.get_cpu_capability() == "AVX512"


def processor_has_tiles() -> bool:
    """Whether it has AMX and the user does not keep oneDNN from it."""
    allowed = os.environ.get("ONEDNN_MAX_CPU_ISA", "DEFAULT").upper()
    is_allowed = allowed in ("DEFAULT", "ALL") or "AMX" in allowed
    return is_allowed and getattr(torch.cpu, "_is_amx_tile_supported", bool)()


def gpu_has_bfloat16(device: torch.device) -> bool:
    """Compute capability 8 and later."""
    return torch.cuda.get_device_capability(device) >= (8, 0)


def processor_linear(x: Tensor, weight: Tensor, bias: Tensor | None = None, then: Activation = "none") -> Tensor:
    """``F.linear`` and an activation; on a processor in one go by oneDNN, where torch has it.

    In float32 torch itself would ask the linear algebra library; in bfloat16 it would write the bias first and then
    add the product to it.
    """
    # Of numbers that do not lie side by side oneDNN takes its reference code, which is hundreds of times slower, and
    # torch would make one product for each row of the grid.
    x = x.contiguous()
    if _has_onednn(x, x.dtype):
        lies_either_way = weight.is_contiguous() or weight.T.is_contiguous()
        weight = weight if lies_either_way else weight.contiguous()
        return torch.ops.mkldnn._linear_pointwise(x, weight, bias, then, [], "none")
    return ACTIVATIONS[then](F.linear(x, weight, bias))


def _has_onednn(x: Tensor, dtype: torch.dtype) -> bool:
    """Whether oneDNN can be asked directly: not for bfloat16 on every processor, and a compiler chooses by itself."""
    if not x.is_cpu or torch.compiler.is_compiling() or not torch.backends.mkldnn.is_available():
        return False
    return dtype != torch.bfloat16 or torch.ops.mkldnn._is_mkldnn_bf16_supported()


def _ordered(conv: nn.Conv2d, x_bchw: Tensor) -> tuple[Tensor, Tensor | None]:
    """Weights in the order in which oneDNN wants them for such an input, and the bias."""
    weight, bias = (None if part is None else part.detach().to(x_bchw.dtype) for part in (conv.weight, conv.bias))
    sizes = (conv.padding, conv.stride, conv.dilation, conv.groups)
    return torch.ops.mkldnn._reorder_convolution_weight(weight, *sizes, x_bchw.shape), bias


def product(a_nk: Tensor, b_mk: Tensor, bias_m: Tensor | None = None) -> Tensor:
    """a times b transposed, and a bias: (n, m)."""
    if bias_m is not None or a_nk.dtype == torch.float32:
        return processor_linear(a_nk, b_mk, None if bias_m is None else bias_m.to(a_nk.dtype))
    return a_nk @ b_mk.T


def attend(
    query_bhnd: Tensor, key_bhmd: Tensor, value_bhmd: Tensor, bias_m: Tensor | None = None, dropout: float = 0.0
) -> Tensor:
    """Scaled dot-product attention by torch's own operators: (b, h, n, d). ``dropout``: share of weights left out.

    On a processor gradients come from two plain products: those of torch's fused attention are slower there, several
    times so for the decoder's narrow heads.
    """
    if query_bhnd.is_cuda or not query_bhnd.requires_grad:
        mask = _mask(bias_m, query_bhnd)
        return F.scaled_dot_product_attention(query_bhnd, key_bhmd, value_bhmd, attn_mask=mask, dropout_p=dropout)
    scores_bhnm = (query_bhnd * query_bhnd.shape[-1] ** -0.5) @ key_bhmd.transpose(-2, -1)
    weights_bhnm = _weights(scores_bhnm, bias_m)
    return (F.dropout(weights_bhnm, dropout) if dropout else weights_bhnm) @ value_bhmd


def _mask(bias_m: Tensor | None, query_bhnd: Tensor) -> Tensor | None:
    return None if bias_m is None else bias_m.to(query_bhnd.dtype)[None, None, None]


def _weights(scores: Tensor, bias_m: Tensor | None) -> Tensor:
    return scores.softmax(-1) if bias_m is None else (scores + bias_m.to(scores.dtype)).softmax(-1)


def _are_few(count: int, others: int) -> bool:
    return FEW * count <= others


def _few_keys(scaled_bhnd: Tensor, key_bhmd: Tensor, value_bhmc: Tensor, bias_m: Tensor | None) -> Tensor:
    """Each key's scores lie side by side, as many queries do: sums over short rows are slow."""
    scores_bhmn = key_bhmd @ scaled_bhnd.transpose(-2, -1)
    weights_bhmn = (scores_bhmn if bias_m is None else scores_bhmn + bias_m.to(scores_bhmn.dtype)[:, None]).softmax(-2)
    return weights_bhmn.transpose(-2, -1) @ value_bhmc


def _small_heads(
    scaled_bhnd: Tensor, key_bhmd: Tensor, value_bhmc: Tensor, bias_m: Tensor | None, heads_at_once: int
) -> Tensor:
    """Several heads in one product."""
    b, h, n, _ = torch.broadcast_shapes(scaled_bhnd.shape, (*key_bhmd.shape[:2], 1, 1))
    queries, keys, values = (x.expand(b, h, -1, -1).flatten(0, 1) for x in (scaled_bhnd, key_bhmd, value_bhmc))
    parts = zip(*(x.split(heads_at_once) for x in (queries, keys, values)), strict=True)
    return torch.cat([_weights(q @ k.transpose(1, 2), bias_m) @ v for q, k, v in parts]).view(b, h, n, -1)


def _large_heads(
    scaled_bhnd: Tensor, key_bhmd: Tensor, value_bhmc: Tensor, mix: Callable[[Tensor, Tensor, Tensor], Tensor]
) -> Tensor:
    """One head after the other: ``mix`` makes (n, c) of (n, d), (m, d) and (m, c)."""
    b, h, n, _ = torch.broadcast_shapes(scaled_bhnd.shape, (*key_bhmd.shape[:2], 1, 1))
    queries, keys, values = (x.expand(b, h, -1, -1) for x in (scaled_bhnd, key_bhmd, value_bhmc))
    mixed_bhnc = values.new_empty(b, h, n, values.shape[-1])
    for i in range(b):
        for j in range(h):
            mixed_bhnc[i, j] = mix(queries[i, j], keys[i, j].contiguous(), values[i, j])
    return mixed_bhnc


def _by_rows(scaled_nd: Tensor, key_md: Tensor, value_mc: Tensor, bias_m: Tensor | None, rows: int) -> Tensor:
    """So many queries at once, each with all keys."""
    value_cm = value_mc.T.contiguous()
    parts = (_weights(product(some_rd, key_md), bias_m) for some_rd in scaled_nd.split(rows))
    return torch.cat([product(weights_rm, value_cm) for weights_rm in parts])


def _by_blocks(scaled_nd: Tensor, key_md: Tensor, value_mc: Tensor, bias_m: Tensor | None, rows: int) -> Tensor:
    """Some queries with some keys at once: exponentials are summed without looking for the largest score first.

    That spares passes over all scores, and what is summed in float32 is rounded less. Where scores are so large or
    small that the sums cannot be relied on, or a compiler writes the program, ``_by_rows`` does it.
    """
    if torch.compiler.is_compiling():
        return _by_rows(scaled_nd, key_md, value_mc, bias_m, rows)
    biases = [None] * -(-len(key_md) // BLOCK_KEYS) if bias_m is None else bias_m.split(BLOCK_KEYS)
    blocks = [*zip(key_md.split(BLOCK_KEYS), value_mc.split(BLOCK_KEYS), biases, strict=True)]
    mixed_nc, sums_n1 = scaled_nd.new_zeros(len(scaled_nd), value_mc.shape[1], dtype=torch.float32), []
    for some_rd, mixed_rc in zip(scaled_nd.split(BLOCK_QUERIES), mixed_nc.split(BLOCK_QUERIES), strict=True):
        sums_r1 = mixed_nc.new_zeros(len(some_rd), 1)
        for key_kd, value_kc, bias_k in blocks:
            weights_rk = product(some_rd, key_kd, bias_k).exp_()
            sums_r1 += weights_rk.sum(-1, keepdim=True)
            mixed_rc += weights_rk @ value_kc
        mixed_rc /= sums_r1
        sums_n1.append(sums_r1)
    least, most = torch.cat(sums_n1).aminmax()
    if SURE_SUMS[0] < least and most < SURE_SUMS[1]:
        return mixed_nc
    return _by_rows(scaled_nd, key_md, value_mc, bias_m, rows)
