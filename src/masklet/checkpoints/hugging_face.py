"""Weights as the transformers library writes them: ``Sam2VideoModel``, and ``Sam2Model`` without the memory."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from masklet.checkpoints.configs import config_from_json, published_name
from masklet.checkpoints.errors import CheckpointError
from masklet.checkpoints.names import UNUSED, NameTable, Pairs, from_published
from masklet.checkpoints.variants import GRID_FREQUENCIES
from masklet.model.config import NetworkConfig


def _three_layers(theirs: str, published: str) -> Pairs:
    """A feed-forward of three layers is an input, a list of one, and an output there."""
    return (
        (f"{theirs}.proj_in.", f"{published}.layers.0."),
        (f"{theirs}.layers.0.", f"{published}.layers.1."),
        (f"{theirs}.proj_out.", f"{published}.layers.2."),
    )


_MASK_PYRAMID: Pairs = tuple(
    (f"memory_encoder.mask_downsampler.layers.{level}.{layer}.", f"memory_encoder.mask_downsampler.encoder.{index}.")
    for level in range(4)
    for layer, index in (("conv", 3 * level), ("layer_norm", 3 * level + 1))
)

TRANSFORMERS = NameTable(
    prefixes=(
        ("vision_encoder.backbone.patch_embed.projection.", "image_encoder.trunk.patch_embed.proj."),
        ("vision_encoder.backbone.blocks.#.mlp.proj_in.", "image_encoder.trunk.blocks.#.mlp.layers.0."),
        ("vision_encoder.backbone.blocks.#.mlp.proj_out.", "image_encoder.trunk.blocks.#.mlp.layers.1."),
        ("vision_encoder.backbone.", "image_encoder.trunk."),
        ("vision_encoder.neck.convs.#.", "image_encoder.neck.convs.#.conv."),
        ("no_memory_embedding", "no_mem_embed"),
        ("no_memory_positional_encoding", UNUSED),
        ("memory_temporal_positional_encoding", "maskmem_tpos_enc"),
        ("temporal_positional_encoding_projection_layer.", "obj_ptr_tpos_proj."),
        ("occlusion_spatial_embedding_parameter", "no_obj_embed_spatial"),
        ("no_object_pointer", "no_obj_ptr"),
        *_three_layers("object_pointer_proj", "obj_ptr_proj"),
        *_MASK_PYRAMID,
        ("memory_encoder.mask_downsampler.final_conv.", "memory_encoder.mask_downsampler.encoder.12."),
        ("memory_encoder.feature_projection.", "memory_encoder.pix_feat_proj."),
        ("memory_encoder.memory_fuser.layers.#.scale", "memory_encoder.fuser.layers.#.gamma"),
        ("memory_encoder.memory_fuser.layers.#.depthwise_conv.", "memory_encoder.fuser.layers.#.dwconv."),
        ("memory_encoder.memory_fuser.layers.#.pointwise_conv1.", "memory_encoder.fuser.layers.#.pwconv1."),
        ("memory_encoder.memory_fuser.layers.#.pointwise_conv2.", "memory_encoder.fuser.layers.#.pwconv2."),
        ("memory_encoder.memory_fuser.", "memory_encoder.fuser."),
        ("memory_encoder.projection.", "memory_encoder.out_proj."),
        (
            "prompt_encoder.shared_embedding.positional_embedding",
            "sam_prompt_encoder.pe_layer.positional_encoding_gaussian_matrix",
        ),
        ("prompt_encoder.point_embed.#.", "sam_prompt_encoder.point_embeddings.#."),
        ("prompt_encoder.mask_embed.conv1.", "sam_prompt_encoder.mask_downscaling.0."),
        ("prompt_encoder.mask_embed.layer_norm1.", "sam_prompt_encoder.mask_downscaling.1."),
        ("prompt_encoder.mask_embed.conv2.", "sam_prompt_encoder.mask_downscaling.3."),
        ("prompt_encoder.mask_embed.layer_norm2.", "sam_prompt_encoder.mask_downscaling.4."),
        ("prompt_encoder.mask_embed.conv3.", "sam_prompt_encoder.mask_downscaling.6."),
        ("prompt_encoder.", "sam_prompt_encoder."),
        ("mask_decoder.upscale_conv1.", "sam_mask_decoder.output_upscaling.0."),
        ("mask_decoder.upscale_layer_norm.", "sam_mask_decoder.output_upscaling.1."),
        ("mask_decoder.upscale_conv2.", "sam_mask_decoder.output_upscaling.3."),
        ("mask_decoder.transformer.layers.#.mlp.proj_in.", "sam_mask_decoder.transformer.layers.#.mlp.layers.0."),
        ("mask_decoder.transformer.layers.#.mlp.proj_out.", "sam_mask_decoder.transformer.layers.#.mlp.layers.1."),
        *_three_layers("mask_decoder.output_hypernetworks_mlps.#", "sam_mask_decoder.output_hypernetworks_mlps.#"),
        *_three_layers("mask_decoder.iou_prediction_head", "sam_mask_decoder.iou_prediction_head"),
        *_three_layers("mask_decoder.pred_obj_score_head", "sam_mask_decoder.pred_obj_score_head"),
        ("mask_decoder.", "sam_mask_decoder."),
    ),
    parts=((".o_proj.", ".out_proj."), (".layer_norm", ".norm")),
)

_POINT_LABELS = "prompt_encoder.point_embed.weight"
_POINT_POSITIONS = "prompt_encoder.shared_embedding.positional_embedding"
_GRID_POSITIONS = "shared_image_embedding.positional_embedding"


def from_transformers(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Names and shapes of transformers -> ours. Unknown names stay as they are."""
    theirs = dict(tensors)
    grid = theirs.pop(_GRID_POSITIONS, None)
    points = theirs.setdefault(_POINT_POSITIONS, grid) if grid is not None else None
    if _POINT_LABELS in theirs and theirs[_POINT_LABELS].dim():
        rows = theirs.pop(_POINT_LABELS).split(1)
        theirs |= {f"prompt_encoder.point_embed.{i}.weight": row for i, row in enumerate(rows)}
    ours = from_published({TRANSFORMERS.forward(name): tensor for name, tensor in theirs.items()})
    if grid is not None and points is not None and not torch.equal(grid, points):
        ours[GRID_FREQUENCIES] = grid
    return ours


