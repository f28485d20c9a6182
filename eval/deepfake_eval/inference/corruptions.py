"""What media go through on their way: recompression, rescaling, blur, noise, filters.

A degradation is applied to the whole decoded frame before faces are sought, so that the detector
suffers it as well. Video is encoded again for real, by libx264.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from io import BytesIO
from typing import Any, BinaryIO

import av
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter, uniform_filter

from deepfake_models.decode.base import ClosesItself, FailedFrame, Frame, OpenMedia, check_indices
from deepfake_models.decode.decoder import Decoder, InProcessDecoder
from deepfake_models.errors import MediaError
from deepfake_models.results import MediaFacts

Pixels = NDArray[np.uint8]

CLIP_FRAMES = 9
"""Frames encoded together around each wanted one: it is then mostly a predicted frame, as most
frames of a video are, and a long video need not be encoded whole."""

CLIP_RATE = 25

SCREEN_CRF = 23
"""Of the recorder: x264's own default."""


@dataclass(frozen=True, slots=True)
class Degradation:
    """One kind of damage.

    ``levels`` go from mild to harsh, and ``identity`` is the one that changes nothing, if any.
    ``apply`` takes (H, W, 3) uint8 RGB, a level and a random generator. ``crf`` gives the constant
    rate factor of a re-encoding that follows, ``scale`` the factor by which frames change size.
    """

    title: str
    unit: str
    levels: tuple[float, ...]
    identity: float | None = None
    apply: Callable[[Pixels, float, np.random.Generator], Pixels] | None = None
    crf: Callable[[float], int] | None = None
    scale: Callable[[float], float] | None = None


@dataclass(frozen=True, slots=True)
class Variant:
    """A degradation at one level; by default the medium as it is."""

    name: str = "none"
    level: float = 0.0

    def settled(self) -> Variant:
        """The same, with every level that changes nothing brought to ``AS_IS``."""
        if self.name != "none" and DEGRADATIONS[self.name].identity == self.level:
            return AS_IS
        return self


AS_IS = Variant()


def jpeg(pixels: Pixels, quality: float, _rng: np.random.Generator | None = None) -> Pixels:
    """Encode as JPEG (libjpeg's quality, chroma 4:2:0) and decode again."""
    return np.array(Image.open(BytesIO(encode_jpeg(pixels, int(quality)))))


def encode_jpeg(pixels: Pixels, quality: int) -> bytes:
    """``pixels`` as a JPEG file."""
    file = BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=quality, subsampling="4:2:0")
    return file.getvalue()


def resize(pixels: Pixels, scale: float, _rng: np.random.Generator | None = None) -> Pixels:
    """Resample to ``scale`` of the size (bicubic with low-pass) and leave it at that."""
    height, width = pixels.shape[:2]
    return np.array(
        Image.fromarray(pixels).resize(scaled(width, height, scale), Image.Resampling.BICUBIC)
    )


def blur(pixels: Pixels, sigma: float, _rng: np.random.Generator | None = None) -> Pixels:
    """Gaussian blur; ``sigma`` in pixels of the frame."""
    return _bytes(gaussian_filter(pixels.astype(np.float32), (sigma, sigma, 0)))


def noise(pixels: Pixels, deviation: float, rng: np.random.Generator) -> Pixels:
    """Gaussian noise, independent by pixel and channel; ``deviation`` as a share of full scale."""
    drawn = rng.standard_normal(pixels.shape, dtype=np.float32)
    return _bytes(pixels + np.float32(255.0 * deviation) * drawn)


