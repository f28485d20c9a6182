"""A pool of confined processes, each of which serves one item and ends.

An item that crashes, hangs or takes over the libraries that parse it costs its own process: that
process can neither open a file, nor reach a network or another process (see ``confinement``), and
no other item, nor another look at the same item, meets it.
"""

from __future__ import annotations

import importlib.util
import itertools
import socket
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from deepfake_models.errors import (
    DecoderFailed,
    DecoderTooSlow,
    MediaError,
    SandboxBusy,
    SandboxIncomplete,
    SourceTooSlow,
)
from deepfake_models.media.interface import GuardedSource
from deepfake_models.sandbox import protocol as wire
from deepfake_models.sandbox.confinement import Confinement

PACKAGE_FOLDER = Path(__file__).resolve().parents[2]
"""The folder from which this process imports ``deepfake_models``."""

START_TIMEOUT_S = 180.0
"""Time for the server to import its libraries and start a process: usually half a second, but far
longer under load."""

END_TIMEOUT_S = 5.0
"""Time for the server to end when it is asked to, before it is killed."""

MAX_SOURCE_S = 3600.0
"""Time that reading the source of one item may take. The process is not charged for it, but without
a limit one that was taken over could ask for bytes for ever."""

RELAYED = {kind.__name__: kind for kind in MediaError.__subclasses__()}
"""Errors that a process may report, by name."""


class ProcessPool:
    """Confined processes, each for one item.

    At most ``size`` items are in work at once: the next one waits for its turn, so a thread must
    not hold several processes. With ``require``, a process that lacks a layer of its confinement is
    not used.
    """

    def __init__(
        self, options: wire.Options | None = None, size: int = 2, *, require: bool = False
    ) -> None:
        if size < 1:
            raise ValueError("The number of workers must be at least 1.")
        self._require = require
        self._turns = threading.Semaphore(size)
        self._server = ForkServer(options or wire.Options())
        self._confinement: Confinement | None = None
        self._finalizer = weakref.finalize(self, self._server.close)

    def confinement(self) -> Confinement:
        """Return the layers that the processes lack. The first process is started for it.
        ``SandboxIncomplete`` if there are such layers, and all are required; ``DecoderFailed`` if
        no process starts."""
        if self._confinement is None:
            with self.process():
                pass
        assert self._confinement is not None
        return self._confinement

    @contextmanager
    def process(self, wait_s: float | None = None) -> Iterator[ConfinedProcess]:
        """Lend a process for one item.

        Raises:
            SandboxBusy: no process became free within ``wait_s`` seconds.
            SandboxIncomplete: it lacks a layer, and all are required.
            DecoderFailed: it does not start, or the pool is closed.
        """
        if not self._turns.acquire(timeout=wait_s):
            raise SandboxBusy
        try:
            with closing(ConfinedProcess(self._server)) as process:
                confinement = process.await_ready()
                if self._require and not confinement.complete:
                    raise SandboxIncomplete(missing_layers(confinement))
                self._confinement = confinement
                yield process
        finally:
            self._turns.release()

    def run(self, task: str, source: BinaryIO, argument: bytes, bounds: TaskBounds) -> bytes:
        """Run one of the tasks of ``options`` on ``source``, and return its result.

        Raises:
            DecoderFailed: the process crashed, or exceeded its memory or time (DecoderTooSlow).
            SourceTooSlow: reading the source took longer than ``MAX_SOURCE_S``.
            SandboxBusy, SandboxIncomplete: see ``process``.
            MediaError: the task reported it. Errors of ``source`` are passed on.
        """
        (result,) = self.pieces(task, source, argument, bounds, most=0)
        return result

    def pieces(
        self, task: str, source: BinaryIO, argument: bytes, bounds: TaskBounds, most: int
    ) -> Iterator[bytes]:
        """Yield the result of a task that gives it in pieces, ``most`` bytes at most. Raises the
        errors of ``run``; ``DecoderFailed`` also if there are more bytes."""
        with self.process(bounds.wait_s) as process:
            yield from process.pieces(task, source, argument, bounds, most)

    def close(self) -> None:
        """End all processes. Items that are still in work fail with ``DecoderFailed``."""
        self._finalizer()


