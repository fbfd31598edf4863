"""Rebuilding the training material, from small sources of the published layouts."""

from __future__ import annotations

import functools
import hashlib
import http.server
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import av
import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image
from scipy.io import savemat

from masklet.data.material import Material


@pytest.fixture(autouse=True)
def any_names(tool: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """Small sources make other files than those that the weights learned from."""
    monkeypatch.setattr(tool, "NAMES", {})


@pytest.fixture
def github(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder whose repositories are cloned in place of GitHub's."""
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    monkeypatch.setenv("GIT_CONFIG_KEY_0", f"url.file://{tmp_path}/github/.insteadOf")
    monkeypatch.setenv("GIT_CONFIG_VALUE_0", "https://github.com/")
    return tmp_path / "github"


def commit(folder: Path) -> str:
    """The new commit's name."""
    who = ["-c", "user.name=Someone", "-c", "user.email=someone@example.org"]
    for command in (["init", "-q"], ["add", "."], [*who, "commit", "-qm", "Add pictures"]):
        subprocess.run(["git", *command], cwd=folder, check=True)
    found = subprocess.run(["git", "rev-parse", "HEAD"], cwd=folder, check=True, capture_output=True, text=True)
    return found.stdout.strip()


def picture(width: int, height: int, seed: int = 0) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 255, (height, width, 3), dtype=np.uint8))


