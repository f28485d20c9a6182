"""Limits of decoders under test, and media that reach them."""

from __future__ import annotations

import io

import numpy as np
import pytest

from deepfake_models.media.interface import DecodeLimits
from deepfake_models.sandbox.decoder import Decoder

LIMITS = DecodeLimits(max_pixels=2_000_000, max_frames=2_000, max_duration_s=3600, timeout_s=60)


def refused(decoder: Decoder, data: bytes, error: type[Exception]) -> str:
    with pytest.raises(error) as caught, decoder.open(io.BytesIO(data)) as media:
        list(media.frames(range(min(len(media.times), 3))))
    assert type(caught.value) is error
    return str(caught.value)


def noise(count: int, side: int) -> list[np.ndarray]:
    """Return frames that no codec can compress well."""
    draw = np.random.default_rng(0)
    return [draw.integers(0, 255, (side, side, 3), np.uint8) for _ in range(count)]
