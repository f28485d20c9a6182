"""A pool of confined processes, each with one item at a time.

An item that crashes, hangs or takes over the libraries that parse it costs one process: that
process can neither open a file, nor reach a network or another process (see ``confinement``).
"""

from __future__ import annotations

import importlib.util
import queue
import socket
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import BinaryIO

from deepfake_models.decode import protocol as wire
from deepfake_models.decode.base import GuardedSource
from deepfake_models.decode.confinement import Confinement
from deepfake_models.decode.item import Item
from deepfake_models.decode.watchdog import Watchdog
from deepfake_models.errors import (
    DecoderFailed,
    DecoderTooSlow,
    MediaError,
    SandboxBusy,
    SandboxIncomplete,
)

PACKAGE_FOLDER = Path(__file__).resolve().parents[2]
"""The folder from which this process imports ``deepfake_models``."""

START_TIMEOUT_S = 180.0
"""Time for a process to import its libraries: usually half a second, but far longer under load."""

PING_TIMEOUT_S = 30.0
"""Time for an idle process to answer, likewise."""

END_TIMEOUT_S = 5.0
"""Time for a process to end when it is asked to, before it is killed."""

MAX_CPU_S = 3600.0
"""Processor time after which a process is replaced between two items, long before its limit."""


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


class ProcessPool:
    """Confined processes, started when they are first needed and reused.

    At most ``size`` items are in work at once: the next one waits for a free process, so a thread
    must not hold several. With ``require``, a process that lacks a layer of its confinement is not
    used.
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
        self._confinement: Confinement | None = None
        self._closed = False
        self._lock = threading.Lock()
        self._finalizer = weakref.finalize(self, _end_all, self._processes)

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
        guard = GuardedSource(source)
        size = guard.size()
        request = wire.Run(
            task=task, size=size, memory_bytes=bounds.memory_bytes, cpu_s=bounds.cpu_s
        )
        with self.process(bounds.wait_s) as process:
            item = Item(process, guard, size, bounds.timeout_s)
            with item.exchange():
                wire.send(process.connection, request)
                wire.send_data(process.connection, argument)
                finished = item.answer()
                if not isinstance(finished, wire.Finished):
                    raise wire.WireError
                result = wire.receive_data(process.connection, finished.size)
                if len(result) != finished.size:
                    raise wire.WireError
            # A task may have caught the error of its source.
            guard.check()
            return result

    def close(self) -> None:
        """End all processes. Items that are still in work fail with ``DecoderFailed``."""
        with self._lock:
            self._closed = True
        self._finalizer()

    def _take(self, wait_s: float | None) -> ConfinedProcess:
        try:
            idle = self._slots.get(timeout=wait_s)
        except queue.Empty:
            raise SandboxBusy from None
        try:
            if idle is not None and idle.alive():
                return idle
            if idle is not None:
                self._discard(idle)
            with self._lock:
                if self._closed:
                    raise DecoderFailed("the decoder is closed")
                process = ConfinedProcess(self._options)
                self._processes.add(process)
            try:
                confinement = process.await_ready()
                if self._require and not confinement.complete:
                    raise SandboxIncomplete(missing_layers(confinement))
                self._confinement = confinement
            except BaseException:
                self._discard(process)
                raise
            return process
        except BaseException:
            self._slots.put(None)
            raise

    def _give_back(self, process: ConfinedProcess) -> None:
        if process.broken or self._closed or process.worn_out():
            self._discard(process)
            self._slots.put(None)
        else:
            self._slots.put(process)

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


def _end_all(processes: set[ConfinedProcess]) -> None:
    for process in list(processes):
        process.kill()


class ConfinedProcess:
    """One confined process and the connection to it."""

    def __init__(self, options: wire.Options) -> None:
        ours, theirs = socket.socketpair()
        with ours, theirs:
            self._process = subprocess.Popen(  # noqa: S603 - fixed command, own interpreter
                [sys.executable, "-P", "-s", "-m", "deepfake_models.decode.worker",
                 str(theirs.fileno()), options.model_dump_json()],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                # Messages that libraries print about a file may quote its content.
                stderr=subprocess.DEVNULL,
                cwd="/",
                env={
                    # Parent and child must run the same code.
                    "PYTHONPATH": ":".join(_import_folders(options.tasks)),
                    "LC_ALL": "C.UTF-8",
                    "OPENBLAS_NUM_THREADS": "1",
                    "OMP_NUM_THREADS": "1",
                },
            )  # fmt: skip
            self.connection = Connection(ours.detach())
        self.broken = False
        self._pid: int | None = None

    @property
    def pid(self) -> int:
        """The number of the process that parses; the one that was started waits for it."""
        return self._pid or self._process.pid

    def alive(self) -> bool:
        """Return whether the process can take another item.

        It is asked, because it may be dying of its last item, after it has answered.
        """
        if self.broken or self._process.poll() is not None:
            return False
        with suppress(DecoderFailed), self.exchange(PING_TIMEOUT_S):
            wire.send(self.connection, wire.Ping())
            if not isinstance(wire.receive_answer(self.connection), wire.Pong):
                raise wire.WireError
        return not self.broken

    def worn_out(self) -> bool:
        """Return whether the process should be replaced before it reaches its limit of CPU time."""
        if self._pid is None:
            return False
        # clock_getcpuclockid(3) of glibc: the bits of the number inverted, then CPUCLOCK_SCHED.
        clock = (~self._pid << 3) | 2
        try:
            return time.clock_gettime(clock) > MAX_CPU_S
        except OSError:
            return True

    def await_ready(self) -> Confinement:
        """Wait until the process has started, and return which layers it lacks.

        Raises:
            DecoderFailed: it did not start in time.
        """
        with self.exchange(START_TIMEOUT_S):
            answer = wire.receive_answer(self.connection)
            if not isinstance(answer, wire.Confined):
                raise wire.WireError
        self._pid = answer.pid
        return Confinement(answer.missing)

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
        """End and reap the process; safe from any thread, even while another one waits for it."""
        self.broken = True
        with suppress(OSError):
            self._process.terminate()
        try:
            self._process.wait(END_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            with suppress(OSError):
                self._process.kill()
            self._process.wait()

    def end(self) -> None:
        """Kill the process and close the connection: only for the thread that uses the process."""
        self.kill()
        self.connection.close()


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
