from __future__ import annotations

import pickle
import struct
import zipfile
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

import masklet
from masklet.checkpoints import describe, save_network
from masklet.checkpoints.configs import config_to_json
from masklet.checkpoints.errors import CheckpointError
from masklet.checkpoints.files import read_tensors
from masklet.model.sam2 import SegmentationNetwork


class Malicious:
    """Writes a file when it is unpickled."""

    def __init__(self, trace: Path):
        self.trace = trace

    def __reduce__(self):
        return Path.write_text, (self.trace, "executed")


def test_a_file_describes_itself(small_network: SegmentationNetwork, tmp_path: Path):
    path = tmp_path / "small.safetensors"
    save_network(small_network, path, description={"licence": "Apache-2.0", "training": {"steps": 7}})
    assert describe(path) == {
        "licence": "Apache-2.0",
        "training": {"steps": 7},
        "masklet": masklet.__version__,
        "config": config_to_json(small_network.config),
    }


def test_a_file_of_weights_can_be_read_by_whoever_may_read_other_files(
    small_network: SegmentationNetwork, tmp_path: Path
):
    other = tmp_path / "other"
    other.touch()
    save_network(small_network, tmp_path / "net.safetensors", description={})
    assert (tmp_path / "net.safetensors").stat().st_mode == other.stat().st_mode


def test_half_precision_takes_half_the_space(small_network: SegmentationNetwork, tmp_path: Path):
    full, half = tmp_path / "full.safetensors", tmp_path / "half.safetensors"
    save_network(small_network, full, description={})
    save_network(small_network, half, description={}, dtype=torch.float16)
    values = sum(tensor.numel() for tensor in small_network.state_dict().values())
    assert full.stat().st_size - half.stat().st_size == pytest.approx(2 * values, rel=0.01)


def test_numbers_too_large_for_half_precision_are_refused_and_nothing_is_written(
    small_network: SegmentationNetwork, tmp_path: Path
):
    before = small_network.no_memory.detach().clone()
    try:
        small_network.no_memory.data.fill_(1e6)
        with pytest.raises(ValueError, match=r"no_memory has numbers that torch\.float16 cannot hold"):
            save_network(small_network, tmp_path / "x.safetensors", description={}, dtype=torch.float16)
    finally:
        small_network.no_memory.data.copy_(before)
    assert not list(tmp_path.iterdir())


def test_a_description_must_be_json(small_network: SegmentationNetwork, tmp_path: Path):
    with pytest.raises(ValueError, match="description is not JSON"):
        save_network(small_network, tmp_path / "x.safetensors", description={"path": tmp_path})


def test_a_foreign_file_has_no_description(tmp_path: Path):
    save_file({"x": torch.zeros(1)}, tmp_path / "x.safetensors")
    with pytest.raises(CheckpointError, match="has no description"):
        describe(tmp_path / "x.safetensors")


@pytest.mark.parametrize("inside", ["model", "other"])
def test_code_in_a_pt_file_is_not_executed(tmp_path: Path, inside: str):
    trace, path = tmp_path / "trace", tmp_path / "weights.pt"
    torch.save({"model": {"x": torch.zeros(1)}, inside: Malicious(trace)}, path)
    with pytest.raises(CheckpointError, match="holds Python objects besides tensors and was not loaded"):
        read_tensors(path)
    assert not trace.exists()


def test_code_in_a_bare_pickle_is_not_executed(tmp_path: Path):
    trace, path = tmp_path / "trace", tmp_path / "weights.pt"
    path.write_bytes(pickle.dumps(Malicious(trace)))
    with pytest.raises(CheckpointError, match=r"neither safetensors nor an archive as torch\.save writes"):
        read_tensors(path)
    assert not trace.exists()


def test_a_compressed_archive_is_refused_before_it_unpacks(tmp_path: Path):
    with zipfile.ZipFile(tmp_path / "bomb.pt", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb/data.pkl", bytes(10_000_000))
    with pytest.raises(CheckpointError, match="compressed archive"):
        read_tensors(tmp_path / "bomb.pt")


def test_a_small_file_cannot_claim_endless_tensors(tmp_path: Path):
    torch.save({"x": torch.zeros(1).expand(1 << 40)}, tmp_path / "x.pt")
    with pytest.raises(CheckpointError, match=r"holds 1\.1e\+12 numbers; expected at most"):
        read_tensors(tmp_path / "x.pt")


@pytest.mark.parametrize("content", [{"model": 3}, [torch.zeros(1)], {"epoch": 3}, torch.zeros(3)])
def test_a_pt_file_must_hold_named_tensors(tmp_path: Path, content: object):
    torch.save(content, tmp_path / "x.pt")
    with pytest.raises(CheckpointError, match="does not hold named tensors"):
        read_tensors(tmp_path / "x.pt")


@pytest.mark.parametrize(
    "content",
    [b"", b"PK", b"hello world", struct.pack("<Q", 1 << 60) + b"{}", struct.pack("<Q", 2) + b"{}x"],
    ids=["empty", "two bytes", "text", "header of an exabyte", "trailing byte"],
)
def test_what_is_no_file_of_weights_gives_a_clear_error(tmp_path: Path, content: bytes):
    path = tmp_path / "x.safetensors"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"x\.safetensors is (damaged|neither)"):
        read_tensors(path)


@pytest.mark.parametrize("suffix", ["pt", "safetensors"])
def test_a_file_that_was_cut_off_gives_a_clear_error(tmp_path: Path, suffix: str):
    path = tmp_path / f"x.{suffix}"
    tensors = {"x": torch.zeros(10_000)}
    torch.save({"model": tensors}, path) if suffix == "pt" else save_file(tensors, path)
    path.write_bytes(path.read_bytes()[:20_000])
    with pytest.raises(CheckpointError, match="cut off"):
        read_tensors(path)


def test_a_missing_file_is_named(tmp_path: Path):
    with pytest.raises(FileNotFoundError, match=r"nowhere\.pt; expected weights as \.safetensors or \.pt"):
        read_tensors(tmp_path / "nowhere.pt")
