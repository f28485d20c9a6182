"""The messages between a decoder process and its parent: JSON or raw bytes, never pickle.

Messages are length-prefixed blocks (``multiprocessing.connection``): a JSON object after the byte
``J``, or the byte ``D`` alone and plain data in the next block. The parent trusts nothing that the
child sends: the length of every block is bounded before it is read, and every field is validated.
"""

from __future__ import annotations

import math
import socket
import struct
import time
from collections.abc import Callable
from dataclasses import replace
from multiprocessing.connection import Connection
from typing import Annotated, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from deepfake_models.bundle.results import MediaFacts, Unexamined
from deepfake_models.errors import DeepfakeError
from deepfake_models.media.interface import DecodeLimits
from deepfake_models.sandbox.confinement import Layer

T = TypeVar("T")
R = TypeVar("R")

JSON, DATA = b"J", b"D"
_LENGTH = struct.Struct("!i")
"""Of a block, as ``multiprocessing.connection`` writes it."""

MAX_JSON_BYTES = 16 << 10
"""Longest JSON message that is read; real ones have a few hundred bytes."""

MAX_READ_BYTES = 1 << 20
"""Most that a child may ask for at once, and the size of the blocks that it caches."""

MAX_ARGUMENT_BYTES = 4 << 20
"""Longest argument of a task, such as a file of trusted certificates."""

MAX_RESULT_BYTES = 256 << 20
"""Longest result of a task."""

MAX_PIECE_BYTES = 1 << 20
"""Longest piece of a result that comes in pieces."""

MAX_TEXT = 300
"""Characters of a text from the child that are passed on."""


class WireError(DeepfakeError):
    """The decoder process sent a message that its protocol does not allow."""


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else " " for c in text[:MAX_TEXT])


Count = Annotated[int, Field(ge=0)]
Size = Annotated[int, Field(ge=1)]
Text = Annotated[str, AfterValidator(_printable)]
"""Printable, and cut to ``MAX_TEXT`` characters."""


class Message(BaseModel):
    """A JSON message; ``op`` tells which."""

    model_config = ConfigDict(
        frozen=True, strict=True, extra="forbid", allow_inf_nan=False, validate_by_name=True
    )


class Options(Message):
    """How a process is started, as its argument on the command line."""

    tasks: tuple[str, ...] = ()
    """What it may be asked to run besides decoding, each as ``package.module:function``."""
    memory_bytes: Size = 6 << 30
    """Address space. A 10-bit 8K stream with 16 reference frames takes 2 GiB, interpreter and
    libraries 1 GiB, a 50-megapixel frame with its copies 1 GiB. A decompression bomb must fail well
    before the machine does."""
    cpu_s: Size = 24 * 3600
    """Processor seconds."""


# Sent by the parent.


class Open(Message):
    """Open the media of ``size`` bytes; the child answers ``Opened``, and data: the times."""

    op: Literal["open"] = "open"
    size: Count
    limits: DecodeLimits
    stills_only: bool


class Frames(Message):
    """Begin to decode the frames whose indices follow as data, little-endian 64-bit integers."""

    op: Literal["frames"] = "frames"


class Next(Message):
    op: Literal["next"] = "next"


class Run(Message):
    """Run a task on a source of ``size`` bytes. Data follow: its argument. The child answers
    ``Finished``."""

    op: Literal["run"] = "run"
    task: str
    size: Count
    memory_bytes: Size
    """Address space while it runs."""
    cpu_s: Annotated[float, Field(gt=0.0)]
    """Processor time."""


class Unreadable(Message):
    """The bytes that a ``Read`` asks for cannot be read; else the answer is data: the bytes."""

    op: Literal["unreadable"] = "unreadable"


# Sent by the child.


class Confined(Message):
    """The child has started, has confined itself, and waits for items."""

    op: Literal["confined"] = "confined"
    pid: Size
    """Its number outside its process namespace."""
    missing: Annotated[tuple[Layer, ...], Field(strict=False)]
    """The layers of its confinement that the kernel did not grant."""


class Piece(Message):
    """Data follow: a piece of the result of a task, which goes on."""

    op: Literal["piece"] = "piece"


class Finished(Message):
    """A task has ended. Data follow: its result, or the last piece of it."""

    op: Literal["finished"] = "finished"


class Read(Message):
    """Send bytes of the media. May come before the answer to any request."""

    op: Literal["read"] = "read"
    offset: Count
    length: Annotated[int, Field(ge=0, le=MAX_READ_BYTES)]


