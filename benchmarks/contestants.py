"""What benchmarks compare: masklet and the published package with the same seeded weights, behind the same calls."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from itertools import islice
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

import numpy as np
import torch
from PIL import Image

from masklet import load
from masklet.checkpoints import from_published
from masklet.checkpoints.hugging_face import TRANSFORMERS
from masklet.model.config import MODELS, NetworkConfig, Trades
from masklet.model.precision import Precision
from masklet.model.sam2 import SegmentationNetwork
from masklet.model.trades import traded
from masklet.process import keep_freed_memory
from masklet.prompts import Points
from masklet.sessions.everything import MaskGenerator
from masklet.sessions.image import ImageSession
from masklet.sessions.inputs import frame_tensor, resized_frame
from masklet.sessions.video import VideoSession

CHECKPOINT, PEER_CONFIG = "sam2.1_hiera_tiny", "configs/sam2.1/sam2.1_hiera_t.yaml"
PLACES = tuple((x, y) for y in (270, 150, 400, 480) for x in (480, 200, 700, 320))
"""Clicks, one for each object, in pixels of a frame."""
NO_THRESHOLDS: dict[str, Any] = {"pred_iou_thresh": 0.0, "stability_score_thresh": 0.0}


def our_config(image_size: int) -> NetworkConfig:
    return replace(MODELS[CHECKPOINT.replace("_hiera_", "-hiera-")], image_size=image_size)


class Reference:
    """Seeded weights and drawn pictures."""

    def __init__(self, folder: Path, image_size: int):
        self._scenes, self._weights = (_module(folder / f"{name}.py") for name in ("scenes", "weights"))
        self.image_size = image_size

    def picture(self, t: int = 0, hw: tuple[int, int] = (540, 960)) -> np.ndarray:
        return self._scenes.frame(1, t, *hw)

    def weights(self) -> dict[str, torch.Tensor]:
        return {name: torch.from_numpy(array) for name, array in self._weights.state_dict(CHECKPOINT).items()}

    def write_clip(self, folder: Path, frames: int, hw: tuple[int, int] = (540, 960)) -> None:
        for t in range(frames):
            Image.fromarray(self.picture(t, hw)).save(folder / f"{t:05d}.jpg", quality=95)


class Contestant:
    """What all of them can do."""

    def follow(self, folder: Path, objects: int) -> Iterator[np.ndarray]:
        """Masks (objects, h, w) of one frame after the other, the objects shown on the first."""
        raise NotImplementedError

    def begin(self, folder: Path, objects: int) -> None:
        """Gets ready to follow."""
        self._steps = self.follow(folder, objects)

    def step(self, frames: int = 1) -> np.ndarray:
        """Follows through so many frames more, and gives the masks of the last."""
        return list(islice(self._steps, frames))[-1]


class Sessions(Contestant):
    """What follows by masklet's sessions."""

    _network: SegmentationNetwork

    def computing(self, precision: Precision) -> AbstractContextManager:
        self._network.set_precision(precision)
        return nullcontext()

    def follow(self, folder: Path, objects: int) -> Iterator[np.ndarray]:
        with VideoSession(self._network, folder) as session:
            for obj in range(objects):
                session.prompt(0, obj, Points(PLACES[obj]))
            for result in session.propagate():
                yield result.masks_ohw


class Ours(Sessions):
    """masklet, in a process like any that has called ``masklet.load``."""

    name = "masklet"
    precisions: tuple[Precision, ...] = ("auto", "exact", "plain")

    def __init__(self, reference: Reference):
        keep_freed_memory()
        self._network = SegmentationNetwork(our_config(reference.image_size)).eval()
        self._network.load_state_dict(from_published(reference.weights()))
        self._picture = ImageSession(self._network)

    def encode(self, picture: np.ndarray) -> np.ndarray:
        self._picture.set_image(picture)
        return self._picture.features.stride16_bchw.numpy()

    def click(self, times: int = 1) -> np.ndarray:
        return [self._picture.predict(Points(PLACES[0])).masks for _ in range(times)][-1]

    def everything(self, picture: np.ndarray, points: int) -> Any:
        return MaskGenerator(self._network, points_per_side=points, **NO_THRESHOLDS).records(picture)


