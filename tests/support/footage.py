"""Test media, generated from pictures that scikit-image and matplotlib include."""

from __future__ import annotations

import io
import os
import struct
import tempfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any

import av
import matplotlib.cbook
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from deepfake_models.media import color
from deepfake_models.media.decoder import InProcessDecoder
from deepfake_models.media.interface import DecodeLimits, Frame, OpenMedia
from deepfake_models.sandbox.decoder import Decoder

Pixels = NDArray[np.uint8]


@contextmanager
def scheduling_kept() -> Iterator[None]:
    """Give this thread its scheduling policy back when the context ends.

    SVT-AV1 makes the thread that opens it a realtime one if root runs it. So would be the processes
    that it starts later, and all others would wait for them.
    """
    policy, parameters = os.sched_getscheduler(0), os.sched_getparam(0)
    try:
        yield
    finally:
        os.sched_setscheduler(0, policy, parameters)


@cache
def _astronaut() -> Pixels:
    from skimage import data

    return np.asarray(data.astronaut(), dtype=np.uint8)


def astronaut() -> Pixels:
    """Return Eileen Collins: uint8 RGB, (512, 512, 3), with one face near (x 225, y 115)."""
    return _astronaut().copy()


@cache
def _grace_hopper() -> Pixels:
    with matplotlib.cbook.get_sample_data("grace_hopper.jpg") as file:
        return np.asarray(Image.open(file).convert("RGB"))


def grace_hopper() -> Pixels:
    """Return Grace Hopper: uint8 RGB, (600, 512, 3), with one face near (x 265, y 165)."""
    return _grace_hopper().copy()


def resized(pixels: Pixels, width: int, height: int) -> Pixels:
    """Resample ``pixels`` to ``width`` by ``height``."""
    return np.array(Image.fromarray(pixels).resize((width, height), Image.Resampling.BICUBIC))


def panning(
    count: int, width: int = 160, height: int = 128, portrait: Pixels | None = None
) -> list[Pixels]:
    """Return ``count`` different frames of a portrait that drifts and comes nearer."""
    image = Image.fromarray(astronaut() if portrait is None else portrait)
    frames = []
    for k in range(count):
        phase = k / max(count - 1, 1)
        side = 360 - 120 * phase
        left, top = 60 + 40 * np.sin(7 * phase), 20 + 30 * phase
        box = (left, top, left + side, top + side * height / width)
        frames.append(np.array(image.resize((width, height), Image.Resampling.BILINEAR, box=box)))
    return frames


def _reproducible(codec: str, options: dict[str, str], count: int) -> dict[str, str]:
    """Add to ``options`` what makes ``codec`` give the same for the same ``count`` frames.

    On several threads encoders do not always do so. x265 learns from the third frame by how much
    B-frames delay decoding: in shorter videos the decoding times are what was in its memory, and
    muxing fails now and then.
    """
    chosen = {"threads": "1", **options}
    if codec == "libx265":
        added = "pools=none:frame-threads=1" + (":bframes=0" if count < 3 else "")
        chosen["x265-params"] = ":".join(filter(None, [options.get("x265-params"), added]))
    return chosen


def encode(
    frames: Iterable[Pixels],
    *,
    codec: str = "libx264",
    container: str = "mp4",
    rate: int = 25,
    pts: Sequence[int] | None = None,
    pix_fmt: str = "yuv420p",
    gop: int = 12,
    options: dict[str, str] | None = None,
    container_options: dict[str, str] | None = None,
    aspect: Fraction | None = None,
    color: tuple[int, int, int, int] | None = None,
    sound: bool = False,
) -> bytes:
    """Encode RGB ``frames`` of one size as a video file.

    ``pts`` are timestamps in 1/1000 s instead of a constant ``rate``. ``aspect`` is that of a
    pixel. ``color`` is primaries, transfer, matrix and range as in ITU-T H.273 (range 1 limited,
    2 full).
    """
    frames = list(frames)
    height, width, _ = frames[0].shape
    # A file is needed: to move the index to the front, FFmpeg opens its output again.
    with (
        scheduling_kept(),
        tempfile.NamedTemporaryFile() as file,
        av.open(file.name, "w", format=container, container_options=container_options) as out,
    ):
        settings = _reproducible(codec, options or {}, len(frames))
        stream: Any = out.add_stream(codec, rate=rate, options=settings)
        stream.width, stream.height, stream.pix_fmt = width, height, pix_fmt
        stream.gop_size = gop
        context = stream.codec_context
        context.thread_count = 1
        time_base = Fraction(1, 1000) if pts is not None else Fraction(1, rate)
        context.time_base = time_base
        if aspect is not None:
            context.sample_aspect_ratio = aspect
        if color is not None:
            (context.color_primaries, context.color_trc) = color[:2]
            (context.colorspace, context.color_range) = color[2:]
        audio: Any = out.add_stream("aac", rate=48000) if sound else None
        for k, pixels in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
            if color is not None:
                frame = frame.reformat(
                    format=pix_fmt,
                    dst_colorspace={1: 1, 5: 5, 6: 5, 9: 9}.get(color[2], 5),
                    dst_color_range=color[3],
                )
                frame.color_primaries, frame.color_trc = color[:2]
            frame.pts = k if pts is None else pts[k]
            frame.time_base = time_base
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
        if audio is not None:
            _tone(out, audio, "aac", seconds=len(frames) / rate)
        out.close()
        return Path(file.name).read_bytes()


