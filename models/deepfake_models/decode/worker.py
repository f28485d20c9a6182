"""The decoder process: ``python -m deepfake_models.decode.worker FD [OPTIONS]``.

It is two processes. The first enters namespaces, starts the second, and waits, since only a child
is inside a new process namespace; it never sees a byte of the media. The second confines itself and
serves items over the inherited socket ``FD``. ``OPTIONS`` is a ``protocol.Options`` in JSON, which
parents of earlier versions do not pass.

Only the second process imports the libraries that parse: the first one stays small and has one
thread, without which there are no namespaces.
"""

from __future__ import annotations

import os
import signal
import sys

from deepfake_models.decode.confinement import Beginning, end_with_parent, enter_namespaces

ORPHAN_CHECK_S = 1.0
"""How often the first process checks that its parent still runs. PR_SET_PDEATHSIG would not do for
it: that signal is sent when the *thread* that started the process ends."""


def main() -> None:
    """Run the decoder process."""
    connection = int(sys.argv[1])
    options = sys.argv[2] if len(sys.argv) > 2 else None
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides when to stop
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGCHLD})
    parent = os.getppid()
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
    """Wait until the process ``pid`` ends; end it on SIGTERM, or when ``parent`` has ended.

    It is reaped here, because a service that is the first process of a container reaps nothing.
    """
    while os.waitpid(pid, os.WNOHANG)[0] == 0:
        received = signal.sigtimedwait({signal.SIGTERM, signal.SIGCHLD}, ORPHAN_CHECK_S)
        asked = received is not None and received.si_signo == signal.SIGTERM
        if asked or os.getppid() != parent:
            os.kill(pid, signal.SIGKILL)


def _parse(connection: int, options: str | None, beginning: Beginning, pid_source: int) -> None:
    end_with_parent(signal.SIGKILL)
    pid = os.read(pid_source, 32)
    os.close(pid_source)
    if not pid:  # the first process ended before it was watched
        return
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM, signal.SIGCHLD})
    from deepfake_models.decode import serving

    serving.run(connection, options, beginning, int(pid))


if __name__ == "__main__":
    main()
