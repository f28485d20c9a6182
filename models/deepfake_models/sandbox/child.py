"""The work of a decoder process: open media or run a task for the parent.

It opens no files but asks the parent for byte ranges, so that encrypted and in-memory sources need
no plaintext on disk. ``server`` starts it.
"""

from __future__ import annotations

import codecs
import importlib
import io
import os
import pkgutil
import resource
import signal
import sys
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from functools import lru_cache
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
from deepfake_models.sandbox.confinement import Beginning, confine

Task = Callable[[BinaryIO, bytes], bytes | Iterator[bytes] | Generator[bytes, None, bytes]]
"""Parses a source with an argument, and returns a result, or yields it in pieces of at most
``wire.MAX_PIECE_BYTES``; a generator may return more."""

ENCODINGS = (
    "ascii", "latin-1", "utf-8", "utf-8-sig", "utf-16", "utf-16-be", "utf-16-le", "utf-32",
    "cp437", "cp1252", "mac-roman", "idna", "hex",
)  # fmt: skip
"""Encodings of texts in media, ZIP and PDF files. Python loads each when it is first used."""

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
            return wire.receive_data(self._connection, wire.MAX_READ_BYTES)
        except wire.WireError as error:
            raise OSError("the source failed") from error


def load(options: wire.Options) -> dict[str, Task]:
    """Import everything that parsing needs, and return the tasks of ``options`` by name."""
    import_lazy_modules()
    return {name: load_task(name) for name in options.tasks}


def run(
    descriptor: int,
    beginning: Beginning,
    pid: int,
    options: wire.Options,
    tasks: dict[str, Task],
) -> None:
    """Confine this process and serve the parent, until it closes the connection.

    ``descriptor`` is the socket that the parent holds the other end of, ``pid`` the number of this
    process outside its namespace, and ``tasks`` what ``load`` returned.
    """
    for name in dict.fromkeys(task.partition(":")[0] for task in tasks):
        if begin := getattr(sys.modules[name], "begin", None):
            begin()
    found = confine(beginning, options.memory_bytes, options.cpu_s)
    try:
        connection = Connection(descriptor)
        wire.send(connection, wire.Confined(pid=pid, missing=found.missing))
        serve(connection, tasks)
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return


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
        facts = wire.Facts.model_validate(asdict(media.facts))
        wire.send(connection, wire.Opened(facts=facts, frames=len(times)))
        wire.send_data(connection, times.tobytes())
        _serve_frames(connection, media)


def _run_task(connection: Connection, request: wire.Run, task: Task) -> None:
    argument = wire.receive_data(connection, wire.MAX_ARGUMENT_BYTES)
    source = cast("BinaryIO", RemoteFile(connection, request.size))
    with _bounded(request):
        result = task(source, argument)
        if not isinstance(result, bytes):
            result = _send_pieces(connection, iter(result))
    wire.send(connection, wire.Finished())
    wire.send_data(connection, result)


def _send_pieces(connection: Connection, pieces: Iterator[bytes]) -> bytes:
    """Send the pieces of a result, small ones together; return what comes after them."""
    held = bytearray()
    while True:
        try:
            piece = next(pieces)
        except StopIteration as end:
            _send_piece(connection, held)
            return end.value or b""
        if len(held) + len(piece) > wire.MAX_PIECE_BYTES:
            _send_piece(connection, held)
        held += piece


def _send_piece(connection: Connection, held: bytearray) -> None:
    if held:
        wire.send(connection, wire.Piece())
        wire.send_data(connection, held)
        held.clear()


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
        wire.send(connection, wire.FrameHeader(index=result.index, height=height, width=width))
        wire.send_data(connection, result.pixels.data.cast("B"))


def _report(connection: Connection, error: Exception) -> None:
    """Report a domain error by class and message, and any other without details."""
    if isinstance(error, MemoryError):
        error = MediaTooLarge("decoding needs more memory than is allowed")
    if not isinstance(error, MediaError):
        error = DecoderFailed()
    wire.send(connection, wire.Error(name=type(error).__name__, message=error.message))