def smooth(pixels: Pixels, strength: float, _rng: np.random.Generator | None = None) -> Pixels:
    """Smooth skin and keep edges, as beauty filters do.

    The guided filter of He, Sun and Tang (2013), each channel its own guide, with a radius of 1/80
    of the frame's shorter side. Texture whose standard deviation is 0.03, 0.06 or 0.12 of full
    scale (``strength`` 1, 2, 3) is halved, weaker texture more, and stronger edges less.
    """
    size = 2 * max(2, round(min(pixels.shape[:2]) / 80)) + 1
    threshold = (0.015 * 2.0**strength) ** 2
    guide = pixels.astype(np.float32) / 255.0

    def mean(values: NDArray[np.float32]) -> NDArray[np.float32]:
        found: NDArray[np.float32] = uniform_filter(values, (size, size, 1))
        return found

    average = mean(guide)
    variance = np.maximum(mean(guide * guide) - average**2, 0.0)
    slope = variance / (variance + np.float32(threshold))
    return _bytes(255.0 * (mean(slope) * guide + mean((1.0 - slope) * average)))


def show(pixels: Pixels, scale: float, _rng: np.random.Generator | None = None) -> Pixels:
    """Resample to ``scale`` as a player draws on a screen: bilinear, without low-pass."""
    height, width = pixels.shape[:2]
    across, down = scaled(width, height, scale)
    return np.array(
        Image.fromarray(pixels).transform(
            (across, down),
            Image.Transform.AFFINE,
            (width / across, 0.0, 0.0, 0.0, height / down, 0.0),
            Image.Resampling.BILINEAR,
        )
    )


def _bytes(values: NDArray[np.float32]) -> Pixels:
    return np.asarray(np.rint(values).clip(0, 255), dtype=np.uint8)


def scaled(width: int, height: int, scale: float) -> tuple[int, int]:
    """Width and height at ``scale``, at least one pixel each."""
    return max(1, round(width * scale)), max(1, round(height * scale))


def encode_h264(frames: Sequence[Pixels], crf: int) -> bytes:
    """An MP4 of ``frames`` (RGB, of one size), by libx264, preset medium, no macroblock tree.

    BT.709, limited range, 4:2:0. Odd sizes are extended to even ones by repeating the edge.
    Raises ``av.FFmpegError`` where libx264 refuses.
    """
    height, width = frames[0].shape[:2]
    padding = ((0, height % 2), (0, width % 2), (0, 0))
    file = BytesIO()
    with av.open(file, "w", format="mp4") as out:
        # x264's macroblock tree looks 40 frames ahead, which a clip this short does not have, and
        # what it decides differs from call to call; without it and on one thread nothing does.
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
    """Frame ``place`` of ``frames`` after encoding them together and decoding them again.

    Raises ``av.FFmpegError``, or ``MediaError`` where that frame cannot be had.
    """
    file = BytesIO(encode_h264(frames, crf))
    height, width = frames[0].shape[:2]
    with InProcessDecoder().open(file) as media:
        got = next(iter(media.frames([place])))
    if isinstance(got, FailedFrame):
        raise MediaError(got.detail)
    return np.ascontiguousarray(got.pixels[:height, :width])


DEGRADATIONS: dict[str, Degradation] = {
    "jpeg": Degradation("JPEG", "quality", (100, 80, 60, 40, 20, 10), apply=jpeg),
    "h264": Degradation("H.264", "constant rate factor", (18, 23, 28, 33, 38, 43), crf=int),
    "resize": Degradation(
        "Smaller", "share of width and height", (1.0, 0.5, 0.25), 1.0, resize, scale=float
    ),
    "blur": Degradation("Gaussian blur", "sigma in pixels", (0.0, 1.0, 2.0, 3.0), 0.0, blur),
    "noise": Degradation(
        "Gaussian noise",
        "standard deviation, share of full scale",
        (0.0, 0.05, 0.1, 0.15, 0.2),
        0.0,
        noise,
    ),
    "smoothing": Degradation("Smoothing filter", "strength", (0, 1, 2, 3), 0, smooth),
    "screen": Degradation(
        "Screen recording",
        f"scale on the screen, recorded at CRF {SCREEN_CRF}",
        (1.37, 0.87, 0.61, 0.43),
        apply=show,
        crf=lambda _scale: SCREEN_CRF,
        scale=float,
    ),
}
"""By name. JPEG, blur and noise are the grid of GenD (Yermakov et al. 2025), on whole frames."""


