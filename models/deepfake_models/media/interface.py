"""The interface of decoded media: frames in presentation order, with exact times.

``decoder`` and ``sandbox`` open media; ``image`` and ``video`` decode them.
"""

from __future__ import annotations

import io
import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import PositiveInt

from deepfake_models.bundle.results import MediaFacts
from deepfake_models.bundle.spec import Positive, Spec
from deepfake_models.errors import (
    DeepfakeError,
    MediaError,
    MediaTooLarge,
    UndecodableMedia,
    UnreadableMedia,
)


class DecodeLimits(Spec):
    """Limits on one submission. Each bounds the memory or the time that it can take."""

    max_pixels: PositiveInt = 50_000_000
    """Pixels of one frame. An 8K frame has 33 million, and a 50-megapixel phone picture just fits.
    Each decoded pixel takes 3 bytes."""
    max_frames: PositiveInt = 2_000_000
    """Frames of a video: nine hours at 60 frames a second."""
    max_duration_s: Positive = 24 * 3600.0
    timeout_s: Positive = 600.0
    """Seconds that a decoder process may spend on one item before it is replaced. For a video these
    are its scan and all frames that are decoded while it is open: hashing frames of two hours of
    1080p takes about ten minutes on one slow core."""
    picture_timeout_s: Positive = 600.0
    """The same for an item that must be a still picture."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One decoded frame, as displayed.

    ``index`` is its number in presentation order, from 0. ``time_s`` is in seconds from the first
    frame's timestamp and equals ``OpenMedia.times[index]``. ``pixels`` is uint8 RGB, (height,
    width, 3) with the height and width of ``OpenMedia.facts``, and writable.
    """

    index: int
    time_s: float
    pixels: NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class FailedFrame:
    """A frame that the media list but that could not be decoded intact."""

    index: int
    time_s: float
    detail: str


@dataclass(frozen=True, slots=True, eq=False)
class SavedTimeline:
    """The facts and times of media, which outlive the opened media."""

    facts: MediaFacts
    times: NDArray[np.float64]

    @classmethod
    def of(cls, media: OpenMedia) -> SavedTimeline:
        return cls(media.facts, np.array(media.times, np.float64))


class OpenMedia(Protocol):
    """Media being read. Not safe for use by several threads at once."""

    facts: MediaFacts
    """Kind, displayed size, duration, number of frames and the rotation that was applied."""
    times: NDArray[np.float64]
    """Presentation time of every frame in seconds, shape (n,): ``times[0] == 0``, and each is later
    than the one before. A still picture has ``[0.0]``."""

    def frames(self, indices: Sequence[int]) -> Iterator[Frame | FailedFrame]:
        """Decode the frames ``indices``, which ascend; yield one result each, in that order.

        A result is the frame of exactly that index or a ``FailedFrame``, never a neighbour. Only
        the latest iterator is valid, and it may be abandoned.

        Raises:
            ValueError: indices are out of order or out of range, or a later call was made.
            UnreadableMedia: the source failed.
            DecoderFailed: the decoder process ended.
        """
        ...


Timeline = SavedTimeline | OpenMedia
"""The result of scanning a medium once: its facts, and when each of its frames is shown."""


class LatestIterator:
    """Media of which only the latest iterator is valid, until they are closed."""

    times: NDArray[np.float64]
    _call = 0

    def frames(self, indices: Sequence[int]) -> Iterator[Frame | FailedFrame]:
        checked = check_indices(indices, len(self.times))
        self._call += 1
        return self._frames(checked, self._call)

    def _frames(self, indices: list[int], call: int) -> Iterator[Frame | FailedFrame]:
        raise NotImplementedError

    def _check(self, call: int) -> None:
        if call != self._call:
            raise ValueError(
                "this iteration has ended: another iteration began, or the media were closed"
            )

    def close(self) -> None:
        """End iterators over the frames."""
        self._call += 1


