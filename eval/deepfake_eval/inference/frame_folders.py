"""Open media of a data set: files, and folders of extracted frames that are read as one clip.

Many data sets are passed on as extracted frames.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from deepfake_eval.datasets.base import PICTURE_SUFFIXES, visible
from deepfake_models.bundle.results import MediaFacts
from deepfake_models.errors import MediaError, UndecodableMedia, UnreadableMedia
from deepfake_models.media.interface import FailedFrame, Frame, OpenMedia, check_indices, frame_at
from deepfake_models.sandbox.decoder import Decoder

FRAME_RATE = 25.0
"""Frames per second assumed for extracted frames, whose own rate is not recorded."""


@contextmanager
def open_medium(path: Path, decoder: Decoder) -> Iterator[OpenMedia]:
    """Open the picture or video file at ``path``, or the folder of frames there as one clip;
    ``MediaError`` if it cannot be read or decoded, as ``Decoder.open``."""
    if path.is_dir():
        yield FolderMedia(path, decoder)
        return
    try:
        file = path.open("rb")
    except OSError as error:
        raise UnreadableMedia from error
    with file, decoder.open(file) as media:
        yield media


class FolderMedia:
    """A folder of frames as ``OpenMedia``. Each frame keeps the size of its file.

    The last number in a file name is taken for the frame's place in the video, at ``FRAME_RATE``.
    If a name has no number or two names share one, the frames follow each other in name order.
    ``UnreadableMedia`` if the folder cannot be listed, ``UndecodableMedia`` if it has no picture
    that can be decoded.
    """

    def __init__(self, folder: Path, decoder: Decoder) -> None:
        try:
            files = [p for p in visible(folder) if p.suffix.lower() in PICTURE_SUFFIXES]
        except OSError as error:
            raise UnreadableMedia from error
        if not files:
            raise UndecodableMedia("The folder has no picture files to read as frames.")
        numbers = [_number(p) for p in files]
        if len(set(numbers)) == len(files) and None not in numbers:
            pairs = sorted((n, p) for n, p in zip(numbers, files, strict=True) if n is not None)
            files = [p for _, p in pairs]
            places = [n - pairs[0][0] for n, _ in pairs]
        else:
            places = list(range(len(files)))
        self.times: NDArray[np.float64] = np.asarray(places, dtype=np.float64) / FRAME_RATE
        width, height = _size(files, decoder)
        self.facts = MediaFacts("video", width, height, float(self.times[-1]), len(files), 0)
        self._files = files
        self._decoder = decoder

    def frames(self, indices: Sequence[int]) -> Iterator[Frame | FailedFrame]:
        check_indices(indices, len(self._files))
        for index in indices:
            time_s = float(self.times[index])
            try:
                with self._files[index].open("rb") as file, self._decoder.open(file) as media:
                    pixels = frame_at(media).pixels
            except OSError:
                yield FailedFrame(index, time_s, "the file cannot be read")
            except MediaError as error:
                yield FailedFrame(index, time_s, error.message)
            else:
                yield Frame(index, time_s, pixels)


def _number(path: Path) -> int | None:
    numbers = re.findall(r"\d+", path.stem)
    return int(numbers[-1]) if numbers else None


def _size(files: Sequence[Path], decoder: Decoder) -> tuple[int, int]:
    for path in files:
        try:
            with path.open("rb") as file, decoder.open(file) as media:
                return media.facts.width, media.facts.height
        except (OSError, MediaError):
            continue
    raise UndecodableMedia("No frame in the folder can be decoded.")
