"""Results of long videos: the recent ones in RAM up to a bound, all others in one temporary file."""

from __future__ import annotations

import tempfile
import weakref
from collections import OrderedDict
from collections.abc import Iterator, Mapping, MutableMapping
from dataclasses import fields
from pathlib import Path
from typing import IO, Any, Generic, TypeVar

import safetensors.torch
import torch
from torch import Tensor

T = TypeVar("T")


class Spill:
    """One bound on RAM and one temporary file, shared by all stores of a session.

    The file has no name (where the system can do that) and is gone with the session, even after a crash.
    ``ram_bytes`` bounds the tensors held; ``folder`` is where the file lies, by default the system's temporary folder.
    """

    def __init__(self, ram_bytes: int, folder: str | Path | None = None):
        self.ram_bytes = ram_bytes
        self.folder = folder
        self.used_bytes = 0
        self._recent: OrderedDict[tuple[SpillingStore, int], Any] = OrderedDict()
        self._file: IO[bytes] | None = None
        self.file_bytes = 0
        self._free: dict[int, list[int]] = {}

    def remember(self, store: SpillingStore, key: int, record: Any) -> None:
        """Hold ``record`` as the most recent one; the oldest ones beyond the bound move to the file."""
        self.forget(store, key)
        self._recent[store, key] = record
        self.used_bytes += size_bytes(record)
        while self.used_bytes > self.ram_bytes:
            (owner, oldest), old = self._recent.popitem(last=False)
            self.used_bytes -= size_bytes(old)
            owner.to_file(oldest, old)

    def recall(self, store: SpillingStore, key: int) -> Any | None:
        """The record if it is in RAM, which makes it the most recent one."""
        record = self._recent.get((store, key))
        if record is not None:
            self._recent.move_to_end((store, key))
        return record

    def forget(self, store: SpillingStore, key: int) -> None:
        """Let go of a record in RAM."""
        record = self._recent.pop((store, key), None)
        if record is not None:
            self.used_bytes -= size_bytes(record)

    def write(self, data: bytes) -> tuple[int, int]:
        """Put bytes into the file, where possible in a gap: (offset, size)."""
        gaps = self._free.get(len(data))
        if gaps:
            offset = gaps.pop()
        else:
            offset, self.file_bytes = self.file_bytes, self.file_bytes + len(data)
        try:
            file = self._open()
            file.seek(offset)
            file.write(data)
        except OSError as error:
            raise OSError(
                f"results of earlier frames could not be written to {self.folder or tempfile.gettempdir()}: {error}; "
                "name a folder with space in VideoSettings(spill_folder=...)"
            ) from error
        return offset, len(data)

    def read(self, place: tuple[int, int]) -> bytes:
        """The bytes at (offset, size)."""
        file = self._open()
        file.seek(place[0])
        return file.read(place[1])

    def release(self, place: tuple[int, int]) -> None:
        """Leave a gap for records of the same size."""
        self._free.setdefault(place[1], []).append(place[0])

    def close(self) -> None:
        """Give back RAM and file."""
        self._recent.clear()
        self.used_bytes = 0
        if self._file is not None:
            self._file.close()

    def _open(self) -> IO[bytes]:
        if self._file is None:
            self._file = tempfile.TemporaryFile(prefix="masklet-", dir=self.folder)  # noqa: SIM115
            weakref.finalize(self, self._file.close)
        return self._file


class SpillingStore(MutableMapping[int, T], Generic[T]):
    """Frame -> record, a frozen dataclass of tensors (fields that are None stay None).

    Held tensors are copies on ``held_on`` (None: wherever they were made), converted as ``dtypes`` says by field;
    what comes out is on ``device`` in ``dtype`` (None: as it is held), whether it was in RAM or not.
    """

    def __init__(
        self,
        spill: Spill,
        kind: type[T],
        *,
        dtypes: Mapping[str, torch.dtype] | None = None,
        held_on: torch.device | str | None = "cpu",
        device: torch.device | str = "cpu",
        dtype: torch.dtype | None = torch.float32,
    ):
        self._spill = spill
        self._kind = kind
        self._dtypes = dict(dtypes or {})
        self._held_on = held_on
        self._device = device
        self._dtype = dtype
        self._places: dict[int, tuple[int, int] | None] = {}

    def __hash__(self) -> int:
        return id(self)

    def __eq__(self, other: object) -> bool:
        return self is other

    def __setitem__(self, key: int, record: T) -> None:
        self._drop_place(key)
        self._places[key] = None
        held = {name: self._pack(name, tensor) for name, tensor in tensors_of(record).items()}
        self._spill.remember(self, key, self._kind(**held))

    def __getitem__(self, key: int) -> T:
        place = self._places[key]
        record = self._spill.recall(self, key)
        if record is None:
            assert place is not None, "what is not in RAM is in the file"
            record = self._kind(**safetensors.torch.load(self._spill.read(place)))
            self._spill.remember(self, key, record)
        return self._kind(**{k: v.to(self._device, self._unpacked(v)) for k, v in tensors_of(record).items()})

    def __delitem__(self, key: int) -> None:
        self._drop_place(key)
        del self._places[key]
        self._spill.forget(self, key)

    def clear(self) -> None:
        """Forget all records, none of which is read for it."""
        for key in list(self._places):
            del self[key]

    def __contains__(self, key: object) -> bool:
        return key in self._places

    def __iter__(self) -> Iterator[int]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)

    def to_file(self, key: int, record: T) -> None:
        """Write a record that leaves RAM, unless the file has it already."""
        if self._places[key] is None:
            data = {name: tensor.cpu().contiguous() for name, tensor in tensors_of(record).items()}
            self._places[key] = self._spill.write(safetensors.torch.save(data))

    def _pack(self, name: str, tensor: Tensor) -> Tensor:
        packed = tensor.detach().to(self._held_on, self._dtypes.get(name, tensor.dtype))
        is_view = packed.untyped_storage().nbytes() != packed.nbytes
        return packed.clone(memory_format=torch.contiguous_format) if is_view else packed

    def _unpacked(self, packed: Tensor) -> torch.dtype:
        """What a tensor comes out as: whole numbers as they are."""
        return packed.dtype if self._dtype is None or not packed.is_floating_point() else self._dtype

    def _drop_place(self, key: int) -> None:
        place = self._places.get(key)
        if place is not None:
            self._spill.release(place)
            self._places[key] = None


def tensors_of(record: Any) -> dict[str, Tensor]:
    """The fields of a record that hold a tensor."""
    values = {field.name: getattr(record, field.name) for field in fields(record)}
    return {name: value for name, value in values.items() if isinstance(value, Tensor)}


def size_bytes(record: Any) -> int:
    """Bytes of a record's tensors."""
    return sum(tensor.nbytes for tensor in tensors_of(record).values())
