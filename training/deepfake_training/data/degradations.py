"""Degradations with fixed parameters, which ``augment`` draws at random.

Each takes uint8 (H, W, 3) RGB as its last argument and returns a new array of the same shape. There
is no randomness and no state: equal values give equal bytes. They are written with OpenCV for
speed. The corruptions of ``deepfake_eval`` are separate, on purpose: a robustness sweep with other
implementations does not measure what training has seen.
"""

from __future__ import annotations

from fractions import Fraction

import av
import cv2
import numpy as np
from av.video.codeccontext import VideoCodecContext

from deepfake_training.data.landmarks import Image, Points

Offset = tuple[int, int]
Channels = tuple[float, float, float]
Colour = tuple[int, int, int]


def rescale(factor: float, first: int, second: int, image: Image) -> Image:
    """Resample down or up and back: thumbnails, upscaled uploads, recorded screens. ``first`` is
    OpenCV's interpolation on the way to the other size, ``second`` that on the way back."""
    height, width = image.shape[:2]
    small = (max(round(width * factor), 8), max(round(height * factor), 8))
    moved = cv2.resize(image, small, interpolation=first)
    return u8(cv2.resize(moved, (width, height), interpolation=second))


def encode(extension: str, quality: int, full_chroma: bool, offset: Offset, image: Image) -> Image:
    """Code as JPEG (".jpg") or WebP (".webp"), with the block grid at any offset from the crop."""
    top, left = offset
    padded = cv2.copyMakeBorder(image, top, 0, left, 0, cv2.BORDER_REFLECT_101)
    if extension == ".webp":
        options = [cv2.IMWRITE_WEBP_QUALITY, quality]
    else:
        chroma = (
            cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444
            if full_chroma
            else cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420
        )
        options = [
            cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, chroma,
        ]  # fmt: skip
    bgr = cv2.cvtColor(padded, cv2.COLOR_RGB2BGR)
    _, data = cv2.imencode(extension, bgr, options)
    decoded = cv2.imdecode(data, cv2.IMREAD_COLOR)
    assert decoded is not None
    rgb = u8(cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB))
    return np.ascontiguousarray(rgb[top:, left:])


def h264(crf: int, frames: int, drift: Offset, offset: Offset, image: Image) -> Image:
    """Return the last of a few slowly drifting frames that x264 coded: a predicted picture, not an
    intra one."""
    height, width = image.shape[:2]
    top, left = offset
    tall, wide = (top + height + 1) // 2 * 2, (left + width + 1) // 2 * 2
    reach = 2 * frames
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
        "crf": str(crf), "preset": "veryfast", "bf": "0",
        "x264-params": "log-level=none:threads=1:rc-lookahead=0:sync-lookahead=0",
    }  # fmt: skip
    packets = []
    for index in range(frames):
        ahead = frames - 1 - index
        y, x = reach + ahead * drift[0], reach + ahead * drift[1]
        still = u8(np.ascontiguousarray(padded[y : y + tall, x : x + wide]))
        frame = av.VideoFrame.from_ndarray(still, format="rgb24")
        frame.pts = index
        packets += encoder.encode(frame)
    packets += encoder.encode(None)
    decoded = [frame for packet in packets for frame in decoder.decode(packet)]
    decoded += decoder.decode(None)
    rgb = u8(decoded[-1].to_ndarray(format="rgb24"))
    return np.ascontiguousarray(rgb[top : top + height, left : left + width])


def blur(sigma: float, image: Image) -> Image:
    """Blur by a Gaussian: a lens out of focus, or a smoothing filter."""
    return u8(cv2.GaussianBlur(image, (0, 0), sigma))


