"""The fork server: ``python -m deepfake_models.decode.forking FD OPTIONS``.

It imports everything that parsing needs, and then forks a process for each item of the parent. That
process confines itself. Each one starts from the memory of this process, which never sees a byte of
any item: what an item does to its process cannot reach the next one.

The parent sends datagrams over the inherited socket ``FD``: ``start N`` with a socket, on which the
process serves it, and ``end N``. ``OPTIONS`` is a ``protocol.Options`` in JSON.
"""

from __future__ import annotations

import gc
import os
import select
import signal
import socket
import sys
from contextlib import suppress
from io import FileIO

from deepfake_models.decode import protocol as wire
from deepfake_models.decode import serving
from deepfake_models.decode.confinement import (
    adopt_grandchildren,
    end_with_parent,
    enter_namespaces,
    require_one_thread,
)

REAP_INTERVAL_S = 1.0
"""How often processes that ended by themselves are reaped."""

MAX_MESSAGE_BYTES = 64

MAX_NUMBER_BYTES = 32
"""Of the number of a process, in decimal digits."""


def main() -> None:
    """Run the fork server."""
    control = socket.socket(fileno=int(sys.argv[1]))
    options = wire.Options.model_validate_json(sys.argv[2])
    # The parent decides when to stop. Terminals and service managers signal all its processes.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    tasks = serving.load(options)
    require_one_thread()
    adopt_grandchildren()
    # The processes share this memory until it is written to, which a collection would do.
    gc.collect()
    gc.freeze()
    _Server(control, options, tasks).run()


class _Server:
    def __init__(
        self, control: socket.socket, options: wire.Options, tasks: dict[str, serving.Task]
    ) -> None:
        self._control = control
        self._options = options
        self._tasks = tasks
        self._processes: dict[int, int] = {}
        """The processes by the numbers that the parent gave them."""
        self._itself: int | None = None
        """A descriptor of this process (pidfd_open(2)), by which others see whether it runs."""
        with suppress(OSError):  # Linux before 5.3, and some sandboxes
            self._itself = os.pidfd_open(os.getpid())

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
                self._start(int(number), descriptors[0])
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
        told its number.

        Raises:
            OSError: no process could be started.
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
        end_with_parent(signal.SIGKILL)
        if not self._has_ended():
            serving.run(connection, self._options, self._tasks, beginning, int(number))

    def _has_ended(self) -> bool:
        """Return, in another process, whether the server has ended before it was watched."""
        if self._itself is None:
            return False
        ended = bool(select.select([self._itself], [], [], 0)[0])
        os.close(self._itself)
        return ended

    def _end(self, number: int) -> None:
        if number in self._processes:
            # It has not been reaped, so the number of the process is still its own.
            os.kill(self._processes[number], signal.SIGKILL)

    def _reap(self) -> None:
        with suppress(ChildProcessError):
            while pid := os.waitpid(-1, os.WNOHANG)[0]:
                self._processes = {n: p for n, p in self._processes.items() if p != pid}


def _pipe() -> tuple[FileIO, FileIO]:
    """Return the end of a pipe that is read, and the one that is written to."""
    reading, writing = os.pipe()
    return FileIO(reading, "r"), FileIO(writing, "w")


if __name__ == "__main__":
    main()
