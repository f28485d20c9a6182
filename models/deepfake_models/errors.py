"""Domain errors. A class's docstring is its message unless a more precise one is given.

No HTTP here: the service maps each class to a status in its own ``errors`` module.
"""

from __future__ import annotations


class DeepfakeError(Exception):
    """The detector could not do what was asked."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or (type(self).__doc__ or "").strip())

    @property
    def message(self) -> str:
        """The text for a person; never holds a path, a URL or media content of a submission."""
        return str(self.args[0])


class BundleError(DeepfakeError):
    """The model bundle is incomplete, altered or not in a format this version reads."""


class MediaError(DeepfakeError):
    """The media cannot be examined."""


class UnreadableMedia(MediaError):
    """The media could not be read from where it is."""


class UndecodableMedia(MediaError):
    """The bytes are not a picture or video that can be decoded."""


class NoVisualStream(MediaError):
    """The media holds no picture and no video stream, only sound, subtitles or data."""


class NotAPicture(MediaError):
    """The media is no still picture: a video, an animated picture, or another kind of file."""


class MediaTooLarge(MediaError):
    """The media exceeds a limit on pixels, frames or duration."""


class DecoderFailed(MediaError):
    """The decoder process ended or stalled on this media; it was replaced."""


class SpecError(DeepfakeError):
    """A specification holds a value that cannot be."""