class GuardedSource:
    """A wrapper around a source, through which decoders read it.

    It has no name, so that only the content decides how it is decoded. It remembers the exception
    that the source raised, because decoders swallow or replace exceptions of their input.
    """

    def __init__(self, source: BinaryIO) -> None:
        self._source = source
        self.failure: BaseException | None = None

    def read(self, size: int = -1, /) -> bytes:
        try:
            data: Any = self._source.read(size)
        except Exception as error:
            raise self._failed(error) from error
        # Object stores return other buffer types; FFmpeg needs bytes.
        return data if isinstance(data, bytes) else bytes(data)

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        try:
            return self._source.seek(offset, whence)
        except Exception as error:
            raise self._failed(error) from error

    def tell(self) -> int:
        return self.seek(0, io.SEEK_CUR)

    def size(self) -> int:
        """Return the length in bytes; move to the start."""
        end = self.seek(0, io.SEEK_END)
        self.seek(0)
        return end

    def _failed(self, error: Exception) -> BaseException:
        self.failure = UnreadableMedia() if isinstance(error, OSError | ValueError) else error
        return self.failure

    def check(self) -> None:
        """Raise the exception that the source raised, if any."""
        if self.failure is not None:
            raise self.failure

    def explain(self, error: Exception) -> BaseException:
        """Return the domain error behind ``error``, which a decoder of this source raised."""
        if self.failure is not None:
            return self.failure
        if isinstance(error, DeepfakeError):
            return error
        if isinstance(error, MemoryError):
            return MediaTooLarge("decoding needs more memory than is allowed")
        return UndecodableMedia()


def check_pixels(width: int, height: int, limits: DecodeLimits) -> None:
    """Check the size of a frame; ``MediaTooLarge`` if there are more pixels than ``limits`` allow,
    ``UndecodableMedia`` if there are none."""
    if width < 1 or height < 1:
        raise UndecodableMedia("the file does not state its picture size")
    if width * height > limits.max_pixels:
        raise MediaTooLarge(
            f"a frame has {width} x {height} = {width * height} pixels; "
            f"the limit is {limits.max_pixels}"
        )


def frame_at(media: OpenMedia, index: int = 0) -> Frame:
    """Return one frame of opened media; ``MediaError`` if it cannot be decoded."""
    frame = next(iter(media.frames([index])))
    if isinstance(frame, FailedFrame):
        raise MediaError(frame.detail)
    return frame


def check_indices(indices: Sequence[int], frames: int) -> list[int]:
    """Return ``indices`` as a list; ``ValueError`` if they do not ascend strictly, or one is
    outside [0, ``frames``)."""
    checked = [int(i) for i in indices]
    if any(a >= b for a, b in itertools.pairwise(checked)):
        raise ValueError("indices must ascend strictly")
    if checked and not (checked[0] >= 0 and checked[-1] < frames):
        raise ValueError(f"indices must be in [0, {frames})")
    return checked


@dataclass(frozen=True, slots=True)
class Orientation:
    """One of the eight ways to turn and mirror a picture.

    A pixel at (x, y) of the stored picture moves to (a*x + c*y, b*x + d*y), up to a shift. a, b, c
    and d are -1, 0 or 1: the upper left of the display matrix of ISO/IEC 14496-12, 8.3.2.
    """

    a: int = 1
    b: int = 0
    c: int = 0
    d: int = 1

    @classmethod
    def from_matrix(cls, a: float, b: float, c: float, d: float) -> Orientation:
        """Return the orientation nearest to a display matrix; upright if it is degenerate."""
        if abs(a) + abs(d) >= abs(b) + abs(c):
            nearest = cls(int(np.sign(a)), 0, 0, int(np.sign(d)))
        else:
            nearest = cls(0, int(np.sign(b)), int(np.sign(c)), 0)
        return cls() if nearest.a * nearest.d == nearest.b * nearest.c else nearest

    @property
    def rotation(self) -> int:
        """Return the clockwise degrees, 0, 90, 180 or 270, after left-right mirroring if
        ``mirrored``."""
        sign = -1 if self.mirrored else 1
        return round(math.degrees(math.atan2(sign * self.b, sign * self.a))) % 360

    @property
    def mirrored(self) -> bool:
        return self.a * self.d - self.b * self.c < 0

    @property
    def transposed(self) -> bool:
        return self.a == 0

    def apply(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return ``pixels``, (height, width, 3), as they are displayed; contiguous."""
        if self.transposed:
            pixels = pixels.transpose(1, 0, 2)
            flip_x, flip_y = self.c < 0, self.b < 0
        else:
            flip_x, flip_y = self.a < 0, self.d < 0
        return np.ascontiguousarray(pixels[:: -1 if flip_y else 1, :: -1 if flip_x else 1])
