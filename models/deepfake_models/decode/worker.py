"""A decoder process, which confines itself.

It is two processes. The first enters namespaces, starts the second, and waits, since only a child
is inside a new process namespace; it never sees a byte of the media. The second confines itself and
serves the parent over an inherited socket.

``forking`` starts them. Parents of earlier versions run ``python -m deepfake_models.decode.worker
FD [OPTIONS]`` instead, with a ``protocol.Options`` in JSON, and give one process many items. Then
only the second process imports the libraries that parse.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable

from deepfake_models.decode.confinement import Beginning, end_with_parent, enter_namespaces

ORPHAN_CHECK_S = 1.0
"""How often the first process checks that its parent still runs. PR_SET_PDEATHSIG would not do for
it: that signal is sent when the *thread* that started the process ends."""


END = signal.SIGUSR1
"""Ends a process. Not SIGTERM, which service managers send to every process of a service that shall
stop: items in work are still finished then."""
_AWAITED = {END, signal.SIGTERM, signal.SIGCHLD}

Parse = Callable[[Beginning, int], None]
"""Confines the second process, and serves the parent; gets its beginning and its number."""


def main() -> None:
    """Run a decoder process for a parent of an earlier version."""
    connection = int(sys.argv[1])
    options = sys.argv[2] if len(sys.argv) > 2 else None
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides when to stop

    def parse(beginning: Beginning, pid: int) -> None:
        from deepfake_models.decode import serving

        serving.run_for_earlier_version(connection, options, beginning, pid)

    run_confined(connection, os.getppid(), parse)


def run_confined(connection: int, parent: int, parse: Parse) -> None:
    """Start the second process, which runs ``parse``, and wait until it ends.

    Args:
        connection: the socket of the second process.
        parent: the process without which both end.
        parse: returns when the parent has closed the connection.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, _AWAITED)
    beginning = enter_namespaces()
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(writing)
        _parse(parse, beginning, reading)
    else:
        os.close(connection)
        os.close(reading)
        os.write(writing, b"%d" % pid)
        os.close(writing)
        supervise(pid, parent)


def supervise(pid: int, parent: int) -> None:
    """Wait until the process ``pid`` ends; end it on ``END``, or when ``parent`` has ended.

    It is reaped here, because a service that is the first process of a container reaps nothing.
    """
    while os.waitpid(pid, os.WNOHANG)[0] == 0:
        received = signal.sigtimedwait(_AWAITED, ORPHAN_CHECK_S)
        asked = received is not None and (
            received.si_signo == END
            # Parents of earlier versions send this one.
            or (received.si_signo == signal.SIGTERM and received.si_pid == parent)
        )
        if asked or os.getppid() != parent:
            os.kill(pid, signal.SIGKILL)


def _parse(parse: Parse, beginning: Beginning, pid_source: int) -> None:
    end_with_parent(signal.SIGKILL)
    pid = os.read(pid_source, 32)
    os.close(pid_source)
    if not pid:  # the first process ended before it was watched
        return
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _AWAITED)
    parse(beginning, int(pid))


if __name__ == "__main__":
    main()