def cutout(side: int, colours: int) -> Image.Image:
    rgba = np.zeros((side, side, 4), dtype=np.uint8)
    middle = slice(side // 4, -side // 4)
    rgba[middle, middle, :3] = np.random.default_rng(0).integers(0, colours, (side // 2, side // 2, 3))
    rgba[middle, middle, 3] = 255
    return Image.fromarray(rgba)


def rebuild(tool: ModuleType, assets: Path, *parts: str) -> Result:
    return CliRunner().invoke(tool.main, [str(assets), *(word for part in parts for word in ("--only", part))])


def test_people_and_nuclei_come_with_their_labels(
    tool: ModuleType, github: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    root = github / tool.PEOPLE
    for folder in ("photos", "annotations/pixel-level"):
        (root / folder).mkdir(parents=True)
    picture(550, 832).save(root / "photos" / "0001.jpg")
    labels = np.zeros((832, 550), dtype=np.uint8)
    labels[400:, 275:] = 41
    savemat(root / "annotations" / "pixel-level" / "0001.mat", {"groundtruth": labels})
    monkeypatch.setitem(tool.COMMITS, tool.PEOPLE, commit(root))
    sample = github / tool.NUCLEI / "stage1_train" / "0123456789abcdef"
    for folder in ("images", "masks"):
        (sample / folder).mkdir(parents=True)
    picture(768, 512).save(sample / "images" / f"{sample.name}.png")
    for number in range(2):
        mask = np.zeros((512, 768), dtype=np.uint8)
        mask[100 * number : 100 * number + 50, :50] = 255
        Image.fromarray(mask).save(sample / "masks" / f"{number}.png")
    monkeypatch.setitem(tool.COMMITS, tool.NUCLEI, commit(github / tool.NUCLEI))
    result = rebuild(tool, tmp_path / "assets", "ccp_people_parts", "nuclei_cc0")
    assert result.exit_code == 0, result.output
    with Image.open(tmp_path / "assets" / "ccp_people_parts" / "0001.png") as found:
        assert found.size == (352, 532)
        assert np.unique(np.asarray(found)).tolist() == [0, 41]
    with Image.open(tmp_path / "assets" / "nuclei_cc0" / "0123456789.png") as found:
        assert found.mode.startswith("I;16")
        assert np.asarray(found)[60, 10] == 2
        assert found.size == (384, 256)


def test_videos_become_few_small_frames_a_second(
    tool: ModuleType, github: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    for name, patterns in tool.VIDEOS.items():
        path = github / name / patterns[0].replace("*", "09_birdcartoon")
        path.parent.mkdir(parents=True)
        for clip in {path, path.with_name("car.mp4")}:
            with av.open(str(clip), "w") as output:
                stream = output.add_stream("libx264", rate=24)
                stream.width, stream.height, stream.pix_fmt = 64, 36, "yuv420p"
                for seed in range(7):
                    frame = av.VideoFrame.from_image(picture(64, 36, seed))
                    output.mux(stream.encode(frame))
                output.mux(stream.encode())
        path.with_name("long.mp4").write_bytes(bytes(tool.MAX_VIDEO))
        monkeypatch.setitem(tool.COMMITS, name, commit(github / name))
    assert rebuild(tool, tmp_path / "assets", "video_unlabelled").exit_code == 0
    found = sorted(path.relative_to(tmp_path / "assets" / "video_unlabelled") for path in tmp_path.rglob("0*.jpg"))
    assert [str(path) for path in found] == [f"car/{number:04d}.jpg" for number in range(3)]


def test_emoji_are_taken_without_skin_tones_flags_and_keys(tool: ModuleType, tmp_path: Path, monkeypatch):
    if shutil.which("npm") is None:
        pytest.skip("npm is not installed")
    package = tmp_path / "emoji"
    (package / "assets").mkdir(parents=True)
    (package / "package.json").write_text('{"name": "emoji", "version": "1.0.0"}')
    frames = [cutout(256, 20 + number) for number in range(24)]
    frames[0].save(package / "assets" / "1f406.webp", save_all=True, append_images=frames[1:], lossless=True)
    for name in ("1f44b-1f3fb", "1f1e9-1f1ea", "0031-fe0f-20e3", "1f40d"):
        cutout(256, 255).save(package / "assets" / f"{name}.webp")
    archive = tool.packed(str(package), tmp_path)
    monkeypatch.setattr(tool, "packed", lambda _, folder: Path(shutil.copy(archive, folder)))
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    for name in ("@lobehub/fluent-emoji-3d", "@lobehub/fluent-emoji-anim-1"):
        monkeypatch.setitem(tool.ARCHIVES, name, ("1.0.0", digest))
    result = rebuild(tool, tmp_path / "assets", "fluent3d_mit", "fluent_anim_mit")
    assert result.exit_code == 0, result.output
    stills = sorted((tmp_path / "assets" / "fluent3d_mit").iterdir())
    assert [path.name for path in stills] == ["1f406.webp", "1f40d.webp"]
    strip = np.asarray(Image.open(tmp_path / "assets" / "fluent_anim_mit" / "1f406.webp"))
    assert strip.shape == (2048, 128, 4)
    assert len(list((tmp_path / "assets" / "fluent_anim_mit").iterdir())) == 1
    monkeypatch.setitem(tool.ARCHIVES, "@lobehub/fluent-emoji-3d", ("1.0.0", "0" * 64))
    refused = rebuild(tool, tmp_path / "others", "fluent3d_mit")
    assert refused.exit_code == 1
    assert f"expected @lobehub/fluent-emoji-3d 1.0.0 with SHA-256 {'0' * 64}, got {digest}" in refused.stderr


def test_clip_art_and_wallpapers_are_chosen_by_rule(tool: ModuleType, tmp_path: Path, monkeypatch):
    art = tmp_path / "files" / "usr" / "share" / "openclipart" / "png"
    walls = tmp_path / "files" / "usr" / "share" / "wallpapers"
    for folder in (art / "animals", art / "icons", walls / "Autumn" / "contents", walls / "Other"):
        folder.mkdir(parents=True)
    cutout(300, 255).save(art / "animals" / "cat.png")
    cutout(300, 8).save(art / "animals" / "plain sign.png")
    cutout(300, 255).save(art / "icons" / "home.png")
    Image.new("1", (20000, 10000)).save(art / "animals" / "enormous.png")
    for name in ("2048x1024", "1024x768", "screenshot"):
        picture(2048 if name == "2048x1024" else 1024, 1024).save(walls / "Autumn" / "contents" / f"{name}.jpg")
    picture(2048, 1024).save(walls / "Other" / "a.jpg")
    monkeypatch.setattr(tool, "debian", lambda *_: tmp_path / "files")
    monkeypatch.setattr(tool, "WALLPAPERS", {"plasma-workspace-wallpapers": "ColorfulCups Autumn"})
    result = rebuild(tool, tmp_path / "assets", "openclipart_pd", "bg_debian")
    assert result.exit_code == 0, result.output
    assert [path.name for path in (tmp_path / "assets" / "openclipart_pd").iterdir()] == ["animals_cat.webp"]
    (wallpaper,) = (tmp_path / "assets" / "bg_debian").iterdir()
    assert wallpaper.name == "plasma-workspace-wallpapers__usr_share_wallpapers_Autumn_contents_2048x1024_jpg.jpg"
    assert Image.open(wallpaper).size == (1024, 512)
    material = Material(tmp_path / "assets")
    assert material.object(np.random.default_rng(0)).shape == (256, 256, 4)


def write_person(root: Path, name: str) -> None:
    for folder in ("photos", "annotations/pixel-level"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    picture(40, 60).save(root / "photos" / f"{name}.jpg")
    savemat(root / f"annotations/pixel-level/{name}.mat", {"groundtruth": np.ones((60, 40), dtype=np.uint8)})


def test_a_repository_is_taken_at_its_commit_whatever_came_later(
    tool: ModuleType, github: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    write_person(github / tool.PEOPLE, "0001")
    monkeypatch.setitem(tool.COMMITS, tool.PEOPLE, commit(github / tool.PEOPLE))
    write_person(github / tool.PEOPLE, "0002")
    commit(github / tool.PEOPLE)
    result = rebuild(tool, tmp_path / "assets", "ccp_people_parts")
    assert result.exit_code == 0, result.output
    found = sorted(path.name for path in (tmp_path / "assets" / "ccp_people_parts").iterdir())
    assert found == ["0001.jpg", "0001.png"]
    monkeypatch.setitem(tool.COMMITS, tool.PEOPLE, "1" * 40)
    refused = rebuild(tool, tmp_path / "others", "ccp_people_parts")
    assert refused.exit_code == 1
    assert "1" * 40 in refused.stderr


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["0001.jpg", "0001.png", "0002.jpg"], "expected the 3 files that the weights learned from, got 2"),
        (["0001.jpg", "0003.png"], "expected the 2 files that the weights learned from, got as many that are called"),
        (["0001.jpg", "0001.png"], ""),
    ],
)
def test_files_of_other_names_than_the_weights_learned_from_are_refused(
    names: list[str], message: str, tool: ModuleType, github: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    write_person(github / tool.PEOPLE, "0001")
    monkeypatch.setitem(tool.COMMITS, tool.PEOPLE, commit(github / tool.PEOPLE))
    digest = hashlib.sha256("\n".join(names).encode()).hexdigest()
    monkeypatch.setattr(tool, "NAMES", {"ccp_people_parts": (len(names), digest)})
    result = rebuild(tool, tmp_path / "assets", "ccp_people_parts")
    assert result.exit_code == int(bool(message))
    assert message in result.stderr
    assert (tmp_path / "assets" / "ccp_people_parts").exists() == (not message)


def test_all_sources_are_pinned(tool: ModuleType):
    assert set(tool.COMMITS) == {tool.PEOPLE, tool.NUCLEI, *tool.VIDEOS}
    assert set(tool.WALLPAPERS) < set(tool.ARCHIVES)
    digests = [digest for _, digest in (*tool.ARCHIVES.values(), *tool.NAMES.values())]
    assert all(re.fullmatch("[0-9a-f]{64}", digest) for digest in digests)
    assert all(re.fullmatch("[0-9a-f]{40}", name) for name in tool.COMMITS.values())


def test_meshes_fall_in_rendered_clips_with_their_numbers(tool: ModuleType, tmp_path: Path):
    pytest.importorskip("pybullet")
    tool.renderings(tmp_path, tmp_path, clips=1, frames=3)
    frames = sorted((tmp_path / "0000").glob("*.png"))
    ids = [np.asarray(Image.open(path)) for path in frames]
    assert [path.name for path in frames] == ["00.png", "01.png", "02.png"]
    assert 3 <= len(np.unique(ids[0])) <= 6
    assert (ids[0] != ids[2]).any()
    rgb = np.asarray(Image.open(tmp_path / "0000/00.jpg"))
    assert rgb.shape == (256, 256, 3)
    assert rgb.std() > 5


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        return


@pytest.fixture
def photos(tool: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder that is served over HTTP in place of the photos' site."""
    folder = tmp_path / "photos"
    folder.mkdir()
    handler = functools.partial(Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setattr(tool, "KODAK", f"http://127.0.0.1:{server.server_address[1]}/{{:02d}}.png")
        yield folder
        server.shutdown()


def test_what_cannot_be_had_is_named_and_tried_again_the_next_time(tool: ModuleType, photos: Path, tmp_path: Path):
    for number in range(1, 24):
        picture(48, 32, number).save(photos / f"{number:02d}.png")
    result = rebuild(tool, tmp_path / "assets", "kodak")
    assert result.exit_code == 1
    assert "kodak: HTTP Error 404" in result.stderr
    assert not list((tmp_path / "assets").iterdir())
    picture(48, 32, 24).save(photos / "24.png")
    assert rebuild(tool, tmp_path / "assets", "kodak").exit_code == 0
    assert len(list((tmp_path / "assets" / "kodak").iterdir())) == 24
    assert "kodak: is there" in rebuild(tool, tmp_path / "assets", "kodak").output


def test_a_download_without_end_is_given_up(tool: ModuleType, photos: Path, tmp_path: Path, monkeypatch):
    monkeypatch.setattr(tool, "MAX_DOWNLOAD", 1000)
    (photos / "01.png").write_bytes(bytes(1001))
    result = rebuild(tool, tmp_path / "assets", "kodak")
    assert result.exit_code == 1
    assert "more than 1000 bytes" in result.stderr


def test_a_missing_program_or_package_is_named(tool: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setitem(sys.modules, "pybullet", None)
    result = rebuild(tool, tmp_path / "assets", "bg_debian", "pybullet_clips")
    assert result.exit_code == 1
    assert "bg_debian: apt-get is needed and not installed" in result.stderr
    assert "pybullet_clips: " in result.stderr
