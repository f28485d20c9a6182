"""Perceptual hashes of frames: PDQ for pictures, and vPDQ's lists of them for videos.

PDQ and vPDQ are by Meta (https://github.com/facebook/ThreatExchange). ``pdqhash`` computes the
hashes. It is an optional dependency, because installing it takes a C++ compiler; without it nothing
is hashed, and the evidence says so.

Two PDQ hashes match up to a Hamming distance of 31 of 256 bits, the threshold that PDQ's authors
recommend. As vPDQ does, a comparison of two media counts the share of the frames of either that
match one of the other, among those of good quality. They match if one share is four fifths: an
excerpt matches the original, and so does a longer video that contains all of it. ``resembles`` is a
laxer comparison, for flags that withhold pictures until a person has looked.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepfake_models.media.interface import FailedFrame, OpenMedia

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
_PAIRS_AT_ONCE = 500_000
"""Pairs of hashes compared at once. Each takes some 70 bytes."""
_SIDE = 16
"""A PDQ hash has the signs, against their median, of 16 x 16 coefficients of a cosine transform."""


def can_hash() -> bool:
    """Return whether the extra ``perceptual`` is installed."""
    return pdqhash is not None


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


def hash_media(media: OpenMedia, see: Callable[[NDArray[np.uint8]], None]) -> dict[str, Any]:
    """Return the content of ``hashes.json`` for a picture, or for a video's frames at intervals.
    ``see`` is called with each of these frames, (H, W, 3) uint8 RGB."""
    if not can_hash():
        return {"pdq": None, "reason": "pdqhash is not installed where this was examined"}
    indices, interval = every_second(media.times)
    hashes: list[dict[str, Any]] = []
    for frame in media.frames(indices):
        if not isinstance(frame, FailedFrame):
            digest, quality = pdq(frame.pixels)
            hashes.append({"pdq": digest, "quality": quality, "time_s": frame.time_s})
            see(frame.pixels)
    return {
        "pdq": hashes,
        "vpdq": [f"{h['pdq']},{h['quality']},{h['time_s']:.3f}" for h in hashes],
        "interval_s": interval,
        "failed": len(indices) - len(hashes),
    }


def packed(hashes: Sequence[str]) -> NDArray[np.uint8]:
    """Return N hashes in hex as an array (N, 32) of uint8."""
    joined = bytes.fromhex("".join(hashes))
    return np.frombuffer(joined, dtype=np.uint8).reshape(-1, HASH_BITS // 8)


def distances(ours: NDArray[np.uint8], theirs: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Return the Hamming distances (N, M) in bits between hashes (N, 32) and (M, 32), uint8."""
    different = np.bitwise_xor(ours[:, None, :], theirs[None, :, :])
    counted: NDArray[np.int64] = np.bitwise_count(different).sum(axis=2, dtype=np.int64)
    return counted


def usable(hashes: Mapping[str, Any]) -> list[str]:
    """Return the PDQ hashes of good quality in the content of a ``hashes.json``."""
    return [h["pdq"] for h in hashes.get("pdq") or [] if h["quality"] >= MIN_QUALITY]


@dataclass(frozen=True, slots=True, order=True)
class Shares:
    """The shares, 0 to 1, of the frames of two media that match a frame of the other."""

    submitted: float
    known: float

    @property
    def match(self) -> bool:
        """Whether the media match."""
        return max(self.submitted, self.known) >= MIN_SHARE


def shares_alike(submitted: list[str], known: list[str]) -> Shares:
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


def mirrored(hashes: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return PDQ hashes (N, 32) uint8 as those of the pictures mirrored from left to right."""
    _, flipped, *_ = orientations(hashes)
    return flipped


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
