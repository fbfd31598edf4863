from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

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
