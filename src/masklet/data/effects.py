"""What happens to a picture between the scene and the file: light, colour, focus, noise, compression."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np

from masklet.data.motion import drift

SHEET_SLACK = 64


def filmed(rng: np.random.Generator, frames_fhwc: np.ndarray) -> np.ndarray:
    """The frames (f, h, w, 3) as a camera of random quality would have recorded them."""
    lit = _lit(rng, frames_fhwc)
    if rng.random() < 0.25:
        lit = _blurred(rng, lit)
    if rng.random() < 0.2:
        lit = _coarse(rng, lit)
    if rng.random() < 0.4:
        lit = _noisy(rng, lit)
    if rng.random() < 0.35:
        lit = _compressed(rng, lit)
    return np.stack(lit)


def _lit(rng: np.random.Generator, frames_fhwc: np.ndarray) -> list[np.ndarray]:
    count = len(frames_fhwc)
    changing = 0.02 if rng.random() < 0.7 else 0.08
    gamma_f = np.exp(rng.normal(0, 0.2) + drift(rng, count, changing)[:, 0])
    gain_f3 = np.exp(rng.normal(0, 0.08) + rng.normal(0, 0.05, 3) + drift(rng, count, changing))
    ramp = np.linspace(0, 1, 256)
    tables = 255 * np.clip(gain_f3[:, None, :] * ramp[:, None] ** np.clip(gamma_f, 0.5, 2)[:, None, None], 0, 1)
    return [cv2.LUT(frame, table.astype(np.uint8)[None]) for frame, table in zip(frames_fhwc, tables, strict=True)]


def _blurred(rng: np.random.Generator, frames: list[np.ndarray]) -> list[np.ndarray]:
    sigmas = rng.uniform(0.3, 1.2) * np.exp(drift(rng, len(frames), 0.1)[:, 0])
    return [cv2.GaussianBlur(frame, (0, 0), float(np.clip(s, 0.2, 2))) for frame, s in zip(frames, sigmas, strict=True)]


def _coarse(rng: np.random.Generator, frames: list[np.ndarray]) -> list[np.ndarray]:
    height, width = frames[0].shape[:2]
    share = rng.uniform(0.4, 0.9)
    small = (max(8, int(width * share)), max(8, int(height * share)))
    return [cv2.resize(cv2.resize(f, small, interpolation=cv2.INTER_AREA), (width, height)) for f in frames]


def _noisy(rng: np.random.Generator, frames: list[np.ndarray]) -> list[np.ndarray]:
    height, width = frames[0].shape[:2]
    sheet = _noise_sheet(max(height, width) + SHEET_SLACK)
    sheet = cv2.addWeighted(sheet, rng.uniform(0.05, 0.45), sheet, 0, 0)
    corners = rng.integers(0, SHEET_SLACK + 1, (len(frames), 2))
    return [
        cv2.add(frame, sheet[y : y + height, x : x + width], dtype=cv2.CV_8U)
        for frame, (y, x) in zip(frames, corners, strict=True)
    ]


@lru_cache(maxsize=4)
def _noise_sheet(side: int) -> np.ndarray:
    noise = np.random.default_rng(side).standard_normal((side, side, 3), np.float32)
    return np.clip(20 * noise, -127, 127).astype(np.int8)


def _compressed(rng: np.random.Generator, frames: list[np.ndarray]) -> list[np.ndarray]:
    quality = int(rng.integers(25, 92))
    return [_recoded(frame, quality) for frame in frames]


def _recoded(frame: np.ndarray, quality: int) -> np.ndarray:
    """The frame after JPEG; the codec, which expects BGR, gets and gives the channels the right way round."""
    _, data = cv2.imencode(".jpg", cv2.cvtColor(frame, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality])
    decoded = cv2.imdecode(data, cv2.IMREAD_COLOR)
    assert decoded is not None
    return cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB)
