"""Pictures: the IoU of every annotated object after some numbers of clicks, each object by itself.

The first click is at the object's centre, each further one where the answer before is most wrong.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from masklet.evaluation.cases import Worst
from masklet.evaluation.folders import AnnotatedVideo
from masklet.evaluation.plan import ImageProtocol, Plan
from masklet.evaluation.runners import Runner
from masklet.evaluation.truth import Truth, check_sizes
from masklet.evaluation.user import correct
from masklet.metrics import iou
from masklet.video.read import ImageFiles


def measure(video: AnnotatedVideo, runner: Runner, plan: Plan, out: Path) -> dict[str, Any]:
    """Clicks on all objects of the chosen pictures of a sequence. Raises ValueError when an annotation is broken."""
    protocol = plan.protocol
    assert isinstance(protocol, ImageProtocol)
    pictures = video.picture_of()
    names = list(pictures)
    truth = Truth(video, names)
    worst = Worst()
    records = []
    for number in truth.frames[:: protocol.every]:
        picture = read_picture(pictures[names[number]])
        masks = {obj: mask for obj, mask in truth.masks(number).items() if mask.any()}
        check_sizes(masks, (picture.shape[0], picture.shape[1]), f"{video.name}, {names[number]}")
        begin = runner.picture(picture)
        for obj, mask in masks.items():
            answers = correct(mask, np.zeros_like(mask), begin(), max(protocol.clicks))
            scores = [iou(mask, answer) for answer in answers]
            after = {str(clicks): scores[min(clicks, len(scores)) - 1] for clicks in protocol.clicks}
            records.append({"object": obj, "picture": names[number], "iou": after})
            worst.note(obj, scores[-1], number, mask, answers[-1])
    cases = worst.save(out / "cases", lambda number: read_picture(pictures[names[number]]), video.name)
    return {
        "sequence": video.name,
        "independent": video.is_loose,
        "pictures": [record | {"case": cases.get(record["object"])} for record in records],
    }


def read_picture(path: Path) -> np.ndarray:
    """RGB (h, w, 3) uint8. Raises ValueError when the file is broken."""
    with ImageFiles([path], strict=True) as frames:
        return frames[0]
