from __future__ import annotations

import numpy as np
import pytest
import torch
from torch._dynamo.utils import counters

from masklet.model.compiled import OTHER_SIZES, SAME_SIZES, compile_parts
from masklet.model.sam2 import SegmentationNetwork
from masklet.prompts import Points
from masklet.sessions.results import FrameResult
from masklet.sessions.video import VideoSession

from ..sessions.conftest import KEYED, SMALL, make_network


def followed(network: SegmentationNetwork, frames: list[np.ndarray], objects: int) -> list[FrameResult]:
    with VideoSession(network, frames) as session:
        for obj in range(objects):
            session.prompt(0, obj, Points((15 + 5 * obj, 20)))
        return list(session.propagate())


@pytest.mark.parametrize("config", [SMALL, KEYED], ids=["keys from memory", "keys from image"])
def test_a_compiled_network_follows_as_the_plain_one_and_is_translated_once_for_all_counts(config):
    rng = np.random.default_rng(0)
    frames = list(rng.integers(0, 255, (9, 48, 80, 3), dtype=np.uint8))
    plain, compiled = make_network(config), compile_parts(make_network(config), backend="aot_eager")
    torch.compiler.reset()
    counters.clear()
    for objects in (1, 3, 2):
        pairs = zip(followed(plain, frames, objects), followed(compiled, frames, objects), strict=True)
        for seen, expected in pairs:
            torch.testing.assert_close(expected.low_res_ohw, seen.low_res_ohw, atol=1e-3, rtol=1e-3)
    assert not counters["graph_break"]
    parts = len(SAME_SIZES + OTHER_SIZES)
    assert parts <= counters["stats"]["unique_graphs"] <= 3 * parts  # one thing may be there once, or several times
    assert compiled.state_dict().keys() == plain.state_dict().keys()


def test_without_a_compiler_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(ValueError, match=r"need a C\+\+ compiler, found neither g\+\+ nor clang\+\+; install one"):
        compile_parts(make_network(SMALL))
