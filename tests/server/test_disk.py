from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from masklet.server import disk
from masklet.server.disk import Disk
from masklet.server.errors import Refusal


def test_everything_in_the_folder_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(disk, "MEASURE_SECONDS", 0.0)
    place = Disk(tmp_path, 1000, 1)
    place.check(999)
    (tmp_path / "deep" / "er").mkdir(parents=True)
    (tmp_path / "deep" / "er" / "video").write_bytes(bytes(600))
    with pytest.raises(Refusal, match="no room left"):
        place.check(400)
    place.check(399)
    shutil.rmtree(tmp_path / "deep")
    place.check(999)


def test_what_is_written_counts_before_it_is_measured(tmp_path: Path):
    place = Disk(tmp_path, 1000, 1)
    place.check(500)
    place.take(600)
    with pytest.raises(Refusal):
        place.check(400)


def test_some_of_the_disk_is_left_to_others(tmp_path: Path):
    free = shutil.disk_usage(tmp_path).free
    with pytest.raises(Refusal):
        Disk(tmp_path, 1 << 60, 2 * free).check()
