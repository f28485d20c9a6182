"""Decode still and animated pictures with Pillow, in a fixed set of formats chosen by content.

Pillow is used and not FFmpeg, because FFmpeg 8.1's WebP decoder refuses animations and because
Pillow reports the size of a picture before it decodes it.
"""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator, Sequence
from typing import IO, cast

import numpy as np
import pillow_heif
from numpy.typing import NDArray
from PIL import ExifTags, Image

from deepfake_models.bundle.results import MediaFacts, Unexamined
from deepfake_models.errors import MediaTooLarge, NotAPicture, UndecodableMedia
from deepfake_models.media.interface import (
    DecodeLimits,
    FailedFrame,
    Frame,
    GuardedSource,
    Orientation,
    check_indices,
    check_pixels,
)

# Pillow's own limit is one number for the whole process and warns through a global channel. Here
# every picture is checked against the decoder's limit before a pixel of it is decoded.
Image.MAX_IMAGE_PIXELS = None
pillow_heif.register_heif_opener()

in_decoder_process = False
"""Whether this is a decoder process, which opens one picture at a time.
Pillow's limit is then that of the open picture, for what it allocates on the way to a frame of a
GIF."""

HEAD_BYTES = 4096
"""Bytes that are enough to recognise the format; the ``ftyp`` box of ISO media lists its brands."""

ANIMATED_FORMATS = frozenset({"AVIF", "GIF", "PNG", "WEBP"})
"""Formats in which several frames are an animation. In a TIFF they are pages, in a JPEG (MPO) a
gain map or a second view, in HEIF a collection; of these only the first is examined."""

AVIF_BRANDS = frozenset({b"avif", b"avis"})
HEIF_BRANDS = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx"})
STRUCTURAL_BRANDS = frozenset({b"mif1", b"mif2", b"msf1"})

OPAQUE = 250
"""Alpha, 0 to 255, from which a pixel looks the same on any background: lossy codecs store 255 as
a little less."""
MAX_TRANSPARENT_SHARE = 1 / 32**2
"""Share of other pixels that is ignored, such as rounded corners. A square face in them is narrower
than 1/32 of the long side, and such faces are not searched for by the shipped bundle."""

MAX_BOXES = 1024
"""Boxes of an ISO file that are looked at for a film; files with a picture have fewer than ten."""

MAX_PICTURE_BYTES = 512 << 20
"""Largest picture file. The AVIF, HEIF and WebP decoders read the whole file into memory."""

SHORTEST_DURATION_S = 0.01
DEFAULT_DURATION_S = 0.1
"""Frame durations up to 10 ms mean "unset"; browsers show such frames for 100 ms."""

EXIF_ORIENTATIONS = {
    1: Orientation(),
    2: Orientation(-1, 0, 0, 1),
    3: Orientation(-1, 0, 0, -1),
    4: Orientation(1, 0, 0, -1),
    5: Orientation(0, 1, 1, 0),
    6: Orientation(0, 1, -1, 0),
    7: Orientation(0, -1, -1, 0),
    8: Orientation(0, -1, 1, 0),
}
"""Exif 2.32 (CIPA DC-008), tag 274, as matrices."""

_warnings_lock = threading.Lock()


