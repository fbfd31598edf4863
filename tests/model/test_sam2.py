from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from masklet.memory import MemoryBank
from masklet.model.config import MODELS, PICO, HieraConfig, MemoryConfig, MobileConfig, MobileStage, NetworkConfig
from masklet.model.device import shapes_only
from masklet.model.layers import AbsentMark
from masklet.model.outputs import FrameMemory, ImageFeatures, MaskPrediction, Recollection
from masklet.model.prompt_encoder import PromptBatch
from masklet.model.sam2 import (
    ABSENT_LOGIT,
    ROUNDED,
    PointerHead,
    SegmentationNetwork,
    Stability,
    stabilities,
    stable_mask,
)

HIERA = NetworkConfig(
    name="small",
    encoder=HieraConfig(embed_dim=16, heads=1, blocks=(1, 1, 2, 1), global_blocks=(3,)),
    image_size=64,
    width=128,
    mask_channels=(16, 8),
    decoder_heads=2,
    decoder_feedforward=64,
    memory=MemoryConfig(channels=32, slots=4, pointers=4, layers=1, feedforward=64),
)
STAGES = tuple(MobileStage(2, 3, stride, 8, 1) for stride in (1, 2, 2, 2, 1, 2, 1))
MOBILE = replace(
    HIERA,
    encoder=MobileConfig(stem=8, stages=STAGES),
    memory=replace(HIERA.memory, pointers=0, keys_from_image=True, detailed=0.5),
    dates_pointers=False,
)
SAM20 = replace(HIERA, marks_absence=False, dates_pointers=False)


def make(config: NetworkConfig) -> SegmentationNetwork:
    torch.manual_seed(0)
    network = SegmentationNetwork(config).eval()
    for parameter in network.parameters():
        parameter.requires_grad_(False)
        if parameter.ndim > 1:
            parameter.normal_(std=(parameter.numel() / len(parameter)) ** -0.5)
    return network


@pytest.fixture(scope="module", params=[HIERA, SAM20, MOBILE], ids=["hiera", "sam2.0", "mobile"])
def network(request) -> SegmentationNetwork:
    return make(request.param)


@pytest.fixture(scope="module")
def features(network: SegmentationNetwork) -> ImageFeatures:
    return network.encode_image(torch.randn(1, 3, 64, 64))


def click(objects: int = 1) -> PromptBatch:
    points = torch.rand(objects, 1, 2, generator=torch.Generator().manual_seed(1))
    return PromptBatch(points, torch.ones(objects, 1, dtype=torch.int))


def follow(
    network: SegmentationNetwork, features: ImageFeatures, objects: int = 1
) -> tuple[MaskPrediction, FrameMemory]:
    """One click, one memory, one frame that recalls it."""
    alone_ochw = network.without_memory(features).expand(objects, -1, -1, -1)
    first = network.decode(features, alone_ochw, click(objects), candidates=True)
    memory = network.remember(features, network.choose(first), prompted=True)
    recollection = MemoryBank(network.config.memory, {0: memory}).select(1)
    conditioned = network.recall(features, recollection)
    return network.decode(features, conditioned, PromptBatch.nothing(objects), candidates=True), memory


def test_features_have_the_strides_and_widths_of_the_configuration(network, features):
    assert features.stride16_bchw.shape == (1, 128, 4, 4)
    assert features.stride8_bchw.shape == (1, 16, 8, 8)
    assert features.stride4_bchw.shape == (1, 8, 16, 16)


def test_a_frame_travels_through_all_verbs(network, features):
    prediction, memory = follow(network, features, objects=2)
    assert prediction.logits_okhw.shape == (2, 3, 16, 16)
    assert prediction.iou_ok.shape == (2, 3)
    assert memory.features_ochw.shape == (2, 32, 4, 4)
    assert memory.pointer_oc.shape == (2, 128 if network.config.memory.pointers else 0)
    assert (memory.keys_olhnd is not None) == network.config.memory.keys_from_image


