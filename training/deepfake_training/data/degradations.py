"""Degradations with fixed parameters, which ``augment`` draws at random.

Each is a callable value that takes uint8 (H, W, 3) RGB and returns a new array of the same shape.
There is no randomness and no state: equal values give equal bytes. They are written with OpenCV for
speed. The corruptions of ``deepfake_eval`` are separate, on purpose: a robustness sweep with other
implementations does not measure what training has seen.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Literal

import av
import cv2
import numpy as np
from av.video.codeccontext import VideoCodecContext

from deepfake_training.data.landmarks import Image, Points


@dataclass(frozen=True, slots=True)
class Rescale:
    """Resampling down or up and back: thumbnails, upscaled uploads, recorded screens."""

    factor: float
    first: int
    """OpenCV's interpolation on the way to the other size."""
    second: int
    """And on the way back."""

    def __call__(self, image: Image) -> Image:
        height, width = image.shape[:2]
        small = (max(round(width * self.factor), 8), max(round(height * self.factor), 8))
        moved = cv2.resize(image, small, interpolation=self.first)
        return _u8(cv2.resize(moved, (width, height), interpolation=self.second))


@dataclass(frozen=True, slots=True)
class Encode:
    """JPEG or WebP encoding, with the block grid at any offset from the crop."""

    extension: Literal[".jpg", ".webp"]
    quality: int
    full_chroma: bool
    offset: tuple[int, int]

    def __call__(self, image: Image) -> Image:
        top, left = self.offset
        padded = cv2.copyMakeBorder(image, top, 0, left, 0, cv2.BORDER_REFLECT_101)
        if self.extension == ".webp":
            options = [cv2.IMWRITE_WEBP_QUALITY, self.quality]
        else:
            chroma = (
                cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444
                if self.full_chroma
                else cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420
            )
            options = [
                cv2.IMWRITE_JPEG_QUALITY, self.quality, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, chroma,
            ]  # fmt: skip
        bgr = cv2.cvtColor(padded, cv2.COLOR_RGB2BGR)
        _, data = cv2.imencode(self.extension, bgr, options)
        decoded = cv2.imdecode(data, cv2.IMREAD_COLOR)
        assert decoded is not None
        rgb = _u8(cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB))
        return np.ascontiguousarray(rgb[top:, left:])


@dataclass(frozen=True, slots=True)
class H264:
    """The last of a few slowly drifting frames encoded by x264: a predicted picture, not an intra
    one."""

    crf: int
    frames: int
    drift: tuple[int, int]
    offset: tuple[int, int]

    def __call__(self, image: Image) -> Image:
        height, width = image.shape[:2]
        top, left = self.offset
        tall, wide = (top + height + 1) // 2 * 2, (left + width + 1) // 2 * 2
        reach = 2 * self.frames
        padded = cv2.copyMakeBorder(
            image, top + reach, reach + tall - top - height, left + reach,
            reach + wide - left - width, cv2.BORDER_REFLECT_101,
        )  # fmt: skip
        encoder = av.CodecContext.create("libx264", "w")
        decoder = av.CodecContext.create("h264", "r")
        assert isinstance(encoder, VideoCodecContext)
        assert isinstance(decoder, VideoCodecContext)
        encoder.width, encoder.height, encoder.pix_fmt = wide, tall, "yuv420p"
        encoder.time_base = Fraction(1, 25)
        encoder.thread_count = decoder.thread_count = 1
        encoder.options = {
            "crf": str(self.crf), "preset": "veryfast", "bf": "0",
            "x264-params": "log-level=none:threads=1:rc-lookahead=0:sync-lookahead=0",
        }  # fmt: skip
        packets = []
        for index in range(self.frames):
            ahead = self.frames - 1 - index
            y, x = reach + ahead * self.drift[0], reach + ahead * self.drift[1]
            still = _u8(np.ascontiguousarray(padded[y : y + tall, x : x + wide]))
            frame = av.VideoFrame.from_ndarray(still, format="rgb24")
            frame.pts = index
            packets += encoder.encode(frame)
        packets += encoder.encode(None)
        decoded = [frame for packet in packets for frame in decoder.decode(packet)]
        decoded += decoder.decode(None)
        rgb = _u8(decoded[-1].to_ndarray(format="rgb24"))
        return np.ascontiguousarray(rgb[top : top + height, left : left + width])


@dataclass(frozen=True, slots=True)
class Blur:
    """Gaussian blur: a lens out of focus, or a smoothing filter."""

    sigma: float

    def __call__(self, image: Image) -> Image:
        return _u8(cv2.GaussianBlur(image, (0, 0), self.sigma))