class Fast(Ours):
    """The same with the preset that trades accuracy for speed."""

    name = "masklet --fast"
    precisions: tuple[Precision, ...] = ("auto",)

    def __init__(self, reference: Reference):
        super().__init__(reference)
        self._network = traded(self._network, Trades(fast=True))


class Pico(Sessions):
    """The built-in network."""

    name = "pico"
    precisions: tuple[Precision, ...] = ("auto",)

    def __init__(self, reference: Reference):
        self._network = load("pico")


class Peer(Contestant):
    """Another library's, in float32 or under autocast."""

    precisions = ("bfloat16", "float32")

    def computing(self, precision: str) -> AbstractContextManager:
        return torch.autocast("cpu", torch.bfloat16) if precision == "bfloat16" else nullcontext()


class Theirs(Peer):
    """The published package."""

    name = "sam2"

    def __init__(self, reference: Reference):
        override = [f"++model.image_size={reference.image_size}"]
        build = import_module("sam2.build_sam").build_sam2_video_predictor
        self._network = build(PEER_CONFIG, device="cpu", hydra_overrides_extra=override)
        self._network.load_state_dict(reference.weights())
        self._picture = self._sized(import_module("sam2.sam2_image_predictor").SAM2ImagePredictor(self._network))

    def encode(self, picture: np.ndarray) -> np.ndarray:
        self._picture.set_image(picture)
        return self._picture.get_image_embedding().float().numpy()

    def click(self, times: int = 1) -> np.ndarray:
        at = (np.array([PLACES[0]]), np.array([1]))
        found: list[np.ndarray] = [self._picture.predict(*at, multimask_output=True)[0] for _ in range(times)]
        return np.greater(found[-1], 0)

    def everything(self, picture: np.ndarray, points: int) -> Any:
        kind = import_module("sam2.automatic_mask_generator").SAM2AutomaticMaskGenerator
        generator = kind(self._network, points_per_side=points, **NO_THRESHOLDS)
        self._sized(generator.predictor)
        return generator.generate(picture)

    def follow(self, folder: Path, objects: int) -> Iterator[np.ndarray]:
        state = self._network.init_state(str(folder))
        for obj in range(objects):
            self._network.add_new_points_or_box(state, 0, obj, points=[PLACES[obj]], labels=[1])
        for _, _, logits in self._network.propagate_in_video(state):
            yield (logits[:, 0] > 0).numpy()

    def _sized(self, predictor: Any) -> Any:
        side = self._network.image_size
        predictor._bb_feat_sizes = [(side // stride, side // stride) for stride in (4, 8, 16)]
        return predictor


class Transformers(Peer):
    """The same network as the library transformers has it."""

    name = "transformers"

    def __init__(self, reference: Reference):
        self._side = reference.image_size
        videos, images = (f"transformers.models.{name}" for name in ("sam2_video", "sam2"))
        self._library = import_module(f"{videos}.modeling_sam2_video")
        config = import_module(f"{videos}.configuration_sam2_video").Sam2VideoConfig()
        assert config.image_size == self._side, "its positions are made for 1024 pixels"
        self._network = self._library.Sam2VideoModel(config).eval()
        self._of_images = import_module(f"{images}.modeling_sam2").Sam2Model(
            import_module(f"{images}.configuration_sam2").Sam2Config()
        )
        for network in (self._network, self._of_images.eval()):
            network.load_state_dict(named_as_transformers(reference.weights(), network.state_dict()))

    @torch.inference_mode()
    def encode(self, picture: np.ndarray) -> np.ndarray:
        self._picture_hw = picture.shape[:2]
        self._embeddings = self._of_images.get_image_embeddings(pixels(picture, self._side)[None])
        return self._embeddings[-1].float().numpy()

    @torch.inference_mode()
    def click(self, times: int = 1) -> np.ndarray:
        shown = {
            "input_points": self._place(0, self._picture_hw),
            "input_labels": torch.ones(1, 1, 1, dtype=torch.int32),
        }
        for _ in range(times):
            found = self._of_images(image_embeddings=self._embeddings, multimask_output=True, **shown)
            masks = enlarged(found.pred_masks[0], self._picture_hw)[0]
        return masks

    @torch.inference_mode()
    def follow(self, folder: Path, objects: int) -> Iterator[np.ndarray]:
        pictures = [np.asarray(Image.open(path)) for path in sorted(folder.glob("*.jpg"))]
        height, width = pictures[0].shape[:2]
        video = torch.stack([pixels(picture, self._side) for picture in pictures])
        session = self._library.Sam2VideoInferenceSession(video, height, width, dtype=torch.float32)
        for obj in range(objects):
            place = self._place(obj, (height, width))
            shown = {"point_coords": place, "point_labels": torch.ones(1, 1, 1, dtype=torch.int32)}
            session.add_point_inputs(session.obj_id_to_idx(obj), 0, shown)
        session.obj_with_new_inputs = list(range(objects))
        for frame in range(len(pictures)):
            yield enlarged(self._network(session, frame_idx=frame).pred_masks, (height, width))[:, 0]

    def _place(self, obj: int, hw: tuple[int, ...]) -> torch.Tensor:
        """A click (1, 1, 1, 2) on the square that it sees."""
        return torch.tensor(PLACES[obj])[None, None, None] * self._side / torch.tensor(hw[::-1])


class Sam(Peer):
    """The image encoder of the first SAM as the library transformers has it, without trained weights."""

    shape: dict[str, Any]

    def __init__(self, reference: Reference):
        config = import_module("transformers.models.sam.configuration_sam").SamVisionConfig(**self.shape)
        assert config.image_size == reference.image_size, "its positions are made for 1024 pixels"
        self._encoder = import_module("transformers.models.sam.modeling_sam").SamVisionModel(config).eval()

    @torch.inference_mode()
    def encode(self, picture: np.ndarray) -> np.ndarray:
        seen = pixels(picture, self._encoder.config.image_size)
        return self._encoder(seen[None]).last_hidden_state.float().numpy()


class SamBase(Sam):
    """ViT-B."""

    name = "SAM ViT-B"
    shape: ClassVar = {}


class SamHuge(Sam):
    """ViT-H."""

    name = "SAM ViT-H"
    shape: ClassVar = {
        "hidden_size": 1280,
        "num_hidden_layers": 32,
        "num_attention_heads": 16,
        "mlp_dim": 5120,
        "global_attn_indexes": [7, 15, 23, 31],
    }


def pixels(picture: np.ndarray, side: int) -> torch.Tensor:
    """(3, side, side): resized by PIL and normalised, as the processors of transformers give them."""
    return frame_tensor(resized_frame(picture, our_config(side)))[0]


def enlarged(logits_okhw: torch.Tensor, hw: tuple[int, int]) -> np.ndarray:
    """bool (o, k, *hw), as the processors of transformers make masks."""
    return (torch.nn.functional.interpolate(logits_okhw.float(), hw, mode="bilinear") > 0).numpy()


def named_as_transformers(
    published: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]
) -> dict[str, torch.Tensor]:
    """Published weights with the names and shapes that transformers expects."""
    positions = published["sam_prompt_encoder.pe_layer.positional_encoding_gaussian_matrix"]
    labels = [published[f"sam_prompt_encoder.point_embeddings.{i}.weight"] for i in range(4)]
    found = {
        "shared_image_embedding.positional_embedding": positions,
        "prompt_encoder.point_embed.weight": torch.cat(labels),
    }
    for name, tensor in expected.items():
        if name not in found:
            found[name] = published[TRANSFORMERS.forward(name)].view_as(tensor)
    return found


def _module(path: Path) -> ModuleType:
    spec = spec_from_file_location(f"reference_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    found = module_from_spec(spec)
    spec.loader.exec_module(found)
    return found