def sound_only(container: str = "mp4", cover: Pixels | None = None) -> bytes:
    """Return a second of sound, with ``cover`` as attached picture (mp3 only)."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format=container) as out:
        codec = {"mp4": "aac", "mp3": "libmp3lame", "wav": "pcm_s16le"}[container]
        stream: Any = out.add_stream(codec, rate=48000)
        stream.layout = "mono"
        _tone(out, stream, codec, seconds=1.0)
    data = buffer.getvalue()
    return _id3_cover(cover) + data if cover is not None else data


def _tone(out: Any, stream: Any, codec: str, seconds: float) -> None:
    sample_format = {"aac": "fltp", "libmp3lame": "fltp", "pcm_s16le": "s16"}[codec]
    resampler = av.AudioResampler(format=sample_format, layout="mono", rate=48000)
    wave = (0.1 * np.sin(np.arange(int(48000 * seconds)) * 0.06)).astype(np.float32)
    for start in range(0, len(wave), 1152):
        frame = av.AudioFrame.from_ndarray(
            wave[None, start : start + 1152], format="fltp", layout="mono"
        )
        frame.sample_rate, frame.pts = 48000, start
        for resampled in resampler.resample(frame):
            out.mux(stream.encode(resampled))
    out.mux(stream.encode(None))


def _id3_cover(cover: Pixels) -> bytes:
    """Return an ID3v2.3 tag with an attached picture (APIC) frame."""
    body = b"\0image/jpeg\0\x03\0" + picture(cover, "JPEG")
    frame = b"APIC" + len(body).to_bytes(4, "big") + b"\0\0" + body
    size = len(frame)
    packed = bytes((size >> shift) & 0x7F for shift in (21, 14, 7, 0))
    return b"ID3\x03\0\0" + packed + frame


def decode_all(data: bytes) -> Iterator[av.VideoFrame]:
    """Return every frame that a sequential decode of ``data`` outputs."""
    with av.open(io.BytesIO(data)) as container:
        yield from container.decode(video=0)


def picture(
    pixels: Pixels | Image.Image,
    format: str = "JPEG",  # noqa: A002
    **options: Any,
) -> bytes:
    """Encode a picture file; ``options`` are those of ``PIL.Image.Image.save``."""
    buffer = io.BytesIO()
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    image.save(buffer, format, **options)
    return buffer.getvalue()


def animation(frames: Sequence[Pixels], format: str, durations: Sequence[int]) -> bytes:  # noqa: A002
    """Encode an animated picture; ``durations`` are in milliseconds."""
    images = [Image.fromarray(f) for f in frames]
    return picture(
        images[0],
        format,
        save_all=True,
        append_images=images[1:],
        duration=list(durations),
        loop=0,
        **({"lossless": True} if format == "WEBP" else {}),
    )


@cache
def huge_png(side: int) -> bytes:
    """Return a PNG of one black square: a bit for each of ``side`` * ``side`` pixels, packed 1000
    times smaller."""

    def chunk(name: bytes, body: bytes) -> bytes:
        check = zlib.crc32(name + body)
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", check)

    packer = zlib.compressobj(9)
    row = bytes(side // 8 + 2)
    body = b"".join(packer.compress(row) for _ in range(side)) + packer.flush()
    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")
    )


@cache
def clip(seed: int = 0, frames: int = 40, marker: bytes = b"") -> bytes:
    """Return a clip of a drifting portrait; the seed decides its brightness and its bytes."""
    moving = panning(frames, 320, 256)
    dimmer = [(f * (1 - 0.02 * seed)).astype(f.dtype) for f in moving]
    # MP4 readers skip a ``free`` box, whatever it contains.
    box = (8 + len(marker)).to_bytes(4, "big") + b"free" + marker if marker else b""
    return encode(dimmer) + box


def short_clip(seed: int = 0, marker: bytes = b"") -> bytes:
    """Return a clip that is examined in a third of the time."""
    return clip(seed, 12, marker)


@cache
def panning_once(count: int) -> list[Pixels]:
    """Return the frames of ``panning``, which cost more than most encoders take."""
    frames = panning(count)
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
    return [color.to_rgb(f, f.width, f.height) for f in decode_all(data)]


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
