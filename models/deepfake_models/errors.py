"""Domain errors. The docstring of a class is its message unless a more precise one is given.

These classes know nothing of HTTP: the service maps each to a status.
"""

from __future__ import annotations


class DeepfakeError(Exception):
    """The detector could not complete the request."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or (type(self).__doc__ or "").strip())

    @property
    def message(self) -> str:
        """Return the text for a person: never a path, a URL or content of submitted media."""
        return str(self.args[0])


class BundleError(DeepfakeError):
    """The model bundle is incomplete, was altered, or has a format that is not supported."""


class MediaError(DeepfakeError):
    """The media cannot be examined."""


class UnreadableMedia(MediaError):
    """The media could not be read from its source."""


class UndecodableMedia(MediaError):
    """The file is not a picture or video that can be decoded."""


class NoVisualStream(MediaError):
    """The file has no picture and no video stream, only sound, subtitles or data."""


class NotAPicture(MediaError):
    """The file is not a still picture but a video, an animation, or another kind of file."""


class MediaTooLarge(MediaError):
    """The media exceeds the limit on pixels, frames or duration."""


class DecoderFailed(MediaError):
    """The decoder process crashed or stalled on this file and was replaced."""


class DecoderTooSlow(DecoderFailed):
    """Decoding the file took longer than is allowed, and the decoder process was replaced."""


class SourceTooSlow(DeepfakeError):
    """Reading the media from where they are stored took too long."""


class SandboxIncomplete(DeepfakeError):
    """The kernel does not grant every layer of the sandbox, and all of them are required."""


class SandboxBusy(DeepfakeError):
    """Every process that reads untrusted files is in use. Try again later."""
