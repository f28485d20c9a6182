"""A decoder process for parents of earlier versions, which confines itself.

They run ``python -m deepfake_models.decode.worker FD [OPTIONS]``, with a ``protocol.Options`` in
JSON, and give one process many items; ``forking`` starts the others. It is two processes. The first
enters namespaces, starts the second, and waits, since only a child is inside a new process
namespace; it never sees a byte of the media. The second imports the libraries that parse, confines
itself and serves the parent over the inherited socket ``FD``.
"""

from __future__ import annotations

import os
import signal
import sys

from deepfake_models.decode.confinement import Beginning, end_with_parent, enter_namespaces

ORPHAN_CHECK_S = 1.0
"""How often the first process checks that its parent still runs. PR_SET_PDEATHSIG would not do for
it: that signal is sent when the *thread* that started the process ends."""

_AWAITED = {signal.SIGTERM, signal.SIGCHLD}


def main() -> None:
    """Run a decoder process for a parent of an earlier version."""
    connection = int(sys.argv[1])
    options = sys.argv[2] if len(sys.argv) > 2 else None
    parent = os.getppid()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides when to stop
    signal.pthread_sigmask(signal.SIG_BLOCK, _AWAITED)
    beginning = enter_namespaces()
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(writing)
        _parse(connection, options, beginning, reading)
    else:
        os.close(connection)
        os.close(reading)
        os.write(writing, b"%d" % pid)
        os.close(writing)
        supervise(pid, parent)


def supervise(pid: int, parent: int) -> None:
    """Wait until the process ``pid`` ends; end it if ``parent`` says so or has ended.

    It is reaped here, because a service that is the first process of a container reaps nothing.
    """
    while os.waitpid(pid, os.WNOHANG)[0] == 0:
        received = signal.sigtimedwait(_AWAITED, ORPHAN_CHECK_S)
        # Service managers send SIGTERM to every process of a service that shall stop; items in work
        # are still finished then.
        asked = (
            received is not None
            and received.si_signo == signal.SIGTERM
            and received.si_pid == parent
        )
        if asked or os.getppid() != parent:
            os.kill(pid, signal.SIGKILL)


def _parse(connection: int, options: str | None, beginning: Beginning, pid_source: int) -> None:
    end_with_parent(signal.SIGKILL)
    pid = os.read(pid_source, 32)
    os.close(pid_source)
    if not pid:  # the first process ended before it was watched
        return
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _AWAITED)
    from deepfake_models.decode import serving

    serving.run_for_earlier_version(connection, options, beginning, int(pid))


if __name__ == "__main__":
    main()
