"""Files that come in parts and can go on after a lost connection.

A client announces a size and gets an identifier; then it sends parts, each with the offset at which it begins. What has
arrived stays, so after an interruption the client asks for the offset and goes on from there, also when the server has
not noticed yet that the connection of the part before is dead: a later part takes its place.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from masklet.server.disk import Disk
from masklet.server.errors import Refusal
from masklet.server.limits import Limits


@dataclass
class Upload:
    """A file that is coming. ``name`` is for people and never part of a path."""

    id: str
    name: str
    size: int
    path: Path
    address: str
    offset: int = 0
    part: int = 0
    """Number of the part that is coming in; earlier ones no longer count."""
    last_used: float = field(default_factory=time.monotonic)


class Uploads:
    """All files that are coming, in one folder, under names of our own."""

    def __init__(self, folder: Path, limits: Limits, disk: Disk) -> None:
        self._folder = folder
        self._disk = disk
        self._limits = limits
        self._uploads: dict[str, Upload] = {}
        folder.mkdir(parents=True, exist_ok=True)

    def begin(self, size: int, name: str = "", address: str = "") -> Upload:
        """Expect a file from an address. Raises Refusal when it is too large for what is left, or one too many.

        Only what arrives is counted, so that an announcement takes nothing from others.
        """
        if size > self._limits.upload_bytes:
            most = _megabytes(self._limits.upload_bytes)
            raise Refusal(413, f"the file has {_megabytes(size)}; this server takes at most {most}")
        self._disk.check(size)
        if sum(upload.address == address for upload in self._uploads.values()) >= self._limits.uploads_per_address:
            raise Refusal(429, "too many files of yours are waiting to be opened; try again in a while")
        identifier = secrets.token_urlsafe(16)
        shown = "".join(sign for sign in name if sign.isprintable()).strip()
        upload = Upload(identifier, shown, size, self._folder / f"{identifier}.part", address)
        upload.path.touch()
        self._uploads[identifier] = upload
        return upload

    def get(self, identifier: str) -> Upload:
        """Raises Refusal when there is none."""
        if identifier not in self._uploads:
            raise Refusal(404, "there is no such upload, or it was given up; begin again")
        return self._uploads[identifier]

    async def append(self, identifier: str, offset: int, parts: AsyncIterator[bytes]) -> Upload:
        """Takes a part of the file that begins at ``offset``.

        Raises Refusal when that is not where the file ends so far, the part reaches past the announced size, or a later
        one took its place. What came before an interruption or a refusal stays.
        """
        upload = self.get(identifier)
        if offset != upload.offset:
            raise Refusal(409, f"expected a part that begins at {upload.offset}, got one at {offset}")
        upload.part += 1
        await self._write(upload, upload.part, parts)
        return upload

    def take(self, identifiers: Sequence[str], folder: Path) -> list[Path]:
        """Moves whole files into a folder, numbered. Raises Refusal when one is missing or not whole."""
        chosen = [self.get(identifier) for identifier in identifiers]
        if len(set(identifiers)) < len(chosen):
            raise Refusal(422, "expected each upload once")
        for upload in chosen:
            if upload.offset < upload.size:
                raise Refusal(409, f"{upload.offset} of {upload.size} bytes have arrived; send the rest first")
        paths = []
        for number, upload in enumerate(chosen):
            upload.part += 1
            paths.append(upload.path.rename(folder / f"{number:05d}.upload"))
            del self._uploads[upload.id]
        return paths

    def expire(self, idle_seconds: float) -> None:
        """Forgets files that nobody has sent a part of for so long."""
        now = time.monotonic()
        for upload in [one for one in self._uploads.values() if now - one.last_used > idle_seconds]:
            upload.part += 1
            upload.path.unlink(missing_ok=True)
            del self._uploads[upload.id]

    async def _write(self, upload: Upload, number: int, parts: AsyncIterator[bytes]) -> None:
        taken = 0
        with upload.path.open("r+b") as file:
            async for part in parts:
                if upload.part != number:
                    raise Refusal(409, "a later part took the place of this one")
                taken += len(part)
                if taken > self._limits.chunk_bytes or upload.offset + len(part) > upload.size:
                    raise Refusal(413, f"the part is larger than {self._limits.chunk_bytes} bytes or than announced")
                self._disk.check(len(part))
                file.seek(upload.offset)
                file.write(part)
                file.flush()
                self._disk.take(len(part))
                upload.offset += len(part)
                upload.last_used = time.monotonic()


def _megabytes(count: int) -> str:
    """Rounded up, so that what is too large by a byte looks larger."""
    return f"{-(-count // (1 << 20))} MB"
