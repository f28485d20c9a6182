"""The decoder behind a process boundary: a pool of child processes, each with one item at a time.

A file that crashes, hangs or takes over FFmpeg costs its own child process and nothing else.
"""

from __future__ import annotations

import queue
import socket
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self, cast

import numpy as np

from deepfake_models import errors
from deepfake_models.decode import protocol as wire
from deepfake_models.decode.base import (
    FailedFrame,
    Frame,
    GuardedSource,
    OpenMedia,
    check_indices,
)
from deepfake_models.decode.limits import DecodeLimits
from deepfake_models.errors import DecoderFailed, MediaError
from deepfake_models.results import MediaFacts

START_TIMEOUT_S = 60.0
"""For a child to import its libraries: half a second, but minutes are seen on loaded machines."""

CLOSE_TIMEOUT_S = 5.0
"""For a child to finish the frame in hand when an item is closed early; else it is replaced."""

RELAYED = {
    cls.__name__: cls
    for cls in (
        errors.UnreadableMedia,
        errors.UndecodableMedia,
        errors.NoVisualStream,
        errors.NotAPicture,
        errors.MediaTooLarge,
        errors.DecoderFailed,
    )
}
"""Errors that a child may report."""


class ProcessDecoder:
    """Decodes in child processes; implements ``decoding.Decoder``.

    At most ``workers`` items are open at once: ``open`` waits for a free child, so one thread must
    not hold more items open than there are workers. Children are started when first needed and
    kept. ``limits.timeout_s`` bounds the time spent waiting for the child on one item.
    """

    def __init__(self, limits: DecodeLimits | None = None, workers: int = 2) -> None:
        if workers < 1:
            raise ValueError("workers must be at least 1")
        self._limits = limits or DecodeLimits()
        self._slots: queue.LifoQueue[_Child | None] = queue.LifoQueue()
        for _ in range(workers):
            self._slots.put(None)
        self._children: set[_Child] = set()
        self._closed = False
        self._lock = threading.Lock()
        self._finalizer = weakref.finalize(self, _end_all, self._children)

    @contextmanager
    def open(self, source: BinaryIO, *, stills_only: bool = False) -> Iterator[OpenMedia]:
        """See ``decoding.Decoder.open``."""
        guard = GuardedSource(source)
        child = self._take()
        try:
            with _RemoteMedia(child, guard, self._limits, stills_only) as media:
                yield media
        finally:
            self._give_back(child)

    def close(self) -> None:
        """End all children; what is still open fails with ``DecoderFailed``."""
        with self._lock:
            self._closed = True
        self._finalizer()

    def _take(self) -> _Child:
        kept = self._slots.get()
        try:
            if kept is not None and kept.alive():
                return kept
            if kept is not None:
                self._discard(kept)
            with self._lock:
                if self._closed:
                    raise DecoderFailed("the decoder is closed")
                child = _Child()
                self._children.add(child)
            try:
                child.await_ready()
            except BaseException:
                self._discard(child)
                raise
            return child
        except BaseException:
            self._slots.put(None)
            raise

    def _give_back(self, child: _Child) -> None:
        if child.broken or self._closed:
            self._discard(child)
            self._slots.put(None)
        else:
            self._slots.put(child)

    def _discard(self, child: _Child) -> None:
        child.end()
        with self._lock:
            self._children.discard(child)


def _end_all(children: set[_Child]) -> None:
    for child in list(children):
        child.kill()


