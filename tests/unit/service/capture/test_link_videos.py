"""Videos of links, in the ways that platforms send them."""

from __future__ import annotations

import hashlib
import io
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Any

import av
import pytest

from deepfake_service.capture.readers import CaptureReaders
from tests.support.captures import captured, play
from tests.support.fake_platform import FakePlatform, answers_once, status
from tests.support.fake_posts import (
    clip,
    page_with,
    says_dash,
    says_playlist,
    says_renditions,
    segments_of,
    track,
    transport_stream,
)
from tests.unit.service.conftest import Service

pytest.importorskip("yt_dlp", reason="the extra capture-link is not installed")
pytestmark = pytest.mark.slow


@pytest.fixture
async def service(start: Callable[..., Any]) -> AsyncIterator[Service]:
    async with start(capture_links=True) as started:
        yield started


@pytest.mark.parametrize(("container", "encrypted"), [("mp2t", True), ("mp4", False)])
async def test_segments_of_a_video_are_joined_in_memory(
    service: Service,
    readers: CaptureReaders,
    platform: FakePlatform,
    container: str,
    encrypted: bool,
) -> None:
    content = clip(40)
    parts = segments_of(transport_stream(content))
    segments = parts if container == "mp2t" else track(content, "video")
    says_playlist(platform, "/hls", segments, encrypted=encrypted)
    url = platform.says("/p/2", page_with("/hls.m3u8"))
    (shown,) = await captured(service, readers, platform, url)
    assert (shown["state"], shown["reason"]) == ("captured", None), shown
    (medium,) = shown["media"]
    whole = hashlib.sha256(b"".join(segments)).hexdigest()
    assert (medium["sha256"], medium["mime"]) == (whole, f"video/{container}")
    assert medium["job_id"] is not None


APART = {
    "DASH in segments": ("/v.mpd", partial(says_dash, in_files=False)),
    "DASH in files": ("/v.mpd", partial(says_dash, in_files=True)),
    "HLS, encrypted": ("/v.m3u8", partial(says_renditions, encrypted=True)),
}


@pytest.mark.parametrize("way", APART)
async def test_picture_and_sound_that_are_sent_apart_become_one_video(
    service: Service, readers: CaptureReaders, platform: FakePlatform, way: str
) -> None:
    content = clip(60, sound=True)
    tracks = {kind: track(content, kind) for kind in ("video", "audio")}
    playlist, says = APART[way]
    says(platform, "/v", tracks)
    url = platform.says("/p/2", page_with(playlist))
    (shown,) = await captured(service, readers, platform, url)
    assert (shown["state"], shown["reason"]) == ("captured", None), shown
    (medium,) = shown["media"]
    assert (medium["mime"], medium["job_id"] is None) == ("video/mp4", False)
    played = await play(service, shown)
    for kind in tracks:
        packets, frames = of_track(played, kind)
        assert packets == of_track(content, kind)[0], "nothing was encoded again"
        assert frames == len(packets)


async def test_a_connection_that_its_server_ended_is_made_again(
    service: Service, readers: CaptureReaders, platform: FakePlatform
) -> None:
    """Servers hang up between two answers without saying so. When that is seen is chance."""
    whole = transport_stream(clip(40))
    says_playlist(platform, "/hls", segments_of(whole))
    url = platform.says("/p/2", page_with("/hls.m3u8"))
    segments = [path for path in platform.answers if path.startswith("/hls/")]
    for path in segments:
        answer = platform.answers[path]
        platform.says(path, answers_once(answer))
    (shown,) = await captured(service, readers, platform, url)
    assert (shown["state"], shown["reason"]) == ("captured", None), shown
    assert shown["media"][0]["sha256"] == hashlib.sha256(whole).hexdigest()
    assert platform.hung_up > 1, "each second segment on a connection was not answered"
    assert shown["counts"].get("cut_short") is None


async def test_a_video_with_a_segment_that_does_not_come_says_why(
    service: Service, readers: CaptureReaders, platform: FakePlatform
) -> None:
    says_playlist(platform, "/hls", segments_of(transport_stream(clip())))
    platform.says("/hls/1.ts", status(404))
    url = platform.says("/p/2", page_with("/hls.m3u8"))
    (shown,) = await captured(service, readers, platform, url)
    assert (shown["state"], shown["reason"], shown["media"]) == ("captured", "no_media", []), shown
    assert platform.asked["/hls/1.ts"] == 4, "it was tried again"


def of_track(content: bytes, kind: str) -> tuple[list[bytes], int]:
    """Return the packets of the ``video`` or ``audio``, and how many frames they decode to."""
    packets, frames = [], 0
    with av.open(io.BytesIO(content)) as container:
        for packet in container.demux(**{kind: 0}):
            packets += [bytes(packet)] if packet.size else []
            frames += len(packet.decode())
    return packets, frames
