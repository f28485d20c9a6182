"""The decoder that decodes in a pool of confined processes.

Each time that media are opened or their credentials are read, a process starts anew. A file that
crashes, hangs or takes over FFmpeg costs that process and nothing else.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from deepfake_models.errors import DecoderFailed
from deepfake_models.media import credentials
from deepfake_models.media.decoder import InProcessDecoder
from deepfake_models.media.interface import (
    DecodeLimits,
    FailedFrame,
    Frame,
    GuardedSource,
    LatestIterator,
    OpenMedia,
)
from deepfake_models.sandbox import protocol as wire
from deepfake_models.sandbox.confinement import Confinement
from deepfake_models.sandbox.pool import ConfinedProcess, ProcessPool, TaskBounds


class ProcessDecoder:
    """Decodes in confined processes. Safe to call from several threads at once.

    At most ``workers`` items are open at once: ``open`` waits for a free process, so one thread
    must not hold more items open than there are workers. ``limits.timeout_s`` bounds the time spent
    waiting for the process of one item, and ``limits.picture_timeout_s`` that of one opened with
    ``stills_only``; reading the source is not charged to them. With ``require``, a process that
    lacks a layer of its confinement is not used.
    """

    def __init__(
        self, limits: DecodeLimits | None = None, workers: int = 2, *, require: bool = False
    ) -> None:
        self._limits = limits or DecodeLimits()
        self._pool = ProcessPool(wire.Options(tasks=(credentials.TASK,)), workers, require=require)

    def confinement(self) -> Confinement:
        """Return the layers that the processes lack; see ``ProcessPool.confinement``."""
        return self._pool.confinement()

    @contextmanager
    def open(self, source: BinaryIO, *, stills_only: bool = False) -> Iterator[OpenMedia]:
        """Open the media in ``source``, a seekable binary file that the caller closes.

        The content decides the format, never a name. Other exceptions of ``source`` than
        ``OSError`` and ``ValueError`` are passed on.

        Raises:
            NotAPicture: with ``stills_only``, the media are not a still picture. This is raised
                before a pixel is decoded.
            UnreadableMedia: ``source`` raised ``OSError`` or ``ValueError``.
            UndecodableMedia: the content cannot be decoded.
            NoVisualStream: there is neither a picture nor a video stream.
            MediaTooLarge: a limit is exceeded.
            DecoderFailed: the decoder process crashed or stalled.
        """
        guard = GuardedSource(source)
        with (
            self._pool.process() as process,
            closing(_RemoteMedia(process, guard, self._limits, stills_only)) as media,
        ):
            yield media

    def read_credentials(
        self, source: BinaryIO, mime: str | None, anchors: str | None = None
    ) -> dict[str, Any]:
        """Return what the Content Credentials of ``source`` claim: see ``credentials``.
        ``UnreadableMedia`` if ``source`` raised ``OSError`` or ``ValueError``; ``DecoderFailed`` if
        the process that reads them crashed, or exceeded its memory or time."""
        reason = credentials.reason_not_to_read(source, mime)
        if reason is not None:
            return credentials.not_read(reason)
        argument = json.dumps({"mime": mime, "anchors": anchors}).encode()
        bounds = TaskBounds(self._limits.timeout_s, credentials.MEMORY_BYTES)
        result = self._pool.run(credentials.TASK, source, argument, bounds)
        try:
            return credentials.Credentials.model_validate_json(result).to_json()
        except ValidationError as error:
            raise DecoderFailed from error

    def close(self) -> None:
        """End all processes. Media that are still open fail with ``DecoderFailed``."""
        self._pool.close()


Decoder = InProcessDecoder | ProcessDecoder
"""Opens media and reads their credentials, in this process or in confined ones."""


class _RemoteMedia(LatestIterator):
    """Media in a process, which the pool ends. The next frame is decoded while one is used."""

    def __init__(
        self,
        process: ConfinedProcess,
        source: GuardedSource,
        limits: DecodeLimits,
        stills_only: bool = False,
    ) -> None:
        self._process = process
        size = process.take(source, limits.picture_timeout_s if stills_only else limits.timeout_s)
        self._asked: int | None = None
        """The index of the frame that the process was asked for."""
        with process.exchange():
            wire.send(
                process.connection, wire.Open(size=size, limits=limits, stills_only=stills_only)
            )
            opened = process.answer()
            if not isinstance(opened, wire.Opened):
                raise wire.WireError
            self.facts = opened.checked(limits)
            if stills_only and self.facts.kind != "image":
                raise wire.WireError
            data = wire.receive_data(process.connection, 8 * opened.frames)
            self.times = _times(data, opened.frames, self.facts.duration_s or 0.0)

    def _frames(self, indices: list[int], call: int) -> Iterator[Frame | FailedFrame]:
        if not indices:
            return
        self._check(call)
        with self._process.exchange():
            if self._asked is not None:
                self._result()  # which an abandoned iterator asked for
            wanted = np.array(indices, dtype="<i8").tobytes()
            wire.send(self._process.connection, wire.Frames(), wanted)
            self._ask(indices[0])
        for following in [*indices[1:], None]:
            self._check(call)
            with self._process.exchange():
                result = self._result()
                if following is not None:
                    self._ask(following)
            yield result

    def _ask(self, index: int) -> None:
        wire.send(self._process.connection, wire.Next())
        self._asked = index

    def _result(self) -> Frame | FailedFrame:
        """Return the frame that the process was asked for."""
        answer = self._process.answer()
        if not isinstance(answer, wire.FrameHeader | wire.Failed) or answer.index != self._asked:
            raise wire.WireError
        self._asked = None
        time_s = float(self.times[answer.index])
        if isinstance(answer, wire.Failed):
            return FailedFrame(answer.index, time_s, answer.detail)
        return Frame(answer.index, time_s, self._pixels(answer))

    def _pixels(self, header: wire.FrameHeader) -> NDArray[np.uint8]:
        """Return the pixels that follow ``header``: (height, width, 3), of the media's size."""
        shape = (self.facts.height, self.facts.width, 3)
        if (header.height, header.width, 3) != shape:
            raise wire.WireError
        data = wire.receive_data(self._process.connection, math.prod(shape))
        if len(data) != math.prod(shape):
            raise wire.WireError
        return np.frombuffer(data, np.uint8).reshape(shape)  # which can be changed, as ``data`` can


def _times(data: bytes | bytearray, count: int, duration_s: float) -> NDArray[np.float64]:
    if len(data) != 8 * count:
        raise wire.WireError
    times = np.frombuffer(data, dtype="<f8").astype(np.float64)
    if not (times[0] == 0.0 and times[-1] <= duration_s and (np.diff(times) > 0).all()):
        raise wire.WireError
    return times
