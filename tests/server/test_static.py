"""The page as it is shipped."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import pytest

from masklet.server.app import STATIC

WEB = Path(__file__).parents[2] / "web"
RECORD = STATIC / "built.sha256"


def files(folder: Path) -> list[Path]:
    passed = ("node_modules", RECORD.name)
    entries = [entry for entry in folder.iterdir() if entry.name not in passed and not entry.name.startswith(".")]
    own = [entry for entry in entries if entry.is_file()]
    return own + [path for entry in entries if entry.is_dir() for path in files(entry)]


def digest(folder: Path) -> str:
    """As web/vite.config.ts makes it when the page is built."""
    found = hashlib.sha256()
    for name in sorted(path.relative_to(folder).as_posix() for path in files(folder)):
        found.update(f"{name}\0".encode() + (folder / name).read_bytes() + b"\0")
    return found.hexdigest()


def recorded() -> dict[str, str]:
    """Name of a folder -> what it held when the page was built."""
    return {name: value for value, name in map(str.split, RECORD.read_text().splitlines())}


@pytest.mark.skipif(not WEB.is_dir(), reason="the sources of the page are not here")
def test_the_built_page_matches_its_sources():
    assert digest(WEB) == recorded()["web"], "web/ was changed since the page was built; run: make web"


def test_the_shipped_page_is_what_was_built_and_nothing_else():
    assert digest(STATIC) == recorded()["static"], "what ships is not what was built; run: make web"


def test_the_page_names_files_that_are_there_and_nothing_elsewhere():
    page = (STATIC / "index.html").read_text()
    names = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert len(names) >= 3
    assert all((STATIC / name).is_file() for name in names)
    assert "<style" not in page
    assert "<script>" not in page


def test_the_page_is_small():
    assert sum(path.stat().st_size for path in STATIC.rglob("*") if path.is_file()) < 300_000