class _Child:
    """One child process and the connection to it."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        with ours, theirs:
            self._process = subprocess.Popen(  # noqa: S603 - fixed command, own interpreter
                [sys.executable, "-P", "-s", "-m", "deepfake_models.decode.worker",
                 str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                # What libraries print about a file may quote its content.
                stderr=subprocess.DEVNULL,
                cwd="/",
                env={
                    "PYTHONPATH": str(Path(__file__).parent.parent),
                    "LC_ALL": "C.UTF-8",
                    "OPENBLAS_NUM_THREADS": "1",
                    "OMP_NUM_THREADS": "1",
                },
            )  # fmt: skip
            self.connection = Connection(ours.detach())
        self.broken = False

    @property
    def pid(self) -> int:
        return self._process.pid

    def alive(self) -> bool:
        return not self.broken and self._process.poll() is None

    def await_ready(self) -> None:
        with self.exchange(START_TIMEOUT_S):
            if wire.receive(self.connection) != {"op": "ready"}:
                raise wire.WireError

    @contextmanager
    def exchange(self, seconds: float) -> Iterator[None]:
        """Bound a conversation: whatever goes wrong with the child in it is ``DecoderFailed``.

        The watchdog kills the child, which ends any read from it or write to it, even one stuck
        within a message.
        """
        watchdog = threading.Timer(max(seconds, 0.0), self.kill)
        watchdog.daemon = True
        watchdog.start()
        try:
            yield
        except (wire.WireError, EOFError, OSError) as error:
            self.kill()
            raise DecoderFailed from error
        except MediaError:
            raise
        except BaseException:
            self.kill()
            raise
        finally:
            watchdog.cancel()

    def kill(self) -> None:
        """End and reap the process; safe from any thread, while another waits for the child."""
        self.broken = True
        with suppress(OSError):
            self._process.kill()
        self._process.wait()

    def end(self) -> None:
        """As ``kill``, and close the connection: only for the thread that has the child."""
        self.kill()
        self.connection.close()


class _RemoteMedia:
    """Media open in a child; implements ``media.OpenMedia``."""

    def __init__(
        self,
        child: _Child,
        source: GuardedSource,
        limits: DecodeLimits,
        stills_only: bool = False,
    ) -> None:
        self._child = child
        self._source = source
        self._limits = limits
        self._budget = limits.timeout_s
        self._size = source.size()
        self._call = 0
        self._pending = False
        self._open = False
        # A child that reported an error has closed the item by itself.
        self._send(
            {
                "op": "open",
                "size": self._size,
                "limits": limits.model_dump(),
                "stills_only": stills_only,
            }
        )
        with self._exchange():
            message = self._answer("opened")
            self.facts, count = _facts(message, limits)
            if stills_only and self.facts.kind != "image":
                raise wire.WireError
            data = wire.receive_data(child.connection, 8 * count)
            self.times = _times(data, count, limits)
        self._open = True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._call += 1
        if not self._open or self._child.broken:
            return
        self._open = False
        self._budget = min(self._budget, CLOSE_TIMEOUT_S)
        # The item is over; a child that fails in closing it is replaced and nobody else concerned.
        with suppress(Exception), self._exchange():
            if self._pending:
                self._result(None)
            wire.send(self._child.connection, {"op": "close"})
            self._answer("closed")

    def frames(self, indices: Sequence[int]) -> Iterator[Frame | FailedFrame]:
        """See ``OpenMedia.frames``. The child decodes the next frame while this one is used."""
        wanted = check_indices(indices, len(self.times))
        self._call += 1
        return self._frames(wanted, self._call)

    def _frames(self, wanted: list[int], call: int) -> Iterator[Frame | FailedFrame]:
        if not wanted:
            return
        self._check(call)
        with self._exchange():
            if self._pending:
                self._result(None)
            wire.send(self._child.connection, {"op": "frames"})
            wire.send_data(self._child.connection, np.array(wanted, dtype="<i8").tobytes())
            self._ask()
        for number, index in enumerate(wanted):
            self._check(call)
            with self._exchange():
                result = self._result(index)
                if number + 1 < len(wanted):
                    self._ask()
            assert result is not None
            yield result

    def _check(self, call: int) -> None:
        if call != self._call:
            raise ValueError("another iteration over this media has begun, or it was closed")

    @contextmanager
    def _exchange(self) -> Iterator[None]:
        started = time.monotonic()
        try:
            with self._child.exchange(self._budget):
                yield
        finally:
            self._budget -= time.monotonic() - started

    def _send(self, message: dict[str, Any]) -> None:
        with self._exchange():
            wire.send(self._child.connection, message)

    def _ask(self) -> None:
        wire.send(self._child.connection, {"op": "next"})
        self._pending = True

    def _result(self, index: int | None) -> Frame | FailedFrame | None:
        """The answer to the pending request; checked, and dropped where ``index`` is None."""
        message = self._answer("frame", "failed")
        self._pending = False
        height, width = self.facts.height, self.facts.width
        if message["op"] == "failed":
            if index is None:
                return None
            wire.integer(message, "index", index, index)
            return FailedFrame(index, float(self.times[index]), wire.text(message, "detail"))
        wire.integer(message, "height", height, height)
        wire.integer(message, "width", width, width)
        size = height * width * 3
        data = wire.receive_data(self._child.connection, size)
        if len(data) != size:
            raise wire.WireError
        if index is None:
            return None
        wire.integer(message, "index", index, index)
        pixels = np.frombuffer(data, dtype=np.uint8).reshape(height, width, 3).copy()
        return Frame(index, float(self.times[index]), pixels)

    def _answer(self, *expected: str) -> dict[str, Any]:
        """The child's next message, its requests for the media's bytes served on the way."""
        while True:
            message = wire.receive(self._child.connection)
            op = message.get("op")
            if op == "read":
                self._serve(message)
            elif op == "error":
                # The child has closed the item and is ready for another.
                self._open = self._pending = False
                self._source.check()
                raise _error(message)
            elif op in expected:
                return message
            else:
                raise wire.WireError

    def _serve(self, message: dict[str, Any]) -> None:
        offset = wire.integer(message, "offset", 0, self._size)
        length = wire.integer(message, "length", 0, wire.MAX_READ_BYTES)
        try:
            self._source.seek(offset)
            parts: list[bytes] = []
            while length > 0 and (part := self._source.read(length)):
                parts.append(part)
                length -= len(part)
        except Exception:  # remembered by the guarded source, raised when the child gives up
            wire.send(self._child.connection, {"op": "unreadable"})
            return
        wire.send_data(self._child.connection, b"".join(parts))


def _error(message: dict[str, Any]) -> MediaError:
    name = message.get("class")
    if not isinstance(name, str) or name not in RELAYED:
        raise wire.WireError
    return RELAYED[name](wire.text(message, "message"))


def _facts(message: dict[str, Any], limits: DecodeLimits) -> tuple[MediaFacts, int]:
    """The facts that a child states, and the number of frames, each within what is possible."""
    stated = message.get("facts")
    if not isinstance(stated, dict) or stated.get("kind") not in ("image", "video"):
        raise wire.WireError
    count = wire.integer(message, "frames", 1, limits.max_frames)
    width = wire.integer(stated, "width", 1, limits.max_pixels)
    height = wire.integer(stated, "height", 1, limits.max_pixels // width)
    rotation = wire.integer(stated, "rotation", 0, 270)
    duration = None
    if stated["kind"] == "video":
        duration = wire.number(stated, "duration_s", 0.0, limits.max_duration_s)
    if rotation % 90 or (stated["kind"] == "image" and count != 1):
        raise wire.WireError
    return MediaFacts(cast("str", stated["kind"]), width, height, duration, count, rotation), count


def _times(data: memoryview, count: int, limits: DecodeLimits) -> np.ndarray[Any, Any]:
    if len(data) != 8 * count:
        raise wire.WireError
    times = np.frombuffer(data, dtype="<f8").astype(np.float64)
    sane = bool(np.isfinite(times).all()) and times[0] == 0.0 and times[-1] <= limits.max_duration_s
    if not sane or bool((np.diff(times) < 0).any()):
        raise wire.WireError
    return times