def test_objects_in_one_batch_do_not_influence_each_other(network, features):
    both = follow(network, features, objects=2)[0].logits_okhw
    prompts = click(2).rows(torch.tensor([1]))
    first = network.decode(features, network.without_memory(features), prompts, candidates=True)
    memory = network.remember(features, network.choose(first), prompted=True)
    conditioned = network.recall(features, MemoryBank(network.config.memory, {0: memory}).select(1))
    alone = network.decode(features, conditioned, PromptBatch.nothing(1), candidates=True).logits_okhw
    torch.testing.assert_close(both[1:], alone, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("pictures", [1, 5])
def test_objects_that_follow_one_another_come_out_as_those_of_one_go(network, monkeypatch, pictures: int):
    features = network.encode_image(torch.randn(pictures, 3, 64, 64))
    prompts = replace(click(5), mask_logits_o1hw=torch.randn(5, 1, 16, 16))
    sizes = []
    decode_all = network.decode_all
    monkeypatch.setattr(network, "decode_all", lambda *given: sizes.append(given[2].objects) or decode_all(*given))
    monkeypatch.setattr("masklet.model.sam2.GRID_NUMBERS", 2 * 128 * 4 * 4)

    def gone_through() -> tuple[MaskPrediction, FrameMemory]:
        prediction = network.decode(features, network.without_memory(features), prompts, candidates=False)
        return prediction, network.remember(features, network.choose(prediction), prompted=False)

    in_one_go = gone_through()
    with torch.no_grad():
        one_by_one = gone_through()
    assert sizes == [5, 2, 2, 1]
    for one, other in zip(in_one_go, one_by_one, strict=True):
        torch.testing.assert_close(vars(one), vars(other), atol=1e-4, rtol=1e-4)


def test_what_is_remembered_changes_what_is_seen(network, features):
    other = network.encode_image(torch.randn(1, 3, 64, 64))
    _, memory = follow(network, features)
    recalled = network.recall(other, MemoryBank(network.config.memory, {0: memory}).select(1))
    assert (recalled - network.without_memory(other)).abs().max() > 0.1


def test_the_order_of_memories_does_not_matter(network, features):
    _, first = follow(network, features)
    _, second = follow(network, network.encode_image(torch.randn(1, 3, 64, 64)))
    bank = MemoryBank(network.config.memory, {0: first}, {1: second})
    recollection = bank.select(2)
    turned = replace(recollection, maps=recollection.maps[::-1], pointers=recollection.pointers[::-1])
    recalled, recalled_turned = (network.recall(features, memories) for memories in (recollection, turned))
    torch.testing.assert_close(recalled, recalled_turned, atol=1e-4, rtol=1e-4)


def test_absent_objects_have_empty_masks_and_share_one_pointer():
    network = make(HIERA)
    features = network.encode_image(torch.randn(1, 3, 64, 64))
    conditioned = network.without_memory(features).expand(2, -1, -1, -1)
    prediction = network.decode(features, conditioned, click(2), candidates=True)
    chosen = network.choose(replace(prediction, presence_o=torch.tensor([-1.0, 1.0])))
    assert (chosen.logits_o1hw[0] == ABSENT_LOGIT).all()
    assert (chosen.logits_o1hw[1] != ABSENT_LOGIT).all()
    assert isinstance(network.pointer, PointerHead)
    assert torch.equal(chosen.pointer_oc[0], network.pointer.absent[0])
    assert not torch.equal(chosen.pointer_oc[1], network.pointer.absent[0])


def test_memories_of_absent_objects_are_marked_in_sam_2_1_only():
    for config, is_marked in ((HIERA, True), (SAM20, False)):
        network = make(config)
        if is_marked:
            assert isinstance(network.mark_absent, AbsentMark)
            network.mark_absent.vector.fill_(1.0)
        features = network.encode_image(torch.randn(1, 3, 64, 64))
        first = network.decode(features, network.without_memory(features), click(), candidates=True)
        absent = replace(network.choose(first), presence_o=torch.tensor([-1.0]))
        present = replace(absent, presence_o=torch.tensor([1.0]))
        marked, plain = (network.remember(features, mask, prompted=False) for mask in (absent, present))
        assert torch.equal(marked.features_ochw, plain.features_ochw) != is_marked


def test_drawn_masks_are_taken_as_they_are(network, features):
    drawn = torch.zeros(2, 1, 64, 64)
    drawn[0, :, 16:48, 16:48] = 1
    adopted = network.adopt(features, drawn)
    assert (adopted.logits_o1hw[0, 0, 4:12, 4:12] > 0).all()
    assert (adopted.logits_o1hw[0, 0, :3] < 0).all()
    assert adopted.presence_o.tolist() == [10, -10]
    assert adopted.iou_o.tolist() == [1, 1]


def test_prompted_masks_are_remembered_as_certain(network, features):
    first = network.decode(features, network.without_memory(features), click(), candidates=True)
    mask = network.choose(replace(first, presence_o=torch.ones(1)))
    certain = network.remember(features, mask, prompted=True)
    louder = replace(mask, logits_o1hw=mask.logits_o1hw * 50)
    torch.testing.assert_close(certain.features_ochw, network.remember(features, louder, prompted=True).features_ochw)
    assert (certain.features_ochw - network.remember(features, mask, prompted=False).features_ochw).abs().max() > 1e-4


def test_an_unstable_single_mask_gives_way_to_the_best_candidate_but_keeps_its_token():
    logits = torch.zeros(2, 4, 8, 8)
    logits[0, 0, :4], logits[1, 0, :4] = 0.01, 5.0
    logits[0, 0, 4:], logits[1, 0, 4:] = -5.0, -5.0
    logits[:, 3] = 7.0
    iou = torch.tensor([[0.9, 0.1, 0.2, 0.5]] * 2)
    tokens = torch.arange(4.0).reshape(1, 4, 1).expand(2, 4, 1)
    chosen = stable_mask(MaskPrediction(logits, iou, tokens, torch.ones(2)), Stability())
    assert (chosen.logits_okhw[0, 0] == 7).all()
    assert chosen.logits_okhw[1, 0].max() == 5
    assert chosen.iou_ok[:, 0].tolist() == pytest.approx([0.5, 0.9])
    assert chosen.tokens_okc[:, 0, 0].tolist() == [0, 0]


def test_a_stability_that_a_rounding_could_have_made_counts_as_too_low(network, features, monkeypatch):
    alone = network.without_memory(features)
    single = network.decode(features, alone, click(1), candidates=False, stability=None)
    just = float(stabilities(single.logits_okhw, 0.05))
    told = Stability(delta=0.05, threshold=just - ROUNDED / 2)

    def answer() -> torch.Tensor:
        return network.decode(features, alone, click(1), candidates=False, stability=told).logits_okhw

    assert torch.equal(answer(), single.logits_okhw)
    monkeypatch.setattr(network, "rounds", True)
    assert not torch.equal(answer(), single.logits_okhw)
    assert Stability(threshold=1.0).surely().threshold == 1.0
    assert Stability(threshold=2.0).surely().threshold == 2.0


def test_a_mask_that_depends_on_its_threshold_is_taken_for_worse_where_the_configuration_says_so(
    network, features, monkeypatch: pytest.MonkeyPatch
):
    alone = network.without_memory(features)
    plain, none = (
        network.decode(features, alone, click(1), candidates=True, stability=told) for told in (Stability(), None)
    )
    monkeypatch.setattr(network, "config", replace(network.config, weighs_stability=True))
    doubted, undoubted = (
        network.decode(features, alone, click(1), candidates=True, stability=told) for told in (Stability(), None)
    )
    sure_ok = (plain.logits_okhw > 1).sum((2, 3)) / (plain.logits_okhw > -1).sum((2, 3)).clamp(min=1)
    torch.testing.assert_close(doubted.iou_ok, plain.iou_ok * sure_ok)
    assert (doubted.iou_ok < plain.iou_ok).any()
    assert torch.equal(doubted.logits_okhw, plain.logits_okhw)
    assert torch.equal(undoubted.iou_ok, none.iou_ok)


def test_an_unstable_single_mask_of_what_is_shown_stands_where_the_configuration_says_so(
    network, features, monkeypatch: pytest.MonkeyPatch
):
    alone, never_stable = network.without_memory(features), Stability(threshold=2.0)

    def answer(prompts: PromptBatch, stability: Stability | None) -> torch.Tensor:
        return network.decode(features, alone, prompts, candidates=False, stability=stability).logits_okhw

    shown, nothing = click(1), PromptBatch.nothing(1)
    single, instead = answer(shown, None), answer(shown, never_stable)
    assert not torch.equal(instead, single)
    unseen = answer(nothing, never_stable)
    monkeypatch.setattr(network, "config", replace(network.config, trusts_single_mask=True))
    assert torch.equal(answer(shown, never_stable), single)
    assert torch.equal(answer(nothing, never_stable), unseen)


def test_a_network_without_prompts_for_an_object_still_decodes_from_a_mask(network, features):
    prompts = PromptBatch(mask_logits_o1hw=torch.randn(1, 1, 16, 16))
    prediction = network.decode(features, network.without_memory(features), prompts, candidates=False)
    assert prediction.logits_okhw.shape == (1, 1, 16, 16)


@pytest.mark.parametrize("name", MODELS)
def test_every_configuration_makes_a_network(name: str):
    with shapes_only():
        network = SegmentationNetwork(MODELS[name])
    millions = sum(parameter.numel() for parameter in network.parameters()) / 1e6
    expected = {"tiny": 38.9, "small": 46.0, "plus": 80.8, "large": 224.4}
    if name == PICO.name:
        assert millions < 15
    else:
        assert millions == pytest.approx(expected[name.rsplit("-", 1)[-1]], abs=0.2)


def test_a_recollection_without_pointers_works_where_pointers_are_known():
    network = make(HIERA)
    features = network.encode_image(torch.randn(1, 3, 64, 64))
    _, memory = follow(network, features)
    recalled = network.recall(features, Recollection([(3, memory)], [], 1))
    assert recalled.shape == (1, 128, 4, 4)
