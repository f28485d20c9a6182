"""What a decoder accepts."""

from __future__ import annotations

from pydantic import PositiveInt

from deepfake_models.spec import Positive, Spec


class DecodeLimits(Spec):
    """What a decoder accepts. Each limit bounds memory or time spent on one submission."""

    max_pixels: PositiveInt = 50_000_000
    """Of one frame: an 8K frame has 33 million, a 50-megapixel phone picture just fits;
    each pixel costs 3 bytes decoded."""
    max_frames: PositiveInt = 2_000_000
    """Of a video: nine hours at 60 frames a second."""
    max_duration_s: Positive = 24 * 3600.0
    timeout_s: Positive = 600.0
    """For one item in a decoder process; then the process is replaced."""
