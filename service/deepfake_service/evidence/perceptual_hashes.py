"""Perceptual hashes of frames: PDQ for pictures, and vPDQ's lists of them for videos.

PDQ and vPDQ are by Meta (https://github.com/facebook/ThreatExchange). ``pdqhash`` computes the
hashes. It is an optional dependency, because installing it takes a C++ compiler; without it nothing
is hashed, and the evidence says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepfake_models.decode.base import FailedFrame, OpenMedia

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


@dataclass(frozen=True, slots=True)
class FrameHash:
    """The PDQ hash of a frame in 64 hex digits, its quality, 0 to 100, and its time in seconds."""

    pdq: str
    quality: int
    time_s: float

    @property
    def vpdq(self) -> str:
        """The hash as a line of vPDQ's text format."""
        return f"{self.pdq},{self.quality},{self.time_s:.3f}"


def available() -> bool:
    """Return whether ``pdqhash`` is installed."""
    return pdqhash is not None


def pdq(pixels: NDArray[np.uint8], time_s: float = 0.0) -> FrameHash:
    """Return the hash of a frame, (H, W, 3) uint8 RGB."""
    bits, quality = pdqhash.compute(np.ascontiguousarray(pixels))
    return FrameHash(np.packbits(bits.astype(np.uint8)).tobytes().hex(), int(quality), time_s)


def every_second(times: NDArray[np.float64]) -> tuple[list[int], float]:
    """Return the indices of the frames to hash, ascending, and their interval in seconds."""
    duration = float(times[-1]) if len(times) else 0.0
    interval = max(INTERVAL_S, duration / MAX_FRAMES)
    moments = np.arange(0.0, duration + 1e-6, interval)
    indices = np.searchsorted(times, moments - 1e-6)
    return sorted({int(i) for i in indices if i < len(times)}), interval


def hash_media(media: OpenMedia) -> dict[str, Any]:
    """Return the content of ``hashes.json`` for a picture, or for a video's frames at intervals."""
    if not available():
        return {"pdq": None, "reason": "pdqhash is not installed where this was examined"}
    indices, interval = every_second(media.times)
    hashes = [
        pdq(frame.pixels, frame.time_s)
        for frame in media.frames(indices)
        if not isinstance(frame, FailedFrame)
    ]
    return {
        "pdq": [{"pdq": h.pdq, "quality": h.quality, "time_s": h.time_s} for h in hashes],
        "vpdq": [h.vpdq for h in hashes],
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
