"""The fork server of a pool: ``python -m deepfake_models.sandbox.server FD OPTIONS``.

Its parent holds a ``ForkServer``. The program imports everything that parsing needs, and then forks
a process for each item of the parent, which costs some milliseconds instead of the half second that
the imports take. That process confines itself. Each one starts from the memory of the server, which
never sees a byte of any item: what an item does to its process cannot reach the next one.

The parent sends datagrams over the inherited socket ``FD``: ``start N`` with a socket, on which the
process serves it, and ``end N``. ``OPTIONS`` is a ``protocol.Options`` in JSON.
"""

from __future__ import annotations

import gc
import importlib.util
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from io import FileIO
from pathlib import Path

from deepfake_models.errors import DecoderFailed
from deepfake_models.sandbox import protocol as wire
from deepfake_models.sandbox.confinement import (
    Beginning,
    adopt_grandchildren,
    end_with_parent,
    enter_namespaces,
    require_one_thread,
)

PACKAGE_FOLDER = Path(__file__).resolve().parents[2]
"""The folder from which this process imports ``deepfake_models``."""

START_TIMEOUT_S = 180.0
"""Time for the server to import its libraries and start a process: usually half a second, but far
longer under load."""

END_TIMEOUT_S = 5.0
"""Time for the server to end when it is asked to, before it is killed."""

REAP_INTERVAL_S = 1.0
"""How often processes that ended by themselves are reaped."""

MAX_MESSAGE_BYTES = 64

MAX_NUMBER_BYTES = 32
"""Of the number of a process, in decimal digits."""

_Serve = Callable[[int, Beginning, int], None]
"""Confines the process and serves its socket: ``child.run`` with its options and tasks."""


class ForkServer:
    """A process that starts confined processes and ends them. It never sees a byte of any item. Its
    methods may be called from several threads at once."""

    def __init__(self, options: wire.Options) -> None:
        # Each message on such a socket arrives whole, so that threads need no lock.
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._control.settimeout(START_TIMEOUT_S)
        with theirs:
            self._process = subprocess.Popen(  # noqa: S603 - fixed command, own interpreter
                [sys.executable, "-P", "-s", "-m", "deepfake_models.sandbox.server",
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

    def start(self, number: int, connection: socket.socket) -> None:
        """Ask for a process that serves the other end of ``connection``, without waiting for it.

        ``number`` is its name in ``end``. If none can be started, the connection is closed.
        ``DecoderFailed`` if the server has ended.
        """
        try:
            socket.send_fds(self._control, [b"start %d" % number], [connection.fileno()])
        except OSError as error:
            self.close()
            raise DecoderFailed from error

    def end(self, number: int) -> None:
        """Ask to end a process. Nothing happens if it has ended, which it does with the server."""
        with suppress(OSError):
            self._control.send(b"end %d" % number)

    def alive(self) -> bool:
        return self._process.poll() is None

    def close(self) -> None:
        """End the server and all its processes, and wait for that."""
        with suppress(OSError):
            self._control.shutdown(socket.SHUT_RDWR)
        try:
            self._process.wait(END_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()  # its processes end when they miss it
            self._process.wait()
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


def main() -> None:
    # The parent imports this module as well, and needs no decoders.
    from deepfake_models.sandbox import child

    control = socket.socket(fileno=int(sys.argv[1]))
    options = wire.Options.model_validate_json(sys.argv[2])
    # The parent decides when to stop. Terminals and service managers signal all its processes.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    tasks = child.load(options)
    require_one_thread()
    adopt_grandchildren()
    # The processes share this memory until it is written to, which a collection would do.
    gc.collect()
    gc.freeze()
    _Server(control, partial(child.run, options=options, tasks=tasks)).run()


class _Server:
    def __init__(self, control: socket.socket, serve: _Serve) -> None:
        self._control = control
        self._serve = serve
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
        self._serve(connection, beginning, int(number))

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
