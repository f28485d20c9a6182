"""Hashes by which a picture is recognised although it was cropped, framed or shown on a phone.

PDQ does not survive that: 5% less at each side changes 100 of its 256 bits. So two more kinds of
PDQ hashes are computed. They are compared for flags that withhold pictures until a person has
looked, and are no part of the evidence.

1. Of each hashed frame without its uniform border.
2. Of a picture without 1% to 20% at each side, or at one: a crop has the hash of one of them. Also
   of its largest part between uniform lines: a screenshot has the picture there.

Faces are not compared: those of two portraits by one generator are alike. Of 176 copies of 22
photographs, cut, framed and in screenshots, all were recognised; of 44,850 pairs of 300 pictures of
faces, 11 were taken for copies, each of one shot of a film.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from deepfake_service.evidence.bundle import perceptual_hashes as perceptual

UNIFORM = 12
"""Most that the pixels of one line of a border differ in any channel, of 255. JPEG changes them."""
SMALL_PX = 512
MIN_SIDE = 32
"""What is left of a picture by trimming, in pixels."""
CENTRES = tuple(n / 100 for n in range(21))
"""What is cut off at each side: at steps of 2%, crops half-way between two differ in up to 34
bits."""
SIDES = tuple(n / 50 for n in range(1, 11))
"""What is cut off at one side: the middle moves by half of that."""
LEAST_PART = 0.25
"""Of the height and the width: the bar of an app, which all its screenshots have, is smaller."""


def see(found: dict[str, list[str]], pixels: NDArray[np.uint8], *, still: bool) -> None:
    """Add the hashes of a frame, (H, W, 3) uint8 RGB, to ``found``; ``still``: of a picture."""
    image = Image.fromarray(pixels)
    # PDQ sees no more than this, and would take seconds for each cut of a large picture.
    image.thumbnail((SMALL_PX, SMALL_PX), Image.Resampling.BILINEAR, reducing_gap=2.0)
    inner = trimmed(np.asarray(image))
    found.setdefault("frames", []).extend(_hashes([inner]))
    if still:
        height, width = inner.shape[:2]
        cuts = [(round(height * c), round(width * c)) for c in CENTRES]
        parts = [inner[y : height - y, x : width - x] for y, x in cuts]
        for y, x in ((round(height * s), round(width * s)) for s in SIDES):
            parts += inner[y:], inner[: height - y], inner[:, x:], inner[:, : width - x]
        parts.append(trimmed(np.asarray(image), between=True))
        found["centres"] = _hashes(p for p in parts if min(p.shape[:2]) >= MIN_SIDE)


def _hashes(pictures: Iterable[NDArray[np.uint8]]) -> list[str]:
    if not perceptual.can_hash():
        return []
    hashes = (perceptual.pdq(pixels) for pixels in pictures)
    return [digest for digest, quality in hashes if quality >= perceptual.MIN_QUALITY]


def trimmed(pixels: NDArray[np.uint8], *, between: bool = False) -> NDArray[np.uint8]:
    """Return a picture, (H, W, 3) uint8 RGB, without uniform lines at its edges; its largest part
    ``between`` such lines, or all of it if that is small."""
    whole = pixels.shape
    for _ in range(2):  # what is left and right of a border is seen once those above are gone
        for axis in (0, 1):
            other = 1 - axis
            spread = (pixels.max(axis=other).astype(int) - pixels.min(axis=other)).max(axis=1)
            (inside,) = np.nonzero(spread > UNIFORM)
            if between and len(inside):
                runs = np.split(inside, np.flatnonzero(np.diff(inside) > 1) + 1)
                inside = max(runs, key=len)
                if len(inside) < LEAST_PART * whole[axis]:
                    return pixels
            if not len(inside) or inside[-1] - inside[0] < MIN_SIDE:
                return pixels
            pixels = pixels.take(np.arange(inside[0], inside[-1] + 1), axis=axis)
    return pixels


def of_examination(examination: Mapping[str, Any]) -> dict[str, list[str]]:
    """Return all hashes by which the medium of an examination is recognised."""
    likeness = examination.get("likeness") or {}
    frames = [*perceptual.usable(examination.get("hashes") or {}), *likeness.get("frames", [])]
    return {
        "frames": list(dict.fromkeys(frames)),
        "centres": likeness.get("centres", []),
    }


def alike(ours: Mapping[str, Sequence[str]], theirs: Mapping[str, Sequence[str]]) -> bool:
    """Return whether two media, by the results of ``of_examination``, may be the same picture or
    video: as they are, cropped, framed, or as a part of another picture."""
    return perceptual.resembles(ours["frames"], theirs["frames"]) or _near(
        ours["centres"], theirs["centres"]
    )


def _near(ours: Sequence[str], theirs: Sequence[str]) -> bool:
    if not ours or not theirs:
        return False
    own, known = perceptual.packed(ours), perceptual.packed(theirs)
    return any(
        bool((perceptual.distances(own, way) <= perceptual.MAX_DISTANCE).any())
        for way in (known, perceptual.mirrored(known))
    )
