from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from importlib import metadata
from pathlib import Path

import av
import pytest
from packaging.requirements import Requirement

import masklet
from masklet.prompts import Box

ROOT = Path(__file__).parents[1]
PACKAGE = Path(masklet.__file__).parent
ASSETS = PACKAGE / "assets"
SUPPORTED = ("3.10", "3.11", "3.12", "3.13")


def declared() -> list[Requirement]:
    return [Requirement(text) for text in metadata.requires("masklet") or []]


def pins() -> list[Requirement]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    return [Requirement(line) for line in lines if line and not line.startswith("#")]


def canonical(requirement: Requirement) -> str:
    return requirement.name.lower().replace("_", "-")


def pinned_names(python: str) -> set[str]:
    environment = {"python_version": python, "python_full_version": f"{python}.99"}
    return {canonical(pin) for pin in pins() if pin.marker is None or pin.marker.evaluate(environment)}


def test_importing_masklet_does_not_import_torch():
    code = "import masklet, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("name", masklet.__all__)
def test_every_public_name_can_be_imported(name: str):
    assert getattr(masklet, name) is not None
    assert name in dir(masklet)


def test_an_unknown_name_is_an_attribute_error_that_lists_the_public_ones():
    with pytest.raises(AttributeError, match="VideoSession"):
        _ = masklet.Segmenter  # pyright: ignore[reportAttributeAccessIssue]


def test_the_installed_version_is_the_one_in_the_package():
    assert metadata.version("masklet") == masklet.__version__


def test_the_package_says_that_it_is_typed():
    assert (Path(masklet.__file__).parent / "py.typed").is_file()


def test_the_wheel_ships_every_file_of_the_package_the_built_page_included(tmp_path: Path):
    code = "import sys; from hatchling.build import build_wheel; build_wheel(sys.argv[1])"
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], cwd=ROOT, check=True)
    (wheel,) = tmp_path.glob("*.whl")
    files = {path.relative_to(PACKAGE.parent) for path in PACKAGE.rglob("*") if path.is_file()}
    wanted = {path.as_posix() for path in files if "__pycache__" not in path.parts}
    assert "masklet/server/static/index.html" in wanted
    with zipfile.ZipFile(wheel) as archive:
        assert wanted <= set(archive.namelist())


@pytest.mark.parametrize("python", SUPPORTED)
def test_every_declared_requirement_is_pinned(python: str):
    missing = {canonical(requirement) for requirement in declared()} - pinned_names(python) - {"masklet"}
    assert not missing


def test_pins_are_exact_and_within_what_is_declared():
    allowed = {canonical(requirement): requirement.specifier for requirement in declared()}
    for pin in pins():
        (exact,) = pin.specifier
        assert exact.operator == "=="
        assert canonical(pin) not in allowed or exact.version in allowed[canonical(pin)]


def test_torch_is_pinned_without_a_cuda_package():
    assert "torch==2.13.0" in map(str, pins())
    assert not [pin for pin in pins() if pin.name.startswith(("nvidia", "cuda", "triton"))]


def test_the_demo_clip_is_small_and_has_the_frames_its_page_says():
    assert (ASSETS / "demo.mp4").stat().st_size <= 3_000_000
    with av.open(str(ASSETS / "demo.mp4")) as container:
        frames = [(frame.height, frame.width) for frame in container.decode(video=0)]
    assert frames == [(480, 640)] * 150


def test_the_demo_prompt_is_a_box_inside_the_first_frame():
    (prompt,) = json.loads((ASSETS / "demo.json").read_text())
    assert (prompt["frame"], prompt["object"]) == (0, 1)
    Box.of(prompt["box"]).check_inside((480, 640))
