"""Perceptual hashes of frames: PDQ for pictures, and vPDQ's lists of them for videos.

PDQ and vPDQ are by Meta (https://github.com/facebook/ThreatExchange). ``pdqhash`` computes the
hashes. It is an optional dependency, because installing it takes a C++ compiler; without it nothing
is hashed, and the evidence says so.

Two PDQ hashes match up to a Hamming distance of 31 of 256 bits, the threshold that PDQ's authors
recommend. As vPDQ does, a comparison of two media counts the share of the frames of either that
match one of the other, among those of good quality. They match if one share is four fifths: an
excerpt matches the original, and so does a longer video that contains all of it.

``MediaHashes.is_like`` is a laxer comparison, for flags that withhold pictures until a person has
looked. PDQ does not survive cropping, framing or a screenshot: 5% less at each side changes 100 of
its 256 bits. So two more kinds of hashes, which are no part of the evidence, are compared then.

1. Of each hashed frame without its uniform border.
2. Of a picture without 1% to 20% at each side, or at one: a crop has the hash of one of them. Also
   of its largest part between uniform lines: a screenshot has the picture there.

Faces are not compared: those of two portraits by one generator are alike. Of 176 copies of 22
photographs, cut, framed and in screenshots, all were recognised; of 44,850 pairs of 300 pictures of
faces, 11 were taken for copies, each of one shot of a film.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from deepfake_models.media.interface import FailedFrame, OpenMedia
from deepfake_service.evidence.bundle.documents import FrameHash, FrameHashes, Likeness

try:
    import pdqhash
except ImportError:  # the extra `perceptual` is not installed
    pdqhash = None

INTERVAL_S = 1.0
"""One hash a second, the rate at which vPDQ hashes are exchanged."""
MAX_FRAMES = 1800
"""Half an hour at that rate. Longer videos are hashed at longer, recorded intervals."""
MIN_QUALITY = 50
"""Lowest PDQ quality, 0 to 100, of a hash that is compared with others."""
HASH_BITS = 256
MAX_DISTANCE = 31
MIN_SHARE = 0.8
ALIKE_SHARE, ALIKE_FRAMES = 0.5, 10
"""Share of the distinct hashes of either medium, or number of those of both, from which the media
resemble each other: an excerpt, or a longer video with an excerpt in it, resembles the original."""
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
_PAIRS_AT_ONCE = 500_000
"""Pairs of hashes compared at once. Each takes some 70 bytes."""
_SIDE = 16
"""A PDQ hash has the signs, against their median, of 16 x 16 coefficients of a cosine transform."""


def pdq(pixels: NDArray[np.uint8]) -> tuple[str, int]:
    """Return the PDQ hash of a frame, (H, W, 3) uint8 RGB, in 64 hex digits, and its quality, 0 to
    100."""
    bits, quality = pdqhash.compute(np.ascontiguousarray(pixels))
    return np.packbits(bits.astype(np.uint8)).tobytes().hex(), int(quality)


def every_second(times: NDArray[np.float64]) -> tuple[list[int], float]:
    """Return the indices of the frames to hash, ascending, and their interval in seconds."""
    duration = float(times[-1]) if len(times) else 0.0
    interval = max(INTERVAL_S, duration / MAX_FRAMES)
    moments = np.arange(0.0, duration + 1e-6, interval)
    indices = np.searchsorted(times, moments - 1e-6)
    return sorted({int(i) for i in indices if i < len(times)}), interval


def hash_media(media: OpenMedia) -> tuple[FrameHashes, Likeness]:
    """Return the hashes of a picture, or of a video's frames at intervals, and the further ones
    that ``MediaHashes`` has."""
    if pdqhash is None:
        reason = "pdqhash is not installed where this was examined"
        return FrameHashes(pdq=None, reason=reason), Likeness()
    indices, interval = every_second(media.times)
    hashes: list[FrameHash] = []
    frames: list[str] = []
    centres: list[str] = []
    for frame in media.frames(indices):
        if not isinstance(frame, FailedFrame):
            digest, quality = pdq(frame.pixels)
            hashes.append(FrameHash(pdq=digest, quality=quality, time_s=frame.time_s))
            image = Image.fromarray(frame.pixels)
            # PDQ sees no more, and would take seconds for each cut of a large picture.
            image.thumbnail((SMALL_PX, SMALL_PX), Image.Resampling.BILINEAR, reducing_gap=2.0)
            small = np.asarray(image)
            frames += _usable_pdq([trimmed(small)])
            if len(media.times) == 1:
                centres = _usable_pdq(_parts(small))
    return FrameHashes(
        pdq=tuple(hashes),
        vpdq=tuple(f"{h.pdq},{h.quality},{h.time_s:.3f}" for h in hashes),
        interval_s=interval,
        failed=len(indices) - len(hashes),
    ), Likeness(frames=tuple(frames), centres=tuple(centres))


def _parts(picture: NDArray[np.uint8]) -> Iterator[NDArray[np.uint8]]:
    """Yield the parts of a picture, (H, W, 3) uint8 RGB, by which others that have it are
    recognised."""
    inner = trimmed(picture)
    height, width = inner.shape[:2]
    cuts = [(round(height * c), round(width * c)) for c in CENTRES]
    parts = [inner[y : height - y, x : width - x] for y, x in cuts]
    for y, x in ((round(height * s), round(width * s)) for s in SIDES):
        parts += inner[y:], inner[: height - y], inner[:, x:], inner[:, : width - x]
    parts.append(trimmed(picture, between=True))
    yield from (p for p in parts if min(p.shape[:2]) >= MIN_SIDE)


def _usable_pdq(pictures: Iterable[NDArray[np.uint8]]) -> list[str]:
    hashes = (pdq(pixels) for pixels in pictures)
    return [digest for digest, quality in hashes if quality >= MIN_QUALITY]


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


def packed(hashes: Sequence[str]) -> NDArray[np.uint8]:
    """Return N hashes in hex as an array (N, 32) of uint8."""
    joined = bytes.fromhex("".join(hashes))
    return np.frombuffer(joined, dtype=np.uint8).reshape(-1, HASH_BITS // 8)


def distances(ours: NDArray[np.uint8], theirs: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Return the Hamming distances (N, M) in bits between hashes (N, 32) and (M, 32), uint8."""
    different = np.bitwise_xor(ours[:, None, :], theirs[None, :, :])
    counted: NDArray[np.int64] = np.bitwise_count(different).sum(axis=2, dtype=np.int64)
    return counted


