"""Makes an environment in which benchmarks and `masklet evaluate --runner sam2` find the published package sam2.

Command: .venv/bin/python benchmarks/peers.py .venv-peers
Then: .venv-peers/bin/python benchmarks/published_peer.py, and benchmarks/everything_peer.py likewise. Time: a minute.

The new environment sees everything that the running one has (masklet and torch are not installed twice) and has, in
addition, sam2 1.1.0 and what that needs. Nothing is installed with its dependencies, so that torch stays as it is.

Where torch was built without CUDA, the wheel of torchvision for Linux does not fit: its compiled part wants CUDA. All
that sam2 needs of torchvision is Python code and one operator, nms. So the wheel for macOS is taken, whose Python code
is the same, and nms is given in Python.
"""

from __future__ import annotations

import os
import subprocess
import sysconfig
import venv
from pathlib import Path

import click
import torch

PEERS = (
    "sam2==1.1.0",
    "hydra-core==1.3.8",
    "omegaconf==2.4.0",
    "iopath==0.1.10",
    "portalocker==4.4.2",
    "antlr4-python3-runtime==4.9.3",
    "transformers==5.24.0",
    "tokenizers==0.23.3",
    "huggingface_hub==2.4.0",
    "regex==2026.11.15",
)
BUILDERS = ("setuptools==80.9.0", "wheel==0.45.1")
"""Some of these come as sources only, to be built with the environment's torch."""
FOREIGN_PLATFORM = "macosx_14_0_arm64"
OPERATORS = '''"""Stands in for the compiled operators of torchvision: nms computes, others are not there."""

import torch

for name in ("nms", "qnms"):
    torch.library.define(f"torchvision::{name}", "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")


@torch.library.impl("torchvision::nms", "CPU")
def nms(dets, scores, iou_threshold):
    sizes = (dets[:, 2:] - dets[:, :2]).prod(dim=1)
    waiting, kept = scores.argsort(descending=True, stable=True), []
    while len(waiting):
        best, waiting = waiting[0], waiting[1:]
        kept.append(best)
        low = torch.maximum(dets[best, :2], dets[waiting, :2])
        high = torch.minimum(dets[best, 2:], dets[waiting, 2:])
        shared = (high - low).clamp(min=0).prod(dim=1)
        waiting = waiting[shared / (sizes[best] + sizes[waiting] - shared) <= iou_threshold]
    return torch.stack(kept) if kept else scores.new_empty(0, dtype=torch.int64)
'''
USES_OPERATORS = """

import peer_operators  # noqa: E402, F401


def _assert_has_ops():  # noqa: F811
    pass
"""


def torchvision_version() -> str:
    """torchvision 0.(n + 15) belongs to torch 2.n."""
    major, minor = torch.__version__.split(".")[:2]
    assert major == "2", f"expected torch 2, got {torch.__version__}"
    return f"0.{int(minor) + 15}.0"


def pip(python: Path, *arguments: str) -> None:
    command = [str(python), "-m", "pip", "install", "--quiet", "--no-compile", "--no-deps", *arguments]
    subprocess.run(command, check=True, env={**os.environ, "SAM2_BUILD_CUDA": "0"})


def add_python_part_of_torchvision(python: Path, packages: Path) -> None:
    pip(
        python, "--only-binary=:all:", "--platform", FOREIGN_PLATFORM, "--upgrade", "--target", str(packages),
        f"torchvision=={torchvision_version()}",
    )  # fmt: skip
    for compiled in (packages / "torchvision").glob("*.so"):
        compiled.unlink()
    (packages / "peer_operators.py").write_text(OPERATORS)
    extension = packages / "torchvision" / "extension.py"
    extension.write_text(extension.read_text() + USES_OPERATORS)


@click.command(help=__doc__)
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
def main(folder: Path) -> None:
    folder = folder.resolve()
    python = folder / "bin" / "python"
    if not python.exists():
        venv.create(folder, with_pip=True)
    packages = Path(sysconfig.get_path("purelib", vars={"base": str(folder), "platbase": str(folder)}))
    (packages / "over.pth").write_text(f"import site; site.addsitedir({sysconfig.get_path('purelib')!r})\n")
    pip(python, *BUILDERS)
    pip(python, "--no-build-isolation", *PEERS)
    if torch.version.cuda:
        pip(python, f"torchvision=={torchvision_version()}")
    else:
        add_python_part_of_torchvision(python, packages)
    subprocess.run([str(python), "-c", "from sam2 import build_sam, automatic_mask_generator"], check=True)
    click.echo(f"{python} has {', '.join(PEERS)} and torchvision {torchvision_version()}")


if __name__ == "__main__":
    main()
