"""The fork server of a pool and its processes: ``python -m deepfake_models.sandbox.child FD ...``.

The program imports everything that parsing needs, and then forks a process for each item of the
parent, which costs some milliseconds instead of the half second that the imports take. Each one
starts from the memory of the server, which never sees a byte of any item: what an item does to its
process cannot reach the next one. The process confines itself, and opens media or runs a task. It
opens no files but asks the parent for byte ranges, so that encrypted and in-memory sources need no
plaintext on disk.

The parent sends datagrams over the inherited socket ``FD``: ``start N`` with a socket, on which the
process serves it, and ``end N``. The last argument is a ``protocol.Options`` in JSON.
"""

from __future__ import annotations

import codecs
import gc
import importlib
import io
import os
import pkgutil
import resource
import select
import signal
import socket
import sys
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from io import FileIO
from multiprocessing.connection import Connection
from typing import BinaryIO, cast

import av
import numpy as np
import pillow_heif
from PIL import AvifImagePlugin, Image

from deepfake_models.errors import DecoderFailed, MediaError, MediaTooLarge
from deepfake_models.media import image
from deepfake_models.media.decoder import InProcessDecoder
from deepfake_models.media.interface import FailedFrame, OpenMedia
from deepfake_models.sandbox import protocol as wire
from deepfake_models.sandbox.confinement import (
    adopt_grandchildren,
    confine,
    end_with_parent,
    enter_namespaces,
    require_one_thread,
)

Task = Callable[[BinaryIO, bytes], bytes | Iterator[bytes] | Generator[bytes, None, bytes]]
"""Parses a source with an argument, and returns a result, or yields it in pieces of at most
``wire.MAX_PIECE_BYTES``; a generator may return more."""

ENCODINGS = (
    "ascii", "latin-1", "utf-8", "utf-8-sig", "utf-16", "utf-16-be", "utf-16-le", "utf-32",
    "cp437", "cp1252", "mac-roman", "idna", "hex",
)  # fmt: skip
"""Encodings of texts in media, ZIP and PDF files. Python loads each when it is first used."""

REAP_INTERVAL_S = 1.0
"""How often processes that ended by themselves are reaped."""

MAX_MESSAGE_BYTES = 64

MAX_NUMBER_BYTES = 32
"""Of the number of a process, in decimal digits."""

CACHED_BLOCKS = 16
"""Blocks of ``wire.MAX_READ_BYTES``. Indexes and interleaved tracks are read alternately."""


class RemoteFile(io.RawIOBase):
    """The media, read in blocks from the parent; ``OSError`` if the parent cannot read a block."""

    def __init__(self, connection: Connection, size: int) -> None:
        super().__init__()
        self._connection = connection
        self._size = size
        self._position = 0
        self._block = lru_cache(CACHED_BLOCKS)(self._fetch)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        if base + offset < 0:
            raise OSError("seek before the start")
        self._position = base + offset
        return self._position

    def read(self, size: int | None = -1, /) -> bytes:
        end = self._size if size is None or size < 0 else min(self._position + size, self._size)
        parts = []
        while self._position < end:
            number, start = divmod(self._position, wire.MAX_READ_BYTES)
            part = self._block(number)[start : start + end - self._position]
            if not part:
                break
            parts.append(part)
            self._position += len(part)
        return b"".join(parts)

    def _fetch(self, number: int) -> bytes:
        offset = number * wire.MAX_READ_BYTES
        length = min(wire.MAX_READ_BYTES, self._size - offset)
        wire.send(self._connection, wire.Read(offset=offset, length=length))
        try:
            return bytes(wire.receive_data(self._connection, wire.MAX_READ_BYTES))
        except wire.WireError as error:
            raise OSError("the source failed") from error


def import_lazy_modules() -> None:
    """Import what the decoders would import only when they first need it. They also get one thread
    each: decoder processes run in parallel instead."""
    for encoding in ENCODINGS:
        codecs.lookup(encoding)
    Image.init()
    for module in pkgutil.walk_packages(av.__path__, "av."):
        if not module.name.startswith("av.__"):
            importlib.import_module(module.name)
    image.in_decoder_process = True
    AvifImagePlugin.DEFAULT_MAX_THREADS = 1
    pillow_heif.options.DECODE_THREADS = 1


