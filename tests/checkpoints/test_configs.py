from __future__ import annotations

import json
from dataclasses import replace

import pytest

from masklet.checkpoints.configs import config_from_json, config_to_json, infer_config, read_json
from masklet.checkpoints.errors import CheckpointError
from masklet.model.config import MODELS, HieraConfig, NetworkConfig
from masklet.model.device import shapes_only
from masklet.model.sam2 import SegmentationNetwork

TINY = MODELS["sam2.1-hiera-tiny"]


@pytest.mark.parametrize("config", MODELS.values(), ids=MODELS)
def test_a_configuration_survives_json(config: NetworkConfig):
    assert config_from_json(json.loads(json.dumps(config_to_json(config)))) == config


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"width": 10**9}, r"config\.width is 1000000000; expected an integer from 0 to 8192"),
        ({"width": "256"}, r"config\.width is '256'"),
        ({"width": 100}, r"width is 100, .* multiples of 64"),
        ({"still_size": 100}, r"still_size 100; expected multiples"),
        ({"depth": 3}, r"unknown fields \['depth'\]"),
        ({"encoder": {"kind": "os.system"}}, r"config\.encoder\.kind is 'os\.system'; expected one of hiera, mobile"),
        ({"memory": []}, r"config\.memory is \[\]; expected an object"),
        ({"mask_channels": [64]}, r"config\.mask_channels is \[64\]; expected a list of 2 values"),
        ({"marks_absence": 1}, r"config\.marks_absence is 1; expected a bool"),
    ],
)
def test_absurd_values_are_refused_by_name(change: dict[str, object], message: str):
    with pytest.raises(CheckpointError, match=message):
        config_from_json({**config_to_json(TINY), **change})


@pytest.mark.parametrize("name", ["still_size", "keeps_shape", "weighs_stability", "trusts_single_mask"])
def test_files_of_earlier_versions_need_not_tell_of_what_their_networks_do_not_do(name: str):
    values = config_to_json(TINY)
    del values[name]
    assert not getattr(config_from_json(values), name)


def test_files_of_earlier_versions_remember_everything_in_detail():
    values = config_to_json(TINY)
    del values["memory"]["detailed"]
    assert config_from_json(values).memory.detailed == 1


def test_missing_fields_are_named():
    values = config_to_json(TINY)
    del values["memory"]
    with pytest.raises(CheckpointError, match=r"lacks \['memory'\]"):
        config_from_json(values)


def test_endless_lists_are_refused():
    encoder = {**config_to_json(TINY)["encoder"], "global_blocks": [1] * 1000}
    with pytest.raises(CheckpointError, match="list of at most 64 values"):
        config_from_json({**config_to_json(TINY), "encoder": encoder})


@pytest.mark.parametrize("text", ["[" * 100_000, "{}" * (1 << 20), "[1]", "{"])
def test_json_from_a_file_is_bounded_and_an_object(text: str):
    with pytest.raises(CheckpointError, match="the description is"):
        read_json(text, "the description")


HIERA = [config for config in MODELS.values() if isinstance(config.encoder, HieraConfig)]


@pytest.mark.parametrize("config", HIERA, ids=lambda config: config.name)
def test_a_published_network_is_inferred_from_its_tensors(config: NetworkConfig):
    with shapes_only():
        assert infer_config(SegmentationNetwork(config).state_dict()) == config


def test_half_of_what_sam_2_1_added_is_inferred_as_such():
    config = replace(TINY, dates_pointers=False)
    with shapes_only():
        inferred = infer_config(SegmentationNetwork(config).state_dict())
    assert (inferred.marks_absence, inferred.dates_pointers) == (True, False)


def test_an_unknown_trunk_is_not_guessed():
    config = replace(TINY, encoder=HieraConfig(embed_dim=96, heads=1, blocks=(1, 2, 8, 2), global_blocks=(5,)))
    with (
        shapes_only(),
        pytest.raises(CheckpointError, match=r"width 96 with \(1, 2, 8, 2\) blocks.*config\.json"),
    ):
        infer_config(SegmentationNetwork(config).state_dict())
