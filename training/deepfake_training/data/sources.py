"""Open the media of a training run."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from PIL import Image

from deepfake_models.errors import UnreadableMedia
from deepfake_models.media.interface import Frame, OpenMedia
from deepfake_models.sandbox.decoder import Decoder

_LOSSLESS = frozenset({".png", ".bmp", ".tif", ".tiff"})


@contextmanager
def open_source(
    path: Path, decoder: Decoder, lossless_quality: tuple[int, int] | None
) -> Iterator[OpenMedia]:
    """Open the medium at ``path``, and a picture without loss as a JPEG of it.

    The JPEG's quality is in the range ``lossless_quality`` and depends only on the file's bytes, so
    that every step sees the same pixels. ``None``: the picture is opened as it is.

    Raises:
        UnreadableMedia: there is no such file, or it cannot be read.
        MediaError: the medium cannot be decoded.
    """
    try:
        file = path.open("rb")
    except OSError as error:
        raise UnreadableMedia from error
    with file:
        source: BinaryIO = file
        if lossless_quality and path.suffix.lower() in _LOSSLESS:
            source = _as_jpeg(file, decoder, lossless_quality)
        with decoder.open(source) as media:
            yield media


def _as_jpeg(file: BinaryIO, decoder: Decoder, qualities: tuple[int, int]) -> BinaryIO:
    digest = hashlib.sha256(file.read()).digest()
    file.seek(0)
    low, high = qualities
    quality = low + int.from_bytes(digest[:4], "big") % (high - low + 1)
    with decoder.open(file) as media:
        frames = [f for f in media.frames([0]) if isinstance(f, Frame)]
    file.seek(0)
    if not frames:
        return file
    coded = io.BytesIO()
    Image.fromarray(frames[0].pixels).save(coded, "JPEG", quality=quality)
    coded.seek(0)
    return coded
