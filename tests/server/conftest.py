"""A network that answers in milliseconds, small clips, and a server in the same process."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from fastapi.testclient import TestClient
from tests.video.clips import make_video

from masklet.model.config import HieraConfig, MemoryConfig, NetworkConfig
from masklet.model.sam2 import SegmentationNetwork
from masklet.server import workspaces
from masklet.server.app import make_app
from masklet.server.limits import Limits
from masklet.server.normalise import normalise
from masklet.video.read import open_frames

FRAMES = 10
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
PATIENCE_SECONDS = 60.0
HOST = "localhost"


@pytest.fixture(scope="session")
def network() -> SegmentationNetwork:
    """Random weights that see every object."""
    torch.manual_seed(7)
    network = SegmentationNetwork(SMALL)
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.ndim > 1:
                parameter.normal_(std=(parameter.numel() / len(parameter)) ** -0.5)
        network.get_parameter("mask_decoder.presence_head.layers.2.bias").fill_(5.0)
    return network.eval()


@pytest.fixture(scope="session")
def uploaded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten numbered frames of 96x64, with B-frames."""
    return make_video(tmp_path_factory.mktemp("uploaded") / "clip.mp4", FRAMES)


@pytest.fixture(scope="session")
def prepared(uploaded: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """The folder of the same clip as the server keeps it, and what is known of it."""
    folder = tmp_path_factory.mktemp("prepared")
    with open_frames(uploaded) as source:
        return folder, normalise(source, folder, 1920, lambda news: None)


@pytest.fixture(scope="session")
def clip(prepared: tuple[Path, dict[str, Any]]) -> Path:
    """The clip as the server keeps it."""
    return prepared[0] / "video.mp4"


@pytest.fixture
def quick(prepared: tuple[Path, dict[str, Any]], monkeypatch: pytest.MonkeyPatch) -> None:
    """Spares the process that makes a video ready, where another thing is tested: whatever comes is the clip."""

    async def copy(paths: object, folder: Path, *_: object) -> dict[str, Any]:
        shutil.copytree(prepared[0], folder, dirs_exist_ok=True)
        return prepared[1]

    monkeypatch.setattr(workspaces, "prepare", copy)


@pytest.fixture
def served(network: SegmentationNetwork, tmp_path: Path) -> Iterator[Callable[..., TestClient]]:
    """Starts servers with single limits by name; ``token``, ``hosts`` and ``keep`` as for ``make_app``."""
    clients = []

    def start(
        token: str | None = None, hosts: tuple[str, ...] = (HOST,), keep: Path | None = None, **limits: Any
    ) -> TestClient:
        app = make_app(network, limits=Limits(**limits), hosts=hosts, token=token, folder=tmp_path, keep=keep)
        client = TestClient(app, base_url=f"http://{HOST}")
        client.__enter__()
        clients.append(client)
        return client

    yield start
    for client in clients:
        if client.portal is not None:
            client.__exit__(None, None, None)


def upload(client: TestClient, data: bytes, name: str = "clip.mp4", part: int = 1 << 20) -> str:
    """Sends a file in parts; its identifier."""
    identifier = client.post("/api/uploads", json={"size": len(data), "name": name}).json()["id"]
    for offset in range(0, len(data), part):
        assert send_part(client, identifier, offset, data[offset : offset + part]).status_code == 204
    return identifier


def send_part(client: TestClient, identifier: str, offset: int, data: bytes) -> Any:
    headers = {"Upload-Offset": str(offset), "Content-Type": "application/offset+octet-stream"}
    return client.patch(f"/api/uploads/{identifier}", content=data, headers=headers)


def settled(client: TestClient, path: str, running: str) -> dict[str, Any]:
    """What the server says once a thing is no longer in a state."""
    end = time.monotonic() + PATIENCE_SECONDS
    while (now := client.get(path).json())["state"] == running:
        assert time.monotonic() < end, f"{path} is still {now}"
        time.sleep(0.05)
    return now


def opened(client: TestClient, *paths: Path) -> dict[str, Any]:
    """A session of these files, once it is ready or has failed."""
    uploads = [upload(client, path.read_bytes(), path.name) for path in paths]
    answer = client.post("/api/sessions", json={"uploads": uploads})
    assert answer.status_code == 201, answer.text
    return settled(client, f"/api/sessions/{answer.json()['id']}", "preparing")
