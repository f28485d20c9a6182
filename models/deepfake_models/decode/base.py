"""Media as the rest of the package sees it: frames in presentation order, exactly timed.

What opens media is in ``decoding``; what decodes it, in ``pictures`` and ``video``.
"""

from __future__ import annotations

import io
import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, BinaryIO, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from deepfake_models.decode.limits import DecodeLimits
from deepfake_models.errors import DeepfakeError, MediaTooLarge, UndecodableMedia, UnreadableMedia
from deepfake_models.results import MediaFacts


@dataclass(frozen=True, slots=True)
class Frame:
    """One decoded frame, as displayed.

    ``index``: ordinal in presentation order. ``time_s``: seconds from the first frame's timestamp,
    equal to ``OpenMedia.times[index]``. ``pixels``: uint8 RGB, shape (height, width, 3), of the
    height and width in ``OpenMedia.facts``, writable.
    """

    index: int
    time_s: float
    pixels: NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class FailedFrame:
    """A frame that the media lists but that cannot be had intact."""

    index: int
    time_s: float
    detail: str


class Timeline(Protocol):
    """The result of scanning a medium once: its facts, and when each of its frames is shown."""

    @property
    def facts(self) -> MediaFacts:
        """Kind, displayed size, duration, number of frames and the rotation that was applied."""
        ...

    @property
    def times(self) -> NDArray[np.float64]:
        """Presentation time of every frame in seconds, shape (n,), ascending, ``times[0] == 0``.

        A still picture has ``[0.0]``.
        """
        ...


@dataclass(frozen=True, slots=True, eq=False)
class SavedTimeline:
    """A timeline that outlives the opened media; implements ``Timeline``."""

    facts: MediaFacts
    times: NDArray[np.float64]

    @classmethod
    def of(cls, media: Timeline) -> SavedTimeline:
        """Return a copy of the timeline of ``media``."""
        return cls(media.facts, np.array(media.times, np.float64))


class OpenMedia(Timeline, Protocol):
    """Media being read; a context manager. Not safe for use by several threads at once."""

    def frames(self, indices: Sequence[int]) -> Iterator[Frame | FailedFrame]:
        """Decode the frames ``indices`` (ascending, each once): one result each, in that order.

        A result is the very frame of that index or a ``FailedFrame``, never a neighbour. One
        iteration at a time: a later call ends the one before. The iterator may be abandoned.
        Raises ``ValueError`` for indices out of order or out of range, ``UnreadableMedia`` when
        the source fails, ``DecoderFailed`` when the decoder process ends.
        """
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...


class ClosesItself:
    """``OpenMedia``'s context: leaving it calls ``close``."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Free what is held: nothing, unless a class says otherwise."""


class GuardedSource:
    """The only view of a source that decoders get.

    It has no name, so content alone decides how it is decoded. It remembers what the source
    raised, because decoders swallow or disguise exceptions of their input.
    """

    def __init__(self, source: BinaryIO) -> None:
        self._source = source
        self.failure: BaseException | None = None

    def read(self, size: int = -1, /) -> bytes:
        try:
            data: Any = self._source.read(size)
        except Exception as error:
            raise self._failed(error) from error
        # Object stores give buffers of their own; FFmpeg wants bytes.
        return data if isinstance(data, bytes) else bytes(data)

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        try:
            return self._source.seek(offset, whence)
        except Exception as error:
            raise self._failed(error) from error

    def tell(self) -> int:
        return self.seek(0, io.SEEK_CUR)

    def size(self) -> int:
        """Length in bytes; leaves the position at the start."""
        end = self.seek(0, io.SEEK_END)
        self.seek(0)
        return end

    def _failed(self, error: Exception) -> BaseException:
        self.failure = UnreadableMedia() if isinstance(error, OSError | ValueError) else error
        return self.failure

    def check(self) -> None:
        """Raise what the source raised, if it did."""
        if self.failure is not None:
            raise self.failure

    def explain(self, error: Exception) -> BaseException:
        """The domain error that ``error``, raised by a decoder reading this source, stands for."""
        if self.failure is not None:
            return self.failure
        if isinstance(error, DeepfakeError):
            return error
        if isinstance(error, MemoryError):
            return MediaTooLarge("decoding needs more memory than is allowed")
        return UndecodableMedia()


def check_pixels(width: int, height: int, limits: DecodeLimits) -> None:
    """Raise ``MediaTooLarge`` for more pixels than allowed, ``UndecodableMedia`` for none."""
    if width < 1 or height < 1:
        raise UndecodableMedia("the media states no picture size")
    if width * height > limits.max_pixels:
        raise MediaTooLarge(
            f"a frame has {width} x {height} = {width * height} pixels; "
            f"the limit is {limits.max_pixels}"
        )


def check_indices(indices: Sequence[int], frames: int) -> list[int]:
    """``indices`` as a list; ``ValueError`` unless strictly ascending within [0, ``frames``)."""
    wanted = [int(i) for i in indices]
    if any(a >= b for a, b in itertools.pairwise(wanted)):
        raise ValueError("indices must ascend strictly")
    if wanted and not (wanted[0] >= 0 and wanted[-1] < frames):
        raise ValueError(f"indices must lie in [0, {frames})")
    return wanted


@dataclass(frozen=True, slots=True)
class Orientation:
    """One of the eight ways to turn and mirror a picture.

    A pixel at (x, y) of the stored picture goes to (a*x + c*y, b*x + d*y), but for a shift, where
    a, b, c, d are in {-1, 0, 1}: the upper left of the display matrix of ISO/IEC 14496-12, 8.3.2.
    """

    a: int = 1
    b: int = 0
    c: int = 0
    d: int = 1

    @classmethod
    def from_matrix(cls, a: float, b: float, c: float, d: float) -> Orientation:
        """The orientation nearest to a display matrix; upright where it is degenerate."""
        if abs(a) + abs(d) >= abs(b) + abs(c):
            found = cls(int(np.sign(a)), 0, 0, int(np.sign(d)))
        else:
            found = cls(0, int(np.sign(b)), int(np.sign(c)), 0)
        return cls() if found.a * found.d == found.b * found.c else found

    @property
    def rotation(self) -> int:
        """Clockwise degrees in {0, 90, 180, 270}, after mirroring left-right if ``mirrored``."""
        sign = -1 if self.mirrored else 1
        return round(math.degrees(math.atan2(sign * self.b, sign * self.a))) % 360

    @property
    def mirrored(self) -> bool:
        return self.a * self.d - self.b * self.c < 0

    @property
    def transposed(self) -> bool:
        """Whether width and height change places."""
        return self.a == 0

    def apply(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Turn ``pixels`` (height, width, 3) to how they are displayed; contiguous."""
        if self.transposed:
            pixels = pixels.transpose(1, 0, 2)
            flip_x, flip_y = self.c < 0, self.b < 0
        else:
            flip_x, flip_y = self.a < 0, self.d < 0
        return np.ascontiguousarray(pixels[:: -1 if flip_y else 1, :: -1 if flip_x else 1])
