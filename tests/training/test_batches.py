from __future__ import annotations

from typing import Any

import numpy as np
import torch

from masklet.data.synthetic import Clip
from masklet.training.batches import SeededBatches, Source, collate, loader
from masklet.training.parallel import Peers


def numbered(seed: int) -> Clip:
    rng = np.random.default_rng(seed)
    frames = rng.integers(0, 255, (3, 32, 32, 3), dtype=np.uint8)
    masks = np.zeros((2, 3, 32, 32), dtype=bool)
    masks[:, :, 4:20, 2:9] = True
    return Clip(frames, masks, "numbered")


def test_rows_of_a_batch_know_their_clip():
    batch = collate([numbered(0), numbered(1)])
    assert batch.frames_bfchw.shape == (2, 3, 3, 32, 32)
    assert batch.masks_ofhw.shape == (4, 3, 32, 32)
    assert batch.clip_o.tolist() == [0, 0, 1, 1]


def test_images_are_normalised_frame_by_frame():
    clip = numbered(0)
    pixel = collate([clip]).images()[1, :, 5, 6]
    expected = (clip.frames_fhwc[1, 5, 6] / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    np.testing.assert_allclose(pixel.numpy(), expected, rtol=1e-5)


def batches(steps: range, **more: Any) -> SeededBatches:
    return SeededBatches([Source(numbered, clips=2)], seed=3, steps=steps, **more)


def test_a_batch_depends_on_its_step_alone():
    early = batches(range(5))[4]
    late = batches(range(4, 5))[0]
    assert torch.equal(early.frames_bfchw, late.frames_bfchw)
    assert early.seeds == late.seeds
    other = batches(range(3, 5))[0]
    assert not torch.equal(early.frames_bfchw, other.frames_bfchw)


def test_a_step_comes_as_its_parts():
    parts = next(loader(batches(range(2), parts=3), workers=0))
    assert [len(part.seeds) for part in parts] == [2, 2, 2]
    assert len({seed for part in parts for seed in part.seeds}) == 6


def test_objects_have_the_same_chance_whatever_is_beside_them():
    alone = collate([numbered(5)], [5]).generators()
    beside = collate([numbered(4), numbered(5)], [4, 5]).generators()[2:]
    assert [rng.random() for rng in alone] == [rng.random() for rng in beside]


def test_sources_are_chosen_as_often_as_they_weigh():
    rare, often = Source(numbered, name="rare"), Source(numbered, weight=3, name="often")
    mixed = SeededBatches([rare, often], seed=0, steps=range(400))
    share = np.mean([mixed.source(step).name == "often" for step in range(400)])
    assert 0.68 < share < 0.82


def test_peers_and_parts_share_out_the_clips_of_one_bigger_batch():
    def seeds(clips: int, parts: int, peers: Peers) -> list[int]:
        made = SeededBatches([Source(numbered, clips=clips)], seed=3, steps=range(5, 6), parts=parts, peers=peers)
        return [seed for part in range(parts) for seed in made[part].seeds]

    whole = seeds(8, 1, Peers())
    assert seeds(2, 2, Peers(0, 2)) + seeds(2, 2, Peers(1, 2)) == whole
