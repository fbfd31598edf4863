"""Files of weights: two formats in, one out. Reading never executes what a file contains."""

from __future__ import annotations

import json
import os
import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

import masklet
from masklet.checkpoints.configs import MAX_JSON, config_to_json, read_json
from masklet.checkpoints.errors import CheckpointError
from masklet.model.sam2 import SegmentationNetwork

METADATA_KEY = "masklet"
MAX_VALUES = 1 << 30
"""More numbers than this are in no network of the family; the largest published one has 2.3e8."""


def save_network(
    network: SegmentationNetwork,
    path: str | Path,
    *,
    description: Mapping[str, Any],
    dtype: torch.dtype = torch.float32,
) -> None:
    """Write safetensors that say what they are.

    Args:
        network: any network; its configuration is written with it.
        path: replaced as a whole once everything is written.
        description: further facts as JSON: licence, how and on what it was trained, scores.
        dtype: how numbers are stored, ``torch.float16`` for half the size. Loading always gives float32.

    Raises:
        ValueError: the description is not JSON or too long, or a weight is too large for ``dtype``.
    """
    facts = {**description, "masklet": masklet.__version__, "config": config_to_json(network.config)}
    metadata = {"format": "pt", METADATA_KEY: _to_json(facts)}
    tensors = {name: _stored(name, tensor, dtype) for name, tensor in network.state_dict().items()}
    target = Path(path)
    partial = target.with_name(f".{target.name}.{os.getpid()}.partial")
    try:
        partial.write_bytes(save(tensors, metadata))
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)


def describe(path: str | Path) -> dict[str, Any]:
    """The description that ``save_network`` wrote: ``config``, ``masklet`` (version) and the facts given to it.

    Raises:
        CheckpointError: not safetensors, or without a description.
    """
    description = read_metadata(_existing(path)).get(METADATA_KEY)
    if description is None:
        raise CheckpointError(f"{path} has no description; only files written by masklet's save_network have one")
    return read_json(description, f"the description in {path}")


def read_metadata(path: Path) -> dict[str, str]:
    """What a safetensors file says about itself; nothing for other files."""
    if not _looks_like_safetensors(path):
        return {}
    try:
        with safe_open(path, framework="pt") as file:
            return file.metadata() or {}
    except SafetensorError as error:
        raise _damaged(path, error) from error


def read_tensors(path: str | Path) -> dict[str, Tensor]:
    """All tensors of a ``.safetensors`` file, or of a ``.pt`` file that holds nothing but tensors.

    Raises:
        FileNotFoundError: there is no such file.
        CheckpointError: it is damaged, holds something else than tensors, or far too much.
    """
    path = _existing(path)
    tensors = _read_safetensors(path) if _looks_like_safetensors(path) else _read_torch(path)
    total = sum(tensor.numel() for tensor in tensors.values())
    if total > MAX_VALUES:
        raise CheckpointError(f"{path} holds {total:.1e} numbers; expected at most {MAX_VALUES:.1e} for a network")
    return tensors


def _existing(path: str | Path) -> Path:
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}; expected weights as .safetensors or .pt")
    return path


def _looks_like_safetensors(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(9)[8:] == b"{"


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise _damaged(path, error) from error


def _read_torch(path: Path) -> dict[str, Tensor]:
    _require_plain_archive(path)
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{path} holds Python objects besides tensors and was not loaded, as they could run any code; "
            'expected {"model": {name: tensor}}. If you trust where it comes from, save its tensors as safetensors'
        ) from error
    except (RuntimeError, EOFError, KeyError, ValueError, TypeError, AttributeError, IndexError) as error:
        raise _damaged(path, error) from error
    tensors = content.get("model", content) if isinstance(content, dict) else content
    if not isinstance(tensors, dict) or not all(_is_plain(tensor) for tensor in tensors.values()):
        raise CheckpointError(f'{path} does not hold named tensors; expected {{"model": {{name: tensor}}}}')
    return {str(name): tensor for name, tensor in tensors.items()}


def _is_plain(value: object) -> bool:
    return isinstance(value, Tensor) and value.layout is torch.strided and not value.is_meta and not value.is_quantized


def _require_plain_archive(path: Path) -> None:
    """torch.save writes archives without compression; a compressed one could unpack to any size."""
    try:
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(entry.file_size for entry in archive.infolist())
    except zipfile.BadZipFile as error:
        raise CheckpointError(
            f"{path} is neither safetensors nor an archive as torch.save writes since version 1.6; "
            "it may be damaged or cut off: get it again"
        ) from error
    if unpacked > path.stat().st_size:
        raise CheckpointError(f"{path} is a compressed archive; expected one as torch.save writes, which is not")


def _damaged(path: Path, error: Exception) -> CheckpointError:
    return CheckpointError(f"{path} is damaged or cut off ({str(error)[:200]}); get it again")


def _to_json(facts: Mapping[str, Any]) -> str:
    try:
        text = json.dumps(facts)
    except TypeError as error:
        raise ValueError(f"the description is not JSON ({error}); use dicts, lists, strings, numbers") from error
    if len(text) > MAX_JSON:
        raise ValueError(f"the description is {len(text)} bytes long; expected at most {MAX_JSON}")
    return text


def _stored(name: str, tensor: Tensor, dtype: torch.dtype) -> Tensor:
    stored = tensor.detach().to("cpu", dtype) if tensor.is_floating_point() else tensor.detach().cpu()
    if not stored.isfinite().all():
        raise ValueError(f"{name} has numbers that {dtype} cannot hold; expected finite ones: save as torch.float32")
    return stored.contiguous()