def load_task(name: str) -> Task:
    """Return the function that ``name``, ``package.module:function``, names.

    If its module has a function ``prepare``, that is called now, before any process is forked or
    confined. A function ``begin`` is called in each process before it is confined, to open what
    processes must not share.
    """
    module_name, _, function = name.partition(":")
    module = importlib.import_module(module_name)
    if prepare := getattr(module, "prepare", None):
        prepare()
    return cast("Task", getattr(module, function))


def serve(connection: Connection, tasks: dict[str, Task]) -> None:
    """Serve items until the parent closes the connection; ``EOFError`` or ``BrokenPipeError`` if
    the parent has closed it, ``WireError`` if the parent violated the protocol."""
    while True:
        request = wire.receive_request(connection)
        try:
            if isinstance(request, wire.Open):
                _open(connection, request)
            elif isinstance(request, wire.Run) and request.task in tasks:
                _run_task(connection, request, tasks[request.task])
            else:
                raise wire.WireError
        except (EOFError, BrokenPipeError, wire.WireError):
            raise
        except Exception as error:
            _report(connection, error)


def _open(connection: Connection, request: wire.Open) -> None:
    source = cast("BinaryIO", RemoteFile(connection, request.size))
    with InProcessDecoder(request.limits).open(source, stills_only=request.stills_only) as media:
        times = np.ascontiguousarray(media.times, dtype="<f8")
        wire.send(connection, wire.Opened(facts=media.facts, frames=len(times)), times.tobytes())
        _serve_frames(connection, media)


def _run_task(connection: Connection, request: wire.Run, task: Task) -> None:
    argument = bytes(wire.receive_data(connection, wire.MAX_ARGUMENT_BYTES))
    source = cast("BinaryIO", RemoteFile(connection, request.size))
    with _bounded(request):
        result = task(source, argument)
        if not isinstance(result, bytes):
            result = _send_pieces(connection, iter(result))
    wire.send(connection, wire.Finished(), result)


def _send_pieces(connection: Connection, pieces: Iterator[bytes]) -> bytes:
    """Send the pieces of a result, small ones together; return what comes after them."""
    held = bytearray()
    while True:
        try:
            piece = next(pieces)
        except StopIteration as end:
            if held:
                wire.send(connection, wire.Piece(), held)
            return end.value or b""
        if held and len(held) + len(piece) > wire.MAX_PIECE_BYTES:
            wire.send(connection, wire.Piece(), held)
            held.clear()
        held += piece


@contextmanager
def _bounded(request: wire.Run) -> Iterator[None]:
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (min(request.memory_bytes, hard), hard))
    # The default action of the signal would not end the first process of a namespace.
    signal.signal(signal.SIGPROF, lambda _number, _frame: os._exit(1))
    signal.setitimer(signal.ITIMER_PROF, request.cpu_s)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0.0)
        resource.setrlimit(resource.RLIMIT_AS, (hard, hard))


def _serve_frames(connection: Connection, media: OpenMedia) -> None:
    results = iter(media.frames([]))
    while True:
        request = wire.receive_request(connection)
        if isinstance(request, wire.Frames):
            data = wire.receive_data(connection, 8 * len(media.times))
            results = media.frames(np.frombuffer(data, dtype="<i8").tolist())
            continue
        result = next(results)
        if isinstance(result, FailedFrame):
            wire.send(connection, wire.Failed(index=result.index, detail=result.detail))
            continue
        height, width, _ = result.pixels.shape
        header = wire.FrameHeader(index=result.index, height=height, width=width)
        wire.send(connection, header, result.pixels.data.cast("B"))


def _report(connection: Connection, error: Exception) -> None:
    """Report a domain error by class and message, and any other without details."""
    if isinstance(error, MemoryError):
        error = MediaTooLarge("decoding needs more memory than is allowed")
    if not isinstance(error, MediaError):
        error = DecoderFailed()
    wire.send(connection, wire.Error(name=type(error).__name__, message=error.message))


