from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

RUN = "from masklet.cli import main; main(['models', *sys.argv[1:]])"


def run(code: str, *arguments: str, cache: Path) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"HF_HOME": str(cache), "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-c", f"import sys; {code}", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600, check=False)


def test_every_network_is_listed_with_size_licence_and_source(tmp_path: Path):
    lines = run(RUN, cache=tmp_path).stdout.splitlines()
    assert lines[0].split() == ["NAME", "SIZE", "LICENCE", "HERE", "SOURCE"]
    assert len(lines) == 1 + 9
    tiny = next(line for line in lines if line.startswith("sam2.1-hiera-tiny "))
    assert " ".join(tiny.split()) == (
        "sam2.1-hiera-tiny 156 MB Apache-2.0 no facebook/sam2.1-hiera-tiny on the Hugging Face Hub"
    )


def test_a_cached_file_is_shown_as_here(tmp_path: Path):
    repository = tmp_path / "hub" / "models--facebook--sam2-hiera-tiny"
    file = repository / "snapshots" / ("0" * 40) / "sam2_hiera_tiny.pt"
    file.parent.mkdir(parents=True)
    with file.open("wb") as sparse:
        sparse.truncate(155_906_050)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("0" * 40)
    lines = run(RUN, cache=tmp_path).stdout.splitlines()
    assert [line.split()[0] for line in lines[2:] if " yes " in line] == ["sam2-hiera-tiny"]


def test_offline_a_download_says_what_to_do_and_fails(tmp_path: Path):
    result = run(RUN, "sam2.1-hiera-tiny", cache=tmp_path)
    assert result.returncode == 2
    assert "get sam2.1_hiera_tiny.pt (156 MB" in result.stderr
    assert "Traceback" not in result.stderr


def test_an_unknown_name_is_refused_with_the_known_ones(tmp_path: Path):
    result = run(RUN, "sam3", cache=tmp_path)
    assert result.returncode == 2
    assert "sam2.1-hiera-large" in result.stderr


def test_listing_does_not_load_torch(tmp_path: Path):
    code = f"import atexit; atexit.register(lambda: print('torch' in sys.modules)); {RUN}"
    assert run(code, cache=tmp_path).stdout.splitlines()[-1] == "False"