class DegradingDecoder:
    """Opens what ``inner`` opens, with ``variant`` applied to every frame.

    Implements ``deepfake_models.decode.decoder.Decoder``. ``variant`` may be set between media.
    Noise is drawn by ``seed`` and the frame's index, so that it is the same again.
    """

    def __init__(self, inner: Decoder, variant: Variant | None = None, *, seed: int = 0) -> None:
        self._inner = inner
        self.variant = variant or AS_IS
        self._seed = seed

    @contextmanager
    def open(self, source: BinaryIO, *, stills_only: bool = False) -> Iterator[OpenMedia]:
        """See ``Decoder.open``."""
        variant = self.variant.settled()
        with self._inner.open(source, stills_only=stills_only) as media:
            if variant == AS_IS:
                yield media
            else:
                yield _DegradedMedia(media, DEGRADATIONS[variant.name], variant.level, self._seed)

    def close(self) -> None:
        """Close the inner decoder."""
        self._inner.close()


class _DegradedMedia(ClosesItself):
    """``media.OpenMedia`` whose frames went through a degradation.

    A frame that cannot go through it is a failed frame.
    """

    def __init__(self, inner: OpenMedia, degradation: Degradation, level: float, seed: int) -> None:
        self._inner = inner
        self._degradation = degradation
        self._level = level
        self._seed = seed
        self.facts: MediaFacts = inner.facts
        if degradation.scale:
            width, height = scaled(inner.facts.width, inner.facts.height, degradation.scale(level))
            self.facts = dataclasses.replace(inner.facts, width=width, height=height)
        self.times = inner.times

    def frames(self, indices: Sequence[int]) -> Iterator[Frame | FailedFrame]:
        """See ``OpenMedia.frames``."""
        wanted = check_indices(indices, len(self.times))
        if self._degradation.crf is None:
            return map(self._applied, self._inner.frames(wanted))
        return self._recoded(wanted, self._degradation.crf(self._level))

    def _applied(self, frame: Frame | FailedFrame) -> Frame | FailedFrame:
        if isinstance(frame, FailedFrame) or self._degradation.apply is None:
            return frame
        rng = np.random.default_rng([self._seed, frame.index])
        try:
            pixels = self._degradation.apply(frame.pixels, self._level, rng)
        except (OSError, ValueError, MemoryError):
            # JPEG, for one, ends at 65,535 pixels a side.
            return FailedFrame(frame.index, frame.time_s, "the frame cannot be degraded so")
        return Frame(frame.index, frame.time_s, pixels)

    def _recoded(self, wanted: Sequence[int], crf: int) -> Iterator[Frame | FailedFrame]:
        total = len(self.times)
        first = [max(0, min(i - CLIP_FRAMES // 2, total - CLIP_FRAMES)) for i in wanted]
        spans = [range(lo, min(lo + CLIP_FRAMES, total)) for lo in first]
        source = self._inner.frames(sorted({k for span in spans for k in span}))
        held: dict[int, Frame | FailedFrame] = {}
        for index, span in zip(wanted, spans, strict=True):
            held = {k: f for k, f in held.items() if k >= span.start}
            while span[-1] not in held:
                got = self._applied(next(source))
                held[got.index] = got
            yield _encoded_again(held[index], [held[k] for k in span], crf)


def _encoded_again(
    frame: Frame | FailedFrame, around: Sequence[Frame | FailedFrame], crf: int
) -> Frame | FailedFrame:
    """``frame`` out of the clip of those of ``around`` that are intact and of its size."""
    if isinstance(frame, FailedFrame):
        return frame
    clip = [f for f in around if isinstance(f, Frame) and f.pixels.shape == frame.pixels.shape]
    place = [f.index for f in clip].index(frame.index)
    try:
        pixels = h264([f.pixels for f in clip], crf, place)
    except (av.FFmpegError, MediaError, ValueError, MemoryError):
        return FailedFrame(frame.index, frame.time_s, "the frame cannot be encoded again")
    return Frame(frame.index, frame.time_s, pixels)
