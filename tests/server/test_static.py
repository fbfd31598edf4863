"""The page as it is shipped."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import pytest

from masklet.server.app import STATIC

WEB = Path(__file__).parents[2] / "web"


def sources(folder: Path) -> list[Path]:
    entries = [entry for entry in folder.iterdir() if entry.name != "node_modules" and not entry.name.startswith(".")]
    files = [entry for entry in entries if entry.is_file()]
    return files + [path for entry in entries if entry.is_dir() for path in sources(entry)]


@pytest.mark.skipif(not WEB.is_dir(), reason="the sources of the page are not here")
def test_the_built_page_matches_its_sources():
    digest = hashlib.sha256()
    for name in sorted(path.relative_to(WEB).as_posix() for path in sources(WEB)):
        digest.update(f"{name}\0".encode() + (WEB / name).read_bytes() + b"\0")
    recorded = (STATIC / "sources.sha256").read_text().strip()
    assert digest.hexdigest() == recorded, "web/ was changed since the page was built; run: make web"


def test_the_page_names_files_that_are_there_and_nothing_elsewhere():
    page = (STATIC / "index.html").read_text()
    names = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert len(names) >= 3
    assert all((STATIC / name).is_file() for name in names)
    assert "<style" not in page
    assert "<script>" not in page


def test_the_page_is_small():
    assert sum(path.stat().st_size for path in STATIC.rglob("*") if path.is_file()) < 300_000
