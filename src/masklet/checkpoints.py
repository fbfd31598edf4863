"""Weights in and out: published tensor names <-> ours."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

_ATTENTION = {"q_proj": "query", "k_proj": "key", "v_proj": "value", "out_proj": "out"}

_PUBLISHED_NAMES: tuple[tuple[str, str], ...] = (
    (r"image_encoder\.trunk\.pos_embed_window$", "trunk.window_position"),
    (r"image_encoder\.trunk\.pos_embed$", "trunk.background_position"),
    (r"image_encoder\.trunk\.patch_embed\.proj\.", "trunk.patches."),
    (r"image_encoder\.trunk\.blocks\.(\d+)\.attn\.qkv\.", r"trunk.blocks.\1.attention.qkv."),
    (r"image_encoder\.trunk\.blocks\.(\d+)\.attn\.proj\.", r"trunk.blocks.\1.attention.out."),
    (r"image_encoder\.trunk\.blocks\.(\d+)\.proj\.", r"trunk.blocks.\1.shortcut."),
    (r"image_encoder\.trunk\.blocks\.(\d+)\.(norm1|norm2|mlp)\.", r"trunk.blocks.\1.\2."),
    (r"image_encoder\.neck\.convs\.0\.conv\.", "neck.lateral32."),
    (r"image_encoder\.neck\.convs\.1\.conv\.", "neck.lateral16."),
    (r"image_encoder\.neck\.convs\.2\.conv\.", "neck.lateral8."),
    (r"image_encoder\.neck\.convs\.3\.conv\.", "neck.lateral4."),
    (r"no_mem_embed$", "no_memory"),
    (r"maskmem_tpos_enc$", "memory_tokens.age"),
    (r"obj_ptr_tpos_proj\.", "memory_tokens.date.project."),
    (r"no_obj_embed_spatial$", "mark_absent.vector"),
    (r"no_obj_ptr$", "pointer.absent"),
    (r"obj_ptr_proj\.", "pointer.project."),
    (r"mask_downsample\.", "mask_as_prompt."),
    (r"memory_attention\.layers\.(\d+)\.cross_attn_image\.", r"memory_attention.layers.\1.cross_attention."),
    (r"memory_attention\.layers\.(\d+)\.self_attn\.", r"memory_attention.layers.\1.self_attention."),
    (r"memory_attention\.layers\.(\d+)\.linear1\.", r"memory_attention.layers.\1.mlp.layers.0."),
    (r"memory_attention\.layers\.(\d+)\.linear2\.", r"memory_attention.layers.\1.mlp.layers.1."),
    (r"memory_encoder\.mask_downsampler\.encoder\.", "memory_encoder.mask."),
    (r"memory_encoder\.pix_feat_proj\.", "memory_encoder.image."),
    (r"memory_encoder\.fuser\.layers\.(\d+)\.gamma$", r"memory_encoder.fuse.\1.scale"),
    (r"memory_encoder\.fuser\.layers\.(\d+)\.dwconv\.", r"memory_encoder.fuse.\1.filter."),
    (r"memory_encoder\.fuser\.layers\.(\d+)\.pwconv1\.", r"memory_encoder.fuse.\1.widen."),
    (r"memory_encoder\.fuser\.layers\.(\d+)\.pwconv2\.", r"memory_encoder.fuse.\1.narrow."),
    (r"memory_encoder\.fuser\.layers\.(\d+)\.norm\.", r"memory_encoder.fuse.\1.norm."),
    (r"memory_encoder\.out_proj\.", "memory_encoder.out."),
    (r"sam_prompt_encoder\.pe_layer\.positional_encoding_gaussian_matrix$", "prompt_encoder.positions.frequencies"),
    (r"sam_prompt_encoder\.point_embeddings\.(\d)\.weight$", r"prompt_encoder.labels.weight.\1"),
    (r"sam_prompt_encoder\.not_a_point_embed\.", "prompt_encoder.no_point."),
    (r"sam_prompt_encoder\.no_mask_embed\.", "prompt_encoder.no_mask."),
    (r"sam_prompt_encoder\.mask_downscaling\.", "prompt_encoder.mask."),
    (r"sam_mask_decoder\.transformer\.layers\.(\d)\.self_attn\.", r"mask_decoder.transformer.layers.\1.self_attention."),
    (r"sam_mask_decoder\.transformer\.layers\.(\d)\.cross_attn_token_to_image\.", r"mask_decoder.transformer.layers.\1.token_to_image."),
    (r"sam_mask_decoder\.transformer\.layers\.(\d)\.cross_attn_image_to_token\.", r"mask_decoder.transformer.layers.\1.image_to_token."),
    (r"sam_mask_decoder\.transformer\.final_attn_token_to_image\.", "mask_decoder.transformer.last_look."),
    (r"sam_mask_decoder\.transformer\.norm_final_attn\.", "mask_decoder.transformer.norm."),
    (r"sam_mask_decoder\.obj_score_token\.", "mask_decoder.presence_token."),
    (r"sam_mask_decoder\.pred_obj_score_head\.", "mask_decoder.presence_head."),
    (r"sam_mask_decoder\.iou_prediction_head\.", "mask_decoder.iou_head."),
    (r"sam_mask_decoder\.output_upscaling\.0\.", "mask_decoder.to_stride8."),
    (r"sam_mask_decoder\.output_upscaling\.1\.", "mask_decoder.norm8."),
    (r"sam_mask_decoder\.output_upscaling\.3\.", "mask_decoder.to_stride4."),
    (r"sam_mask_decoder\.conv_s1\.", "mask_decoder.project8."),
    (r"sam_mask_decoder\.conv_s0\.", "mask_decoder.project4."),
    (r"sam_mask_decoder\.output_hypernetworks_mlps\.", "mask_decoder.brushes."),
    (r"sam_mask_decoder\.", "mask_decoder."),
)  # fmt: skip

UNUSED = {"no_mem_pos_enc"}
"""Tensors of the published files that no published configuration reads."""


def our_name(published: str) -> str:
    """Our name of a published tensor."""
    for pattern, ours in _PUBLISHED_NAMES:
        if re.match(pattern, published):
            published = re.sub("^" + pattern, ours, published)
            break
    for theirs, mine in _ATTENTION.items():
        published = published.replace(f".{theirs}.", f".{mine}.")
    return published


def from_published(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Published names and shapes -> ours."""
    ours = {our_name(name): tensor for name, tensor in tensors.items() if name not in UNUSED}
    labels = [ours.pop(f"prompt_encoder.labels.weight.{i}") for i in range(4) if f"prompt_encoder.labels.weight.{i}" in ours]
    if labels:
        ours["prompt_encoder.labels.weight"] = torch.cat(labels)
    reshape: dict[str, Callable[[Tensor], Tensor]] = {
        "no_memory": lambda t: t.reshape(1, -1, 1, 1),
        "memory_tokens.age": lambda t: t.flatten(1),
        "mark_absent.vector": lambda t: t.flatten(),
    }
    return {name: reshape.get(name, lambda t: t)(tensor) for name, tensor in ours.items()}