def missing_layers(confinement: Confinement) -> str:
    """Return a message that names the layers that ``confinement`` lacks."""
    return (
        "The kernel or the container does not grant these layers of the sandbox: "
        f"{', '.join(confinement.missing)}."
    )


@dataclass(frozen=True, slots=True)
class TaskBounds:
    timeout_s: float
    """Seconds that may be spent waiting for the process, apart from reading the source."""
    memory_bytes: int
    """Address space of the process while it runs the task."""
    cpu_s: float = 3600.0
    """Processor time of the task."""
    wait_s: float | None = None
    """Seconds to wait for a free process; ``None`` waits as long as it takes."""


class ConfinedProcess:
    """One confined process, the connection to it, and the source that it works on."""

    pid: int
    """The number of the process, once it is ready."""

    def __init__(self, server: ForkServer) -> None:
        """Ask ``server`` for a process, without waiting for it; ``DecoderFailed`` if there is no
        server."""
        self._server = server
        ours, theirs = socket.socketpair()
        self.connection = wire.TimedConnection(ours)
        with theirs:
            try:
                self._number = server.start(theirs)
            except BaseException:
                ours.close()
                raise

    def await_ready(self) -> Confinement:
        """Wait until the process has started, and return which layers it lacks; ``DecoderFailed``
        if it did not start in time."""
        self.connection.left_s = START_TIMEOUT_S
        with self.exchange():
            answer = wire.receive_answer(self.connection)
            if not isinstance(answer, wire.Confined):
                raise wire.WireError
        self.pid = answer.pid
        return Confinement(answer.missing)

    def take(self, source: GuardedSource, seconds: float) -> int:
        """Let the process work on ``source``, for so many ``seconds`` apart from reading; return
        the length of the source."""
        self._source, self._size = source, source.size()
        self.connection.left_s, self._source_s = seconds, MAX_SOURCE_S
        return self._size

    def pieces(
        self, task: str, source: BinaryIO, argument: bytes, bounds: TaskBounds, most: int
    ) -> Iterator[bytes]:
        """Run a task on ``source``; yield the pieces of its result, ``most`` bytes at most, and
        last what it returned as a whole. See ``ProcessPool.run``.

        The time that the caller takes with a piece does not count.
        """
        guard = GuardedSource(source)
        size = self.take(guard, bounds.timeout_s)
        with self.exchange():
            request = wire.Run(
                task=task, size=size, memory_bytes=bounds.memory_bytes, cpu_s=bounds.cpu_s
            )
            wire.send(self.connection, request, argument)
            while isinstance(answer := self.answer(), wire.Piece):
                piece = wire.receive_data(self.connection, wire.MAX_PIECE_BYTES)
                most -= len(piece)
                if not piece or most < 0:
                    raise wire.WireError
                yield bytes(piece)
            if not isinstance(answer, wire.Finished):
                raise wire.WireError
            result = bytes(wire.receive_data(self.connection, wire.MAX_RESULT_BYTES))
        # A task may have caught the error of its source.
        guard.check()
        yield result

    @contextmanager
    def exchange(self) -> Iterator[None]:
        """End the process if a conversation with it fails: ``DecoderFailed`` if it died or violated
        the protocol, ``DecoderTooSlow`` if the time that is left for it was over."""
        try:
            yield
        except MediaError:
            raise
        except BaseException as error:
            self.close()
            if isinstance(error, TimeoutError):
                raise DecoderTooSlow from error
            if isinstance(error, wire.WireError | EOFError | OSError):
                raise DecoderFailed from error
            raise

    def answer(self) -> wire.Answer:
        """Return the next message of the process after serving its requests for bytes.

        Raises:
            WireError: the process violated the protocol.
            MediaError: the process reports it.
            Exception: whatever the source raised.
        """
        while True:
            message = wire.receive_answer(self.connection)
            if isinstance(message, wire.Read):
                self._serve(message)
            elif isinstance(message, wire.Error):
                self._source.check()
                if message.name not in RELAYED:
                    raise wire.WireError
                raise RELAYED[message.name](message.message)
            else:
                return message

    def _serve(self, request: wire.Read) -> None:
        if request.offset > self._size:
            raise wire.WireError
        # A slow store is no fault of the media.
        started = time.monotonic()
        content: bytes | None = None
        # The guarded source keeps the exception that it raised, to be raised when the process gives
        # up.
        with suppress(Exception):
            content = self._read(request.offset, request.length)
        self._source_s -= time.monotonic() - started
        if self._source_s < 0.0:
            raise SourceTooSlow
        if content is None:
            wire.send(self.connection, wire.Unreadable())
        else:
            wire.send_data(self.connection, content)

    def _read(self, offset: int, length: int) -> bytes:
        self._source.seek(offset)
        parts: list[bytes] = []
        while length > 0 and (part := self._source.read(length)):
            parts.append(part)
            length -= len(part)
        return b"".join(parts)

    def close(self) -> None:
        """End the process."""
        self.connection.close()
        self._server.end(self._number)


