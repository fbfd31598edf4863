from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from masklet.model.sam2 import SegmentationNetwork
from masklet.prompts import Box, Mask, Points
from masklet.sessions.image import ImageSession
from masklet.sessions.video import VideoSession

from .conftest import KEYED, make_network

CLICK = Points((15, 20))


@pytest.fixture
def session(network: SegmentationNetwork, clip: list[np.ndarray]) -> ImageSession:
    session = ImageSession(network)
    session.set_image(clip[0])
    return session


def test_a_click_gives_three_masks_or_one(session: ImageSession):
    three, one = session.predict(CLICK), session.predict(CLICK, candidates=False)
    assert three.masks.shape == (3, 48, 80)
    assert three.masks.dtype == bool
    assert three.logits.shape == (3, 48, 80)
    assert three.low_res.shape == (3, 16, 16)
    assert three.iou.shape == (3,)
    assert 0 <= three.presence <= 1
    assert one.masks.shape == (1, 48, 80)
    assert np.array_equal(three.masks, three.logits > 0)
    assert [rle["size"] for rle in three.rle()] == [[48, 80]] * 3


def test_a_network_may_see_still_pictures_larger_than_frames_of_videos(clip: list[np.ndarray]):
    network = make_network(replace(KEYED, still_size=128))
    session = ImageSession(network)
    session.set_image(clip[0])
    assert session.features.canvas_hw == replace(KEYED, image_size=128).canvas((48, 80))
    assert session.predict(CLICK).low_res.shape[1:] == replace(KEYED, image_size=128).low_res_hw((48, 80))
    with VideoSession(network, clip) as video:
        assert video.prompt(0, 1, CLICK).low_res_ohw.shape[1:] == KEYED.low_res_hw((48, 80))


def test_the_best_candidate_is_that_of_the_highest_predicted_iou(session: ImageSession):
    result = session.predict(CLICK)
    best = int(result.iou.argmax())
    assert np.array_equal(result.best, result.masks[best])
    assert np.array_equal(result.best_low_res, result.low_res[best])


def test_many_boxes_at_once_are_what_they_are_one_by_one(session: ImageSession):
    boxes = [Box(5, 10, 25, 30), Box(30, 5, 60, 40), Box(0, 0, 80, 48)]
    together = session.predict(box=boxes, candidates=False)
    assert together.masks.shape == (3, 1, 48, 80)
    assert together.best.shape == (3, 48, 80)
    for box, logits in zip(boxes, together.logits, strict=True):
        np.testing.assert_allclose(logits, session.predict(box=box, candidates=False).logits, atol=1e-3)


def test_points_of_many_objects_and_boxes_go_together(session: ImageSession):
    boxes = [Box(5, 10, 25, 30), Box(30, 5, 60, 40)]
    negatives = [Points((6, 11), 0), Points((31, 6), 0)]
    together = session.predict(negatives, boxes, candidates=False)
    alone = session.predict(negatives[1], boxes[1], candidates=False)
    np.testing.assert_allclose(together.logits[1], alone.logits, atol=1e-3)


def test_clicks_on_another_picture_are_answered_from_it(
    session: ImageSession, network: SegmentationNetwork, clip: list[np.ndarray], tmp_path: Path
):
    of_first = session.predict(CLICK).low_res
    session.save_embedding(tmp_path / "first.safetensors")
    session.set_image([clip[3], clip[0]])
    other = ImageSession(network)
    other.set_image(clip[3])
    of_other = other.predict(CLICK).low_res
    assert not np.allclose(of_other, of_first, atol=1e-3)
    np.testing.assert_allclose(session.predict(CLICK).low_res, of_other, atol=1e-3)
    np.testing.assert_allclose(session.predict(CLICK, image=1).low_res, of_first, atol=1e-3)
    other.load_embedding(tmp_path / "first.safetensors")
    np.testing.assert_allclose(other.predict(CLICK).low_res, of_first, atol=1e-3)


