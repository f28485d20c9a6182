"""Decoders, and a video that they decode."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from deepfake_models.media.decoder import InProcessDecoder
from deepfake_models.sandbox import protocol as wire
from deepfake_models.sandbox.decoder import Decoder, ProcessDecoder
from deepfake_models.sandbox.pool import ProcessPool
from tests.support import footage
from tests.support.footage import LIMITS
from tests.support.pools import TASKS


@pytest.fixture(scope="module", params=[InProcessDecoder, ProcessDecoder])
def decoder(request: pytest.FixtureRequest) -> Iterator[Decoder]:
    decoder: Decoder = request.param(LIMITS)
    yield decoder
    decoder.close()


@pytest.fixture(scope="module")
def process() -> Iterator[ProcessDecoder]:
    decoder = ProcessDecoder(LIMITS, workers=1)
    yield decoder
    decoder.close()


@pytest.fixture(scope="module")
def video() -> bytes:
    return footage.encode(footage.panning(50), gop=10, sound=True)


@pytest.fixture(scope="module")
def pool() -> Iterator[ProcessPool]:
    pool = ProcessPool(wire.Options(tasks=TASKS), 1)
    yield pool
    pool.close()
