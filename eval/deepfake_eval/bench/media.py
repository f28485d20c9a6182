"""Generate the videos and pictures of a bench from one public-domain portrait.

The portrait is that of Grace Hopper, which matplotlib includes.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any

import av
import matplotlib.cbook
import numpy as np
from numpy.typing import NDArray
from PIL import Image

RATE = 25
SEGMENT = 50
"""Most frames that are encoded. A longer video repeats their packets, each time from a keyframe."""

CODECS: dict[str, tuple[str, str, dict[str, str]]] = {
    "H.264": ("libx264", "mp4", {"preset": "veryfast"}),
    "HEVC": ("libx265", "mp4", {"preset": "ultrafast", "x265-params": "log-level=none:open-gop=0"}),
    "VP9": ("libvpx-vp9", "webm", {"deadline": "realtime", "cpu-used": "8"}),
}
"""Encoder, container and options by the name of the codec."""


@dataclass(frozen=True, slots=True)
class Clip:
    codec: str
    width: int
    height: int
    seconds: float
    faces: int = 1

    def write(self, path: Path) -> None:
        """Write the video to ``path``. It contains no sound.

        Raises:
            av.error.FFmpegError, ValueError: this build of FFmpeg has no such encoder.
        """
        encoder, container, options = CODECS[self.codec]
        with av.open(str(path), "w", format=container) as out:
            stream: Any = out.add_stream(encoder, rate=RATE, options=options)
            stream.width, stream.height, stream.pix_fmt = self.width, self.height, "yuv420p"
            stream.gop_size = SEGMENT
            packets = [p for picture in self._pictures() for p in stream.encode(picture)]
            packets += stream.encode(None)
            base = packets[0].time_base
            length = round(SEGMENT / RATE / base)
            contents = [(bytes(p), p.pts, p.dts, p.is_keyframe) for p in packets]
            for number in range(math.ceil(self.seconds * RATE / SEGMENT)):
                for content, pts, dts, key in contents:
                    packet = av.Packet(content)
                    packet.stream, packet.time_base = stream, base
                    packet.pts, packet.dts = pts + number * length, dts + number * length
                    packet.duration, packet.is_keyframe = round(1 / RATE / base), key
                    out.mux(packet)

    def _pictures(self) -> Iterator[av.VideoFrame]:
        for number in range(min(SEGMENT, round(self.seconds * RATE))):
            pixels = group_picture(self.width, self.height, self.faces, number / SEGMENT)
            picture = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            picture.pts, picture.time_base = number, Fraction(1, RATE)
            yield picture


@cache
def _portrait() -> Image.Image:
    file: Any = matplotlib.cbook.get_sample_data("grace_hopper.jpg", asfileobj=True)
    with file:
        return Image.open(file).convert("RGB")


def group_picture(width: int, height: int, faces: int, phase: float = 0.0) -> NDArray[np.uint8]:
    """Return (``height``, ``width``, 3) uint8 RGB with ``faces`` copies of the portrait in rows.

    They sway a little with ``phase``, 0 to 1, so that frames of a video differ.
    """
    portrait = _portrait()
    shape = portrait.height / portrait.width
    columns = min(faces, math.ceil(math.sqrt(faces * width / height * shape)))
    rows = math.ceil(faces / columns)
    across = int(min(width / columns / 1.1, height / rows / shape))
    copy = np.asarray(portrait.resize((across, int(across * shape)), Image.Resampling.BICUBIC))
    pixels = np.empty((height, width, 3), np.uint8)
    pixels[:] = np.linspace(90, 150, width).astype(np.uint8)[None, :, None]
    for number in range(faces):
        row, column = divmod(number, columns)
        sway = math.sin(2 * math.pi * phase + number) * 0.04 * across
        left = int((column + 0.5) * width / columns - across / 2 + sway)
        left, top = min(max(left, 0), width - across), int(row * height / rows)
        pixels[top : top + copy.shape[0], left : left + across] = copy
    return pixels


def jpeg(width: int, height: int, faces: int) -> bytes:
    file = io.BytesIO()
    Image.fromarray(group_picture(width, height, faces)).save(file, "JPEG", quality=90)
    return file.getvalue()
