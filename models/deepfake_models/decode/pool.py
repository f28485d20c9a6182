"""A pool of confined processes, each of which serves one item and ends.

An item that crashes, hangs or takes over the libraries that parse it costs its own process: that
process can neither open a file, nor reach a network or another process (see ``confinement``), and
no other item, nor another look at the same item, meets it.
"""

from __future__ import annotations

import queue
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import BinaryIO

from deepfake_models.decode import protocol as wire
from deepfake_models.decode.confinement import Confinement
from deepfake_models.decode.fork_server import ForkServer
from deepfake_models.decode.process import ConfinedProcess, TaskBounds
from deepfake_models.errors import DecoderFailed, SandboxBusy, SandboxIncomplete


class ProcessPool:
    """Confined processes, each for one item.

    At most ``size`` items are in work at once: the next one waits for its turn, so a thread must
    not hold several processes. When an item is done, a process for the next one is started at once,
    so that it need not be waited for. With ``require``, a process that lacks a layer of its
    confinement is not used.
    """

    def __init__(
        self, options: wire.Options | None = None, size: int = 2, *, require: bool = False
    ) -> None:
        if size < 1:
            raise ValueError("a pool needs at least one process")
        self._options = options or wire.Options()
        self._require = require
        self._slots: queue.LifoQueue[ConfinedProcess | None] = queue.LifoQueue()
        for _ in range(size):
            self._slots.put(None)
        self._processes: set[ConfinedProcess] = set()
        self._servers: set[ForkServer] = set()
        """The server, if it has been started and was not found dead."""
        self._confinement: Confinement | None = None
        self._closed = False
        self._lock = threading.Lock()
        self._finalizer = weakref.finalize(self, _end_all, self._processes, self._servers)

    def confinement(self) -> Confinement:
        """Return the layers that the processes lack. The first process is started for it.

        Raises:
            SandboxIncomplete: there are such layers, and all are required.
            DecoderFailed: no process starts.
        """
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
        process = self._take(wait_s)
        try:
            yield process
        finally:
            self._give_back(process)

    def run(self, task: str, source: BinaryIO, argument: bytes, bounds: TaskBounds) -> bytes:
        """Run one of the tasks of ``options`` on ``source``, and return its result.

        Raises:
            DecoderFailed: the process crashed, or exceeded its memory or time (DecoderTooSlow).
            SourceTooSlow: reading the source took longer than ``MAX_SOURCE_S``.
            SandboxBusy, SandboxIncomplete: see ``process``.
            MediaError: the task reported it. Errors of ``source`` are passed on.
        """
        with self.process(bounds.wait_s) as process:
            return process.run(task, source, argument, bounds)

    def close(self) -> None:
        """End all processes. Items that are still in work fail with ``DecoderFailed``."""
        with self._lock:
            self._closed = True
        self._finalizer()

    def _take(self, wait_s: float | None) -> ConfinedProcess:
        try:
            started = self._slots.get(timeout=wait_s)
        except queue.Empty:
            raise SandboxBusy from None
        try:
            if started is not None:
                # One that died while it waited for an item is replaced.
                with suppress(DecoderFailed):
                    self._await(started)
                    if started.alive():
                        return started
                    self._discard(started)
            process = self._start()
            self._await(process)
            return process
        except BaseException:
            if started is not None:  # an error other than its own, such as that of a new thread
                self._discard(started)
            self._slots.put(None)
            raise

    def _give_back(self, process: ConfinedProcess) -> None:
        following = None
        try:
            self._discard(process)
            # OSError: this process may have no descriptor left. The next item tries again, and
            # reports it.
            with suppress(DecoderFailed, OSError):
                following = self._start()
        finally:
            self._slots.put(following)

    def _start(self) -> ConfinedProcess:
        """Start a process without waiting for it."""
        with self._lock:
            if self._closed:
                raise DecoderFailed("the decoder is closed")
            try:
                process = ConfinedProcess(self._running_server())
            except DecoderFailed:  # the server has died this moment
                process = ConfinedProcess(self._running_server())
            self._processes.add(process)
            return process

    def _running_server(self) -> ForkServer:
        for server in list(self._servers):
            if server.alive():
                return server
            server.close()
            self._servers.discard(server)
        server = ForkServer(self._options)
        self._servers.add(server)
        return server

    def _await(self, process: ConfinedProcess) -> None:
        """Wait until a process is ready; one that must not be used is discarded."""
        try:
            confinement = process.await_ready()
            if self._require and not confinement.complete:
                raise SandboxIncomplete(missing_layers(confinement))
            self._confinement = confinement
        except BaseException:
            self._discard(process)
            raise

    def _discard(self, process: ConfinedProcess) -> None:
        process.end()
        with self._lock:
            self._processes.discard(process)


def missing_layers(confinement: Confinement) -> str:
    """Return a message that names the layers that ``confinement`` lacks."""
    return (
        "The kernel or the container does not grant these layers of the sandbox: "
        f"{', '.join(confinement.missing)}."
    )


def _end_all(processes: set[ConfinedProcess], servers: set[ForkServer]) -> None:
    for process in list(processes):
        process.kill()
    for server in list(servers):
        server.close()
