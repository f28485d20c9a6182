"""The item of a confined process: the bytes that it asks for, its answers, and its time."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from multiprocessing.connection import Connection
from typing import Protocol

from deepfake_models import errors
from deepfake_models.decode import protocol as wire
from deepfake_models.decode.base import GuardedSource
from deepfake_models.decode.watchdog import Watchdog
from deepfake_models.errors import MediaError, SourceTooSlow

MAX_SOURCE_S = 3600.0
"""Time that reading the source of one item may take. The process is not charged for it, but without
a limit one that was taken over could ask for bytes for ever."""

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
"""Errors that a process may report, by name."""


class Conversation(Protocol):
    """What an item needs of the process that works on it."""

    connection: Connection

    def exchange(self, seconds: float) -> AbstractContextManager[Watchdog]:
        """Bound a conversation with the process to ``seconds``."""
        ...


class Item:
    """A source that a process works on, and the time that is left for it."""

    def __init__(
        self, process: Conversation, source: GuardedSource, size: int, budget_s: float
    ) -> None:
        self._process = process
        self._source = source
        self._size = size
        self.budget_s = budget_s
        self._source_s = MAX_SOURCE_S
        self._watchdog: Watchdog | None = None

    @contextmanager
    def exchange(self) -> Iterator[None]:
        """Bound a conversation with the process to the time that is left, apart from reading."""
        with self._process.exchange(self.budget_s) as watchdog:
            self._watchdog = watchdog
            try:
                yield
            finally:
                self.budget_s = watchdog.left_s()

    def answer(self) -> wire.Answer:
        """Return the next message of the process after serving its requests for bytes.

        Raises:
            WireError: the process violated the protocol.
            MediaError: the process reports it.
            Exception: whatever the source raised.
        """
        while True:
            message = wire.receive_answer(self._process.connection)
            if isinstance(message, wire.Read):
                self._serve(message)
            elif isinstance(message, wire.Error):
                self._source.check()
                raise _relayed(message)
            else:
                return message

    def _serve(self, request: wire.Read) -> None:
        if request.offset > self._size:
            raise wire.WireError
        assert self._watchdog is not None
        started = time.monotonic()
        content: bytes | None = None
        # A slow store is no fault of the media. The guarded source keeps the exception that it
        # raised, to be raised when the process gives up.
        with self._watchdog.paused(), suppress(Exception):
            content = self._read(request.offset, request.length)
        self._source_s -= time.monotonic() - started
        if self._source_s < 0.0:
            raise SourceTooSlow
        if content is None:
            wire.send(self._process.connection, wire.Unreadable())
        else:
            wire.send_data(self._process.connection, content)

    def _read(self, offset: int, length: int) -> bytes:
        self._source.seek(offset)
        parts: list[bytes] = []
        while length > 0 and (part := self._source.read(length)):
            parts.append(part)
            length -= len(part)
        return b"".join(parts)


def _relayed(message: wire.Error) -> MediaError:
    if message.name not in RELAYED:
        raise wire.WireError
    return RELAYED[message.name](message.message)
