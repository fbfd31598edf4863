from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from masklet.checkpoints import load_network, save_network, to_published
from masklet.checkpoints.errors import CheckpointError
from masklet.checkpoints.loading import build_network
from masklet.checkpoints.variants import MEMORY_PARTS
from masklet.model.config import MODELS, Trades
from masklet.model.device import shapes_only
from masklet.model.sam2 import SegmentationNetwork

Tensors = dict[str, Tensor]


@pytest.fixture(scope="module")
def published_tiny() -> Tensors:
    """SAM 2.1 tiny as published, with memory-free constant tensors."""
    with shapes_only():
        network = SegmentationNetwork(MODELS["sam2.1-hiera-tiny"])
    return {name: torch.full(t.shape, 0.5, dtype=torch.float16) for name, t in to_published(network).items()}


def same_weights(one: SegmentationNetwork, other: SegmentationNetwork) -> bool:
    ours, theirs = one.state_dict(), other.state_dict()
    return ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_our_own_files_give_back_the_network(small_network: SegmentationNetwork, tmp_path: Path):
    save_network(small_network, tmp_path / "small.safetensors", description={})
    loaded = load_network(tmp_path / "small.safetensors")
    assert loaded.config == small_network.config
    assert same_weights(loaded, small_network)
    assert loaded.has_memory
    assert not loaded.training


