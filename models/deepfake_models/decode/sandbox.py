"""The decoder in a sandbox: a pool of child processes, each with one item at a time.

A file that crashes, hangs or takes over FFmpeg costs one child process and nothing else.
"""

from __future__ import annotations

import math
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
from typing import BinaryIO, Self

import numpy as np
from numpy.typing import NDArray

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

PACKAGE_FOLDER = Path(__file__).resolve().parents[2]
"""The folder from which this process imports ``deepfake_models``."""

START_TIMEOUT_S = 60.0
"""Time for a child to import its libraries: usually half a second, but longer under heavy load."""

CLOSE_TIMEOUT_S = 5.0
"""Time for a child to finish its current frame when an item is closed early, before it is
replaced."""

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
"""Errors that a child may report, by name."""


class ProcessDecoder:
    """Decodes in child processes; implements ``Decoder``.

    At most ``workers`` items are open at once: ``open`` waits for a free child, so one thread must
    not hold more items open than there are workers. Children are started when they are first needed
    and reused. ``limits.timeout_s`` bounds the time spent waiting for the child on one item.
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
        """See ``Decoder.open``."""
        guard = GuardedSource(source)
        child = self._take()
        try:
            with _RemoteMedia(child, guard, self._limits, stills_only) as media:
                yield media
        finally:
            self._give_back(child)

    def close(self) -> None:
        """End all children. Media that are still open fail with ``DecoderFailed``."""
        with self._lock:
            self._closed = True
        self._finalizer()

    def _take(self) -> _Child:
        idle = self._slots.get()
        try:
            if idle is not None and idle.alive():
                return idle
            if idle is not None:
                self._discard(idle)
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
                # Messages that libraries print about a file may quote its content.
                stderr=subprocess.DEVNULL,
                cwd="/",
                env={
                    # Parent and child must run the same code.
                    "PYTHONPATH": str(PACKAGE_FOLDER),
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
        """Return whether the child can take another item."""
        return not self.broken and self._process.poll() is None

    def await_ready(self) -> None:
        """Wait until the child has started.

        Raises:
            DecoderFailed: it did not start in time.
        """
        with self.exchange(START_TIMEOUT_S):
            if not isinstance(wire.receive_answer(self.connection), wire.Ready):
                raise wire.WireError

    @contextmanager
    def exchange(self, seconds: float) -> Iterator[None]:
        """Bound a conversation with the child to ``seconds``.

        A watchdog then kills the child, which ends any read from it or write to it, even one that
        is stuck within a message.

        Raises:
            DecoderFailed: the child died, was killed, or violated the protocol.
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
        """End and reap the process; safe from any thread, even while another one waits for it."""
        self.broken = True
        with suppress(OSError):
            self._process.kill()
        self._process.wait()

    def end(self) -> None:
        """Kill the child and close the connection: only for the thread that uses the child."""
        self.kill()
        self.connection.close()


