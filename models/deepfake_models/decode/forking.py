"""The fork server: ``python -m deepfake_models.decode.forking FD OPTIONS``.

It imports everything that parsing needs, and then forks a process for each item of the parent. That
process confines itself (``worker.run_confined``). Each one starts from the memory of this process,
which never sees a byte of any item: what an item does to its process cannot reach the next one.

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

from deepfake_models.decode import protocol as wire
from deepfake_models.decode import serving
from deepfake_models.decode.confinement import require_one_thread
from deepfake_models.decode.worker import END, run_confined

REAP_INTERVAL_S = 1.0
"""How often processes that ended by themselves are reaped."""

MAX_MESSAGE_BYTES = 64


def main() -> None:
    """Run the fork server."""
    control = socket.socket(fileno=int(sys.argv[1]))
    options = wire.Options.model_validate_json(sys.argv[2])
    # The parent decides when to stop. Terminals and service managers signal all its processes.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    tasks = serving.load(options)
    require_one_thread()
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
        """The first process of each pair, by the number that the parent gave it."""

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
            os.waitpid(pid, 0)

    def _start(self, number: int, connection: int) -> None:
        parent = os.getpid()
        with suppress(OSError):  # without a process, the closed socket tells the parent
            pid = os.fork()
            if pid == 0:
                self._become_process(connection, parent)
            self._processes[number] = pid
        os.close(connection)

    def _become_process(self, connection: int, parent: int) -> None:
        try:
            self._control.close()
            run_confined(
                connection,
                parent,
                lambda beginning, pid: serving.run(
                    connection, self._options, self._tasks, beginning, pid
                ),
            )
        finally:
            os._exit(0)

    def _end(self, number: int) -> None:
        if number in self._processes:
            # It has not been reaped, so the number of the process is still its own.
            os.kill(self._processes[number], END)

    def _reap(self) -> None:
        for number, pid in list(self._processes.items()):
            if os.waitpid(pid, os.WNOHANG)[0]:
                del self._processes[number]


if __name__ == "__main__":
    main()