def test_low_res_logits_can_be_fed_back(session: ImageSession):
    first = session.predict(CLICK)
    refined = session.predict(CLICK, mask=first.best_low_res, candidates=False)
    from_tensor = session.predict(CLICK, mask=torch.from_numpy(first.best_low_res)[None], candidates=False)
    assert not np.allclose(refined.logits, session.predict(CLICK, candidates=False).logits, atol=1e-3)
    assert np.array_equal(refined.logits, from_tensor.logits)
    assert np.abs(first.low_res).max() <= 32


def test_a_drawn_mask_is_a_prompt_of_its_own(session: ImageSession):
    drawn = np.zeros((48, 80), dtype=bool)
    drawn[10:30, 5:25] = True
    assert session.predict(mask=Mask(drawn), candidates=False).masks.shape == (1, 48, 80)


def test_pictures_come_as_arrays_pil_pictures_or_paths(network, clip, tmp_path: Path):
    Image.fromarray(clip[0]).save(tmp_path / "frame.png")
    results = []
    for picture in (clip[0], Image.fromarray(clip[0]), tmp_path / "frame.png", str(tmp_path / "frame.png")):
        session = ImageSession(network)
        session.set_image(picture)
        results.append(session.predict(CLICK).logits)
    assert all(np.array_equal(results[0], other) for other in results[1:])


def test_a_batch_of_pictures_of_different_size_is_predicted_one_by_one(network, clip):
    session = ImageSession(network)
    session.set_image([clip[0], clip[5][:40]])
    assert session.image_hws == ((48, 80), (40, 80))
    alone = ImageSession(network)
    alone.set_image(clip[5][:40])
    second = session.predict(CLICK, image=1)
    assert second.masks.shape == (3, 40, 80)
    np.testing.assert_allclose(second.logits, alone.predict(CLICK).logits, atol=1e-3)
    with pytest.raises(IndexError, match="0 to 1"):
        session.predict(CLICK, image=2)


def test_pictures_keep_their_shape_where_the_network_wants_it_and_share_one_in_a_batch(keyed_network, clip):
    session = ImageSession(keyed_network)
    for picture_hw, low_res_hw in [((48, 80), (16, 24)), ((48, 32), (24, 16)), ((40, 40), (16, 16))]:
        session.set_image(clip[0][: picture_hw[0], : picture_hw[1]])
        first = session.predict(Points((15, 20)))
        assert first.low_res.shape == (3, *low_res_hw)
        assert first.masks.shape == (3, *picture_hw)
        assert session.predict(mask=first.best_low_res, candidates=False).low_res.shape == (1, *low_res_hw)
    session.set_image([clip[0], clip[5][:40]])
    assert session.features.low_res_hw == (16, 24)
    assert session.predict(CLICK, image=1).masks.shape == (3, 40, 80)


@pytest.mark.parametrize("kind", ["network", "keyed_network"])
def test_an_embedding_is_saved_and_loaded(kind: str, clip, tmp_path: Path, request: pytest.FixtureRequest):
    session, other = (ImageSession(request.getfixturevalue(kind)) for _ in range(2))
    session.set_image(clip[0])
    session.save_embedding(tmp_path / "picture.safetensors")
    other.load_embedding(tmp_path / "picture.safetensors")
    assert other.image_hws == ((48, 80),)
    assert np.array_equal(other.predict(CLICK).logits, session.predict(CLICK).logits)


def test_an_embedding_of_another_network_is_refused(session: ImageSession, keyed_network, tmp_path: Path):
    session.save_embedding(tmp_path / "picture.safetensors")
    with pytest.raises(ValueError, match="was made by network 'small-for-tests'"):
        ImageSession(keyed_network).load_embedding(tmp_path / "picture.safetensors")


def test_files_that_are_no_embedding_are_refused(session: ImageSession, network, tmp_path: Path):
    path = tmp_path / "picture.safetensors"
    path.write_bytes(b"nonsense")
    with pytest.raises(ValueError, match="no image embedding"):
        ImageSession(network).load_embedding(path)
    save_file({"stride16_bchw": torch.zeros(1)}, str(path))
    with pytest.raises(ValueError, match="no image embedding"):
        ImageSession(network).load_embedding(path)


