"""Perceptual hashes of frames: PDQ, and lists of them over time as vPDQ exchanges them.

PDQ and vPDQ are Meta's (https://github.com/facebook/ThreatExchange). The hash itself is computed by
``pdqhash``, which is built from source where it is installed and can therefore be missing: nothing
is hashed then, and what is made of it says so.
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
"""One hash a second, as vPDQ's users exchange them."""
MAX_FRAMES = 1800
"""Half an hour at that rate; of longer videos the hashes lie further apart, and that is stated."""
MIN_QUALITY = 50
"""PDQ's quality, 0 to 100, from which a hash is compared with others."""
HASH_BITS = 256


@dataclass(frozen=True, slots=True)
class FrameHash:
    """The PDQ of one frame: 64 hex digits, its quality 0 to 100, the frame's time in seconds."""

    pdq: str
    quality: int
    time_s: float

    @property
    def vpdq(self) -> str:
        """As lists of vPDQ features hold it."""
        return f"{self.pdq},{self.quality},{self.time_s:.3f}"


def available() -> bool:
    """Whether frames can be hashed here."""
    return pdqhash is not None


def pdq(pixels: NDArray[np.uint8], time_s: float = 0.0) -> FrameHash:
    """The hash of a frame, (H, W, 3) uint8 RGB."""
    bits, quality = pdqhash.compute(np.ascontiguousarray(pixels))
    return FrameHash(np.packbits(bits.astype(np.uint8)).tobytes().hex(), int(quality), time_s)


def every_second(times: NDArray[np.float64]) -> tuple[list[int], float]:
    """The frames to hash, ascending, and how many seconds lie between two of them."""
    duration = float(times[-1]) if len(times) else 0.0
    interval = max(INTERVAL_S, duration / MAX_FRAMES)
    wanted = np.arange(0.0, duration + 1e-6, interval)
    found = np.searchsorted(times, wanted - 1e-6)
    return sorted({int(i) for i in found if i < len(times)}), interval


def hash_media(media: OpenMedia) -> dict[str, Any]:
    """PDQ of a picture, or of a video's frames a second, as ``hashes.json`` states them."""
    if not available():
        return {"pdq": None, "reason": "pdqhash is not installed where this was examined"}
    indices, interval = every_second(media.times)
    found = [
        pdq(frame.pixels, frame.time_s)
        for frame in media.frames(indices)
        if not isinstance(frame, FailedFrame)
    ]
    return {
        "pdq": [{"pdq": h.pdq, "quality": h.quality, "time_s": h.time_s} for h in found],
        "vpdq": [h.vpdq for h in found],
        "interval_s": interval,
        "failed": len(indices) - len(found),
    }


def packed(hashes: Sequence[str]) -> NDArray[np.uint8]:
    """Hex hashes as (N, 32) uint8."""
    joined = bytes.fromhex("".join(hashes))
    return np.frombuffer(joined, dtype=np.uint8).reshape(-1, HASH_BITS // 8)


def distances(ours: NDArray[np.uint8], theirs: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Bits (N, M) in which (N, 32) hashes differ from (M, 32) others."""
    different = np.bitwise_xor(ours[:, None, :], theirs[None, :, :])
    counted: NDArray[np.int64] = np.bitwise_count(different).sum(axis=2, dtype=np.int64)
    return counted
