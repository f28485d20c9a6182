"""Damaged and truncated media: what is intact is decoded, and the rest fails by name."""

from __future__ import annotations

import io
import random
from typing import Any

import av
import numpy as np
import pytest
from PIL.PngImagePlugin import PngInfo

from deepfake_models.errors import MediaError, UndecodableMedia
from deepfake_models.media.interface import FailedFrame, Frame
from deepfake_models.media.packet_index import h264_disposable
from tests.support import footage
from tests.support.footage import VIDEOS, X265, difference, only, opened, panning_once, reference


def packets(data: bytes) -> list[Any]:
    with av.open(io.BytesIO(data)) as container:
        return [p for p in container.demux(video=0) if p.size]


def blanked(data: bytes, packet: Any) -> bytes:
    """Return ``data`` with one packet overwritten except for its first bytes."""
    start, end = packet.pos + 6, packet.pos + packet.size
    return data[:start] + bytes(end - start) + data[end:]


@pytest.mark.parametrize("codec", ["libx264", "libx265", "mpeg4"])
def test_damage_fails_exactly_the_frames_that_depend_on_it(codec: str) -> None:
    options = {"x265-params": X265 + ":open-gop=0"} if codec == "libx265" else {"bf": "0"}
    data = footage.encode(panning_once(60), codec=codec, gop=12, options=options)
    victim = next(p for p in packets(data)[24:] if p.is_keyframe)
    first = round(float(victim.pts * victim.time_base) * 25)
    frames = reference(data)
    with opened(blanked(data, victim)) as media:
        assert len(media.times) == 60
        for indices in (list(range(60)), [0, first + 3, 59]):
            results = list(media.frames(indices))
            failed = {r.index for r in results if isinstance(r, FailedFrame)}
            assert failed == set(indices) & set(range(first, first + 12))
            for result in results:
                if isinstance(result, Frame):
                    np.testing.assert_array_equal(result.pixels, frames[result.index])


@pytest.mark.parametrize("wanted", [[30], [29, 30, 31]])
def test_damage_to_a_reference_is_not_hidden_by_skipping(wanted: list[int]) -> None:
    data = footage.encode(panning_once(60), gop=60, options={"x264-params": "bframes=3"})
    reference_frame = max(
        (p for p in packets(data) if p.pts < 30 * 512 and not h264_disposable(bytes(p), 4)),
        key=lambda p: p.pts,
    )
    with opened(blanked(data, reference_frame)) as media:
        assert all(isinstance(r, FailedFrame) for r in media.frames(wanted))


def test_truncated_with_the_index_first() -> None:
    data = footage.encode(panning_once(60), gop=12, container_options={"movflags": "faststart"})
    frames = reference(data)
    with opened(data[: len(data) * 2 // 3]) as media:
        assert len(media.times) == 60
        assert media.facts.duration_s == pytest.approx(2.4, abs=0.1)
        assert (np.diff(media.times) > 0).all()
        results = list(media.frames(range(60)))
    alive = [r for r in results if isinstance(r, Frame)]
    assert 25 <= len(alive) <= 50
    assert [r.index for r in alive] == list(range(len(alive)))
    for result in alive:
        np.testing.assert_array_equal(result.pixels, frames[result.index])


def test_truncated_with_the_index_lost() -> None:
    data = footage.encode(panning_once(30))
    with pytest.raises(UndecodableMedia), opened(data[: len(data) * 2 // 3]):
        pass


@pytest.mark.parametrize("name", ["h264 open", "h264 open ts", "hevc open", "vp9 hidden", "mpeg4"])
def test_random_damage_gives_frames_or_domain_errors(name: str) -> None:
    data = footage.encode(panning_once(30), gop=6, **VIDEOS[name])
    draw = random.Random(7)
    for _ in range(25):
        broken = bytearray(data)
        for _ in range(draw.choice([1, 4, 16])):
            at = draw.randrange(len(broken))
            broken[at : at + 8] = draw.randbytes(min(8, len(broken) - at))
        try:
            with opened(bytes(broken)) as media:
                step = max(1, len(media.times) // 8)
                indices = list(range(0, len(media.times), step))
                results = list(media.frames(indices))
        except MediaError:
            continue
        assert [r.index for r in results] == indices


def test_a_truncated_animation_gives_its_intact_frames() -> None:
    frames = footage.panning(6, 64, 48)
    data = footage.animation(frames, "GIF", [100] * 6)
    with opened(data[: len(data) * 2 // 3]) as media:
        results = list(media.frames(range(len(media.times))))
        alive = [r for r in results if isinstance(r, Frame)]
        assert 3 <= len(alive) <= 5
        assert all(difference(r.pixels, frames[r.index]) < 12 for r in alive)


def test_a_truncated_picture_is_undecodable() -> None:
    data = footage.picture(footage.astronaut(), "JPEG")
    with pytest.raises(UndecodableMedia):
        only(data[: len(data) // 2])


def test_broken_metadata_are_ignored() -> None:
    data = footage.picture(
        footage.panning(1, 32, 32)[0], "JPEG", exif=b"Exif\0\0MM\0*" + b"\xff" * 40
    )
    assert only(data).shape == (32, 32, 3)
    info = PngInfo()
    info.add_text("note", "x" * 1000)
    assert only(footage.picture(footage.panning(1, 32, 32)[0], "PNG", pnginfo=info)).any()