@dataclass(frozen=True, slots=True, order=True)
class Shares:
    """The shares, 0 to 1, of the frames of two media that match a frame of the other."""

    submitted: float
    known: float

    @property
    def match(self) -> bool:
        """Whether the media match."""
        return max(self.submitted, self.known) >= MIN_SHARE


def shares_alike(submitted: Sequence[str], known: Sequence[str]) -> Shares:
    """Return the shares of two media by the PDQ hashes of their frames in hex.

    They are those of the orientation in which most frames match: a medium that is mirrored or
    turned by right angles as a whole is a copy too.
    """
    if not submitted or not known:
        return Shares(0.0, 0.0)
    ours, theirs = packed(submitted), packed(known)
    hits = (_hits(ours, turned) for turned in orientations(theirs))
    shares = [Shares(our / len(ours), their / len(theirs)) for our, their in hits]
    return max(shares, key=lambda s: (max(s.submitted, s.known), s))


def resembles(submitted: Sequence[str], known: Sequence[str]) -> bool:
    """Return whether two media with these PDQ hashes have frames in common, even mirrored or turned
    by right angles."""
    if not submitted or not known:
        return False
    ours = packed(sorted(set(submitted)))
    for theirs in orientations(packed(sorted(set(known)))):
        our_hits, their_hits = _hits(ours, theirs)
        share = max(our_hits / len(ours), their_hits / len(theirs))
        if share >= ALIKE_SHARE or min(our_hits, their_hits) >= ALIKE_FRAMES:
            return True
    return False


