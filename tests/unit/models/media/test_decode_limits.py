"""Bombs and huge claims are refused before they are decoded, and stills are told apart."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
from PIL import Image, ImageFile

from deepfake_models.errors import MediaTooLarge, NotAPicture, UndecodableMedia
from deepfake_models.media.decoder import InProcessDecoder
from deepfake_models.media.interface import DecodeLimits, Frame
from deepfake_models.sandbox.decoder import Decoder
from tests.support import footage
from tests.support.footage import LIMITS, noise, refused


def test_a_decompression_bomb_is_refused_before_it_is_decoded(decoder: Decoder) -> None:
    data = footage.huge_png(30_000)
    assert len(data) < 200_000
    message = refused(decoder, data, MediaTooLarge)
    assert "30000 x 30000 = 900000000" in message
    assert "2000000" in message


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list that grows by an entry for each frame that Pillow decodes in this process."""
    seen: list[int] = []
    load = ImageFile.ImageFile.load

    def counted(image: ImageFile.ImageFile) -> object:
        seen.append(1)
        return load(image)

    monkeypatch.setattr(ImageFile.ImageFile, "load", counted)
    return seen


def test_a_decompression_bomb_is_not_decoded(loads: list[int]) -> None:
    with (
        pytest.raises(MediaTooLarge),
        InProcessDecoder(LIMITS).open(io.BytesIO(footage.huge_png(30_000))),
    ):
        pass
    assert loads == []


@pytest.mark.parametrize("picture_format", ["GIF", "PNG", "WEBP", "AVIF"])
def test_an_animation_is_refused_as_a_still_before_it_is_decoded(
    loads: list[int], picture_format: str
) -> None:
    data = footage.animation(footage.panning(3, 64, 48), picture_format, [100] * 3)
    loads.clear()  # those of the encoder
    with (
        pytest.raises(NotAPicture),
        InProcessDecoder().open(io.BytesIO(data), stills_only=True),
    ):
        pass
    assert loads == []


def test_a_picture_between_pillows_limits_does_not_warn() -> None:
    """Pillow warns from 89 million pixels on and raises from 179 million on."""
    limits = DecodeLimits(max_pixels=120_000_000)
    with InProcessDecoder(limits).open(io.BytesIO(footage.huge_png(10_000))) as media:
        assert media.facts.width == 10_000


GIF_HEAD = b"GIF89a\x01\0\x01\0\x80\0\0\0\0\0\xff\xff\xff"
GIF_FRAME = b"!\xf9\x04\0\x01\0\0\0,\0\0\0\0\x01\0\x01\0\0\x02\x02D\x01\0"
"""A frame of one pixel."""


def sized(frame: bytes, side: int) -> bytes:
    """Return ``frame`` with another size in its header."""
    return frame.replace(b"\x01\0\x01\0", struct.pack("<HH", side, side))


def test_a_gif_with_very_many_frames(decoder: Decoder) -> None:
    assert "2000 frames" in refused(decoder, GIF_HEAD + GIF_FRAME * 100_000 + b";", MediaTooLarge)
    with decoder.open(io.BytesIO(GIF_HEAD + GIF_FRAME * 1000 + b";")) as media:
        assert len(media.times) == 1000


def test_a_frame_that_enlarges_a_gif_is_refused_before_it_is_decoded(decoder: Decoder) -> None:
    large = sized(GIF_FRAME, 8000)
    # Its data end early, but to find that out takes the memory of all its pixels.
    message = refused(decoder, GIF_HEAD + GIF_FRAME + large + b";", MediaTooLarge)
    assert "the limit is 2000000" in message


def test_a_frame_that_a_gif_clears_is_refused_before_it_is_filled(process: Decoder) -> None:
    cleared = GIF_FRAME.replace(b"!\xf9\x04\0", b"!\xf9\x04\x08")
    large = sized(cleared, 65535)
    message = refused(process, GIF_HEAD + cleared + large + b";", MediaTooLarge)
    assert "the limit is 2000000" in message
    # The next picture has its own limit.
    message = refused(process, footage.huge_png(30_000), MediaTooLarge)
    assert "30000 x 30000" in message


