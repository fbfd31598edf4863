"""Weights of randomly initialised models of the real transformers library give what that library gives."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers.models.sam2.configuration_sam2 import Sam2Config
from transformers.models.sam2.modeling_sam2 import Sam2Model
from transformers.models.sam2_video.configuration_sam2_video import Sam2VideoConfig
from transformers.models.sam2_video.modeling_sam2_video import Sam2VideoInferenceSession, Sam2VideoModel

from masklet.checkpoints import load_network, save_network
from masklet.checkpoints.configs import infer_config
from masklet.checkpoints.errors import CheckpointError
from masklet.checkpoints.hugging_face import config_from_transformers, from_transformers
from masklet.checkpoints.loading import build_network
from masklet.memory import MemoryBank
from masklet.model.config import MODELS
from masklet.model.device import shapes_only
from masklet.model.prompt_encoder import POSITIVE, PromptBatch
from masklet.model.sam2 import SegmentationNetwork

SIDE = 128
CLICK_XY = (70.0, 40.0)
POINT_POSITIONS = "prompt_encoder.shared_embedding.positional_embedding"
GRID_POSITIONS = "shared_image_embedding.positional_embedding"


def small_config() -> dict[str, Any]:
    """A network like SAM 2's with a narrow trunk, for small pictures."""
    backbone = {
        "model_type": "sam2_hiera_det_model",
        "hidden_size": 16,
        "image_size": [SIDE, SIDE],
        "embed_dim_per_stage": [16, 32, 64, 128],
        "num_attention_heads_per_stage": [1, 2, 4, 8],
        "blocks_per_stage": [1, 2, 3, 1],
        "global_attention_blocks": [4, 5],
        "window_positional_embedding_background_size": [5, 5],
    }
    vision = {
        "model_type": "sam2_vision_model",
        "backbone_config": backbone,
        "backbone_channel_list": [128, 64, 32, 16],
        "backbone_feature_sizes": [[SIDE // stride] * 2 for stride in (4, 8, 16)],
    }
    return {
        "vision_config": vision,
        "prompt_encoder_config": {"image_size": SIDE},
        "mask_decoder_config": {"mlp_dim": 512},
    }


def video_config(**changes: Any) -> dict[str, Any]:
    memory = {
        "image_size": SIDE,
        "memory_attention_rope_feat_sizes": [SIDE // 16] * 2,
        "memory_attention_num_layers": 2,
        "memory_attention_feed_forward_hidden_size": 256,
        "num_maskmem": 4,
        "max_object_pointers_in_encoder": 5,
    }
    return small_config() | memory | changes


def randomise(model: nn.Module) -> None:
    """Every tensor random, also those that start at zero."""
    generator = torch.Generator().manual_seed(0)
    tensors = model.state_dict()
    with torch.no_grad():
        for name, tensor in tensors.items():
            noise = torch.randn(tensor.shape, generator=generator)
            tensor.copy_(1 + 0.1 * noise if "norm" in name and name.endswith("weight") else noise * 0.05)
        tensors[POINT_POSITIONS].mul_(20)
        tensors[GRID_POSITIONS].copy_(tensors[POINT_POSITIONS])
        tensors["mask_decoder.pred_obj_score_head.proj_out.bias"].fill_(3.0)


def saved(model: Any, folder: Path) -> Path:
    randomise(model)
    model.eval().save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def image_model(tmp_path_factory: pytest.TempPathFactory) -> tuple[Sam2Model, Path]:
    model = Sam2Model(Sam2Config(**small_config()))
    return model, saved(model, tmp_path_factory.mktemp("image"))


@pytest.fixture(scope="module")
def video_model(tmp_path_factory: pytest.TempPathFactory) -> tuple[Sam2VideoModel, Path]:
    model = Sam2VideoModel(Sam2VideoConfig(**video_config()))
    return model, saved(model, tmp_path_factory.mktemp("video"))


def frames(count: int) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(count, 3, SIDE, SIDE, generator=generator)


def click() -> PromptBatch:
    return PromptBatch(torch.tensor([[CLICK_XY]]) / SIDE, torch.tensor([[POSITIVE]]))


def assert_close(ours: Tensor, theirs: Tensor) -> None:
    assert ours.shape == theirs.shape
    assert (ours - theirs).abs().max() <= 1e-4 * theirs.std()


@torch.no_grad()
def test_an_image_model_gives_the_same_features_and_masks(image_model: tuple[Sam2Model, Path]):
    model, folder = image_model
    network = load_network(folder, precision="exact")
    features = network.encode_image(frames(1))
    stride4, stride8, stride16 = model.get_image_embeddings(frames(1))
    conditioned = network.without_memory(features)
    assert_close(features.stride4_bchw, stride4)
    assert_close(features.stride8_bchw, stride8)
    assert_close(conditioned, stride16)

    points = {"input_points": torch.tensor([[[CLICK_XY]]]), "input_labels": torch.tensor([[[1]]])}
    theirs: Any = model(pixel_values=frames(1), multimask_output=True, **points)
    ours = network.decode(features, conditioned, click(), candidates=True)
    assert_close(ours.logits_okhw, theirs.pred_masks[0])
    assert_close(ours.iou_ok, theirs.iou_scores[0])


@torch.no_grad()
def test_boxes_and_mask_prompts_agree(image_model: tuple[Sam2Model, Path]):
    model, folder = image_model
    network = load_network(folder, precision="exact")
    features = network.encode_image(frames(1))
    mask_logits = torch.randn(1, 1, SIDE // 4, SIDE // 4, generator=torch.Generator().manual_seed(2))
    box = torch.tensor([[[20.0, 30.0, 90.0, 100.0]]])
    theirs: Any = model(pixel_values=frames(1), input_boxes=box, input_masks=mask_logits, multimask_output=False)
    prompts = PromptBatch(box.reshape(1, 2, 2) / SIDE, torch.tensor([[2, 3]]), mask_logits)
    ours = network.decode(features, network.without_memory(features), prompts, candidates=False)
    assert_close(ours.logits_okhw, theirs.pred_masks[0])


def test_an_image_model_has_no_memory(image_model: tuple[Sam2Model, Path]):
    assert not load_network(image_model[1]).has_memory


def their_tracking(model: Sam2VideoModel, video: Tensor) -> list[Tensor]:
    """Low-res logits of every frame, the first of which is clicked on."""
    session = Sam2VideoInferenceSession(video=video, video_height=SIDE, video_width=SIDE, dtype=torch.float32)
    points = {"point_coords": torch.tensor([[[CLICK_XY]]]), "point_labels": torch.tensor([[[1]]], dtype=torch.int32)}
    session.add_point_inputs(session.obj_id_to_idx(1), 0, points)
    session.obj_with_new_inputs = [1]
    outputs: list[Any] = [model(session, frame_idx=frame) for frame in range(len(video))]
    return [output.pred_masks for output in outputs]


def our_tracking(network: SegmentationNetwork, video: Tensor) -> list[Tensor]:
    """The same with our verbs; memories are rounded as that library rounds them."""
    bank, logits = MemoryBank(network.config.memory), []
    for frame, picture in enumerate(video):
        features = network.encode_image(picture[None])
        prompted = frame == 0
        if prompted:
            conditioned, prompts = network.without_memory(features), click()
        else:
            conditioned = network.recall(features, bank.select(frame, frames=len(video)))
            prompts = PromptBatch.nothing(1)
        mask = network.choose(network.decode(features, conditioned, prompts, candidates=True))
        memory = network.remember(features, mask, prompted=prompted)
        kept = bank.conditioning if prompted else bank.tracked
        kept[frame] = replace(memory, features_ochw=memory.features_ochw.bfloat16().float())
        logits.append(mask.logits_o1hw)
    return logits


@torch.no_grad()
def test_a_video_model_tracks_alike(video_model: tuple[Sam2VideoModel, Path]):
    model, folder = video_model
    network = load_network(folder, precision="exact")
    theirs, ours = their_tracking(model, frames(7)), our_tracking(network, frames(7))
    for one, other in zip(ours, theirs, strict=True):
        assert other.std() > 0
        assert (one - other).abs().max() <= 1e-4 * other.std()


@torch.no_grad()
def test_a_video_model_as_sam_2_0_tracks_alike(tmp_path: Path):
    older = {"enable_occlusion_spatial_embedding": False, "enable_temporal_pos_encoding_for_object_pointers": False}
    model = Sam2VideoModel(Sam2VideoConfig(**video_config(**older)))
    network = load_network(saved(model, tmp_path), precision="exact")
    assert (network.config.marks_absence, network.config.dates_pointers) == (False, False)
    for one, other in zip(our_tracking(network, frames(3)), their_tracking(model, frames(3)), strict=True):
        assert (one - other).abs().max() <= 1e-4 * other.std()


def test_the_file_alone_finds_the_configuration_beside_it(video_model: tuple[Sam2VideoModel, Path]):
    _, folder = video_model
    assert load_network(folder / "model.safetensors").config == load_network(folder).config


def test_the_sizes_come_from_config_json(video_model: tuple[Sam2VideoModel, Path]):
    config = load_network(video_model[1]).config
    assert config.image_size == SIDE
    assert config.encoder.channels == (16, 32, 64, 128)
    assert (config.memory.slots, config.memory.pointers, config.memory.layers) == (4, 5, 2)


def test_their_default_is_sam_2_1_tiny_tensor_by_tensor():
    with shapes_only():
        tensors = Sam2VideoModel(Sam2VideoConfig()).state_dict()
    tensors = {name: tensor for name, tensor in tensors.items() if not name.startswith("shared_image_embedding")}
    ours = from_transformers(tensors)
    assert infer_config(ours) == MODELS["sam2.1-hiera-tiny"]
    assert build_network(MODELS["sam2.1-hiera-tiny"], ours, source="meta").has_memory
    assert config_from_transformers(json.loads(Sam2VideoConfig().to_json_string())) == MODELS["sam2.1-hiera-tiny"]


def test_tensors_are_named_as_in_the_file_when_they_are_missing(image_model: tuple[Sam2Model, Path]):
    tensors = dict(image_model[0].state_dict())
    del tensors["mask_decoder.iou_prediction_head.proj_out.bias"]
    folder = image_model[1].parent / "incomplete"
    folder.mkdir()
    save_file(tensors, folder / "model.safetensors")
    (folder / "config.json").write_text((image_model[1] / "config.json").read_text())
    with pytest.raises(CheckpointError, match=r"1 missing \(mask_decoder\.iou_prediction_head\.proj_out\.bias\)"):
        load_network(folder)


@torch.no_grad()
def test_a_model_that_places_points_and_picture_differently_agrees_also_after_saving(tmp_path: Path):
    model = Sam2Model(Sam2Config(**small_config()))
    randomise(model)
    model.state_dict()[GRID_POSITIONS].mul_(2)
    model.eval().save_pretrained(tmp_path)
    points = {"input_points": torch.tensor([[[CLICK_XY]]]), "input_labels": torch.tensor([[[1]]])}
    theirs: Any = model(pixel_values=frames(1), **points)
    save_network(load_network(tmp_path), tmp_path / "ours.safetensors", description={})
    network = load_network(tmp_path / "ours.safetensors", precision="exact")
    features = network.encode_image(frames(1))
    ours = network.decode(features, network.without_memory(features), click(), candidates=True)
    assert_close(ours.logits_okhw, theirs.pred_masks[0])


@pytest.mark.parametrize("stored", [POINT_POSITIONS, GRID_POSITIONS])
def test_one_matrix_of_positions_is_enough(image_model: tuple[Sam2Model, Path], stored: str):
    tensors = image_model[0].state_dict()
    one = {n: t for n, t in tensors.items() if n == stored or n not in (POINT_POSITIONS, GRID_POSITIONS)}
    assert from_transformers(one).keys() == from_transformers(tensors).keys()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model_type": "sam"}, "config.json is for 'sam'; expected sam2 or sam2_video"),
        ({"sigmoid_scale_for_mem_enc": 1.0}, r"sigmoid_scale_for_mem_enc = 1\.0, but masklet's network has 20\.0"),
        ({"memory_attention_rope_feat_sizes": [32, 32]}, "memory_attention_rope_feat_sizes"),
        ({"vision_config": {"backbone_config": {"embed_dim_per_stage": [96, 100, 3, 4]}}}, "each twice the one before"),
        ({"vision_config": {"backbone_config": {"blocks_per_stage": [10**9] * 4}}}, "integer from 0 to 8192"),
    ],
)
def test_settings_that_our_network_lacks_are_refused(change: dict[str, Any], message: str):
    with pytest.raises(CheckpointError, match=message):
        config_from_transformers({"model_type": "sam2_video", **change})
