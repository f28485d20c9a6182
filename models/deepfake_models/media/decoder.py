"""The decoder that runs in the calling process.

For media of unknown origin, ``sandbox.decoder.ProcessDecoder`` decodes in a child process.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any, BinaryIO, cast

from deepfake_models.errors import NotAPicture, UndecodableMedia
from deepfake_models.media import credentials
from deepfake_models.media.image import HEAD_BYTES, PictureMedia, picture_format
from deepfake_models.media.interface import DecodeLimits, GuardedSource, OpenMedia
from deepfake_models.media.video import VideoMedia


class InProcessDecoder:
    """Decodes in the calling process: fastest, for media that are trusted not to attack FFmpeg.
    ``limits.timeout_s`` is not enforced: a decoder cannot be stopped from within its process."""

    def __init__(self, limits: DecodeLimits | None = None) -> None:
        self._limits = limits or DecodeLimits()

    @contextmanager
    def open(self, source: BinaryIO, *, stills_only: bool = False) -> Iterator[OpenMedia]:
        guard = GuardedSource(source)
        try:
            media = _open(guard, self._limits, stills_only)
        except Exception as error:  # Pillow and FFmpeg raise nearly anything on hostile input
            explained = guard.explain(error)
            if explained is error:
                raise
            raise explained from error
        with closing(media):
            yield media

    def read_credentials(
        self, source: BinaryIO, mime: str | None, anchors: str | None = None
    ) -> dict[str, Any]:
        guard = GuardedSource(source)
        result = credentials.read_credentials(cast("BinaryIO", guard), mime, anchors)
        guard.check()
        return result

    def confinement(self) -> None:
        """Return nothing: no layer confines this decoder."""

    def close(self) -> None:
        """Release nothing: this decoder holds no process."""


def _open(
    guard: GuardedSource, limits: DecodeLimits, stills_only: bool
) -> PictureMedia | VideoMedia:
    if not guard.size():
        raise UndecodableMedia("the file is empty")
    picture = picture_format(guard.read(HEAD_BYTES))
    guard.seek(0)
    if picture is not None:
        return PictureMedia(guard, picture, limits, stills_only=stills_only)
    if stills_only:
        raise NotAPicture
    return VideoMedia(guard, limits)


def mime_of(head: bytes) -> str | None:
    """Return the MIME type that a file's first bytes indicate; ``None`` if it is not a known one.

    Only types that the decoder takes are recognised. Video types are told apart by the brand of
    ISO 14496-12 files (``ftyp``) and the document type of EBML files (RFC 8794).
    """
    picture = picture_format(head)
    if picture is not None:
        return f"image/{picture.lower()}"
    if head[4:8] == b"ftyp":
        return "video/quicktime" if head[8:12] == b"qt  " else "video/mp4"
    if head.startswith(b"\x1a\x45\xdf\xa3"):
        return "video/webm" if b"webm" in head[:64] else "video/x-matroska"
    if head.startswith(b"RIFF") and head[8:12] == b"AVI ":
        return "video/avi"
    if head[:1] == head[188:189] == head[376:377] == b"G":  # packets of MPEG-2 (ISO 13818-1)
        return "video/mp2t"
    return None
