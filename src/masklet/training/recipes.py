"""Recipe files: Python that says ``def recipe(**options) -> Recipe``, with a docstring for people."""

from __future__ import annotations

import inspect
import runpy
from collections.abc import Callable, Container, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, get_type_hints

import click

from masklet.training.loop import Recipe
from masklet.training.settings import Origin

COMMON = ("seed", "bfloat16", "workers", "save_every")
"""Fields of every recipe that can be set beside the options of its own."""


def read_recipe(path: Path, settings: Sequence[str] = ()) -> Recipe:
    """The recipe of a file, with options given as ``name=value``.

    Fields in ``COMMON`` can be set too. The file is code and is run: only use recipes that you would run yourself.
    Raises ValueError for files without a recipe, unknown names, missing or unreadable values.
    """
    if not path.is_file():
        raise FileNotFoundError(f"there is no recipe {path}")
    make = runpy.run_path(str(path), run_name="recipe").get("recipe")
    if not callable(make):
        raise ValueError(f"expected {path} to define a function called recipe; see recipes/ for examples")
    own, common = shared_out(settings, inspect.signature(make).parameters)
    recipe = make(**options_for(make, own))
    if not isinstance(recipe, Recipe):
        raise ValueError(f"expected recipe() of {path} to return a masklet.training.loop.Recipe, got {recipe!r}")
    return replace(recipe, **common, origin=Origin(path, tuple(settings), path.read_text()))


def shared_out(settings: Sequence[str], own: Container[str]) -> tuple[list[str], dict[str, Any]]:
    """Settings for the function, and values of the fields that every recipe has where the function has no such name."""
    hints = get_type_hints(Recipe)
    rest, common = [], {}
    for setting in settings:
        name, equals, text = setting.partition("=")
        if equals and name in COMMON and name not in own:
            common[name] = converted(name, text, hints[name])
        else:
            rest.append(setting)
    return rest, common


def options_for(make: Callable[..., Any], settings: Sequence[str]) -> dict[str, Any]:
    """``name=value`` for the parameters of a function, converted to the types that it declares."""
    parameters, hints = inspect.signature(make).parameters, get_type_hints(make)
    options: dict[str, Any] = {}
    for setting in settings:
        name, equals, text = setting.partition("=")
        if not equals or name not in parameters:
            known = dict.fromkeys([*parameters, *COMMON])
            raise ValueError(f"expected one of {', '.join(f'{name}=...' for name in known)}, got {setting!r}")
        options[name] = converted(name, text, hints.get(name, str))
    needed = [name for name, p in parameters.items() if p.default is inspect.Parameter.empty and name not in options]
    if needed:
        raise ValueError(f"this recipe needs {', '.join(f'{name}=...' for name in needed)}")
    return options


def converted(name: str, text: str, kind: type) -> Any:
    """Text as a value of a plain type or a path."""
    if kind is Path:
        return Path(text)
    try:
        return click.types.convert_type(kind).convert(text, None, None)
    except click.BadParameter as error:
        raise ValueError(f"{name}: {error.message}") from error
