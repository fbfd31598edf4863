"""The networks that can be had by name, and where their weights come from.

Hashes and sizes are those of the files as Meta published them.
"""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from importlib import resources
from pathlib import Path

from masklet.checkpoints.download import Download, cached_file, fetch


@dataclass(frozen=True)
class BuiltIn:
    """Weights that come with the package."""

    name: str
    licence: str = "Apache-2.0"
    source: str = "in the package"

    @property
    def path(self) -> Path:
        """Where the package keeps them."""
        return Path(str(resources.files("masklet") / "weights" / f"{self.name}.safetensors"))

    @property
    def size(self) -> int:
        """Bytes; 0 if the package lacks them."""
        return self.path.stat().st_size if self.path.is_file() else 0


PICO = BuiltIn("pico")

PUBLISHED: dict[str, Download] = {
    f"sam{version}-hiera-{trunk}": Download(
        name=f"sam{version}-hiera-{trunk}",
        repository=f"facebook/sam{version}-hiera-{trunk}",
        file=f"sam{version}_hiera_{trunk.replace('-', '_')}.pt",
        size=size,
        sha256=sha256,
        licence="Apache-2.0",
    )
    for version, trunk, size, sha256 in (
        ("2.1", "tiny", 156_008_466, "7402e0d864fa82708a20fbd15bc84245c2f26dff0eb43a4b5b93452deb34be69"),
        ("2.1", "small", 184_416_285, "6d1aa6f30de5c92224f8172114de081d104bbd23dd9dc5c58996f0cad5dc4d38"),
        ("2.1", "base-plus", 323_606_802, "a2345aede8715ab1d5d31b4a509fb160c5a4af1970f199d9054ccfb746c004c5"),
        ("2.1", "large", 898_083_611, "2647878d5dfa5098f2f8649825738a9345572bae2d4350a2468587ece47dd318"),
        ("2", "tiny", 155_906_050, "65b50056e05bcb13694174f51bb6da89c894b57b75ccdf0ba6352c597c5d1125"),
        ("2", "small", 184_309_650, "95949964d4e548409021d47b22712d5f1abf2564cc0c3c765ba599a24ac7dce3"),
        ("2", "base-plus", 323_493_298, "d0bb7f236400a49669ffdd1be617959a8b1d1065081789d7bbff88eded3a8071"),
        ("2", "large", 897_952_466, "7442e4e9b732a508f80e141e7c2913437a3610ee0c77381a66658c3a445df87b"),
    )
}

NAMES = (PICO.name, *PUBLISHED)


def weights_path(name_or_path: str | Path) -> Path:
    """The file of a named network, downloaded if need be, or the path itself.

    Raises:
        FileNotFoundError: neither a known name nor an existing path.
        DownloadError: the file is not in the cache and cannot be downloaded.
        CheckpointError: the downloaded file has the wrong hash.
    """
    if name_or_path in PUBLISHED:
        return fetch(PUBLISHED[str(name_or_path)])
    if name_or_path == PICO.name:
        return _built_in_path()
    path = Path(name_or_path).expanduser()
    if not path.exists():
        raise FileNotFoundError(_not_found(str(name_or_path)))
    return path


def is_at_hand(name: str) -> bool:
    """Whether the network of this name loads without a download."""
    return PICO.size > 0 if name == PICO.name else cached_file(PUBLISHED[name]) is not None


def _built_in_path() -> Path:
    if not PICO.size:
        raise FileNotFoundError(
            f"the built-in weights are missing; expected them in the package as {PICO.path}: "
            "install masklet again, or name other weights"
        )
    return PICO.path


def _not_found(name: str) -> str:
    spelled = name.removeprefix("facebook/").removesuffix(".pt").replace("_", "-").lower()
    near = get_close_matches(spelled, NAMES, n=1)
    hint = f"did you mean {near[0]}?" if near else "'masklet models' lists the names"
    return f"there are no weights {name!r}: neither a file nor one of {', '.join(NAMES)}; {hint}"