class _RemoteMedia:
    """Media that are open in a child; implements ``OpenMedia``."""

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
        with self._exchange():
            wire.send(
                child.connection,
                wire.Open(size=self._size, limits=limits, stills_only=stills_only),
            )
        with self._exchange():
            opened = self._answer()
            if not isinstance(opened, wire.Opened):
                raise wire.WireError
            self.facts = opened.checked(limits)
            if stills_only and self.facts.kind != "image":
                raise wire.WireError
            data = wire.receive_data(child.connection, 8 * opened.frames)
            self.times = _times(data, opened.frames, limits)
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
        # The item is done. A child that fails while closing it is replaced, and no error is raised.
        with suppress(Exception), self._exchange():
            if self._pending:
                self._result(None)
            wire.send(self._child.connection, wire.Close())
            if not isinstance(self._answer(), wire.Closed):
                raise wire.WireError

    def frames(self, indices: Sequence[int]) -> Iterator[Frame | FailedFrame]:
        """See ``OpenMedia.frames``. The child decodes the next frame while this one is used."""
        checked = check_indices(indices, len(self.times))
        self._call += 1
        return self._frames(checked, self._call)

    def _frames(self, indices: list[int], call: int) -> Iterator[Frame | FailedFrame]:
        if not indices:
            return
        self._check(call)
        with self._exchange():
            if self._pending:
                self._result(None)
            wire.send(self._child.connection, wire.Frames())
            wire.send_data(self._child.connection, np.array(indices, dtype="<i8").tobytes())
            self._ask()
        for number, index in enumerate(indices):
            self._check(call)
            with self._exchange():
                result = self._result(index)
                if number + 1 < len(indices):
                    self._ask()
            assert result is not None
            yield result

    def _check(self, call: int) -> None:
        if call != self._call:
            raise ValueError(
                "this iteration has ended: another iteration began, or the media were closed"
            )

    @contextmanager
    def _exchange(self) -> Iterator[None]:
        started = time.monotonic()
        try:
            with self._child.exchange(self._budget):
                yield
        finally:
            self._budget -= time.monotonic() - started

    def _ask(self) -> None:
        wire.send(self._child.connection, wire.Next())
        self._pending = True

    def _result(self, index: int | None) -> Frame | FailedFrame | None:
        """Return the answer to the pending request for frame ``index``.

        With ``None`` the answer is checked and dropped.
        """
        answer = self._answer()
        self._pending = False
        if not isinstance(answer, wire.FrameHeader | wire.Failed):
            raise wire.WireError
        if index is not None and answer.index != index:
            raise wire.WireError
        pixels = self._pixels(answer) if isinstance(answer, wire.FrameHeader) else None
        if index is None:
            return None
        time_s = float(self.times[index])
        if isinstance(answer, wire.Failed):
            return FailedFrame(index, time_s, answer.detail)
        assert pixels is not None
        return Frame(index, time_s, pixels.copy())

    def _pixels(self, header: wire.FrameHeader) -> NDArray[np.uint8]:
        """Return the pixels that follow ``header``: (height, width, 3), of the media's size."""
        shape = (self.facts.height, self.facts.width, 3)
        if (header.height, header.width, 3) != shape:
            raise wire.WireError
        data = wire.receive_data(self._child.connection, math.prod(shape))
        if len(data) != math.prod(shape):
            raise wire.WireError
        return np.frombuffer(data, dtype=np.uint8).reshape(shape)

    def _answer(self) -> wire.Answer:
        """Return the child's next message after serving its requests for bytes of the media."""
        while True:
            message = wire.receive_answer(self._child.connection)
            if isinstance(message, wire.Read):
                self._serve(message)
            elif isinstance(message, wire.Error):
                # The child has closed the item and is ready for another.
                self._open = self._pending = False
                self._source.check()
                raise _relayed(message)
            else:
                return message

    def _serve(self, request: wire.Read) -> None:
        if request.offset > self._size:
            raise wire.WireError
        length = request.length
        try:
            self._source.seek(request.offset)
            parts: list[bytes] = []
            while length > 0 and (part := self._source.read(length)):
                parts.append(part)
                length -= len(part)
        except Exception:  # the guarded source keeps it, to be raised when the child gives up
            wire.send(self._child.connection, wire.Unreadable())
            return
        wire.send_data(self._child.connection, b"".join(parts))


def _relayed(message: wire.Error) -> MediaError:
    if message.name not in RELAYED:
        raise wire.WireError
    return RELAYED[message.name](message.message)


def _times(data: memoryview, count: int, limits: DecodeLimits) -> NDArray[np.float64]:
    if len(data) != 8 * count:
        raise wire.WireError
    times = np.frombuffer(data, dtype="<f8").astype(np.float64)
    sane = bool(np.isfinite(times).all()) and times[0] == 0.0 and times[-1] <= limits.max_duration_s
    if not sane or bool((np.diff(times) < 0).any()):
        raise wire.WireError
    return times