def test_an_embedding_with_tensors_of_another_shape_is_refused(session: ImageSession, network, tmp_path: Path):
    from safetensors import safe_open

    path = tmp_path / "picture.safetensors"
    session.save_embedding(path)
    with safe_open(str(path), framework="pt") as file:
        metadata = file.metadata()
    tensors = load_file(str(path))
    save_file(tensors, str(path), metadata={**metadata, "image_hws": "[[0, 80]]"})
    with pytest.raises(ValueError, match="encode the picture again"):
        ImageSession(network).load_embedding(path)
    tensors["stride4_bchw"] = tensors["stride4_bchw"][:, :, :8].contiguous()
    save_file(tensors, str(path), metadata=metadata)
    with pytest.raises(ValueError, match="encode the picture again"):
        ImageSession(network).load_embedding(path)


def test_holes_are_filled_and_specks_removed_up_to_their_area(network):
    session = ImageSession(network, max_hole_area=2, max_sprinkle_area=2)
    logits = torch.full((1, 1, 16, 16), -3.0)
    logits[..., 4:12, 4:12] = 3.0
    logits[..., 6, 6:8] = -1.0
    logits[..., 1, 1] = 1.0
    cleaned = session._cleaned(logits)[0, 0]
    assert (cleaned[4:12, 4:12] > 0).all()
    assert cleaned[1, 1] < 0
    assert replace(session.settings, max_hole_area=1).max_hole_area == 1
    untouched = ImageSession(network, max_hole_area=1)._cleaned(logits)[0, 0]
    assert (untouched[6, 6:8] < 0).all()


def test_what_is_fed_back_keeps_its_holes_and_specks(network, clip):
    plain, cleaning = ImageSession(network), ImageSession(network, max_hole_area=40, max_sprinkle_area=40)
    results = []
    for session in (plain, cleaning):
        session.set_image(clip[0])
        results.append(session.predict(CLICK))
    assert np.array_equal(results[0].low_res, results[1].low_res)


def test_prompts_are_taken_unchecked_where_that_is_wanted(network, clip):
    session = ImageSession(network, checks_prompts=False)
    session.set_image(clip[0])
    assert session.predict(Points((15, 20), 0)).low_res.shape[0] == 3
    assert session.predict(box=Box(-10, -10, 20, 20), candidates=False).low_res.shape[0] == 1


def test_the_mask_threshold_decides_what_is_inside(network, clip):
    strict = ImageSession(network, mask_threshold=1.0)
    strict.set_image(clip[0])
    result = strict.predict(CLICK)
    assert np.array_equal(result.masks, result.logits > 1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"points": Points((100, 10))}, "outside the picture"),
        ({"points": Points((10, 10), 0)}, "must say where it is"),
        ({}, "must say where it is"),
        ({"box": []}, "at least one"),
        ({"box": (1, 2, 3, 4)}, "points=NoneType and box=int"),
        ({"points": Box(1, 2, 3, 4)}, r"expected points=Points\(...\), box=Box\(...\) or both, got points=Box"),
        ({"points": [CLICK], "box": [Box(0, 0, 5, 5), Box(0, 0, 6, 6)]}, "as many boxes as sets of points"),
        ({"points": [CLICK, Points([(1, 1), (2, 2)])]}, "equally many points"),
        ({"points": CLICK, "mask": np.zeros((5, 5), dtype=np.float32)}, "expected low-res logits"),
        ({"mask": Mask(np.ones((5, 5), dtype=bool))}, "5x5 but the picture is 48x80"),
        ({"mask": Mask(np.zeros((48, 80), dtype=bool))}, "an empty mask"),
    ],
)
def test_prompts_that_do_not_fit_are_refused(session: ImageSession, arguments, message):
    with pytest.raises(ValueError, match=message):
        session.predict(**arguments)


def test_predicting_before_a_picture_is_set_says_what_to_do(network):
    with pytest.raises(ValueError, match="call set_image"):
        ImageSession(network).predict(CLICK)


def test_what_is_no_picture_is_refused(network, tmp_path: Path):
    (tmp_path / "text.png").write_text("hello")
    session = ImageSession(network)
    for picture in (tmp_path / "text.png", np.zeros((4, 4)), []):
        with pytest.raises(ValueError, match=r"picture|RGB"):
            session.set_image(picture)
