"""Folders of frames read as one clip, since many data sets are passed on as extracted frames."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from deepfake_eval.datasets.base import PICTURE_SUFFIXES, visible
from deepfake_models.decode.base import ClosesItself, FailedFrame, Frame, OpenMedia, check_indices
from deepfake_models.decode.decoder import Decoder
from deepfake_models.errors import MediaError, NotAPicture, UndecodableMedia, UnreadableMedia
from deepfake_models.results import MediaFacts

FRAME_RATE = 25.0
"""Frames a second assumed of extracted frames, whose own rate is lost."""


class FrameFolder(BytesIO):
    """Stands for a folder of frames where a scorer takes a file; see ``FrameFolderDecoder``.

    To any other decoder it is an empty file.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path


class FrameFolderDecoder:
    """Opens ``FrameFolder`` sources as clips, and leaves everything else to ``inner``.

    Implements ``deepfake_models.decode.decoder.Decoder``.
    """

    def __init__(self, inner: Decoder) -> None:
        self._inner = inner

    @contextmanager
    def open(self, source: BinaryIO, *, stills_only: bool = False) -> Iterator[OpenMedia]:
        """See ``Decoder.open``."""
        if isinstance(source, FrameFolder):
            if stills_only:
                raise NotAPicture
            yield _FolderMedia(source.path, self._inner)
        else:
            with self._inner.open(source, stills_only=stills_only) as media:
                yield media

    def close(self) -> None:
        """Close the inner decoder."""
        self._inner.close()


class _FolderMedia(ClosesItself):
    """One folder as ``media.OpenMedia``; frames keep the size that each file has."""

    def __init__(self, folder: Path, inner: Decoder) -> None:
        try:
            files = [p for p in visible(folder) if p.suffix.lower() in PICTURE_SUFFIXES]
        except OSError as error:
            raise UnreadableMedia from error
        if not files:
            raise UndecodableMedia("the folder holds no frame")
        numbers = [_number(p) for p in files]
        if len(set(numbers)) == len(files) and None not in numbers:
            # The number in a name is the frame's place in the video that it was taken from.
            pairs = sorted((n, p) for n, p in zip(numbers, files, strict=True) if n is not None)
            files = [p for _, p in pairs]
            places = [n - pairs[0][0] for n, _ in pairs]
        else:
            files = sorted(files)
            places = list(range(len(files)))
        self.times: NDArray[np.float64] = np.asarray(places, dtype=np.float64) / FRAME_RATE
        width, height = _size(files, inner)
        self.facts = MediaFacts("video", width, height, float(self.times[-1]), len(files), 0)
        self._files = files
        self._inner = inner

    def frames(self, indices: Sequence[int]) -> Iterator[Frame | FailedFrame]:
        """See ``OpenMedia.frames``."""
        check_indices(indices, len(self._files))
        for index in indices:
            time_s = float(self.times[index])
            try:
                with self._files[index].open("rb") as file, self._inner.open(file) as media:
                    got = next(iter(media.frames([0])))
            except OSError:
                got = FailedFrame(0, 0.0, "the file cannot be read")
            except MediaError as error:
                got = FailedFrame(0, 0.0, error.message)
            if isinstance(got, Frame):
                yield Frame(index, time_s, got.pixels)
            else:
                yield FailedFrame(index, time_s, got.detail)


def _number(path: Path) -> int | None:
    found = re.findall(r"\d+", path.stem)
    return int(found[-1]) if found else None


def _size(files: Sequence[Path], inner: Decoder) -> tuple[int, int]:
    """Width and height of the first frame that opens."""
    for path in files:
        try:
            with path.open("rb") as file, inner.open(file) as media:
                return media.facts.width, media.facts.height
        except (OSError, MediaError):
            continue
    raise UndecodableMedia("no frame of the folder can be decoded")