def test_a_network_is_compiled_when_that_is_asked_for(
    small_network: SegmentationNetwork, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    save_network(small_network, tmp_path / "small.safetensors", description={})
    compiler = tmp_path / "g++"  # is not called before the first use
    compiler.touch(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    plain, compiled = (load_network(tmp_path / "small.safetensors", compiled=compiled) for compiled in (False, True))
    assert plain.trunk._compiled_call_impl is None
    assert compiled.trunk._compiled_call_impl is not None


def test_accuracy_is_traded_for_speed_when_that_is_asked_for(small_network: SegmentationNetwork, tmp_path: Path):
    save_network(small_network, tmp_path / "small.safetensors", description={})
    loaded = load_network(tmp_path / "small.safetensors", trades=Trades(memories=2))
    assert loaded.config.memory.slots == 2 < small_network.config.memory.slots


def test_half_precision_files_load_as_float32(small_network: SegmentationNetwork, tmp_path: Path):
    save_network(small_network, tmp_path / "half.safetensors", description={}, dtype=torch.float16)
    loaded = load_network(tmp_path / "half.safetensors")
    assert {tensor.dtype for tensor in loaded.state_dict().values()} == {torch.float32}
    assert torch.allclose(loaded.no_memory, small_network.no_memory, rtol=1e-3)


@pytest.mark.parametrize("suffix", ["pt", "safetensors"])
def test_published_weights_load_from_both_formats(published_tiny: Tensors, tmp_path: Path, suffix: str):
    path = tmp_path / f"weights.{suffix}"
    if suffix == "pt":
        torch.save({"model": published_tiny}, path)
    else:
        save_file(published_tiny, path)
    network = load_network(str(path))
    assert network.config == MODELS["sam2.1-hiera-tiny"]
    assert all((tensor == 0.5).all() for tensor in network.state_dict().values())


def test_sam_2_is_told_from_sam_2_1(published_tiny: Tensors, tmp_path: Path):
    added = {"no_obj_embed_spatial", "obj_ptr_tpos_proj.weight", "obj_ptr_tpos_proj.bias"}
    older = {name: tensor for name, tensor in published_tiny.items() if name not in added}
    save_file(older, tmp_path / "older.safetensors")
    assert load_network(tmp_path / "older.safetensors").config == MODELS["sam2-hiera-tiny"]


def test_missing_unexpected_and_misshapen_tensors_are_listed_in_one_error(published_tiny: Tensors, tmp_path: Path):
    wrong = {**published_tiny, "surprise": torch.zeros(1), "no_obj_ptr": torch.zeros(1, 8)}
    del wrong["sam_mask_decoder.iou_token.weight"]
    del wrong["memory_attention.layers.2.self_attn.q_proj.bias"]
    torch.save({"model": wrong}, tmp_path / "wrong.pt")
    with pytest.raises(CheckpointError) as caught:
        load_network(tmp_path / "wrong.pt")
    message = str(caught.value)
    assert "wrong.pt does not fit the network sam2.1-hiera-tiny" in message
    assert "2 missing (sam_mask_decoder.iou_token.weight, memory_attention.layers.2.self_attn.q_proj.bias)" in message
    assert "1 unexpected (surprise)" in message
    assert "1 misshapen (no_obj_ptr is 1x8 instead of 1x256)" in message


def test_a_long_list_of_tensors_is_cut(small_network: SegmentationNetwork):
    tensors = small_network.state_dict() | {f"surprise{i}": torch.zeros(1) for i in range(1000)}
    with pytest.raises(CheckpointError, match=r"1000 unexpected \(surprise0, .* and 992 more\)") as caught:
        build_network(small_network.config, tensors, source="file")
    assert len(str(caught.value)) < 500


def test_tensors_of_another_kind_of_network_are_refused(tmp_path: Path):
    save_file({"encoder.weight": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(CheckpointError, match=r"does not hold a segmentation network .* it has encoder\.weight"):
        load_network(tmp_path / "other.safetensors")


def test_a_description_cannot_make_us_build_another_network(small_network: SegmentationNetwork, tmp_path: Path):
    path = tmp_path / "small.safetensors"
    save_network(small_network, path, description={})
    content = path.read_bytes()
    path.write_bytes(content.replace(b'\\"width\\": 64', b'\\"width\\": 8192'.replace(b"8192", b"99"), 1))
    with pytest.raises(CheckpointError, match="width is 99"):
        load_network(path)


@pytest.fixture
def image_network(small_network: SegmentationNetwork) -> SegmentationNetwork:
    tensors = {n: t for n, t in small_network.state_dict().items() if n.partition(".")[0] not in MEMORY_PARTS}
    return build_network(small_network.config, tensors, source="tensors")


VERBS: dict[str, Callable[[SegmentationNetwork], object]] = {
    "memory_encoder": lambda network: network.memory_encoder(torch.zeros(1, 64, 8, 8), torch.zeros(1, 1, 128, 128)),
    "pointer": lambda network: network.pointer(torch.zeros(1, 64), torch.ones(1)),
    "mask_as_prompt": lambda network: network.mask_as_prompt(torch.zeros(1, 1, 128, 128)),
}


@pytest.mark.parametrize("verb", VERBS.values(), ids=VERBS)
def test_weights_of_the_image_part_refuse_what_videos_need(
    image_network: SegmentationNetwork, verb: Callable[[SegmentationNetwork], object]
):
    assert not image_network.has_memory
    with pytest.raises(CheckpointError, match="cannot follow anything through a video"):
        verb(image_network)


def test_the_image_part_survives_saving(image_network: SegmentationNetwork, tmp_path: Path):
    save_network(image_network, tmp_path / "image.safetensors", description={})
    loaded = load_network(tmp_path / "image.safetensors")
    assert not loaded.has_memory
    assert same_weights(loaded, image_network)


def test_an_incomplete_memory_is_not_taken_for_the_image_part(small_network: SegmentationNetwork):
    tensors = {n: t for n, t in small_network.state_dict().items() if not n.startswith("memory_encoder.")}
    with pytest.raises(CheckpointError, match=r"missing \(memory_encoder\."):
        build_network(small_network.config, tensors, source="file")


@pytest.mark.parametrize("name", ["sam2.1_hiera_tiny", "facebook/sam2.1-hiera-tiny", "sam2.1-hiera-tny"])
def test_a_misspelt_name_is_corrected(name: str):
    with pytest.raises(FileNotFoundError, match=r"did you mean sam2\.1-hiera-tiny\?"):
        load_network(name)


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(FileNotFoundError, match=r"neither a file nor one of pico, sam2\.1-hiera-tiny, "):
        load_network("weights/of/mine.pt")