@dataclass(frozen=True, slots=True)
class MediaHashes:
    """The hashes by which a medium is recognised, in hex; none where it could not be hashed."""

    pdq: Sequence[str]
    """Of its frames of good quality."""
    vpdq: Sequence[str]
    """Of all of them, as vPDQ's lines."""
    frames: Sequence[str]
    """``pdq``, and those of the frames without their borders, each once."""
    centres: Sequence[str]
    """Of the parts of a picture."""

    @classmethod
    def of(cls, hashes: FrameHashes, likeness: Likeness) -> MediaHashes:
        """Return those that an examination found."""
        pdq = [frame.pdq for frame in hashes.pdq or () if frame.quality >= MIN_QUALITY]
        frames = list(dict.fromkeys([*pdq, *likeness.frames]))
        return cls(pdq, hashes.vpdq or (), frames, likeness.centres)

    def is_like(self, frames: Sequence[str], centres: Sequence[str]) -> bool:
        """Return whether the medium may be the same picture or video as the one with these hashes:
        as it is, cropped, framed, or as a part of another picture."""
        if resembles(self.frames, frames):
            return True
        if not self.centres or not centres:
            return False
        as_is, mirrored, *_ = orientations(packed(centres))
        near = (distances(packed(self.centres), turned) for turned in (as_is, mirrored))
        return any(bool((each <= MAX_DISTANCE).any()) for each in near)


def orientations(hashes: NDArray[np.uint8]) -> Iterator[NDArray[np.uint8]]:
    """Yield PDQ hashes (N, 32) uint8 as they are, and as those of the seven other orientations.

    Mirroring a picture changes the sign of every second column or row of coefficients, and turning
    it by 90 degrees exchanges rows and columns too. The signs are relative to a median close to
    zero, so that the hash of the mirrored picture differs in up to some 20 of 256 bits.
    """
    bits = np.unpackbits(hashes, axis=1).reshape(-1, _SIDE, _SIDE)
    odd = (np.arange(_SIDE) % 2).astype(np.uint8)
    for turned in (bits, bits.transpose(0, 2, 1)):
        for rows in (0, 1):
            for columns in (0, 1):
                flipped = turned ^ (odd[:, None] * rows) ^ (odd[None, :] * columns)
                yield np.packbits(flipped.reshape(len(bits), -1), axis=1)


def _hits(ours: NDArray[np.uint8], theirs: NDArray[np.uint8]) -> tuple[int, int]:
    """Return how many of ``ours`` match one of ``theirs``, and the other way round."""
    step = max(1, _PAIRS_AT_ONCE // len(theirs))
    our_hits, their_hits = 0, np.zeros(len(theirs), bool)
    for start in range(0, len(ours), step):
        near = distances(ours[start : start + step], theirs) <= MAX_DISTANCE
        our_hits += int(near.any(axis=1).sum())
        their_hits |= near.any(axis=0)
    return our_hits, int(their_hits.sum())


def exchange_lines(entries: Iterable[tuple[list[str], list[str]]]) -> Iterable[str]:
    """Yield a line of JSON for each medium, given its PDQ hashes and its vPDQ lines.

    A line is a request body of Hasher-Matcher-Actioner's ``POST /c/bank/<BANK>/signal``. Videos are
    exported as vPDQ alone, which includes the PDQ of every frame.
    """
    for pdq, vpdq in entries:
        signals: dict[str, str] = {}
        if len(pdq) == 1:
            signals["pdq"] = pdq[0]
        if vpdq:
            signals["vpdq"] = json.dumps(vpdq)
        if signals:
            yield json.dumps(signals)