@dataclass(frozen=True, slots=True)
class MotionBlur:
    """Linear motion during the exposure."""

    length: int
    angle: float

    def __call__(self, image: Image) -> Image:
        size = self.length | 1
        middle = size // 2
        reach = 0.5 * (self.length - 1)
        step = np.array([np.cos(self.angle), np.sin(self.angle)]) * reach
        kernel = np.zeros((size, size), np.float32)
        ends = [(round(middle + s * step[0]), round(middle + s * step[1])) for s in (-1, 1)]
        cv2.line(kernel, ends[0], ends[1], 1.0)
        return _u8(cv2.filter2D(image, -1, kernel / kernel.sum()))


@dataclass(frozen=True, slots=True)
class Noise:
    """Sensor noise, grey or coloured: constant, or proportional to the root of the brightness."""

    sigma: float
    shot: bool
    coloured: bool
    seed: int

    def __call__(self, image: Image) -> Image:
        shape = image.shape if self.coloured else (*image.shape[:2], 1)
        grain = np.random.default_rng(self.seed).standard_normal(shape, dtype=np.float32)
        grain *= np.float32(self.sigma)
        if self.shot:
            grain = grain * np.sqrt(image.astype(np.float32) * np.float32(1 / 128))
        return _clipped(image + grain)


@dataclass(frozen=True, slots=True)
class Retouch:
    """A beauty filter: edge-preserving smoothing and brighter mid-tones."""

    spread: float
    share: float
    lift: float

    def __call__(self, image: Image) -> Image:
        smooth = cv2.bilateralFilter(image, 5, self.spread, 3.0)
        mixed = cv2.addWeighted(smooth, self.share, image, 1.0 - self.share, 0.0)
        ramp = np.arange(256.0)
        return _u8(cv2.LUT(mixed, _clipped(ramp + self.lift * np.sin(np.pi * ramp / 255))))


@dataclass(frozen=True, slots=True)
class Tone:
    """Exposure, contrast, gamma, white balance and saturation, where 0 gives a grey picture."""

    brightness: float = 0.0
    contrast: float = 1.0
    gamma: float = 1.0
    channels: tuple[float, float, float] = (1.0, 1.0, 1.0)
    saturation: float = 1.0

    def __call__(self, image: Image) -> Image:
        ramp = (np.arange(256.0) / 255) ** self.gamma
        ramp = (ramp - 0.5) * self.contrast + 0.5 + self.brightness
        table = _clipped(255 * ramp[:, None] * np.array(self.channels))
        toned = cv2.LUT(image, table.reshape(256, 1, 3))
        grey = cv2.cvtColor(cv2.cvtColor(toned, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
        return _u8(cv2.addWeighted(toned, self.saturation, grey, 1.0 - self.saturation, 0.0))


@dataclass(frozen=True, slots=True)
class Caption:
    """A line of text on a bar near the top or the bottom edge."""

    text: str
    at_top: bool
    depth: float
    """Height of the bar, as a share of the picture's height."""
    opacity: float
    ink: int

    def __call__(self, image: Image) -> Image:
        out = image.copy()
        height = image.shape[0]
        depth = max(round(self.depth * height), 6)
        first = 0 if self.at_top else height - depth
        bar = out[first : first + depth]
        bar[:] = _clipped(bar * (1.0 - self.opacity) + (255 - self.ink) * self.opacity)
        place = (4, first + round(0.75 * depth))
        ink = (self.ink, self.ink, self.ink)
        font = cv2.FONT_HERSHEY_SIMPLEX
        return _u8(cv2.putText(out, self.text, place, font, depth / 36, ink, 1, cv2.LINE_AA))


@dataclass(frozen=True, slots=True)
class Sticker:
    """A filled disc or box."""

    centre: tuple[float, float]
    radius: float
    """As a share of the side, like ``centre``."""
    colour: tuple[int, int, int]
    disc: bool

    def clear_of(self, points: Points, side: int) -> Sticker:
        """Return the sticker, reduced to stay off ``points`` (n, 2) of a picture of ``side`` px."""
        away = np.linalg.norm(points - np.array(self.centre) * side, axis=1).min()
        return replace(self, radius=min(self.radius, 0.6 * float(away) / side))

    def __call__(self, image: Image) -> Image:
        out = image.copy()
        height, width = image.shape[:2]
        radius = round(self.radius * height)
        if radius < 2:
            return out
        x, y = round(self.centre[0] * width), round(self.centre[1] * height)
        if self.disc:
            return _u8(cv2.circle(out, (x, y), radius, self.colour, -1, cv2.LINE_AA))
        return _u8(
            cv2.rectangle(out, (x - radius, y - radius), (x + radius, y + radius), self.colour, -1)
        )


def _u8(image: cv2.typing.MatLike) -> Image:
    return image.astype(np.uint8, copy=False)


def _clipped(values: cv2.typing.MatLike) -> Image:
    return np.rint(np.clip(values, 0.0, 255.0)).astype(np.uint8)
