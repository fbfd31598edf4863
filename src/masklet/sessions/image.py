"""Segment still pictures from clicks, boxes and masks.

    session = ImageSession(network)
    session.set_image("photo.jpg")
    result = session.predict(Points((490, 270)))
    better = session.predict(Points([(490, 270), (330, 350)], [1, 0]), mask=result.best_low_res, candidates=False)

Boxes of several objects go in one call: ``session.predict(box=[Box(...), Box(...)])``.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from masklet import masks
from masklet.model.outputs import ImageFeatures
from masklet.model.sam2 import MASK_LOGIT, SegmentationNetwork, resize
from masklet.prompts import Box, Mask, Points, UnitPoints, as_points, require_positive
from masklet.sessions.inputs import LOGIT_LIMIT, picture_tensor, prompt_batch
from masklet.sessions.results import ImageResult
from masklet.sessions.settings import ImageSettings
from masklet.sessions.store import tensors_of
from masklet.video.read import open_frames

FILLED_MARGIN = 10.0
"""How far from the threshold the logits of filled holes and removed specks come to lie."""
EMBEDDING_FORMAT = "masklet image embedding 1"


class ImageSession:
    """Pictures whose features are computed once, and any number of predictions on them."""

    def __init__(self, network: SegmentationNetwork, settings: ImageSettings | None = None, **options: Any):
        """``options`` are single settings by name, as in ``ImageSession(network, mask_threshold=0.5)``."""
        self.network = network.eval()
        self.settings = replace(settings or ImageSettings(), **options)
        self._features: ImageFeatures | None = None
        self._conditioned: Tensor | None = None
        self._image_hws: list[tuple[int, int]] = []

    @property
    def image_hws(self) -> tuple[tuple[int, int], ...]:
        """Height and width of every picture that is set."""
        return tuple(self._image_hws)

    @property
    def features(self) -> ImageFeatures:
        """What the network says about the pictures. Raises ValueError before ``set_image``."""
        if self._features is None:
            raise ValueError("there is no picture yet; call set_image or load_embedding first")
        return self._features

    @torch.inference_mode()
    def set_image(self, picture: Any) -> None:
        """Encode a picture, or a list of pictures as one batch: RGB uint8 arrays (h, w, 3), PIL pictures or paths.

        All pictures of a batch are resized to the same height and width.
        """
        several = isinstance(picture, (list, tuple))
        pictures = [_pixels(p) for p in (picture if several else [picture])]
        if not pictures:
            raise ValueError("expected at least one picture, got an empty list")
        image_hws = [(p.shape[0], p.shape[1]) for p in pictures]
        config, device = self.network.config, self.network.device
        canvas = config.for_stills.common_canvas(image_hws)
        tensors = [picture_tensor(p, config, device, canvas) for p in pictures]
        self._take(replace(self.network.encode_image(torch.cat(tensors)), keys_blhnd=None), image_hws)

    @torch.inference_mode()
    def predict(
        self,
        points: Points | Sequence[Points] | None = None,
        box: Box | Sequence[Box] | None = None,
        mask: Mask | np.ndarray | Tensor | None = None,
        *,
        candidates: bool = True,
        image: int = 0,
    ) -> ImageResult:
        """Masks for prompts in pixels of picture number ``image``.

        Lists of points or boxes are one object each, and the result has a leading axis for them. ``mask`` is a drawn
        mask of the picture's size or low-res logits of an earlier result, (h, w), or (o, h, w) for o objects.
        ``candidates`` asks for three masks, which suits a single click; otherwise there is one.
        Raises ValueError for prompts that do not fit.
        """
        picture, image_hw = self._picture(image)
        objects, several = _objects(points, box)
        mask_logits = None if mask is None else self._mask_logits(mask, image_hw, len(objects))
        if self.settings.checks_prompts:
            _check(objects, mask, image_hw)
        batch = prompt_batch(_unit_points(objects, image_hw), mask_logits, self.network.device)
        if self._conditioned is None:
            self._conditioned = self.network.without_memory(self.features)
        prediction = self.network.decode(
            picture,
            self._conditioned[image : image + 1].expand(len(objects), -1, -1, -1),
            batch,
            candidates=candidates,
            stability=self.settings.stability,
        )
        low_res_okhw = prediction.logits_okhw.float()
        cleaned, fed_back = self._cleaned(low_res_okhw), low_res_okhw.clamp(-LOGIT_LIMIT, LOGIT_LIMIT)
        iou_ok, presence_o = prediction.iou_ok.float(), prediction.presence_o.float().sigmoid()
        if not several:
            cleaned, fed_back, iou_ok, presence_o = (x.squeeze(0) for x in (cleaned, fed_back, iou_ok, presence_o))
        rest = (x.cpu().numpy() for x in (fed_back, iou_ok, presence_o))
        return ImageResult(image_hw, cleaned, *rest, mask_threshold=self.settings.mask_threshold)

    def save_embedding(self, path: str | Path) -> None:
        """Write the encoded pictures to a safetensors file, so that they need not be encoded again."""
        tensors = {name: tensor.cpu().contiguous() for name, tensor in tensors_of(self.features).items()}
        metadata = {
            "format": EMBEDDING_FORMAT,
            "network": _description(self.network),
            "image_hws": json.dumps(self._image_hws),
        }
        Path(path).write_bytes(save(tensors, metadata))

    def load_embedding(self, path: str | Path) -> None:
        """Take encoded pictures from a file. Raises ValueError unless a network of this configuration wrote it."""
        try:
            with safe_open(str(path), framework="pt") as file:
                metadata = file.metadata() or {}
                self._check_origin(metadata, path)
                image_hws = [(int(h), int(w)) for h, w in json.loads(metadata["image_hws"])]
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
        except (SafetensorError, KeyError, TypeError) as error:
            raise ValueError(f"{path} is no image embedding: {error}; write one with save_embedding") from error
        self._check_shapes(tensors, image_hws, path)
        self._take(ImageFeatures(**tensors).to(self.network.device), image_hws)

    def _take(self, features: ImageFeatures, image_hws: list[tuple[int, int]]) -> None:
        self._features, self._image_hws = features, image_hws
        self._conditioned = None

    def _check_origin(self, metadata: dict[str, str], path: str | Path) -> None:
        if metadata.get("format") != EMBEDDING_FORMAT:
            raise ValueError(f"{path} is no image embedding; write one with save_embedding")
        if metadata.get("network") != _description(self.network):
            name = json.loads(metadata.get("network", "{}")).get("name")
            raise ValueError(
                f"{path} was made by network {name!r}, which this one, {self.network.config.name!r}, cannot read; "
                "load the same network or encode the picture again"
            )

    def _check_shapes(self, tensors: dict[str, Tensor], image_hws: Sequence[tuple[int, int]], path: str | Path) -> None:
        found = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
        has_pictures = bool(image_hws) and min(map(min, image_hws)) > 0
        expected = self._shapes(image_hws) if has_pictures else {}
        if found != expected or not has_pictures:
            raise ValueError(f"{path} holds tensors {found}, expected {expected}; encode the picture again")

    def _shapes(self, image_hws: Sequence[tuple[int, int]]) -> dict[str, tuple[int, ...]]:
        config, count = self.network.config, len(image_hws)
        height, width = config.for_stills.common_canvas(image_hws)
        channels = {16: config.width, 8: config.mask_channels[0], 4: config.mask_channels[1]}
        return {f"stride{stride}_bchw": (count, c, height // stride, width // stride) for stride, c in channels.items()}

    def _picture(self, image: int) -> tuple[ImageFeatures, tuple[int, int]]:
        features = self.features
        if not 0 <= image < len(self._image_hws):
            raise IndexError(f"there is no picture {image}; the pictures are 0 to {len(self._image_hws) - 1}")
        return features.rows(slice(image, image + 1)), self._image_hws[image]

    def _mask_logits(self, mask: Mask | np.ndarray | Tensor, image_hw: tuple[int, int], objects: int) -> Tensor:
        """(o, 1, h, w) low-res logits for the prompt encoder."""
        h, w = self.features.low_res_hw
        if isinstance(mask, Mask):
            mask.check_inside(image_hw)
            drawn_11hw = torch.from_numpy(mask.array).to(self.network.device, torch.float32)[None, None]
            return resize((2 * drawn_11hw - 1) * MASK_LOGIT, (h, w), antialias=True).expand(objects, -1, -1, -1)
        logits = torch.as_tensor(mask, dtype=torch.float32, device=self.network.device)
        if tuple(logits.shape) not in {(h, w), (1, h, w), (objects, h, w)}:
            raise ValueError(
                f"mask has shape {tuple(logits.shape)}, expected low-res logits ({h}, {w}) of one candidate, "
                f"or ({objects}, {h}, {w}) for {objects} objects; pass masks of the picture's size as Mask"
            )
        return logits.reshape(-1, 1, h, w).expand(objects, -1, -1, -1)

    def _cleaned(self, low_res_okhw: Tensor) -> Tensor:
        """Without small holes and specks, both told by the logits as they are."""
        holes, specks = self.settings.max_hole_area, self.settings.max_sprinkle_area
        if not holes and not specks:
            return low_res_okhw
        at = self.settings.mask_threshold
        cleaned = low_res_okhw.clone()
        for logits_hw in cleaned.flatten(0, 1):
            inside_hw = logits_hw.cpu().numpy() > at
            filled_hw = masks.fill_small_holes(inside_hw, holes + 1)
            kept_hw = masks.remove_small_components(inside_hw, specks + 1, keep_largest=False)
            logits_hw[torch.from_numpy(filled_hw & ~inside_hw)] = at + FILLED_MARGIN
            logits_hw[torch.from_numpy(inside_hw & ~kept_hw)] = at - FILLED_MARGIN
        return cleaned


def _pixels(picture: Any) -> np.ndarray:
    with open_frames(picture, strict=True) as frames:
        return frames[0]


def _description(network: SegmentationNetwork) -> str:
    return json.dumps(asdict(network.config), sort_keys=True)


def _objects(
    points: Points | Sequence[Points] | None, box: Box | Sequence[Box] | None
) -> tuple[list[tuple[Points | None, Box | None]], bool]:
    """(points, box) of every object, and whether they were given as lists."""
    many_points = None if points is None or isinstance(points, (Points, Box)) else list(points)
    many_boxes = None if box is None or isinstance(box, (Points, Box)) else list(box)
    count = len(many_points if many_points is not None else many_boxes if many_boxes is not None else [None])
    all_points = [points] * count if many_points is None else many_points
    all_boxes = [box] * count if many_boxes is None else many_boxes
    if not count or len(all_points) != len(all_boxes):
        raise ValueError(
            f"expected as many boxes as sets of points, at least one, got {len(all_boxes)} and {len(all_points)}"
        )
    for one, other in zip(all_points, all_boxes, strict=True):
        if not isinstance(one, (Points, type(None))) or not isinstance(other, (Box, type(None))):
            got = f"points={type(one).__name__} and box={type(other).__name__}"
            raise ValueError(f"expected points=Points(...), box=Box(...) or both, got {got}")
    several = many_points is not None or many_boxes is not None
    return list(zip(all_points, all_boxes, strict=True)), several  # type: ignore[arg-type]


def _check(
    objects: list[tuple[Points | None, Box | None]], mask: Mask | np.ndarray | Tensor | None, image_hw: tuple[int, int]
) -> None:
    """Raises ValueError for prompts outside the picture or without positive content. Low-res logits may have any."""
    drawn = mask if isinstance(mask, Mask) else None
    for points, box in objects:
        for prompt in (points, box):
            if prompt is not None:
                prompt.check_inside(image_hw)
        if mask is None or drawn is not None:
            require_positive(points, box, drawn)


def _unit_points(objects: list[tuple[Points | None, Box | None]], image_hw: tuple[int, int]) -> list[UnitPoints]:
    unit_points = [as_points(points, box, image_hw) for points, box in objects]
    if len({len(points.labels_p) for points in unit_points}) > 1:
        raise ValueError("objects that are predicted together need equally many points; predict them one by one")
    return unit_points
