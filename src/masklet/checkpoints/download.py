"""Downloads from the Hugging Face Hub into its usual cache, each file once and checked."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from masklet.checkpoints.errors import CheckpointError, DownloadError


@dataclass(frozen=True)
class Download:
    """One published file."""

    name: str
    repository: str
    """Owner and name on the hub."""
    file: str
    size: int
    """Bytes."""
    sha256: str
    licence: str

    @property
    def source(self) -> str:
        """Where a person finds it."""
        return f"{self.repository} on the Hugging Face Hub"


def cached_file(wanted: Download) -> Path | None:
    """The file in the cache, if it is there in its full size. Its hash is not looked at."""
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(wanted.repository, wanted.file)
    if not isinstance(found, str) or Path(found).stat().st_size != wanted.size:
        return None
    return Path(found)


def fetch(wanted: Download) -> Path:
    """The file from the cache or else from the hub, with a progress bar and a checked hash.

    A transfer that breaks off is taken up again where it stopped. The settings of huggingface_hub hold: ``HF_HOME``,
    ``HF_ENDPOINT``, ``HF_HUB_OFFLINE`` and others.

    Raises:
        DownloadError: no connection, or the hub does not have it.
        CheckpointError: the content is not the published one; it has been removed from the cache.
    """
    path = cached_file(wanted) or _download(wanted)
    found = sha256_of(path)
    if found != wanted.sha256:
        _remove(path)
        raise CheckpointError(
            f"{path} has the SHA-256 {found}, but {wanted.sha256} was published for {wanted.name}; the file has been "
            "removed from the cache and is not used. Try again; if it stays so, something on the way to the hub "
            "changes files"
        )
    return path


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's content, in hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _download(wanted: Download) -> Path:
    from huggingface_hub import hf_hub_download

    try:
        return Path(hf_hub_download(wanted.repository, wanted.file))
    except Exception as error:  # the hub's client lets through whatever its HTTP library raises
        reason = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise DownloadError(
            f"could not download {wanted.name}: {reason[:300]}\n"
            f"Expected to reach {wanted.source}. With a connection, try again. Without one, get {wanted.file} "
            f"({wanted.size / 1e6:.0f} MB, SHA-256 {wanted.sha256}) on another machine from {_page(wanted)} "
            f"and pass its path instead of the name"
        ) from error


def _page(wanted: Download) -> str:
    return f"https://huggingface.co/{wanted.repository}/blob/main/{wanted.file}"


def _remove(path: Path) -> None:
    """The cache holds a link to the content; both go."""
    content = path.resolve()
    path.unlink()
    content.unlink(missing_ok=True)