def animation(kind: str, frames: list[np.ndarray]) -> bytes:
    first, *rest = (Image.fromarray(f) for f in frames)
    buffer = io.BytesIO()
    first.save(buffer, kind, save_all=True, append_images=rest, duration=100)
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "AVIF"])
def test_only_stills(decoder: Decoder, kind: str) -> None:
    moving = animation(kind, noise(3, 64))
    with (
        pytest.raises(NotAPicture),
        decoder.open(io.BytesIO(moving), stills_only=True),
    ):
        pass
    with decoder.open(io.BytesIO(moving)) as media:
        assert len(media.times) == 3
    still = animation(kind, noise(1, 64))
    with decoder.open(io.BytesIO(still), stills_only=True) as media:
        assert media.facts.kind == "image"
        (frame,) = media.frames([0])
        assert isinstance(frame, Frame)


def test_only_stills_refuses_other_files(decoder: Decoder, video: bytes) -> None:
    for data in (video, b"no media at all"):
        with pytest.raises(NotAPicture), decoder.open(io.BytesIO(data), stills_only=True):
            pass


def test_an_animation_is_refused_as_a_still_before_a_frame_is_decoded(loads: list[int]) -> None:
    moving = animation("GIF", [np.full((200, 200), v, np.uint8) for v in (0, 255, 0, 255)])
    decoder = InProcessDecoder(LIMITS)
    with pytest.raises(NotAPicture), decoder.open(io.BytesIO(moving), stills_only=True):
        pass
    assert loads == []
    with decoder.open(io.BytesIO(moving)) as media:
        assert len(list(media.frames(range(4)))) == 4
    assert loads


def test_a_container_that_claims_huge_frames(decoder: Decoder) -> None:
    """Uncompressed video: nothing but the container's header states the size."""
    data = footage.encode(
        footage.panning(3, 32, 32), codec="rawvideo", container="mov", pix_fmt="rgb24"
    )
    at = data.index(b"raw ", data.index(b"stsd")) + 4 + 24
    assert struct.unpack(">HH", data[at : at + 4]) == (32, 32)
    with decoder.open(io.BytesIO(data)) as media:
        assert media.facts.width == 32
    large = data[:at] + struct.pack(">HH", 2000, 2000) + data[at + 4 :]
    assert "2000 x 2000 = 4000000" in refused(decoder, large, MediaTooLarge)
    absurd = data[:at] + struct.pack(">HH", 60_000, 60_000) + data[at + 4 :]
    refused(decoder, absurd, UndecodableMedia)


def test_frames_that_are_too_large(decoder: Decoder) -> None:
    data = footage.encode(footage.panning(2, 1920, 1088), options={"preset": "ultrafast"})
    assert "1920 x 1088" in refused(decoder, data, MediaTooLarge)


def test_frames_that_grow_are_failed_frames() -> None:
    """A transport stream whose second half has a frame size above the limit."""
    small = footage.encode(footage.panning(10), container="mpegts", gop=5)
    large = footage.encode(footage.panning(10, 640, 512), container="mpegts", gop=5)
    limits = DecodeLimits(max_pixels=100_000)
    with InProcessDecoder(limits).open(io.BytesIO(small + large)) as media:
        results = list(media.frames(range(len(media.times))))
    frames = [r for r in results if isinstance(r, Frame)]
    assert len(frames) >= 5
    assert {f.pixels.shape for f in frames} == {(128, 160, 3)}


def test_too_many_frames_and_too_long(decoder: Decoder) -> None:
    many = footage.encode(footage.panning(1, 16, 16) * 2100, codec="mpeg4")
    assert "2000 frames" in refused(decoder, many, MediaTooLarge)
    long = footage.encode(footage.panning(2, 16, 16), codec="mpeg4", pts=[0, 4_000_000])
    assert "limit is 3600" in refused(decoder, long, MediaTooLarge)


def test_pictures_decode_without_pillows_global_limit() -> None:
    assert Image.MAX_IMAGE_PIXELS is None
