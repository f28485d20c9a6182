"""Videos of each codec and container, and their frames by a full decode."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import numpy as np

from deepfake_models.media import color
from deepfake_models.media.decoder import InProcessDecoder
from deepfake_models.media.interface import Frame, OpenMedia
from tests.support import mediakit


@cache
def panning(count: int) -> list[mediakit.Pixels]:
    """Return the frames of ``mediakit.panning``, which cost more than most encoders take."""
    frames = mediakit.panning(count)
    for frame in frames:
        frame.flags.writeable = False
    return frames


@contextmanager
def opened(data: bytes) -> Iterator[OpenMedia]:
    with InProcessDecoder().open(io.BytesIO(data)) as media:
        yield media


def only(data: bytes) -> np.ndarray:
    with opened(data) as media:
        (frame,) = media.frames([0])
        assert isinstance(frame, Frame)
        return frame.pixels


def reference(data: bytes) -> list[np.ndarray]:
    return [color.to_rgb(f, f.width, f.height) for f in mediakit.decode_all(data)]


def difference(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.abs(a.astype(float) - b.astype(float)).mean())


X264 = "bframes=3:keyint=12:scenecut=0"
X265 = "bframes=3:keyint=12:log-level=none"
VIDEOS: dict[str, dict[str, Any]] = {
    "h264 closed": {"options": {"x264-params": X264}},
    "h264 open": {"options": {"x264-params": X264 + ":open-gop=1"}},
    "h264 open mkv": {"container": "matroska", "options": {"x264-params": X264 + ":open-gop=1"}},
    "h264 open ts": {"container": "mpegts", "options": {"x264-params": X264 + ":open-gop=1"}},
    "h264 flv": {"container": "flv", "options": {"x264-params": X264}},
    "h264 fragmented": {
        "options": {"x264-params": X264},
        "container_options": {"movflags": "frag_keyframe+empty_moov"},
    },
    "h264 refresh": {
        "container": "matroska",
        "options": {"x264-params": "bframes=0:intra-refresh=1:keyint=12"},
    },
    "h264 raw": {"container": "h264", "options": {"x264-params": X264}},
    "hevc closed": {"codec": "libx265", "options": {"x265-params": X265 + ":open-gop=0"}},
    "hevc open": {"codec": "libx265", "options": {"x265-params": X265 + ":open-gop=1"}},
    "hevc layers": {
        "codec": "libx265",
        "options": {"x265-params": X265 + ":temporal-layers=3:b-adapt=0"},
    },
    "vp8 hidden": {
        "codec": "libvpx",
        "container": "webm",
        "options": {"lag-in-frames": "16", "auto-alt-ref": "1"},
    },
    "vp9 hidden": {
        "codec": "libvpx-vp9",
        "container": "webm",
        "options": {"lag-in-frames": "16", "auto-alt-ref": "1", "cpu-used": "8"},
    },
    "av1": {"codec": "libsvtav1", "options": {"preset": "10", "svtav1-params": "lp=1"}},
    "mpeg4": {"codec": "mpeg4", "options": {"bf": "2"}},
    "mpeg4 avi": {"codec": "mpeg4", "container": "avi", "options": {"bf": "2"}},
    "mpeg2 ps": {"codec": "mpeg2video", "container": "mpeg", "options": {"bf": "2"}},
    "mjpeg avi": {"codec": "mjpeg", "container": "avi", "pix_fmt": "yuvj420p"},
    "variable rate": {
        "options": {"x264-params": X264},
        "pts": np.cumsum([0, *([17, 40, 80, 5] * 15)])[:60].tolist(),
    },
}
