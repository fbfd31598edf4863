from __future__ import annotations

import pytest

from masklet.checkpoints.download import sha256_of
from masklet.checkpoints.registry import PICO, PUBLISHED
from masklet.evaluation.identity import content_of, identity
from masklet.evaluation.plan import Plan, VosProtocol

PLAN = Plan("folder", "data", None, VosProtocol(), precision="auto", device="cpu")


def test_named_weights_are_told_by_what_was_published_without_getting_them():
    assert content_of("sam2.1-hiera-large") == PUBLISHED["sam2.1-hiera-large"].sha256
    assert content_of("pico") == sha256_of(PICO.path)


def test_a_folder_of_transformers_is_its_weights_and_its_configuration(tmp_path):
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    (tmp_path / "config.json").write_text("{}")
    first = content_of(str(tmp_path))
    (tmp_path / "config.json").write_text('{"image_size": 512}')
    assert first != content_of(str(tmp_path)) == content_of(str(tmp_path / "model.safetensors"))


def test_weights_that_are_not_there_are_named():
    with pytest.raises(FileNotFoundError, match=r"no weights 'gone\.pt'"):
        content_of("gone.pt")


def test_the_precision_is_what_the_device_computes_with():
    assert identity(PLAN)["precision"] in ("exact", "bfloat16")
    assert "device" not in identity(PLAN)
