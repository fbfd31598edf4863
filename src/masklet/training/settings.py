"""settings.json: what a run follows from, written before its first step."""

from __future__ import annotations

import inspect
import json
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from types import FunctionType
from typing import TYPE_CHECKING, Any

import torch

import masklet

if TYPE_CHECKING:
    from masklet.training.loop import Recipe
    from masklet.training.parallel import Peers

NAME = "settings.json"
DEEPEST = 12
LONGEST = 8
"""Things of a list that are told; of a longer list only the first is."""
BROADEST = 50
"""Fields of a thing that are told."""
PLAIN = (bool, int, float, str)
LISTS = (list, tuple, set, frozenset)
NAMED = (type, FunctionType, Path, torch.Tensor)


@dataclass(frozen=True)
class Origin:
    """The file that a recipe was read from, and what was set on the command line."""

    path: Path
    settings: tuple[str, ...]
    text: str


def settings_of(recipe: Recipe, device: str, peers: Peers) -> dict[str, Any]:
    """The resolved recipe, the code and the machine it runs with, as JSON has it."""
    return {
        "recipe": told(recipe),
        "revision": revision(),
        "masklet": masklet.__version__,
        "torch": torch.__version__,
        "processes": peers.count,
        "device": device,
        "threads": torch.get_num_threads(),
    }


def write_settings(folder: Path, settings: Mapping[str, Any]) -> None:
    """settings.json; others that were there stay beside it as settings.1.json, settings.2.json and so on."""
    path, text = folder / NAME, json.dumps(settings, indent=2) + "\n"
    if path.exists() and path.read_text() != text:
        path.rename(next(free for n in range(1, 10_000) if not (free := path.with_suffix(f".{n}.json")).exists()))
    path.write_text(text)


def told(value: Any, depth: int = DEEPEST) -> Any:
    """A value as JSON: things by their fields, methods with what they are bound to, functions by their names.

    What is nested deeper, or is longer, than anybody reads is cut.
    """
    if value is None or isinstance(value, PLAIN):
        return value
    if depth == 0:
        return f"{type(value).__name__} ..."
    if isinstance(value, LISTS):
        more = [f"and {len(value) - 1} more"] if len(value) > LONGEST else []
        return [told(item, depth - 1) for item in islice(value, 1 if more else None)] + more
    parts = parts_of(value)
    if parts is None:
        return name_of(value)
    return {str(name): told(part, depth - 1) for name, part in islice(parts.items(), BROADEST)}


def parts_of(value: Any) -> Mapping[str, Any] | None:
    """What a thing consists of; None if its name says it all."""
    if isinstance(value, Mapping):
        return value
    if isinstance(value, partial):
        return {"call": value.func, "with": value.args, **value.keywords}
    if inspect.ismethod(value):
        return {"call": value.__name__, "of": value.__self__}
    if isinstance(value, NAMED) or not hasattr(value, "__dict__"):
        return None
    names = [field.name for field in fields(value)] if is_dataclass(value) else vars(value)
    return {"is": type(value).__name__, **{n: getattr(value, n) for n in names if not n.startswith("_")}}


def name_of(value: Any) -> str:
    """Functions and types as they are imported; other things as they are printed."""
    name = getattr(value, "__qualname__", None)
    return f"{value.__module__}.{name}" if name else str(value)


def revision() -> str:
    """The commit of the code, with "+" where files differ from it; outside of git the version of the package."""
    root = Path(masklet.__file__).parent
    described = git(root, "describe", "--always", "--dirty=+", "--abbrev=12")
    is_tracked = described and git(root, "ls-files", Path(masklet.__file__).name)
    return described if is_tracked else masklet.__version__


def git(folder: Path, *words: str) -> str:
    """What git says in a folder; nothing where it fails or is missing."""
    try:
        said = subprocess.run(["git", *words], cwd=folder, capture_output=True, text=True, check=False)  # noqa: S603, S607
    except OSError:
        return ""
    return said.stdout.strip() if said.returncode == 0 else ""
