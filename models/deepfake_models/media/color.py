"""Convert decoded video frames to 8-bit RGB as an ordinary display would show them.

The matrix (BT.601, BT.709, BT.2020) and the range follow the stream's tags. High dynamic range
(PQ and HLG, ITU-R BT.2100) is mapped to standard dynamic range, so that a face has its natural
brightness and not the grey of an unconverted HDR signal.
"""

from __future__ import annotations

from functools import cache
from typing import cast

import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import Interpolation
from numpy.typing import NDArray

# ITU-T H.273 code points, as FFmpeg numbers them.
MATRIX_RGB, MATRIX_BT709, MATRIX_UNSPECIFIED, MATRIX_BT601 = 0, 1, 2, 5
RANGE_FULL = 2
TRANSFER_PQ, TRANSFER_HLG = 16, 18
PRIMARIES_BT2020 = 9

HD_HEIGHT = 720
"""Untagged streams of at least this height are treated as BT.709, smaller ones as BT.601. Players
do so because encoders of untagged streams did."""

REFERENCE_WHITE = 203.0
"""Luminance of diffuse white in HDR, cd/m2 (ITU-R BT.2408, table 1). It becomes SDR white."""

HLG_PEAK = 1000.0
"""Luminance of the nominal HLG display, cd/m2, for which the system gamma is 1.2 (BT.2100)."""

KNEE = 0.7
"""Linear level, relative to SDR white, above which highlights are compressed. Skin in the light
that BT.2408 describes is below it and does not change."""

DISPLAY_GAMMA = 2.4
"""Gamma of the SDR display (ITU-R BT.1886)."""

BT2020_TO_BT709 = np.array(
    [[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]],
    dtype=np.float32,
)
"""Linear conversion of BT.2020 to BT.709 RGB: the inverse of the matrix of ITU-R BT.2087."""

STRIP_PIXELS = 1 << 20
"""Tone mapping works in float32; strips of this size keep it to tens of megabytes."""

# Interpolating chroma halves the error of FFmpeg's default, which repeats samples, and takes 10 ms
# for a 1080p frame. The result must be the same on every processor: a frame that is decoded again
# for an appeal must equal the frame that was judged.
_SCALING = (
    Interpolation.BILINEAR
    | Interpolation.FULL_CHR_H_INT
    | Interpolation.ACCURATE_RND
    | Interpolation.BITEXACT
)


def to_rgb(frame: VideoFrame, width: int, height: int) -> NDArray[np.uint8]:
    """Return ``frame`` as uint8 RGB, (``height``, ``width``, 3), resampled if its size differs.

    Raises:
        av.error.FFmpegError, ValueError: PyAV cannot convert the pixel format.
    """
    high = frame.color_trc in (TRANSFER_PQ, TRANSFER_HLG)
    converted = frame.reformat(
        width=width,
        height=height,
        format="rgb48le" if high else "rgb24",
        src_colorspace=_matrix(frame),
        dst_color_range=RANGE_FULL,
        interpolation=_SCALING,
        threads=1,
    )
    pixels = converted.to_ndarray()
    if not high:
        return np.ascontiguousarray(cast("NDArray[np.uint8]", pixels))
    return tone_map(
        cast("NDArray[np.uint16]", pixels),
        frame.color_trc,
        wide=frame.color_primaries == PRIMARIES_BT2020,
    )


def _matrix(frame: VideoFrame) -> int | None:
    """Return the matrix to assume where the stream states none or an impossible one."""
    if frame.format.is_rgb or frame.colorspace not in (MATRIX_RGB, MATRIX_UNSPECIFIED):
        return None
    return MATRIX_BT709 if frame.height >= HD_HEIGHT else MATRIX_BT601


def tone_map(rgb: NDArray[np.uint16], transfer: int, *, wide: bool) -> NDArray[np.uint8]:
    """Map HDR to SDR: from uint16 ``rgb``, (height, width, 3), non-linear, full range, to uint8.

    ``transfer`` is 16 (PQ) or 18 (HLG). ``wide`` means BT.2020 primaries, else they are BT.709's.

    1. The signal becomes display light (BT.2100), relative to ``REFERENCE_WHITE`` (BT.2408).
    2. Primaries become those of BT.709 (BT.2087).
    3. Highlights above ``KNEE`` are compressed by the largest component, which keeps the hue.
    4. Light becomes display code (BT.1886).
    """
    result = np.empty(rgb.shape, dtype=np.uint8)
    rows = max(1, STRIP_PIXELS // max(1, rgb.shape[1]))
    for top in range(0, rgb.shape[0], rows):
        strip = rgb[top : top + rows]
        light = _pq_light()[strip] if transfer == TRANSFER_PQ else _hlg_light(strip)
        if wide:
            light = light @ BT2020_TO_BT709.T
        np.maximum(light, 0.0, out=light)
        peak = light.max(axis=2, keepdims=True)
        over = np.maximum(peak - KNEE, 0.0)
        mapped = np.minimum(peak, KNEE) + (1.0 - KNEE) * (1.0 - np.exp(-over / (1.0 - KNEE)))
        light *= mapped / np.maximum(peak, 1e-6)
        code = np.clip(light, 0.0, 1.0) ** np.float32(1.0 / DISPLAY_GAMMA)
        result[top : top + rows] = (code * 255.0 + 0.5).astype(np.uint8)
    return result


@cache
def _pq_light() -> NDArray[np.float32]:
    """Return the light of each 16-bit PQ code (BT.2100, table 4), in ``REFERENCE_WHITE``."""
    m1, m2 = 2610 / 16384, 2523 / 4096 * 128
    c1, c2, c3 = 3424 / 4096, 2413 / 4096 * 32, 2392 / 4096 * 32
    power = (np.arange(65536) / 65535) ** (1 / m2)
    linear = (np.maximum(power - c1, 0.0) / (c2 - c3 * power)) ** (1 / m1)
    light: NDArray[np.float32] = (10_000.0 / REFERENCE_WHITE * linear).astype(np.float32)
    return light


@cache
def _hlg_scene() -> NDArray[np.float32]:
    """Return the scene light, 0 to 1, of each 16-bit HLG code (BT.2100, table 5)."""
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    code = np.arange(65536) / 65535
    scene = np.where(code <= 0.5, code**2 / 3, (np.exp((code - c) / a) + b) / 12)
    return scene.astype(np.float32)


def _hlg_light(strip: NDArray[np.uint16]) -> NDArray[np.float32]:
    """Return the display light of an HLG ``strip`` in ``REFERENCE_WHITE``. This applies the system
    gamma of BT.2100."""
    scene = _hlg_scene()[strip]
    luminance = scene @ np.array([0.2627, 0.6780, 0.0593], dtype=np.float32)
    light: NDArray[np.float32] = scene * np.power(luminance, np.float32(0.2))[..., None]
    light *= np.float32(HLG_PEAK / REFERENCE_WHITE)
    return light
