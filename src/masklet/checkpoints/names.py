"""Tensor names of the published checkpoints <-> ours."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from masklet.checkpoints.errors import CheckpointError
from masklet.checkpoints.variants import GRID_FREQUENCIES
from masklet.model.hiera import Hiera
from masklet.model.memory_tokens import KeysFromMemory
from masklet.model.sam2 import SegmentationNetwork

Pairs = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class NameTable:
    """Two spellings of the same names."""

    prefixes: Pairs
    """Beginnings of names; the first that fits is replaced. ``#`` stands for a number."""
    parts: Pairs
    """Replaced wherever they stand, after the beginning."""

    def forward(self, name: str) -> str:
        """Left spelling -> right."""
        return _respell(name, self.prefixes, self.parts)

    def backward(self, name: str) -> str:
        """Right spelling -> left."""
        return _respell(name, _swapped(self.prefixes), _swapped(self.parts))


@cache
def _swapped(pairs: Pairs) -> Pairs:
    return tuple((right, left) for left, right in pairs)


@cache
def _pattern(prefix: str) -> re.Pattern[str]:
    return re.compile(re.escape(prefix).replace(re.escape("#"), r"(\d+)"))


def _respell(name: str, prefixes: Pairs, parts: Pairs) -> str:
    for old, new in prefixes:
        if found := _pattern(old).match(name):
            name = (new.replace("#", found[1]) if "#" in old else new) + name[found.end() :]
            break
    for old, new in parts:
        name = name.replace(old, new)
    return name


PUBLISHED = NameTable(
    prefixes=(
        ("image_encoder.trunk.pos_embed_window", "trunk.window_position"),
        ("image_encoder.trunk.pos_embed", "trunk.background_position"),
        ("image_encoder.trunk.patch_embed.proj.", "trunk.patches."),
        ("image_encoder.trunk.blocks.#.attn.qkv.", "trunk.blocks.#.attention.qkv."),
        ("image_encoder.trunk.blocks.#.attn.proj.", "trunk.blocks.#.attention.out."),
        ("image_encoder.trunk.blocks.#.proj.", "trunk.blocks.#.shortcut."),
        ("image_encoder.trunk.blocks.", "trunk.blocks."),
        ("image_encoder.neck.convs.0.conv.", "neck.lateral32."),
        ("image_encoder.neck.convs.1.conv.", "neck.lateral16."),
        ("image_encoder.neck.convs.2.conv.", "neck.lateral8."),
        ("image_encoder.neck.convs.3.conv.", "neck.lateral4."),
        ("no_mem_embed", "no_memory"),
        ("maskmem_tpos_enc", "memory_tokens.age"),
        ("obj_ptr_tpos_proj.", "memory_tokens.date.project."),
        ("no_obj_embed_spatial", "mark_absent.vector"),
        ("no_obj_ptr", "pointer.absent"),
        ("obj_ptr_proj.", "pointer.project."),
        ("mask_downsample.", "mask_as_prompt."),
        ("memory_attention.layers.#.cross_attn_image.", "memory_attention.layers.#.cross_attention."),
        ("memory_attention.layers.#.self_attn.", "memory_attention.layers.#.self_attention."),
        ("memory_attention.layers.#.linear1.", "memory_attention.layers.#.mlp.layers.0."),
        ("memory_attention.layers.#.linear2.", "memory_attention.layers.#.mlp.layers.1."),
        ("memory_encoder.mask_downsampler.encoder.", "memory_encoder.mask."),
        ("memory_encoder.pix_feat_proj.", "memory_encoder.image."),
        ("memory_encoder.fuser.layers.#.gamma", "memory_encoder.fuse.#.scale"),
        ("memory_encoder.fuser.layers.#.dwconv.", "memory_encoder.fuse.#.filter."),
        ("memory_encoder.fuser.layers.#.pwconv1.", "memory_encoder.fuse.#.widen."),
        ("memory_encoder.fuser.layers.#.pwconv2.", "memory_encoder.fuse.#.narrow."),
        ("memory_encoder.fuser.layers.#.norm.", "memory_encoder.fuse.#.norm."),
        ("memory_encoder.out_proj.", "memory_encoder.out."),
        ("sam_prompt_encoder.pe_layer.positional_encoding_gaussian_matrix", "prompt_encoder.positions.frequencies"),
        ("sam_prompt_encoder.point_embeddings.#.weight", "prompt_encoder.labels.weight.#"),
        ("sam_prompt_encoder.not_a_point_embed.", "prompt_encoder.no_point."),
        ("sam_prompt_encoder.no_mask_embed.", "prompt_encoder.no_mask."),
        ("sam_prompt_encoder.mask_downscaling.", "prompt_encoder.mask."),
        ("sam_mask_decoder.transformer.layers.#.self_attn.", "mask_decoder.transformer.layers.#.self_attention."),
        (
            "sam_mask_decoder.transformer.layers.#.cross_attn_token_to_image.",
            "mask_decoder.transformer.layers.#.token_to_image.",
        ),
        (
            "sam_mask_decoder.transformer.layers.#.cross_attn_image_to_token.",
            "mask_decoder.transformer.layers.#.image_to_token.",
        ),
        ("sam_mask_decoder.transformer.final_attn_token_to_image.", "mask_decoder.transformer.last_look."),
        ("sam_mask_decoder.transformer.norm_final_attn.", "mask_decoder.transformer.norm."),
        ("sam_mask_decoder.obj_score_token.", "mask_decoder.presence_token."),
        ("sam_mask_decoder.pred_obj_score_head.", "mask_decoder.presence_head."),
        ("sam_mask_decoder.iou_prediction_head.", "mask_decoder.iou_head."),
        ("sam_mask_decoder.output_upscaling.0.", "mask_decoder.to_stride8."),
        ("sam_mask_decoder.output_upscaling.1.", "mask_decoder.norm8."),
        ("sam_mask_decoder.output_upscaling.3.", "mask_decoder.to_stride4."),
        ("sam_mask_decoder.conv_s1.", "mask_decoder.project8."),
        ("sam_mask_decoder.conv_s0.", "mask_decoder.project4."),
        ("sam_mask_decoder.output_hypernetworks_mlps.", "mask_decoder.brushes."),
        ("sam_mask_decoder.", "mask_decoder."),
    ),
    parts=((".q_proj.", ".query."), (".k_proj.", ".key."), (".v_proj.", ".value."), (".out_proj.", ".out.")),
)

