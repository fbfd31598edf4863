"""A name or a file -> a network that is ready to use."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from masklet.checkpoints.configs import MAX_JSON, config_from_json, infer_config, read_json
from masklet.checkpoints.errors import CheckpointError
from masklet.checkpoints.files import METADATA_KEY, read_metadata, read_tensors
from masklet.checkpoints.hugging_face import TRANSFORMERS, config_from_transformers, from_transformers
from masklet.checkpoints.names import PUBLISHED, from_published
from masklet.checkpoints.registry import weights_path
from masklet.checkpoints.variants import adapt
from masklet.model.compiled import compile_parts
from masklet.model.config import NO_TRADES, NetworkConfig, Trades
from masklet.model.device import shapes_only
from masklet.model.precision import Precision
from masklet.model.sam2 import SegmentationNetwork
from masklet.model.trades import traded
from masklet.process import keep_freed_memory

LISTED = 8
"""Names of tensors in an error message, per kind of trouble."""


def load_network(
    name_or_path: str | Path = "pico",
    *,
    device: torch.device | str = "cpu",
    precision: Precision = "auto",
    trades: Trades = NO_TRADES,
    compiled: bool = False,
) -> SegmentationNetwork:
    """A network with its weights, float32, in evaluation mode.

    The process keeps its freed memory from then on, as ``masklet.process.keep_freed_memory`` says; with
    ``MASKLET_KEEPS_FREED_MEMORY=0`` in the environment it does not.

    Args:
        name_or_path: a name that ``masklet models`` lists (downloaded when it is not cached yet); or a file: published
            ``.pt``, the same tensors as ``.safetensors``, safetensors of transformers' ``Sam2VideoModel`` or
            ``Sam2Model`` (or their folder with config.json), or what ``save_network`` wrote.
        device: where the network shall be.
        precision: "auto" computes large products in bfloat16 where the device is faster with it, "exact" in float32;
            see ``SegmentationNetwork.set_precision``.
        trades: accuracy that is given for speed.
        compiled: have torch.compile translate the large parts, for long videos on a GPU; see
            ``masklet.model.compiled.compile_parts``.

    Returns:
        The network. Its ``has_memory`` is False for weights without the memory (``Sam2Model``): they do for images,
        not for videos.

    Raises:
        CheckpointError: the file is damaged, unsafe, or its tensors do not fit.
        FileNotFoundError: neither a known name nor a file.
        DownloadError: the weights could not be downloaded.
        ValueError: an unknown precision, trades that the network cannot make, or no compiler for ``compiled``.
    """
    if os.environ.get("MASKLET_KEEPS_FREED_MEMORY", "1") != "0":
        keep_freed_memory()
    network = read_network(weights_path(name_or_path))
    if trades != NO_TRADES:
        network = traded(network, trades)
    network = network.to(device).set_precision(precision).eval()
    return compile_parts(network) if compiled else network


def read_network(path: Path) -> SegmentationNetwork:
    """The network in a file, or in a folder as transformers writes it."""
    path = path / "model.safetensors" if path.is_dir() else path
    tensors, description = read_tensors(path), read_metadata(path).get(METADATA_KEY)
    layout = find_layout(tensors, path)
    ours = layout.to_ours(tensors)
    if description is not None:
        config = config_from_json(read_json(description, f"the description in {path}").get("config"))
    elif layout is LAYOUTS["transformers"] and (path.parent / "config.json").is_file():
        config = config_from_transformers(_read_config_file(path.parent / "config.json"))
    else:
        config = infer_config(ours)
    return build_network(config, ours, source=str(path), spell=layout.spell)


@dataclass(frozen=True)
class Layout:
    """A way to name the tensors."""

    marker: str
    """A tensor that only this layout has."""
    to_ours: Callable[[Mapping[str, Tensor]], dict[str, Tensor]]
    spell: Callable[[str], str]
    """Our name -> the layout's, for messages."""


LAYOUTS = {
    "published": Layout("image_encoder.neck.convs.0.conv.weight", from_published, PUBLISHED.backward),
    "transformers": Layout(
        "vision_encoder.neck.convs.0.weight",
        from_transformers,
        lambda name: TRANSFORMERS.backward(PUBLISHED.backward(name)),
    ),
    "masklet": Layout("neck.lateral16.weight", dict, str),
}


def find_layout(tensors: Mapping[str, Tensor], path: Path) -> Layout:
    """The layout that the tensors are named by."""
    for layout in LAYOUTS.values():
        if layout.marker in tensors:
            return layout
    raise CheckpointError(
        f"{path} does not hold a segmentation network of the SAM 2 family: it has {_listing(tensors)}; "
        f"expected tensors such as {' or '.join(layout.marker for layout in LAYOUTS.values())}"
    )


def build_network(
    config: NetworkConfig, tensors: Mapping[str, Tensor], *, source: str, spell: Callable[[str], str] = str
) -> SegmentationNetwork:
    """A network of ``config`` that has ``tensors`` (our names) as its weights, every one of them.

    Args:
        config: what to build.
        tensors: weights in our names; converted to float32.
        source: what the tensors are, for messages.
        spell: our name -> the name that the user knows it by.

    Raises:
        CheckpointError: tensors are missing, unexpected or of another shape; all kinds in one message.
    """
    with shapes_only():
        network = SegmentationNetwork(config)
        adapt(network, tensors)
    expected = network.state_dict()
    troubles = mismatches(expected, tensors, spell)
    if troubles:
        raise CheckpointError(
            f"{source} does not fit the network {config.name}: {'; '.join(troubles)}. "
            "Expected every tensor of that network and no other; get the file again"
        )
    network.load_state_dict({name: tensors[name].to(like.dtype) for name, like in expected.items()}, assign=True)
    return network


def mismatches(
    expected: Mapping[str, Tensor], given: Mapping[str, Tensor], spell: Callable[[str], str] = str
) -> list[str]:
    """What hinders ``given`` from being loaded, one sentence for each kind."""
    missing = [spell(name) for name in expected if name not in given]
    unexpected = [spell(name) for name in given if name not in expected]
    misshapen = [
        f"{spell(name)} is {_shape(given[name])} instead of {_shape(tensor)}"
        for name, tensor in expected.items()
        if name in given and given[name].shape != tensor.shape
    ]
    kinds = {"missing": missing, "unexpected": unexpected, "misshapen": misshapen}
    return [f"{len(names)} {kind} ({_listing(names)})" for kind, names in kinds.items() if names]


def _read_config_file(path: Path) -> dict[str, object]:
    with path.open("rb") as file:
        return read_json(file.read(MAX_JSON + 1), str(path))


def _shape(tensor: Tensor) -> str:
    return "x".join(str(n) for n in tensor.shape) or "a single number"


def _listing(names: Iterable[str]) -> str:
    names = list(names)
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return ", ".join(name[:120] for name in names[:LISTED]) + more
