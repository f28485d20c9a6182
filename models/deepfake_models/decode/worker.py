"""The decoder process: ``python -m deepfake_models.decode.worker FD``.

It serves one item at a time over the inherited socket ``FD``. It opens no files but asks the parent
for byte ranges of the media, so that encrypted and in-memory sources need no plaintext on disk.
"""

from __future__ import annotations

import ctypes
import io
import os
import resource
import signal
import sys
from collections import OrderedDict
from dataclasses import asdict
from multiprocessing.connection import Connection
from types import FrameType
from typing import BinaryIO, cast

import numpy as np
from PIL import Image

from deepfake_models.decode import protocol as wire
from deepfake_models.decode.base import FailedFrame, OpenMedia
from deepfake_models.decode.decoder import InProcessDecoder
from deepfake_models.errors import DecoderFailed, MediaError, MediaTooLarge

MEMORY_LIMIT = 6 << 30
"""Address space in bytes. A 10-bit 8K stream with 16 reference frames takes 2 GiB, interpreter and
libraries 1 GiB, a 50-megapixel frame with its copies 1 GiB. A decompression bomb must fail well
before the machine does."""

CACHED_BLOCKS = 16
"""Blocks of ``wire.MAX_READ_BYTES``. Indexes and interleaved tracks are read alternately."""

ORPHAN_CHECK_S = 1.0
"""How often a busy child checks that its parent still runs; an idle one sees its socket close.
PR_SET_PDEATHSIG would not do: it fires when the *thread* that started the child ends."""

PR_SET_DUMPABLE = 4


class RemoteFile(io.RawIOBase):
    """The media, read in blocks from the parent; ``OSError`` if the parent cannot read a block."""

    def __init__(self, connection: Connection, size: int) -> None:
        super().__init__()
        self._connection = connection
        self._size = size
        self._position = 0
        self._blocks: OrderedDict[int, bytes] = OrderedDict()

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

    def _block(self, number: int) -> bytes:
        if number in self._blocks:
            self._blocks.move_to_end(number)
            return self._blocks[number]
        offset = number * wire.MAX_READ_BYTES
        length = min(wire.MAX_READ_BYTES, self._size - offset)
        wire.send(self._connection, wire.Read(offset=offset, length=length))
        answer = self._connection.recv_bytes(wire.MAX_READ_BYTES + 1)
        if answer[:1] != wire.DATA:
            raise OSError("the source failed")
        self._blocks[number] = answer[1:]
        if len(self._blocks) > CACHED_BLOCKS:
            self._blocks.popitem(last=False)
        return self._blocks[number]


def confine() -> None:
    """Bound memory, forbid core dumps and writing to files, and end when the parent does."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_LIMIT, MEMORY_LIMIT))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    # Other processes of the same user may not trace this one: its memory holds the media.
    ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)
    parent = os.getppid()

    def check(_signal: int, _frame: FrameType | None) -> None:
        if os.getppid() != parent:
            os._exit(1)

    signal.signal(signal.SIGALRM, check)
    signal.setitimer(signal.ITIMER_REAL, ORPHAN_CHECK_S, ORPHAN_CHECK_S)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides when to stop


def serve(connection: Connection) -> None:
    """Serve items until the parent closes the connection.

    Raises:
        EOFError, BrokenPipeError: the parent has closed it.
        WireError: the parent violated the protocol.
    """
    wire.send(connection, wire.Ready())
    while True:
        request = wire.receive_request(connection)
        if not isinstance(request, wire.Open):
            raise wire.WireError
        source = cast("BinaryIO", RemoteFile(connection, request.size))
        decoder = InProcessDecoder(request.limits)
        try:
            with decoder.open(source, stills_only=request.stills_only) as media:
                _announce(connection, media)
                _serve_item(connection, media)
        except (EOFError, BrokenPipeError):
            raise
        except Exception as error:
            _report(connection, error)
        else:
            wire.send(connection, wire.Closed())


def _announce(connection: Connection, media: OpenMedia) -> None:
    times = np.ascontiguousarray(media.times, dtype="<f8")
    facts = wire.Facts.model_validate(asdict(media.facts))
    wire.send(connection, wire.Opened(facts=facts, frames=len(times)))
    wire.send_data(connection, times.tobytes())


def _serve_item(connection: Connection, media: OpenMedia) -> None:
    """Answer requests for frames until the item is closed."""
    results = iter(media.frames([]))
    while not isinstance(request := wire.receive_request(connection), wire.Close):
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


def main() -> None:
    """Run the decoder process."""
    confine()
    Image.init()  # loads Pillow's plug-ins now and not while decoding
    try:
        serve(Connection(int(sys.argv[1])))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return


if __name__ == "__main__":
    main()
