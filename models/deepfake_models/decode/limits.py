"""Limits on the media that a decoder accepts."""

from __future__ import annotations

from pydantic import PositiveInt

from deepfake_models.spec import Positive, Spec


class DecodeLimits(Spec):
    """Limits on one submission. Each bounds the memory or the time that it can take."""

    max_pixels: PositiveInt = 50_000_000
    """Pixels of one frame. An 8K frame has 33 million, and a 50-megapixel phone picture just fits.
    Each decoded pixel takes 3 bytes."""
    max_frames: PositiveInt = 2_000_000
    """Frames of a video: nine hours at 60 frames a second."""
    max_duration_s: Positive = 24 * 3600.0
    timeout_s: Positive = 600.0
    """Seconds that a decoder process may spend on one item before it is replaced. For a video these
    are its scan and all frames that are decoded while it is open: hashing frames of two hours of
    1080p takes about ten minutes on one slow core."""
    picture_timeout_s: Positive = 600.0
    """The same for an item that must be a still picture."""
