"""One confined process, and the item that it works on."""

from __future__ import annotations

import itertools
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import BinaryIO

from deepfake_models.decode import protocol as wire
from deepfake_models.decode.base import GuardedSource
from deepfake_models.decode.confinement import Confinement
from deepfake_models.decode.fork_server import START_TIMEOUT_S, ForkServer
from deepfake_models.decode.item import Item
from deepfake_models.decode.watchdog import Watchdog
from deepfake_models.errors import DecoderFailed, DecoderTooSlow, MediaError

PING_TIMEOUT_S = 30.0
"""Time for an idle process to answer: usually no time at all, but far longer under load."""


@dataclass(frozen=True, slots=True)
class TaskBounds:
    """Limits on one task."""

    timeout_s: float
    """Seconds that may be spent waiting for the process, apart from reading the source."""
    memory_bytes: int
    """Address space of the process while it runs the task."""
    cpu_s: float = 3600.0
    """Processor time of the task."""
    wait_s: float | None = None
    """Seconds to wait for a free process; ``None`` waits as long as it takes."""


class ConfinedProcess:
    """One confined process and the connection to it."""

    _numbers = itertools.count()

    def __init__(self, server: ForkServer) -> None:
        """Ask ``server`` for a process, without waiting for it.

        Raises:
            DecoderFailed: the server has ended.
        """
        self._server = server
        self._number = next(self._numbers)
        self.broken = False
        self._ready: wire.Confined | None = None
        ours, theirs = socket.socketpair()
        with ours, theirs:
            server.start(self._number, theirs)
            self._socket = ours.dup()
            self.connection = Connection(ours.detach())

    @property
    def pid(self) -> int:
        """The number of the process, once it is ready."""
        assert self._ready is not None
        return self._ready.pid

    def alive(self) -> bool:
        """Return whether the process, which may have waited for long, can take an item."""
        if self.broken:
            return False
        with suppress(DecoderFailed), self.exchange(PING_TIMEOUT_S):
            wire.send(self.connection, wire.Ping())
            if not isinstance(wire.receive_answer(self.connection), wire.Pong):
                raise wire.WireError
        return not self.broken

    def await_ready(self) -> Confinement:
        """Wait until the process has started, and return which layers it lacks.

        Raises:
            DecoderFailed: it did not start in time.
        """
        if self._ready is None:
            with self.exchange(START_TIMEOUT_S):
                answer = wire.receive_answer(self.connection)
                if not isinstance(answer, wire.Confined):
                    raise wire.WireError
            self._ready = answer
        return Confinement(self._ready.missing)

    def run(self, task: str, source: BinaryIO, argument: bytes, bounds: TaskBounds) -> bytes:
        """Run a task on ``source``, and return its result: see ``ProcessPool.run``."""
        guard = GuardedSource(source)
        size = guard.size()
        item = Item(self, guard, size, bounds.timeout_s)
        with item.exchange():
            request = wire.Run(
                task=task, size=size, memory_bytes=bounds.memory_bytes, cpu_s=bounds.cpu_s
            )
            wire.send(self.connection, request)
            wire.send_data(self.connection, argument)
            finished = item.answer()
            if not isinstance(finished, wire.Finished):
                raise wire.WireError
            result = wire.receive_data(self.connection, finished.size)
            if len(result) != finished.size:
                raise wire.WireError
        # A task may have caught the error of its source.
        guard.check()
        return result

    @contextmanager
    def exchange(self, seconds: float) -> Iterator[Watchdog]:
        """Bound a conversation with the process to ``seconds``.

        A watchdog then kills it, which ends any read from it or write to it, even one that is stuck
        within a message.

        Raises:
            DecoderFailed: the process died, was killed, or violated the protocol.
            DecoderTooSlow: the time was over.
        """
        watchdog = Watchdog(seconds, self.kill)
        try:
            yield watchdog
        except (wire.WireError, EOFError, OSError) as error:
            self.kill()
            raise (DecoderTooSlow if watchdog.has_expired else DecoderFailed) from error
        except MediaError:
            raise
        except BaseException:
            self.kill()
            raise
        finally:
            watchdog.stop()

    def kill(self) -> None:
        """End the process; safe from any thread, even while another one waits for its answer."""
        self.broken = True
        # First, because it ends the wait at once, while a server that hangs may not take orders.
        with suppress(OSError), self._socket:
            self._socket.shutdown(socket.SHUT_RDWR)
        self._server.end(self._number)

    def end(self) -> None:
        """End the process and close the connection: only for the thread that uses the process."""
        self.kill()
        self.connection.close()
