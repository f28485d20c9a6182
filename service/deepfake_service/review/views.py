"""Views of a frame that show an examiner what pixels alone hide.

They are those that forensic examiners know (Krawetz, "A Picture's Worth", 2007; Farid, "Exposing
digital forgeries from JPEG ghosts", IEEE TIFS 4(1), 2009). None of them is a measurement: where
each one misleads stands beside it on the page.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops, ImageFilter

Pixels = NDArray[np.uint8]
"""(H, W, 3), RGB."""
ERROR_QUALITY, ERROR_GAIN = 90, 16
GHOST_QUALITIES = range(50, 96, 5)
GHOST_WINDOW = 16
NOISE_GAIN = 8
GRID_GAIN = 12


class View(StrEnum):
    """What a view shows."""

    ERROR_LEVEL = "error_level"
    GHOSTS = "ghosts"
    BLOCKS = "blocks"
    NOISE = "noise"
    GRADIENT = "gradient"


def _saved_again(picture: Image.Image, quality: int) -> Image.Image:
    content = io.BytesIO()
    picture.save(content, "JPEG", quality=quality)
    return Image.open(content, formats=["JPEG"]).convert("RGB")


def _error_level(pixels: Pixels) -> Pixels:
    """Show what changes if the picture is saved once more as JPEG, amplified."""
    picture = Image.fromarray(pixels)
    apart = np.asarray(ImageChops.difference(picture, _saved_again(picture, ERROR_QUALITY)))
    return np.clip(apart.astype(np.int32) * ERROR_GAIN, 0, 255).astype(np.uint8)


def _ghosts(pixels: Pixels) -> Pixels:
    """Show at which quality each part changes least when it is saved again as JPEG: the brighter,
    the higher. A part that was saved at another quality than the rest stands out."""
    picture = Image.fromarray(pixels)
    errors = []
    for quality in GHOST_QUALITIES:
        apart = ImageChops.difference(picture, _saved_again(picture, quality))
        squares = (np.asarray(apart, np.float32) ** 2).mean(axis=2)
        errors.append(np.asarray(Image.fromarray(squares).reduce(GHOST_WINDOW)))
    least = np.argmin(errors, axis=0) * (255 / (len(GHOST_QUALITIES) - 1))
    parts = Image.fromarray(least.astype(np.uint8)).convert("RGB")
    return np.asarray(parts.resize(picture.size, Image.Resampling.NEAREST))


def _blocks(pixels: Pixels) -> Pixels:
    """Show steps between neighbouring pixels that are larger than those beside them: the grid of
    blocks of a coding, which is shifted or broken where something was put in."""
    grey = _grey(pixels)
    shown = np.zeros_like(grey)
    for axis in (0, 1):
        step = np.abs(np.diff(grey, axis=axis, append=np.take(grey, [-1], axis=axis)))
        beside = (np.roll(step, 1, axis) + np.roll(step, -1, axis)) / 2
        shown += np.maximum(step - beside, 0)
    return _as_grey(shown * GRID_GAIN)


def _noise(pixels: Pixels) -> Pixels:
    """Show what a median filter takes away, amplified around grey: noise and fine texture."""
    picture = Image.fromarray(pixels)
    smooth = np.asarray(picture.filter(ImageFilter.MedianFilter(3)), np.int32)
    amplified: NDArray[np.int32] = 128 + (pixels.astype(np.int32) - smooth) * NOISE_GAIN
    return np.clip(amplified, 0, 255).astype(np.uint8)


def _gradient(pixels: Pixels) -> Pixels:
    """Show which way brightness rises: red to the right, green downwards, blue how steeply."""
    down, across = np.gradient(_grey(pixels))
    length = np.hypot(down, across)
    scale = 127 / np.maximum(length, 1e-3)
    steep = np.minimum(length * 16, 255)
    shown = np.stack([128 + across * scale, 128 + down * scale, steep], axis=2)
    return np.where(length[..., np.newaxis] < 0.5, 128, shown).astype(np.uint8)


def _grey(pixels: Pixels) -> NDArray[np.float32]:
    return np.asarray(Image.fromarray(pixels).convert("L"), np.float32)


def _as_grey(values: NDArray[np.float32]) -> Pixels:
    shown = np.clip(values, 0, 255).astype(np.uint8)
    return np.repeat(shown[..., np.newaxis], 3, axis=2)


VIEWS: dict[View, Callable[[Pixels], Pixels]] = {
    View.ERROR_LEVEL: _error_level,
    View.GHOSTS: _ghosts,
    View.BLOCKS: _blocks,
    View.NOISE: _noise,
    View.GRADIENT: _gradient,
}
