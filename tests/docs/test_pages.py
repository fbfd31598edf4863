from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator, Mapping
from contextlib import suppress
from importlib import import_module
from importlib.util import find_spec
from inspect import isabstract, isclass, signature
from pathlib import Path
from typing import Any, cast, get_type_hints

import click
import pytest

import masklet

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "src/masklet/assets/README.md", *sorted((ROOT / "docs").rglob("*.md"))]
FENCE = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
TARGET = re.compile(r"^([a-z]+):", re.MULTILINE)


def blocks(*languages: str) -> list:
    found = [(page, match) for page in PAGES for match in FENCE.finditer(page.read_text())]
    return [
        pytest.param(match[2], id=f"{page.relative_to(ROOT)}:{match.start()}")
        for page, match in found
        if match[1] in languages
    ]


def commands() -> list:
    lines = [line for block in blocks("console", "sh") for line in block.values[0].replace("\\\n", " ").splitlines()]
    return [line.removeprefix("$ ") for line in lines if line.removeprefix("$ ").startswith(("masklet ", "make"))]


def anchors(page: Path) -> set[str]:
    text = FENCE.sub("", page.read_text())
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in HEADING.findall(text)}


def names_of_masklet(tree: ast.AST) -> Iterator[tuple[str, str]]:
    """(module, name) for what an example imports from masklet or reads as an attribute of it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "masklet":
            yield from ((node.module or "", alias.name) for alias in node.names)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "masklet":
            yield "masklet", node.attr


def wrong_calls(code: str) -> list[str]:
    """Calls of masklet's functions, classes and methods with arguments that these do not have, and why."""
    tree = ast.parse(code)
    names: dict[str, Any] = {"masklet": masklet}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "masklet":
            module = import_module(node.module or "")
            names |= {alias.asname or alias.name: getattr(module, alias.name, None) for alias in node.names}
        for name, value in made(node):
            names[name] = meaning(value, names)
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    return [f"{ast.unparse(call)}: {why}" for call in calls if (why := problem(call, meaning(call.func, names)))]


def made(node: ast.AST) -> Iterator[tuple[str, ast.expr]]:
    """(name, expression) for a variable that a statement makes."""
    if isinstance(node, ast.Assign):
        yield from ((target.id, node.value) for target in node.targets if isinstance(target, ast.Name))
    if isinstance(node, ast.With):
        yield from ((i.optional_vars.id, i.context_expr) for i in node.items if isinstance(i.optional_vars, ast.Name))


def meaning(node: ast.expr, names: Mapping[str, Any]) -> Any:
    """What an expression stands for; None where that is not known. An instance is an empty one of its class."""
    if isinstance(node, ast.Name):
        return names.get(node.id)
    if isinstance(node, ast.Attribute):
        return getattr(meaning(node.value, names), node.attr, None)
    made_of = meaning(node.func, names) if isinstance(node, ast.Call) else None
    with suppress(TypeError, NameError):
        made_of = made_of if isclass(made_of) else get_type_hints(made_of).get("return")
    is_ours = isclass(made_of) and made_of.__module__.split(".")[0] == "masklet" and not isabstract(made_of)
    return cast(Any, object).__new__(made_of) if is_ours else None


def problem(call: ast.Call, called: Any) -> str | None:
    """Why a call cannot be made; None where it can, or its arguments are not written out."""
    written_out = all(keyword.arg for keyword in call.keywords) and not any(
        isinstance(a, ast.Starred) for a in call.args
    )
    if callable(called) and written_out:
        try:
            signature(called).bind(*call.args, **{str(keyword.arg): keyword.value for keyword in call.keywords})
        except TypeError as error:
            return str(error)
    return None


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page: Path):
    for link in LINK.findall(FENCE.sub("", page.read_text())):
        if link.startswith("https://"):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{link} leads nowhere"
        assert not anchor or anchor in anchors(target), f"{link}: there is no such heading"


@pytest.mark.parametrize("code", blocks("python"))
def test_python_examples_use_names_that_exist(code: str):
    for module, name in names_of_masklet(ast.parse(code)):
        if not hasattr(import_module(module), name):
            assert find_spec(f"{module}.{name}"), f"there is no {module}.{name}"


@pytest.mark.parametrize("code", blocks("python"))
def test_python_examples_call_with_arguments_that_exist(code: str):
    assert not wrong_calls(code)


@pytest.mark.parametrize(
    ("code", "why"),
    [
        ("from masklet.data.sampling import ClipSampling as Some\nSome(frames=8, size=512)", "'size'"),
        ("import masklet\nmasklet.Box(1, 2, 3)", "'y1'"),
        ("import masklet\nsession = masklet.VideoSession(masklet.load(), 'a.mp4')\nsession.prompt(frame=0)", "'obj'"),
        ("import masklet\nmasklet.ImageSession(masklet.load()).predict(mask=None, best=True)", "'best'"),
        ("from masklet.data.datasets import open_dataset\nopen_dataset('sav', 'a').report(short=True)", "'short'"),
    ],
)
def test_a_call_with_arguments_that_do_not_exist_is_found(code: str, why: str):
    (found,) = wrong_calls(code)
    assert why in found


@pytest.mark.parametrize("line", commands())
def test_commands_and_their_options_exist(line: str):
    program, *words = shlex.split(line, comments=True)
    if program == "make":
        assert set(words) <= set(TARGET.findall((ROOT / "Makefile").read_text()))
        return
    main = import_module("masklet.cli").main
    if words[0].startswith("-"):
        return
    command = main
    while isinstance(command, click.Group):
        name = words.pop(0)
        command = command.get_command(click.Context(command), name)
        assert command, f"there is no command {name} in: {line}"
    known = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
    options = {word.partition("=")[0] for word in words if word.startswith("--")} - {"--help"}
    assert options <= known


def test_the_public_names_are_all_shown_in_the_readme():
    readme = (ROOT / "README.md").read_text()
    assert not [name for name in masklet.__all__ if not name.startswith("_") and name not in readme]