class Opened(Message):
    """The media are open. Data follow: ``frames`` times, little-endian 64-bit floats."""

    op: Literal["opened"] = "opened"
    facts: MediaFacts
    frames: Size

    def checked(self, limits: DecodeLimits) -> MediaFacts:
        """Return the facts; ``WireError`` if they contradict themselves, or media with such facts
        exceed ``limits`` and must not have been opened."""
        facts, duration = self.facts, self.facts.duration_s
        still = facts.kind == "image"
        if (
            facts.kind not in ("image", "video")
            or facts.rotation not in (0, 90, 180, 270)
            or min(facts.width, facts.height) < 1
            or len(facts.unexamined) > len(Unexamined)
            or self.frames > (1 if still else limits.max_frames)
            or facts.width * facts.height > limits.max_pixels
            or not (still or (duration is not None and 0.0 <= duration <= limits.max_duration_s))
        ):
            raise WireError
        return replace(facts, duration_s=None if still else duration, frames=self.frames)


class FrameHeader(Message):
    """A decoded frame. Data follow: its pixels, uint8 RGB by rows."""

    op: Literal["frame"] = "frame"
    index: Count
    height: Size
    width: Size


class Failed(Message):
    """A frame could not be decoded."""

    op: Literal["failed"] = "failed"
    index: Count
    detail: Text


class Error(Message):
    """The media cannot be examined. The child has closed them."""

    op: Literal["error"] = "error"
    name: Annotated[str, Field(alias="class")]
    """The name of a class of ``deepfake_models.errors``."""
    message: Text


Request = Open | Run | Frames | Next
Answer = Confined | Read | Opened | FrameHeader | Failed | Piece | Finished | Error

_REQUEST: TypeAdapter[Request] = TypeAdapter(Annotated[Request, Field(discriminator="op")])
_ANSWER: TypeAdapter[Answer] = TypeAdapter(Annotated[Answer, Field(discriminator="op")])


class TimedConnection:
    """The parent's end of a ``multiprocessing.connection``. What is waited for takes no longer than
    ``left_s`` in all, even within a block: ``TimeoutError`` once that is over."""

    def __init__(self, end: socket.socket) -> None:
        self._socket = end
        self.left_s = math.inf

    def send_bytes(self, block: bytes | bytearray | memoryview) -> None:
        """Send a block; ``OSError`` if the other side has gone."""
        self._timed(self._socket.sendall, b"".join((_LENGTH.pack(len(block)), block)))

    def recv_bytes(self, limit: int) -> bytearray:
        """Return the next block; ``EOFError`` if the other side has gone, ``OSError`` if the block
        has more than ``limit`` bytes."""
        (length,) = _LENGTH.unpack(self._received(_LENGTH.size))
        if not 0 <= length <= limit:
            raise OSError("the block is too long")
        return self._received(length)

    def close(self) -> None:
        self._socket.close()

    def _received(self, length: int) -> bytearray:
        block = bytearray(length)
        left = memoryview(block)
        while left:
            count = self._timed(self._socket.recv_into, left)
            if not count:
                raise EOFError
            left = left[count:]
        return block

    def _timed(self, call: Callable[[T], R], argument: T) -> R:
        if self.left_s <= 0.0:
            raise TimeoutError
        self._socket.settimeout(None if self.left_s == math.inf else self.left_s)
        started = time.monotonic()
        try:
            return call(argument)
        finally:
            self.left_s -= time.monotonic() - started


AnyConnection = Connection | TimedConnection


def send(
    connection: AnyConnection, message: Message, data: bytes | bytearray | memoryview | None = None
) -> None:
    """Send a message, and the ``data`` that it announces."""
    connection.send_bytes(JSON + message.model_dump_json(by_alias=True).encode())
    if data is not None:
        send_data(connection, data)


def send_data(connection: AnyConnection, data: bytes | bytearray | memoryview) -> None:
    """Send plain data, after a message that announces them."""
    connection.send_bytes(DATA)
    connection.send_bytes(data)


def receive_request(connection: AnyConnection) -> Request:
    """Return the next message of the parent; ``EOFError`` if the parent has closed the connection,
    ``WireError`` if the next message is not a request."""
    return _parsed(connection, _REQUEST)


def receive_answer(connection: AnyConnection) -> Answer:
    """Return the next message of the child; ``EOFError`` if the child has closed the connection,
    ``WireError`` if the next message is not one that a child may send."""
    return _parsed(connection, _ANSWER)


def receive_data(connection: AnyConnection, limit: int) -> bytes | bytearray:
    """Return the next message but one, which must be data of at most ``limit`` bytes, announced by
    the next message; ``EOFError`` if the other side has closed the connection, ``WireError`` if the
    next message is something else."""
    if _block(connection, MAX_JSON_BYTES) != DATA:
        raise WireError
    return _block(connection, limit)


def _parsed(connection: AnyConnection, adapter: TypeAdapter[T]) -> T:
    block = _block(connection, MAX_JSON_BYTES)
    if block[:1] != JSON:
        raise WireError
    try:
        return adapter.validate_json(block[1:])
    except ValidationError as error:
        raise WireError from error


def _block(connection: AnyConnection, limit: int) -> bytes | bytearray:
    try:
        return connection.recv_bytes(limit)
    except (EOFError, TimeoutError):
        raise
    except OSError as error:  # longer than the limit, or the other side has gone
        raise WireError from error
