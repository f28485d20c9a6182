"""The ``Decoder`` protocol and the decoder that runs in the calling process.

For media of unknown origin use ``sandbox.ProcessDecoder``, which decodes in a child process.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, BinaryIO, Protocol, cast

from deepfake_models.decode import credentials
from deepfake_models.decode.base import GuardedSource, OpenMedia
from deepfake_models.decode.confinement import Confinement
from deepfake_models.decode.image import HEAD_BYTES, PictureMedia, picture_format
from deepfake_models.decode.limits import DecodeLimits
from deepfake_models.decode.video import VideoMedia
from deepfake_models.errors import NotAPicture, UndecodableMedia


class Decoder(Protocol):
    """Opens media. Implementations are safe to call from several threads at once."""

    def open(
        self, source: BinaryIO, *, stills_only: bool = False
    ) -> AbstractContextManager[OpenMedia]:
        """Open the media in ``source``, a seekable binary file that the caller closes.

        The content decides the format, never a name. Other exceptions of ``source`` than
        ``OSError`` and ``ValueError`` are passed on.

        Raises:
            NotAPicture: with ``stills_only``, the media are not a still picture. This is raised
                before a pixel is decoded.
            UnreadableMedia: ``source`` raised ``OSError`` or ``ValueError``.
            UndecodableMedia: the content cannot be decoded.
            NoVisualStream: there is no picture and no video stream.
            MediaTooLarge: a limit is exceeded.
            DecoderFailed: the decoder process crashed or stalled.
        """
        ...

    def read_credentials(
        self, source: BinaryIO, mime: str | None, anchors: str | None = None
    ) -> dict[str, Any]:
        """Return what the Content Credentials of ``source`` claim: see ``credentials``.

        Raises:
            UnreadableMedia: ``source`` raised ``OSError`` or ``ValueError``.
            DecoderFailed: the process that reads them crashed, or exceeded its memory or time.
        """
        ...

    def confinement(self) -> Confinement | None:
        """Return the layers that the processes that decode lack.

        ``None`` means that the calling process decodes.
        """
        ...

    def close(self) -> None:
        """Free resources. Media that are still open may fail; ``open`` must not be called again."""
        ...


class InProcessDecoder:
    """Decodes in the calling process: fastest, for media that are trusted not to attack FFmpeg.

    ``limits.timeout_s`` is not enforced: a decoder cannot be stopped from within its process.
    """

    def __init__(self, limits: DecodeLimits | None = None) -> None:
        self._limits = limits or DecodeLimits()

    @contextmanager
    def open(self, source: BinaryIO, *, stills_only: bool = False) -> Iterator[OpenMedia]:
        """See ``Decoder.open``."""
        guard = GuardedSource(source)
        try:
            media = _open(guard, self._limits, stills_only)
        except Exception as error:  # Pillow and FFmpeg raise nearly anything on hostile input
            explained = guard.explain(error)
            if explained is error:
                raise
            raise explained from error
        with media:
            yield media

    def read_credentials(
        self, source: BinaryIO, mime: str | None, anchors: str | None = None
    ) -> dict[str, Any]:
        """See ``Decoder.read_credentials``."""
        guard = GuardedSource(source)
        result = credentials.read_credentials(cast("BinaryIO", guard), mime, anchors)
        guard.check()
        return result

    def confinement(self) -> None:
        """See ``Decoder.confinement``."""

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