class ForkServer:
    """The process that forks confined ones and ends them; see ``child``. It is started when it is
    first needed, and again if it has died. Methods may be called from several threads at once."""

    def __init__(self, options: wire.Options) -> None:
        self._options = options
        self._numbers = itertools.count()
        self._lock = threading.Lock()
        self._closed = False
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, connection: socket.socket) -> int:
        """Ask for a process that serves the other end of ``connection``, without waiting for it;
        return its name in ``end``.

        If none can be started, the connection is closed. ``DecoderFailed`` if the server is closed,
        or dies at once.
        """
        number = next(self._numbers)
        with self._lock:
            for _ in range(2):
                if self._closed:
                    raise DecoderFailed("the decoder is closed")
                if self.process is None or self.process.poll() is not None:
                    self._stop()
                    self._launch()
                with suppress(OSError):
                    socket.send_fds(self._control, [b"start %d" % number], [connection.fileno()])
                    return number
                self._stop()  # it is dying
        raise DecoderFailed

    def end(self, number: int) -> None:
        """Ask to end a process. Nothing happens if it has ended, which it does with the server."""
        with suppress(OSError):
            self._control.send(b"end %d" % number)

    def close(self) -> None:
        """End the server and all its processes, and wait for that."""
        with self._lock:
            self._closed = True
            self._stop()

    def _launch(self) -> None:
        # Each message on such a socket arrives whole, so that ``end`` needs no lock.
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._control.settimeout(START_TIMEOUT_S)
        with theirs:
            self.process = subprocess.Popen(  # noqa: S603 - fixed command, own interpreter
                [sys.executable, "-P", "-s", "-m", "deepfake_models.sandbox.child",
                 str(theirs.fileno()), self._options.model_dump_json()],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                # Messages that libraries print about a file may quote its content.
                stderr=subprocess.DEVNULL,
                cwd="/",
                env={
                    # Parent and child must run the same code.
                    "PYTHONPATH": ":".join(_import_folders(self._options.tasks)),
                    "LC_ALL": "C.UTF-8",
                    "OPENBLAS_NUM_THREADS": "1",
                    "OMP_NUM_THREADS": "1",
                },
            )  # fmt: skip

    def _stop(self) -> None:
        if self.process is None:
            return
        with suppress(OSError):
            self._control.shutdown(socket.SHUT_RDWR)
        try:
            self.process.wait(END_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.process.kill()  # its processes end when they miss it
            self.process.wait()
        self._control.close()


def _import_folders(tasks: Iterable[str]) -> list[str]:
    """Return the folders from which the package and the modules of ``tasks`` are imported."""
    folders = {str(PACKAGE_FOLDER): None}
    for task in tasks:
        module = task.partition(":")[0]
        spec = importlib.util.find_spec(module)
        if spec is None or spec.origin is None:
            raise ModuleNotFoundError(module)
        folders[str(Path(spec.origin).resolve().parents[module.count(".")])] = None
    return list(folders)