def config_from_transformers(values: Mapping[str, Any]) -> NetworkConfig:
    """A ``config.json`` of ``Sam2Model`` or ``Sam2VideoModel`` -> our configuration.

    What the file leaves out has the library's default, which is SAM 2.1 tiny.

    Raises:
        CheckpointError: another kind of model, or sizes that the network does not have.
    """
    if values.get("model_type") not in ("sam2", "sam2_video"):
        raise CheckpointError(f"config.json is for {values.get('model_type')!r:.60}; expected sam2 or sam2_video")
    get = _Values(values)
    for name, expected in _FIXED.items():
        get.require(name, expected)
    size, width = get("prompt_encoder_config.image_size", 1024), get("vision_config.fpn_hidden_size", 256)
    size = size[0] if isinstance(size, list) and size else size
    for name in ("prompt_encoder_config.hidden_size", "mask_decoder_config.hidden_size"):
        get.require(name, width, default=256)
    config = {
        "name": str(values["model_type"]),
        "encoder": {"kind": "hiera", **_encoder(get)},
        "image_size": size,
        "width": width,
        "mask_channels": [width // 4, width // 8] if isinstance(width, int) else width,
        "decoder_heads": get("mask_decoder_config.num_attention_heads", 8),
        "decoder_feedforward": get("mask_decoder_config.mlp_dim", 2048),
        "memory": _memory(get, size),
        "marks_absence": get("enable_occlusion_spatial_embedding", True),
        "sketches_prompts": False,
        "tracks_with_candidates": True,
        "dates_pointers": get("enable_temporal_pos_encoding_for_object_pointers", True),
    }
    return published_name(config_from_json(config))


def _encoder(get: _Values) -> dict[str, Any]:
    backbone = "vision_config.backbone_config"
    widths = get(f"{backbone}.embed_dim_per_stage", [96, 192, 384, 768])
    heads = get(f"{backbone}.num_attention_heads_per_stage", [1, 2, 4, 8])
    for name, stages in (("embed_dim_per_stage", widths), ("num_attention_heads_per_stage", heads)):
        if not isinstance(stages, list) or not stages or stages != [stages[0] * 2**i for i in range(4)]:
            raise CheckpointError(f"{name} is {stages!r:.60}; expected four numbers, each twice the one before")
    return {
        "embed_dim": widths[0],
        "heads": heads[0],
        "blocks": get(f"{backbone}.blocks_per_stage", [1, 2, 7, 2]),
        "global_blocks": get(f"{backbone}.global_attention_blocks", [5, 7, 9]),
        "windows": get(f"{backbone}.window_size_per_stage", [8, 4, 14, 7]),
        "background_grid": get(f"{backbone}.window_positional_embedding_background_size", [7, 7]),
    }


def _memory(get: _Values, size: Any) -> dict[str, Any]:
    if get.is_video and isinstance(size, int):
        get.require("memory_attention_rope_feat_sizes", [size // 16] * 2, default=[64, 64])
    return {
        "channels": get("memory_encoder_output_channels", 64),
        "slots": get("num_maskmem", 7),
        "pointers": get("max_object_pointers_in_encoder", 16),
        "layers": get("memory_attention_num_layers", 4),
        "heads": get("memory_attention_num_attention_heads", 1),
        "feedforward": get("memory_attention_feed_forward_hidden_size", 2048),
        "position_weight": 0.1,
        "keys_from_image": False,
    }


class _Values:
    """A nested dictionary, read by dotted names."""

    def __init__(self, values: Mapping[str, Any]):
        self.values = values
        self.is_video = values.get("model_type") == "sam2_video"

    def __call__(self, name: str, default: Any) -> Any:
        value: Any = self.values
        for key in name.split("."):
            value = value.get(key) if isinstance(value, Mapping) else None
        return default if value is None else value

    def require(self, name: str, expected: Any, default: Any = None) -> None:
        value = self(name, expected if default is None else default)
        if value != expected:
            raise CheckpointError(
                f"config.json has {name} = {value!r:.60}, but masklet's network has {expected!r}; "
                "such weights can only be used in transformers"
            )


_BACKBONE = "vision_config.backbone_config"
_FIXED: dict[str, Any] = {
    f"{_BACKBONE}.patch_kernel_size": [7, 7],
    f"{_BACKBONE}.patch_stride": [4, 4],
    f"{_BACKBONE}.patch_padding": [3, 3],
    f"{_BACKBONE}.query_stride": [2, 2],
    f"{_BACKBONE}.num_query_pool_stages": 3,
    f"{_BACKBONE}.hidden_act": "gelu",
    f"{_BACKBONE}.layer_norm_eps": 1e-6,
    "vision_config.fpn_kernel_size": 1,
    "vision_config.fpn_top_down_levels": [2, 3],
    "vision_config.num_feature_levels": 3,
    "prompt_encoder_config.patch_size": 16,
    "prompt_encoder_config.hidden_act": "gelu",
    "prompt_encoder_config.layer_norm_eps": 1e-6,
    "mask_decoder_config.hidden_act": "gelu",
    "mask_decoder_config.attention_downsample_rate": 2,
    "mask_decoder_config.num_multimask_outputs": 3,
    "sigmoid_scale_for_mem_enc": 20.0,
    "sigmoid_bias_for_mem_enc": -10.0,
    "memory_attention_downsample_rate": 1,
    "memory_attention_feed_forward_hidden_act": "relu",
    "mask_downsampler_hidden_act": "gelu",
    "memory_fuser_hidden_act": "gelu",
    "memory_attention_rope_theta": 10000.0,
    "rope_parameters.rope_theta": 10000.0,
}
"""Settings that leave no trace in the shapes of the tensors."""
