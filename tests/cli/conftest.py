"""A clip, a picture and weights that are small enough for the whole command line to run in moments."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from PIL import Image

from masklet.checkpoints import save_network
from masklet.cli import main
from masklet.model.config import HieraConfig, MemoryConfig, NetworkConfig
from masklet.model.sam2 import SegmentationNetwork

FRAMES = 6
HEIGHT, WIDTH = 48, 64
SMALL = NetworkConfig(
    name="small-for-tests",
    encoder=HieraConfig(embed_dim=16, heads=1, blocks=(1, 1, 1, 1), global_blocks=(2,)),
    image_size=64,
    width=64,
    mask_channels=(16, 8),
    decoder_heads=2,
    decoder_feedforward=32,
    memory=MemoryConfig(channels=16, slots=3, pointers=4, layers=1, feedforward=32),
)


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random ones. What they find is of no use, but it is the same every time."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "small.safetensors"
    save_network(SegmentationNetwork(SMALL), path, description={})
    return path


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six frames at 10 frames a second, with sound."""
    return write_clip(tmp_path_factory.mktemp("clip") / "clip.mp4", FRAMES, sound=True)


@pytest.fixture(scope="session")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("photo") / "photo.png"
    Image.fromarray(frame_of(0)).save(path)
    return path


@pytest.fixture
def masklet(weights: Path) -> Callable[..., Result]:
    """Runs a command of masklet, where it takes weights with the small ones."""

    def run(*arguments: object) -> Result:
        takes_weights = arguments[0] in ("segment", "track", "demo") and "--weights" not in arguments
        more = ("--weights", weights) if takes_weights else ()
        return CliRunner().invoke(main, [str(argument) for argument in (*arguments, *more)])

    return run


def frame_of(number: int) -> np.ndarray:
    frame = np.full((HEIGHT, WIDTH, 3), 60, dtype=np.uint8)
    frame[10:30, 4 * number : 4 * number + 20] = (220, 180, 40)
    return frame


def write_clip(path: Path, frames: int, *, sound: bool = False, rate: int = 10) -> Path:
    with av.open(str(path), "w") as output:
        stream = output.add_stream("libx264", rate=rate)
        stream.height, stream.width, stream.pix_fmt = HEIGHT, WIDTH, "yuv420p"
        tone = output.add_stream("aac", rate=48000) if sound else None
        for number in range(frames):
            output.mux(stream.encode(av.VideoFrame.from_ndarray(frame_of(number % 10))))
        output.mux(stream.encode(None))
        if tone is not None:
            silence = av.AudioFrame.from_ndarray(np.zeros((2, 4800 * frames), np.float32), "fltp", "stereo")
            silence.sample_rate = 48000
            output.mux(tone.encode(silence))
            output.mux(tone.encode(None))
    return path
