"""Degrade media as sharing them does: recompression, rescaling, blur, noise.

A degradation applies to whole decoded frames, before face detection, so that it affects the
detector as well. Video is really encoded again, by libx264.

These are deliberately not the operators that training augments with (``data/degradations.py`` of
``deepfake_training``, which uses OpenCV on face crops): a sweep measures how a bundle copes with
degradations that it was not trained on.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from io import BytesIO
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter

from deepfake_models.bundle.results import MediaFacts
from deepfake_models.errors import MediaError
from deepfake_models.media.decoder import InProcessDecoder
from deepfake_models.media.interface import FailedFrame, Frame, OpenMedia, check_indices, frame_at

Pixels = NDArray[np.uint8]
Apply = Callable[[Pixels, float, np.random.Generator], Pixels]

CLIP_FRAMES = 9
"""Number of frames encoded together for each examined one. The examined frame is then usually a
predicted frame, as most frames of a video are, and a long video need not be encoded as a whole."""

CLIP_RATE = 25


@dataclass(frozen=True, slots=True)
class Degradation:
    """One kind of degradation.

    ``levels`` go from mild to harsh. ``apply`` takes (H, W, 3) uint8 RGB, a level and a random
    generator, and returns uint8 RGB; without it, the level is the constant rate factor of a
    re-encoding. ``rescales`` says that the level is the factor by which width and height change.
    """

    title: str
    unit: str
    levels: tuple[float, ...]
    apply: Apply | None = None
    rescales: bool = False


@dataclass(frozen=True, slots=True)
class Variant:
    """A degradation at one level; by default the unchanged original."""

    name: str = "none"
    level: float = 0.0


ORIGINAL = Variant()


def jpeg(pixels: Pixels, quality: float, _rng: np.random.Generator | None = None) -> Pixels:
    """Encode as JPEG (quality as in libjpeg, chroma 4:2:0) and decode again."""
    file = BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=int(quality), subsampling="4:2:0")
    return np.array(Image.open(file))


def resize(pixels: Pixels, scale: float, _rng: np.random.Generator | None = None) -> Pixels:
    """Resample width and height to ``scale`` of their size, bicubic with a low-pass filter."""
    height, width = pixels.shape[:2]
    return np.array(
        Image.fromarray(pixels).resize(scaled(width, height, scale), Image.Resampling.BICUBIC)
    )


def blur(pixels: Pixels, sigma: float, _rng: np.random.Generator | None = None) -> Pixels:
    return _bytes(gaussian_filter(pixels.astype(np.float32), (sigma, sigma, 0)))


def noise(pixels: Pixels, deviation: float, rng: np.random.Generator) -> Pixels:
    """Add Gaussian noise, independent for each pixel and channel.

    ``deviation`` is its standard deviation as a share of full scale.
    """
    normal = rng.standard_normal(pixels.shape, dtype=np.float32)
    return _bytes(pixels + np.float32(255.0 * deviation) * normal)


def _bytes(values: NDArray[np.float32]) -> Pixels:
    return np.asarray(np.rint(values).clip(0, 255), dtype=np.uint8)


def scaled(width: int, height: int, scale: float) -> tuple[int, int]:
    """Return width and height multiplied by ``scale``, at least one pixel each."""
    return max(1, round(width * scale)), max(1, round(height * scale))


def encode_h264(frames: Sequence[Pixels], crf: int) -> bytes:
    """Return an MP4 file of ``frames``, each (H, W, 3) uint8 RGB of one size.

    The encoder is libx264 with preset medium, without macroblock tree, in BT.709, limited range,
    4:2:0. Odd sizes are padded to even ones by repeating the edge.

    Raises:
        av.FFmpegError: libx264 cannot encode these frames.
    """
    height, width = frames[0].shape[:2]
    padding = ((0, height % 2), (0, width % 2), (0, 0))
    file = BytesIO()
    with av.open(file, "w", format="mp4") as out:
        # The macroblock tree of x264 looks 40 frames ahead, which such a short clip does not have,
        # and its decisions vary between calls. Without it, one thread gives reproducible bytes.
        options = {"crf": str(crf), "threads": "1", "x264-params": "mbtree=0"}
        stream: Any = out.add_stream("libx264", rate=CLIP_RATE, options=options)
        stream.width, stream.height = width + width % 2, height + height % 2
        stream.pix_fmt = "yuv420p"
        context = stream.codec_context
        context.thread_count = 1
        context.color_primaries = context.color_trc = context.colorspace = 1
        context.color_range = 1
        for number, pixels in enumerate(frames):
            source = av.VideoFrame.from_ndarray(np.pad(pixels, padding, "edge"), format="rgb24")
            frame = source.reformat(format="yuv420p", dst_colorspace=1, dst_color_range=1)
            frame.pts, frame.time_base = number, Fraction(1, CLIP_RATE)
            out.mux(stream.encode(frame))
        out.mux(stream.encode())
    return file.getvalue()


def h264(frames: Sequence[Pixels], crf: int, place: int) -> Pixels:
    """Encode ``frames`` together, decode them again and return frame ``place``.

    Raises:
        av.FFmpegError: libx264 cannot encode these frames.
        MediaError: the frame cannot be decoded.
    """
    file = BytesIO(encode_h264(frames, crf))
    height, width = frames[0].shape[:2]
    with InProcessDecoder().open(file) as media:
        decoded = frame_at(media, place)
    return np.ascontiguousarray(decoded.pixels[:height, :width])


DEGRADATIONS: dict[str, Degradation] = {
    "jpeg": Degradation("JPEG", "quality", (100, 80, 60, 40, 20, 10), apply=jpeg),
    "h264": Degradation("H.264", "constant rate factor", (18, 23, 28, 33, 38, 43)),
    "resize": Degradation(
        "Downscaling", "share of width and height", (0.5, 0.25), resize, rescales=True
    ),
    "blur": Degradation("Gaussian blur", "sigma in pixels", (1.0, 2.0, 3.0), blur),
    "noise": Degradation(
        "Gaussian noise", "standard deviation, share of full scale", (0.05, 0.1, 0.15, 0.2), noise
    ),
}
"""Every degradation by name. The levels of JPEG, blur and noise are those of GenD (Yermakov et al.
2025), applied to whole frames."""


def degraded(media: OpenMedia, variant: Variant) -> OpenMedia:
    """Return a view of ``media`` with ``variant`` applied to every frame.

    Noise depends only on the index of the frame, so it can be reproduced.
    """
    return media if variant == ORIGINAL else _DegradedMedia(media, variant)


class _DegradedMedia:
    """``OpenMedia`` with degraded frames. A frame that cannot be degraded is a failed frame."""

    def __init__(self, inner: OpenMedia, variant: Variant) -> None:
        self._inner = inner
        self._level = variant.level
        self._degradation = degradation = DEGRADATIONS[variant.name]
        self.facts: MediaFacts = inner.facts
        if degradation.rescales:
            width, height = scaled(inner.facts.width, inner.facts.height, variant.level)
            self.facts = dataclasses.replace(inner.facts, width=width, height=height)
        self.times = inner.times

    def frames(self, indices: Sequence[int]) -> Iterator[Frame | FailedFrame]:
        checked = check_indices(indices, len(self.times))
        if self._degradation.apply is None:
            return self._recoded(checked, int(self._level))
        apply = partial(self._applied, self._degradation.apply)
        return map(apply, self._inner.frames(checked))

    def _applied(self, apply: Apply, frame: Frame | FailedFrame) -> Frame | FailedFrame:
        if isinstance(frame, FailedFrame):
            return frame
        rng = np.random.default_rng(frame.index)
        try:
            pixels = apply(frame.pixels, self._level, rng)
        except (OSError, ValueError, MemoryError):
            # JPEG, for one, is limited to 65,535 pixels a side.
            return FailedFrame(frame.index, frame.time_s, "the degradation cannot be applied")
        return Frame(frame.index, frame.time_s, pixels)

    def _recoded(self, indices: Sequence[int], crf: int) -> Iterator[Frame | FailedFrame]:
        total = len(self.times)
        first = [max(0, min(i - CLIP_FRAMES // 2, total - CLIP_FRAMES)) for i in indices]
        spans = [range(lo, min(lo + CLIP_FRAMES, total)) for lo in first]
        source = self._inner.frames(sorted({k for span in spans for k in span}))
        held: dict[int, Frame | FailedFrame] = {}
        for index, span in zip(indices, spans, strict=True):
            held = {k: f for k, f in held.items() if k >= span.start}
            while span[-1] not in held:
                frame = next(source)
                held[frame.index] = frame
            yield _reencode(held[index], [held[k] for k in span], crf)


def _reencode(
    frame: Frame | FailedFrame, neighbours: Sequence[Frame | FailedFrame], crf: int
) -> Frame | FailedFrame:
    """Encode ``frame`` with those of its ``neighbours`` that are intact and of the same size."""
    if isinstance(frame, FailedFrame):
        return frame
    clip = [f for f in neighbours if isinstance(f, Frame) and f.pixels.shape == frame.pixels.shape]
    place = [f.index for f in clip].index(frame.index)
    try:
        pixels = h264([f.pixels for f in clip], crf, place)
    except (av.FFmpegError, MediaError, ValueError, MemoryError):
        return FailedFrame(frame.index, frame.time_s, "the frame cannot be encoded again")
    return Frame(frame.index, frame.time_s, pixels)