def main() -> None:
    control = socket.socket(fileno=int(sys.argv[1]))
    options = wire.Options.model_validate_json(sys.argv[2])
    # The parent decides when to stop. Terminals and service managers signal all its processes.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    import_lazy_modules()
    tasks = {name: load_task(name) for name in options.tasks}
    require_one_thread()
    adopt_grandchildren()
    # The processes share this memory until it is written to, which a collection would do.
    gc.collect()
    gc.freeze()
    _Server(control, options, tasks).run()


class _Server:
    """Forks the processes, each of which offers ``tasks`` by name."""

    def __init__(
        self, control: socket.socket, options: wire.Options, tasks: dict[str, Task]
    ) -> None:
        self._control, self._options, self._tasks = control, options, tasks
        self._processes: dict[int, int] = {}
        """The processes by the numbers that the parent gave them."""

    def run(self) -> None:
        """Serve the parent until it closes the socket, and end all processes then."""
        while True:
            wait = REAP_INTERVAL_S if self._processes else None
            if not select.select([self._control], [], [], wait)[0]:
                self._reap()
                continue
            message, descriptors, _, _ = socket.recv_fds(self._control, MAX_MESSAGE_BYTES, 1)
            if not message:
                break
            self._reap()
            order, number = message.split()
            if order == b"start":
                self._start(int(number), *descriptors)
            else:
                self._end(int(number))
        for started in list(self._processes):
            self._end(started)
        for pid in self._processes.values():
            with suppress(ChildProcessError):
                os.waitpid(pid, 0)

    def _start(self, number: int, connection: int) -> None:
        with suppress(OSError):  # without a process, the closed socket tells the parent
            self._processes[number] = self._fork(connection)
        os.close(connection)

    def _fork(self, connection: int) -> int:
        """Fork a process that serves ``connection`` in namespaces of its own; return its number.

        Only a child is inside a new process namespace. So a first process enters the namespaces,
        forks the wanted one and ends, and this process adopts that one, which begins when it is
        told its number. ``OSError`` if no process could be started.
        """
        (numbers, naming), (waiting, begin) = _pipe(), _pipe()
        with numbers, naming, waiting, begin:
            first = os.fork()
            if first == 0:
                try:
                    for unused in (self._control, numbers, begin):
                        unused.close()
                    self._become_first(connection, naming, waiting)
                finally:
                    os._exit(0)
            naming.close()
            number = numbers.read(MAX_NUMBER_BYTES)
            os.waitpid(first, 0)
            if not number:
                raise ChildProcessError("the first process ended without a child")
            begin.write(number)
        return int(number)

    def _become_first(self, connection: int, naming: FileIO, waiting: FileIO) -> None:
        beginning = enter_namespaces()
        if pid := os.fork():
            naming.write(b"%d" % pid)
            return
        naming.close()
        number = waiting.read(MAX_NUMBER_BYTES)
        waiting.close()
        if not number:
            return
        # The server has adopted this process, so that it is the parent that is meant.
        end_with_parent()
        for name in dict.fromkeys(task.partition(":")[0] for task in self._tasks):
            if begin := getattr(sys.modules[name], "begin", None):
                begin()
        found = confine(beginning, self._options.memory_bytes, self._options.cpu_s)
        with suppress(EOFError, BrokenPipeError, ConnectionResetError):
            parent = Connection(connection)
            wire.send(parent, wire.Confined(pid=int(number), missing=found.missing))
            serve(parent, self._tasks)

    def _end(self, number: int) -> None:
        if number in self._processes:
            # It has not been reaped, so the number of the process is still its own.
            os.kill(self._processes[number], signal.SIGKILL)

    def _reap(self) -> None:
        with suppress(ChildProcessError):
            while pid := os.waitpid(-1, os.WNOHANG)[0]:
                self._processes = {n: p for n, p in self._processes.items() if p != pid}


def _pipe() -> tuple[FileIO, FileIO]:
    reading, writing = os.pipe()
    return FileIO(reading, "r"), FileIO(writing, "w")


if __name__ == "__main__":
    main()
