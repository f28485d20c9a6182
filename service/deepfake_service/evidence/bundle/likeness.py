"""Hashes by which a picture is recognised although it was cropped, framed or shown on a phone.

PDQ does not survive that: 5% less at each side changes 100 of its 256 bits. So three more kinds of
PDQ hashes are computed. They are compared for flags that withhold pictures until a person has
looked, and are no part of the evidence.

1. Of each hashed frame without its uniform border.
2. Of a picture's centre, without 1% to 20% at each side: a crop has the hash of one of them.
3. Of the faces that were cut, each in several windows: the detector does not find a face at the
   same place in a changed picture.
"""

from __future__ import annotations

import itertools
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
MAX_FACES = 8
SHIFTS = (-0.06, 0.0, 0.06)
SIZES = (0.92, 1.0, 1.08)
"""Windows of a face, by their position and side, in sides of the detected box."""
WINDOW_PX = 128
FACE_DISTANCE = 66
"""Bits in which hashes of one face differ at most, the nearest of all windows of both pictures.

Of 170 crops, framed copies and screenshots of 22 photographs, 8 were not recognised, 4 of them cut
at one side; with 60 bits 11. Of 416,328 pairs of photographs of different people, 5 were taken for
copies (1.2e-5, 95% interval 0.5e-5 to 2.8e-5), all by their faces; with 60 bits none. Portraits
that one generator made at one pose are alike: 71 of 2,926 pairs. A person looks at each, while a
copy that is missed is shown."""


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
        centres = [inner[y : height - y, x : width - x] for y, x in cuts]
        found["centres"] = _hashes(c for c in centres if min(c.shape[:2]) >= MIN_SIDE)


def of_faces(crops: Sequence[NDArray[np.uint8]], scale: float) -> list[str]:
    """Return the hashes of faces, (S, S, 3) uint8 RGB, of ``scale`` times the detected box."""
    return _hashes(_window(crop, scale, *at) for crop in crops[:MAX_FACES] for at in _WINDOWS)


_WINDOWS = tuple(itertools.product(SHIFTS, SHIFTS, SIZES))


def _window(
    crop: NDArray[np.uint8], scale: float, right: float, down: float, size: float
) -> NDArray[np.uint8]:
    whole = float(len(crop))
    side = whole / scale
    x, y = (whole / 2 + shift * side - size * side / 2 for shift in (right, down))
    ends = (min(whole, x + size * side), min(whole, y + size * side))
    shape, box = (WINDOW_PX, WINDOW_PX), (max(0.0, x), max(0.0, y), *ends)
    return np.asarray(Image.fromarray(crop).resize(shape, Image.Resampling.BILINEAR, box=box))


def _hashes(pictures: Iterable[NDArray[np.uint8]]) -> list[str]:
    if not perceptual.can_hash():
        return []
    hashes = (perceptual.pdq(pixels) for pixels in pictures)
    return [digest for digest, quality in hashes if quality >= perceptual.MIN_QUALITY]


def trimmed(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return a picture, (H, W, 3) uint8 RGB, without uniform lines at its edges."""
    for _ in range(2):  # what is left and right of a border is seen once those above are gone
        for axis in (0, 1):
            other = 1 - axis
            spread = (pixels.max(axis=other).astype(int) - pixels.min(axis=other)).max(axis=1)
            (inside,) = np.nonzero(spread > UNIFORM)
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
        "faces": likeness.get("faces", []),
    }


def alike(ours: Mapping[str, Sequence[str]], theirs: Mapping[str, Sequence[str]]) -> bool:
    """Return whether two media, by the results of ``of_examination``, may show the same person in
    the same picture: as they are, cropped, framed, or as a part of another picture."""
    return (
        perceptual.resembles(ours["frames"], theirs["frames"])
        or _near(ours["centres"], theirs["centres"], perceptual.MAX_DISTANCE)
        or _near(ours["faces"], theirs["faces"], FACE_DISTANCE)
    )


def _near(ours: Sequence[str], theirs: Sequence[str], most: int) -> bool:
    if not ours or not theirs:
        return False
    own, known = perceptual.packed(ours), perceptual.packed(theirs)
    return any(
        bool((perceptual.distances(own, way) <= most).any())
        for way in (known, perceptual.mirrored(known))
    )
