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
