"""What network a file of weights is for: written in it as JSON, or inferred from its tensors."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, fields, is_dataclass, replace
from itertools import pairwise
from typing import Any, get_args, get_origin, get_type_hints

from torch import Tensor

from masklet.checkpoints.errors import CheckpointError
from masklet.checkpoints.variants import image_part_only
from masklet.model.config import MODELS, HieraConfig, MobileConfig, NetworkConfig

ENCODERS: dict[str, type[HieraConfig] | type[MobileConfig]] = {"hiera": HieraConfig, "mobile": MobileConfig}
MAX_JSON = 1 << 20
MAX_NUMBER = 8192
"""No size of a network is larger; a file cannot make us build something absurd."""
MAX_ITEMS = 64
ADDED = {"still_size": 0, "keeps_shape": False, "weighs_stability": False, "trusts_single_mask": False}
"""Fields of a network that files of earlier versions lack."""
ADDED_TO_MEMORY = {"detailed": 1.0}


def config_to_json(config: NetworkConfig) -> dict[str, Any]:
    """Nested dictionaries and lists; the encoder says its kind."""
    kind = next(kind for kind, encoder in ENCODERS.items() if isinstance(config.encoder, encoder))
    values = json.loads(json.dumps(asdict(config)))
    return {**values, "encoder": {"kind": kind, **values["encoder"]}}


def config_from_json(values: object) -> NetworkConfig:
    """The inverse of ``config_to_json``.

    Raises:
        CheckpointError: a field is unknown, missing, or of the wrong type or size.
    """
    if isinstance(values, dict):
        values = {**ADDED, **values}
        memory = values.get("memory")
        if isinstance(memory, dict):
            values["memory"] = {**ADDED_TO_MEMORY, **memory}
    config = _read_record(NetworkConfig, values, "config")
    if config.width % 64 or config.image_size % 32 or config.still_size % 32:
        raise CheckpointError(
            f"width is {config.width}, image_size {config.image_size} and still_size {config.still_size}; expected "
            "multiples of 64, of 32 and of 32"
        )
    return config


def read_json(text: str | bytes, what: str) -> dict[str, Any]:
    """A JSON object of bounded size.

    Raises:
        CheckpointError: it is too long, or not an object.
    """
    if len(text) > MAX_JSON:
        raise CheckpointError(f"{what} is {len(text)} bytes long; expected at most {MAX_JSON}")
    try:
        values = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{what} is not JSON: {error}") from error
    if not isinstance(values, dict):
        raise CheckpointError(f"{what} is a JSON {type(values).__name__}; expected an object")
    return values


def _read_record(kind: type, values: object, where: str) -> Any:
    if not isinstance(values, dict):
        raise CheckpointError(f"{where} is {values!r:.60}; expected an object with the fields of {kind.__name__}")
    hints = get_type_hints(kind)
    unknown = values.keys() - hints.keys()
    if unknown:
        raise CheckpointError(
            f"{where} has the unknown fields {sorted(map(str, unknown))[:5]}; expected {sorted(hints)}"
        )
    read = {name: _read_value(hints[name], value, f"{where}.{name}") for name, value in values.items()}
    missing = [f.name for f in fields(kind) if f.name not in read]
    if missing:
        raise CheckpointError(f"{where} lacks {missing[:5]}; expected {sorted(hints)}")
    return kind(**read)


def _read_value(kind: Any, value: Any, where: str) -> Any:
    if kind == HieraConfig | MobileConfig:
        return _read_encoder(value, where)
    if is_dataclass(kind):
        return _read_record(kind, value, where)  # type: ignore[arg-type]
    if get_origin(kind) is tuple:
        return _read_tuple(get_args(kind), value, where)
    if kind is float and type(value) is int:
        value = float(value)
    if type(value) is not kind or (kind is int and not 0 <= value <= MAX_NUMBER) or (kind is str and len(value) > 200):
        raise CheckpointError(f"{where} is {value!r:.60}; expected {_expectation(kind)}")
    return value


def _expectation(kind: type) -> str:
    return f"an integer from 0 to {MAX_NUMBER}" if kind is int else f"a {kind.__name__}"


def _read_encoder(values: Any, where: str) -> HieraConfig | MobileConfig:
    kind = values.get("kind") if isinstance(values, dict) else None
    if kind not in ENCODERS:
        raise CheckpointError(f"{where}.kind is {kind!r:.60}; expected one of {', '.join(ENCODERS)}")
    return _read_record(ENCODERS[kind], {k: v for k, v in values.items() if k != "kind"}, where)


def _read_tuple(kinds: tuple[Any, ...], values: Any, where: str) -> tuple[Any, ...]:
    any_length = kinds[-1] is Ellipsis
    if not isinstance(values, list) or len(values) > MAX_ITEMS or (not any_length and len(values) != len(kinds)):
        length = f"at most {MAX_ITEMS}" if any_length else str(len(kinds))
        raise CheckpointError(f"{where} is {values!r:.60}; expected a list of {length} values")
    each = kinds[:1] * len(values) if any_length else kinds
    return tuple(
        _read_value(kind, value, f"{where}[{i}]") for i, (kind, value) in enumerate(zip(each, values, strict=True))
    )


def infer_config(tensors: Mapping[str, Tensor]) -> NetworkConfig:
    """The published network that tensors (ours in names and shapes) belong to.

    Width of the trunk and blocks per stage tell the size, the tensors that SAM 2.1 added the version. Pictures are
    taken to be 1024 pixels wide, as no tensor depends on it.

    Raises:
        CheckpointError: no published network has this trunk.
    """
    width, blocks = _trunk_width(tensors), _blocks_per_stage(tensors)
    trunks = [(c, c.encoder) for c in MODELS.values() if isinstance(c.encoder, HieraConfig)]
    fits = [config for config, trunk in trunks if (trunk.embed_dim, trunk.blocks) == (width, blocks)]
    if not fits:
        known = sorted({(trunk.embed_dim, trunk.blocks) for _, trunk in trunks})
        raise CheckpointError(
            f"no published network has a trunk of width {width} with {blocks} blocks; expected one of {known}. "
            "Weights of another network need its description: save_network writes it into the file, "
            "transformers writes config.json beside it"
        )
    if image_part_only(tensors):
        return replace(fits[0], name=f"{fits[0].name.partition('-')[2]}-image")
    marks, dates = "mark_absent.vector" in tensors, "memory_tokens.date.project.weight" in tensors
    exact = [c for c in fits if (c.marks_absence, c.dates_pointers) == (marks, dates)]
    return exact[0] if exact else replace(fits[0], marks_absence=marks, dates_pointers=dates)


def published_name(config: NetworkConfig) -> NetworkConfig:
    """``config`` under its published name, if it differs from a published network in nothing else."""
    same = (known for known in MODELS.values() if replace(config, name=known.name) == known)
    return next(same, config)


def _trunk_width(tensors: Mapping[str, Tensor]) -> int:
    patches = tensors.get("trunk.patches.weight")
    return 0 if patches is None or not patches.dim() else patches.shape[0]


def _blocks_per_stage(tensors: Mapping[str, Tensor]) -> tuple[int, ...]:
    """Every stage but the first begins with a block that widens its shortcut."""
    parts = [name.split(".") for name in tensors if name.startswith("trunk.blocks.")]
    blocks = sorted({int(part[2]) for part in parts if part[2].isdecimal()})
    starts = sorted({int(part[2]) for part in parts if part[3:] == ["shortcut", "weight"] and part[2].isdecimal()})
    edges = [0, *starts, len(blocks)]
    return tuple(end - start for start, end in pairwise(edges))