UNUSED = "no_mem_pos_enc"
"""A tensor of the published files that no published configuration reads."""

_LABELS = "prompt_encoder.labels.weight"
_TO_OUR_SHAPE: dict[str, Callable[[Tensor], Tensor]] = {
    "no_memory": lambda t: t.reshape(1, -1, 1, 1),
    "memory_tokens.age": lambda t: t.flatten(1) if t.dim() > 1 else t,
    "mark_absent.vector": lambda t: t.flatten(),
}
_TO_PUBLISHED_SHAPE: dict[str, Callable[[Tensor], Tensor]] = {
    "no_memory": lambda t: t.reshape(1, 1, -1),
    "memory_tokens.age": lambda t: t[:, None, None],
    "mark_absent.vector": lambda t: t[None],
}


def from_published(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Published names and shapes -> ours. Unknown names stay as they are."""
    ours = {PUBLISHED.forward(name): tensor for name, tensor in tensors.items() if name != UNUSED}
    labels = [f"{_LABELS}.{i}" for i in range(4)]
    if all(label in ours for label in labels) and len({ours[label].shape for label in labels}) == 1:
        ours[_LABELS] = torch.stack([ours.pop(label) for label in labels]).flatten(0, 1)
    return {name: _TO_OUR_SHAPE[name](t) if name in _TO_OUR_SHAPE else t for name, t in ours.items()}


def to_published(network: SegmentationNetwork) -> dict[str, Tensor]:
    """All tensors under their published names and in their published shapes, for use in other tools.

    ``torch.save({"model": to_published(network)}, "weights.pt")`` writes a file as published. The tensor that nothing
    reads is zero.

    Raises:
        ValueError: the network is not of the published family.
    """
    tensors = dict(network.state_dict())
    published = isinstance(network.trunk, Hiera) and isinstance(network.memory_tokens, KeysFromMemory)
    if not published or GRID_FREQUENCIES in tensors:
        raise CheckpointError(
            f"{network.config.name} cannot be written under the published names, which are for whole networks with a "
            "Hiera encoder and keys from memory; save it with save_network"
        )
    for index, row in enumerate(tensors.pop(_LABELS).split(1)):
        tensors[f"{_LABELS}.{index}"] = row
    shaped = {name: _TO_PUBLISHED_SHAPE[name](t) if name in _TO_PUBLISHED_SHAPE else t for name, t in tensors.items()}
    unused = torch.zeros_like(shaped["no_memory"])
    return {**{PUBLISHED.backward(name): tensor for name, tensor in shaped.items()}, UNUSED: unused}
