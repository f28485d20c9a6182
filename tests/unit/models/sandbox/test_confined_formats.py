"""Every format is decoded in a confined process as without confinement."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import nullcontext, suppress

import numpy as np
import pillow_heif
import pytest
from PIL import Image

from deepfake_models.errors import MediaError
from deepfake_models.media import credentials
from deepfake_models.media.decoder import InProcessDecoder
from deepfake_models.media.interface import Frame
from deepfake_models.sandbox import protocol as wire
from deepfake_models.sandbox.decoder import Decoder, ProcessDecoder
from deepfake_models.sandbox.pool import ProcessPool
from tests.support import attacks, footage
from tests.support.pools import BOUNDS, run


@pytest.fixture(scope="module")
def decoder() -> Iterator[ProcessDecoder]:
    decoder = ProcessDecoder(workers=1)
    yield decoder
    decoder.close()


def heif() -> bytes:
    file = io.BytesIO()
    pillow_heif.from_pillow(Image.fromarray(footage.astronaut())).save(file, quality=80)
    return file.getvalue()


def everything() -> dict[str, bytes]:
    frames = footage.panning(12)
    media = {
        name: footage.picture(footage.astronaut(), name)
        for name in ("PNG", "BMP", "TIFF", "WEBP", "GIF", "JPEG", "AVIF")
    }
    media |= {
        f"moving {name}": footage.animation(frames[:4], name, [100] * 4)
        for name in ("PNG", "WEBP", "GIF", "AVIF")
    }
    media |= {
        f"{codec} {container}": footage.encode(frames, codec=codec, container=container)
        for codec, container in (
            ("libx264", "mp4"), ("libx264", "matroska"), ("libx264", "mpegts"), ("libx265", "mp4"),
            ("libvpx-vp9", "webm"), ("libsvtav1", "mp4"), ("mpeg4", "avi"), ("mpeg4", "mov"),
        )
    }  # fmt: skip
    file = io.BytesIO()
    Image.fromarray(footage.resized(footage.astronaut(), 1200, 900)).save(file, "WEBP")
    return {**media, "HEIF": heif(), "WEBP with threads": file.getvalue()}


@pytest.fixture(scope="module")
def media() -> dict[str, bytes]:
    return everything()


def pixels(decoder: Decoder, data: bytes) -> list[np.ndarray]:
    with decoder.open(io.BytesIO(data)) as opened:
        frames = list(opened.frames(range(len(opened.times))))
    assert all(isinstance(frame, Frame) for frame in frames)
    return [frame.pixels for frame in frames if isinstance(frame, Frame)]


def test_every_format_is_decoded_as_without_confinement(
    decoder: ProcessDecoder, media: dict[str, bytes]
) -> None:
    direct = InProcessDecoder()
    for name, data in media.items():
        confined, expected = pixels(decoder, data), pixels(direct, data)
        assert len(confined) == len(expected), name
        assert all(np.array_equal(a, b) for a, b in zip(confined, expected, strict=True)), name


def test_nothing_is_imported_after_the_process_is_confined(
    media: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An import that fails only there would turn a good file into one that cannot be decoded."""
    decoder = ProcessDecoder(workers=1)
    tasks = (credentials.TASK, attacks.MODULES, attacks.DECODE)
    decoder._pool = ProcessPool(wire.Options(tasks=tasks), 1)

    def look(data: bytes) -> None:
        decoder._pool.run(attacks.DECODE, io.BytesIO(data), b"", BOUNDS)

    try:
        with decoder._pool.process() as process:
            # One process for everything, so that it can be asked afterwards.
            monkeypatch.setattr(decoder._pool, "process", lambda *_: nullcontext(process))
            before = run(decoder._pool, attacks.MODULES)
            for name, data in media.items():
                look(data)
                decoder.read_credentials(io.BytesIO(data), f"image/{name.lower()}")
            for broken in (b"nonsense", media["JPEG"][:3000], media["libx264 mp4"][:2000]):
                with suppress(MediaError):
                    look(broken)
            assert run(decoder._pool, attacks.MODULES) == before
    finally:
        decoder.close()