def motion_blur(length: int, angle: float, image: Image) -> Image:
    """Blur by linear motion during the exposure."""
    size = length | 1
    middle = size // 2
    reach = 0.5 * (length - 1)
    step = np.array([np.cos(angle), np.sin(angle)]) * reach
    kernel = np.zeros((size, size), np.float32)
    ends = [(round(middle + s * step[0]), round(middle + s * step[1])) for s in (-1, 1)]
    cv2.line(kernel, ends[0], ends[1], 1.0)
    return u8(cv2.filter2D(image, -1, kernel / kernel.sum()))


def noise(sigma: float, shot: bool, coloured: bool, seed: int, image: Image) -> Image:
    """Add grey or coloured sensor noise, constant or proportional to the root of the brightness."""
    shape = image.shape if coloured else (*image.shape[:2], 1)
    grain = np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)
    grain *= np.float32(sigma)
    if shot:
        grain = grain * np.sqrt(image.astype(np.float32) * np.float32(1 / 128))
    return clipped(image + grain)


def retouch(spread: float, share: float, lift: float, image: Image) -> Image:
    """Apply a beauty filter: edge-preserving smoothing and brighter mid-tones."""
    smooth = cv2.bilateralFilter(image, 5, spread, 3.0)
    mixed = cv2.addWeighted(smooth, share, image, 1.0 - share, 0.0)
    ramp = np.arange(256.0)
    return u8(cv2.LUT(mixed, clipped(ramp + lift * np.sin(np.pi * ramp / 255))))


def tone(
    brightness: float,
    contrast: float,
    gamma: float,
    channels: Channels,
    saturation: float,
    image: Image,
) -> Image:
    """Change exposure, contrast, gamma, white balance and saturation, of which 0 gives grey."""
    ramp = (np.arange(256.0) / 255) ** gamma
    ramp = (ramp - 0.5) * contrast + 0.5 + brightness
    table = clipped(255 * ramp[:, None] * np.array(channels))
    toned = cv2.LUT(image, table.reshape(256, 1, 3))
    grey = cv2.cvtColor(cv2.cvtColor(toned, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    return u8(cv2.addWeighted(toned, saturation, grey, 1.0 - saturation, 0.0))


def caption(text: str, at_top: bool, depth: float, opacity: float, ink: int, image: Image) -> Image:
    """Write a line of text on a bar near the top or the bottom edge, whose height is the share
    ``depth`` of the picture's."""
    out = image.copy()
    height = image.shape[0]
    depth = max(round(depth * height), 6)
    first = 0 if at_top else height - depth
    bar = out[first : first + depth]
    bar[:] = clipped(bar * (1.0 - opacity) + (255 - ink) * opacity)
    place = (4, first + round(0.75 * depth))
    font = cv2.FONT_HERSHEY_SIMPLEX
    return u8(cv2.putText(out, text, place, font, depth / 36, (ink, ink, ink), 1, cv2.LINE_AA))


def sticker(
    centre: tuple[float, float],
    radius: float,
    colour: Colour,
    disc: bool,
    image: Image,
    points: Points,
) -> Image:
    """Draw a filled disc or box, reduced to stay off ``points`` (n, 2) in pixels. Its centre and
    its radius are shares of the side of a square picture."""
    out = image.copy()
    side = len(image)
    away = np.linalg.norm(points - np.array(centre) * side, axis=1).min()
    size = round(min(radius, 0.6 * float(away) / side) * side)
    if size < 2:
        return out
    x, y = round(centre[0] * side), round(centre[1] * side)
    if disc:
        return u8(cv2.circle(out, (x, y), size, colour, -1, cv2.LINE_AA))
    return u8(cv2.rectangle(out, (x - size, y - size), (x + size, y + size), colour, -1))


def u8(image: cv2.typing.MatLike) -> Image:
    """Tell the type checker that ``image``, from OpenCV, has bytes."""
    return image.astype(np.uint8, copy=False)


def clipped(values: cv2.typing.MatLike) -> Image:
    """Round ``values`` to bytes."""
    return np.rint(np.clip(values, 0.0, 255.0)).astype(np.uint8)
