from __future__ import annotations

import gc
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from torch import Tensor

from masklet.model.outputs import FrameMemory
from masklet.sessions.store import Spill, SpillingStore


@dataclass(frozen=True)
class Sheet:
    values: Tensor


def sheet(number: float, size: int = 64) -> Sheet:
    return Sheet(torch.full((size,), float(number)))


def is_sheet(found: Sheet, number: float) -> bool:
    return bool((found.values == number).all())


def test_what_leaves_ram_comes_back_unchanged():
    spill = Spill(ram_bytes=3 * 256)
    store = SpillingStore(spill, Sheet)
    for key in range(20):
        store[key] = sheet(key)
    assert spill.used_bytes <= 3 * 256
    assert len(store) == 20
    assert all(is_sheet(store[key], key) for key in range(20))
    assert spill.used_bytes <= 3 * 256


def test_the_bound_holds_for_all_stores_of_a_session_together():
    spill = Spill(ram_bytes=4 * 256)
    stores = [SpillingStore(spill, Sheet) for _ in range(3)]
    for key in range(10):
        for number, store in enumerate(stores):
            store[key] = sheet(100 * number + key)
    assert spill.used_bytes <= 4 * 256
    assert is_sheet(stores[0][0], 0)
    assert is_sheet(stores[2][9], 209)


def test_a_record_larger_than_the_bound_goes_straight_to_disk():
    store = SpillingStore(Spill(ram_bytes=10), Sheet)
    store[1] = sheet(5)
    assert is_sheet(store[1], 5)


def test_forgetting_reads_nothing_from_disk(monkeypatch: pytest.MonkeyPatch):
    spill = Spill(ram_bytes=256)
    store = SpillingStore(spill, Sheet)
    for key in range(5):
        store[key] = sheet(key)
    monkeypatch.setattr(spill, "read", None)
    store.clear()
    assert not store
    assert spill.used_bytes == 0


def test_a_rewritten_record_is_the_new_one_whether_the_old_one_was_on_disk_or_not():
    store = SpillingStore(Spill(ram_bytes=256), Sheet)
    store[0] = sheet(1)
    store[1] = sheet(2)
    store[0] = sheet(3)
    store[1] = sheet(4)
    assert is_sheet(store[0], 3)
    assert is_sheet(store[1], 4)


def test_rewriting_all_records_does_not_lengthen_the_file():
    spill = Spill(ram_bytes=256)
    store = SpillingStore(spill, Sheet)
    for round_number in range(5):
        for key in range(8):
            store[key] = sheet(round_number)
        if round_number == 1:
            length = spill.file_bytes
    assert spill.file_bytes <= length


def test_deleted_records_are_gone():
    store = SpillingStore(Spill(ram_bytes=256), Sheet)
    for key in range(4):
        store[key] = sheet(key)
    del store[0]
    store.pop(3)
    assert list(store) == [1, 2]
    assert 0 not in store
    assert store.get(3) is None
    with pytest.raises(KeyError):
        store[0]


def test_optional_and_empty_tensors_survive_the_disk():
    store = SpillingStore(Spill(ram_bytes=0), FrameMemory)
    store[0] = FrameMemory(torch.ones(1, 2, 3, 3), torch.zeros(1, 0))
    assert store[0].keys_olhnd is None
    assert store[0].pointer_oc.shape == (1, 0)
    assert store[0].features_ochw.sum() == 18


def test_a_narrow_type_gives_the_same_values_from_ram_and_from_disk():
    values = torch.randn(50)
    in_ram = SpillingStore(Spill(ram_bytes=1 << 20), Sheet, dtypes={"values": torch.bfloat16})
    on_disk = SpillingStore(Spill(ram_bytes=0), Sheet, dtypes={"values": torch.bfloat16})
    in_ram[0] = on_disk[0] = Sheet(values)
    assert in_ram[0].values.dtype == torch.float32
    assert torch.equal(in_ram[0].values, on_disk[0].values)
    assert torch.equal(in_ram[0].values, values.bfloat16().float())


def test_whole_numbers_stay_what_they_are():
    store = SpillingStore(Spill(ram_bytes=0), Sheet, dtypes={"features_ochw": torch.bfloat16})
    store[0] = Sheet(torch.tensor([0, 2**24 + 1]))
    assert store[0].values.tolist() == [0, 2**24 + 1]
    assert store[0].values.dtype == torch.int64


def test_a_row_of_a_batch_does_not_hold_the_batch():
    spill = Spill(ram_bytes=1 << 20)
    store = SpillingStore(spill, Sheet)
    store[0] = Sheet(torch.zeros(1000, 10)[3])
    held = spill.recall(store, 0)
    assert held is not None
    assert held.values.untyped_storage().nbytes() == 40


def test_the_file_is_gone_when_the_session_is(tmp_path: Path):
    spill = Spill(ram_bytes=0, folder=tmp_path)
    store = SpillingStore(spill, Sheet)
    store[0] = sheet(1)
    del spill, store
    gc.collect()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_take_results_is_named_with_a_remedy(tmp_path: Path):
    store = SpillingStore(Spill(ram_bytes=0, folder=tmp_path / "missing"), Sheet)
    with pytest.raises(OSError, match="spill_folder"):
        store[0] = sheet(1)