def picture_format(head: bytes) -> str | None:
    """Return Pillow's name of the format of a file that starts with ``head``; None if unknown."""
    if head.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if head.startswith((b"GIF87a", b"GIF89a")):
        return "GIF"
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return "WEBP"
    if head.startswith((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")):
        return "TIFF"
    if head.startswith(b"BM") and head[6:10] == b"\0\0\0\0":
        return "BMP"
    if head[4:8] == b"ftyp":
        return _iso_format(head)
    return None


def _iso_format(head: bytes) -> str | None:
    major = head[8:12]
    if major in AVIF_BRANDS:
        return "AVIF"
    if major in HEIF_BRANDS:
        return "HEIF"
    if major in STRUCTURAL_BRANDS:
        end = min(int.from_bytes(head[:4], "big"), len(head))
        compatible = {head[i : i + 4] for i in range(16, end, 4)}
        return "AVIF" if compatible & AVIF_BRANDS else "HEIF"
    return None


class PictureMedia:
    """An opened picture; implements ``OpenMedia``.

    Transparent pixels are shown on white, as browsers, messengers and platforms that re-encode to
    JPEG do; the facts say if there are many, because other backgrounds may show another face.
    Embedded ICC profiles are not applied, because the loaders of the published training sets do not
    apply them either.

    ``NotAPicture`` if the picture is animated, with ``stills_only``; ``MediaTooLarge`` if a limit
    is exceeded; for content that it cannot decode, whatever Pillow raises.
    """

    times: NDArray[np.float64]

    def __init__(
        self,
        source: GuardedSource,
        picture_format: str,
        limits: DecodeLimits,
        *,
        stills_only: bool = False,
    ) -> None:
        if source.size() > MAX_PICTURE_BYTES:
            raise MediaTooLarge(f"the limit for a picture file is {MAX_PICTURE_BYTES} bytes")
        self._source = source
        self._limits = limits
        self._format = picture_format
        self._stills_only = stills_only
        self._transparent = False
        self._open()
        animated = picture_format in ANIMATED_FORMATS
        count = getattr(self._image, "n_frames", 1) if animated else 1
        if count > limits.max_frames:
            raise MediaTooLarge(f"the limit is {limits.max_frames} frames")
        if count > 1:
            self.times, duration = self._measure(count)
            kind, self._still = "video", None
        else:
            self.times, duration = np.zeros(1), None
            kind, self._still = "image", self._decoded()
            self._note_transparency()
        width, height = self._image.size
        if self._orientation.transposed:
            width, height = height, width
        self.facts = MediaFacts(
            kind,
            width,
            height,
            duration,
            len(self.times),
            self._rotation,
            self._unexamined(),
        )

    def close(self) -> None:
        self._image.close()
        self._still = None

    def _open(self) -> None:
        Image.MAX_IMAGE_PIXELS = None
        self._source.seek(0)
        # Pillow warns about odd metadata. The lock is needed because Python's warning filters are
        # not per thread.
        with _warnings_lock, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self._image = Image.open(cast("IO[bytes]", self._source), formats=[self._format])
            check_pixels(*self._image.size, self._limits)
            # Unlike ``n_frames``, this does not make Pillow read beyond the second frame.
            animated = self._format in ANIMATED_FORMATS
            if self._stills_only and animated and getattr(self._image, "is_animated", False):
                raise NotAPicture
            # To find the metadata of a PNG, Pillow decodes it.
            orientation = self._read_orientation()
        self._rotation = orientation.rotation
        # Pillow itself turns a TIFF when it loads it.
        self._orientation = Orientation() if self._format == "TIFF" else orientation
        if in_decoder_process:
            Image.MAX_IMAGE_PIXELS = self._limits.max_pixels

    def _unexamined(self) -> tuple[Unexamined, ...]:
        found = []
        if self._transparent:
            found.append(Unexamined.TRANSPARENCY)
        if self._format == "TIFF" and getattr(self._image, "is_animated", False):
            found.append(Unexamined.FURTHER_PAGE)
        if self._format in ("AVIF", "HEIF") and len(self.times) == 1 and _holds_film(self._source):
            found.append(Unexamined.FILM)
        return tuple(found)

    def _note_transparency(self) -> None:
        """Note whether the frame that was loaded last is transparent."""
        self._transparent = self._transparent or _is_transparent(self._image)

    def frames(self, indices: Sequence[int]) -> Iterator[Frame | FailedFrame]:
        return self._frames(check_indices(indices, len(self.times)))

    def _frames(self, indices: list[int]) -> Iterator[Frame | FailedFrame]:
        if self._still is None and indices:
            # Each iteration reopens: Pillow 13 miscounts when it rewinds an APNG a second time.
            self._open()
        for index in indices:
            time = float(self.times[index])
            if self._still is not None:
                yield Frame(index, time, self._still.copy())
                continue
            try:
                self._image.seek(index)
                pixels = self._decoded()
            except Exception:  # Pillow's decoders raise nearly anything on hostile input
                self._source.check()
                yield FailedFrame(index, time, "the frame could not be decoded")
                continue
            if pixels.shape[:2] != (self.facts.height, self.facts.width):
                yield FailedFrame(index, time, "the frame differs in size from the first")
                continue
            yield Frame(index, time, pixels.copy())

    def _read_orientation(self) -> Orientation:
        try:
            tag = self._image.getexif().get(ExifTags.Base.Orientation, 1)
        except Exception:  # a picture with broken metadata can still be examined
            self._source.check()
            return Orientation()
        return EXIF_ORIENTATIONS.get(tag, Orientation()) if isinstance(tag, int) else Orientation()

    def _measure(self, count: int) -> tuple[NDArray[np.float64], float]:
        """Return the times of the frames and the total duration, in seconds.

        Pillow knows the duration of a frame only after decoding it. From the first undecodable
        frame on, the last known duration is assumed.
        """
        durations = np.full(count, DEFAULT_DURATION_S)
        for index in range(count):
            try:
                self._image.seek(index)
                # A frame of a GIF may enlarge the picture: before it is loaded, its size is known.
                check_pixels(*self._image.size, self._limits)
                self._image.load()
            except MediaTooLarge:
                raise
            except Image.DecompressionBombError as error:
                raise MediaTooLarge(
                    f"a frame has too many pixels; the limit is {self._limits.max_pixels}"
                ) from error
            except Exception:
                self._source.check()
                if index == 0:
                    raise
                durations[index:] = durations[index - 1]
                break
            check_pixels(*self._image.size, self._limits)
            self._note_transparency()
            milliseconds = self._image.info.get("duration")
            seconds = float(milliseconds) / 1000 if isinstance(milliseconds, int | float) else 0.0
            if SHORTEST_DURATION_S < seconds < self._limits.max_duration_s:
                durations[index] = seconds
        total = float(durations.sum())
        if total > self._limits.max_duration_s:
            raise MediaTooLarge(f"the limit is {self._limits.max_duration_s:.0f} s")
        return np.concatenate(([0.0], np.cumsum(durations[:-1]))), total

    def _decoded(self) -> NDArray[np.uint8]:
        self._image.load()
        check_pixels(*self._image.size, self._limits)
        return self._orientation.apply(_rgb(self._image))


def _is_transparent(image: Image.Image) -> bool:
    """Return whether more than ``MAX_TRANSPARENT_SHARE`` of the pixels are not opaque."""
    if not image.has_transparency_data:
        return False
    if image.mode.startswith("I"):  # one of 65,536 greys, of which ``_rgb`` keeps 256
        return True
    rgba = image if image.mode == "RGBA" else image.convert("RGBA")
    levels = rgba.getchannel("A").histogram()
    return sum(levels[:OPAQUE]) > MAX_TRANSPARENT_SHARE * sum(levels)


def _holds_film(source: GuardedSource) -> bool:
    """Return whether an ISO file has a ``moov`` box at its top level, or more boxes than are looked
    at (ISO/IEC 14496-12, 4.2)."""
    at, end = 0, source.size()
    for _ in range(MAX_BOXES):
        source.seek(at)
        head = source.read(16)
        size = int.from_bytes(head[:4], "big")
        if size == 1:
            size = int.from_bytes(head[8:], "big")
        if len(head) < 8 or head[4:8] == b"moov":
            return len(head) >= 8
        if size < 8:  # 0: up to the end of the file
            return False
        at += size
        if at >= end:
            return False
    return True


def _rgb(image: Image.Image) -> NDArray[np.uint8]:
    """Convert any of Pillow's modes to uint8 RGB; 16-bit samples keep their upper eight bits. The
    result may be the memory of Pillow's picture, which cannot be changed."""
    if image.mode.startswith("I"):
        gray = (np.clip(np.asarray(image), 0, 65535) >> 8).astype(np.uint8)
        return np.repeat(gray[..., None], 3, axis=2)
    if image.mode == "F":
        levels = np.nan_to_num(np.asarray(image, dtype=np.float32))
        scale = 255.0 if levels.max(initial=0.0) <= 1.0 else 1.0
        gray = np.clip(levels * scale + 0.5, 0, 255).astype(np.uint8)
        return np.repeat(gray[..., None], 3, axis=2)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        page = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(page, image)
    # Converted to its own mode, a large picture would only be copied.
    pixels = np.asarray(image if image.mode == "RGB" else image.convert("RGB"))
    if pixels.ndim != 3 or pixels.shape[2] != 3:
        raise UndecodableMedia
    return pixels
