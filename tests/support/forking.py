"""Starts of ``deepfake`` without the two seconds of processor time in which it imports its modules.

One process imports them and forks a child for each start. The child gets an environment, standard
streams and a session of its own, may change to another network, and then runs the command as
``python -m deepfake_service`` does, or another program that tests have made of it.
Tests whose subject is the start itself use a new interpreter instead.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import functools
import gc
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

MODULE = "deepfake_service"
PRELOADED = (
    "deepfake_service.cli.serve", "deepfake_service.cli.backup", "deepfake_service.cli.restore",
    "deepfake_service.cli.processes", "deepfake_service.cli.app", "deepfake_service.worker",
    "onnxruntime", "anyio._backends._asyncio", "sqlalchemy.dialects.sqlite.pysqlite",
    "uvicorn.lifespan.on", "uvicorn.loops.asyncio",
    "deepfake_service.cli.admin",
    "deepfake_service.evidence.bundle.pdf_signature", "securesystemslib.signer",
    "alembic.command", "alembic.config",
)  # fmt: skip
"""What commands import, at once or later."""
MAX_REQUEST_BYTES = 2**17
NETWORKS = Path("/run/netns")
"""Where ``ip netns`` keeps the namespaces that it has named."""
RUN_S = 240.0


class ForkedProcess:
    """A child of the starter, with the part of the interface of ``Popen`` that tests need."""

    def __init__(self, pid: int, ended: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._ended = ended  # the read end of a pipe that receives the status of the child

    def poll(self) -> int | None:
        """Return the exit code as ``Popen`` does, or ``None`` while the process runs."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self.wait(0)
        return None

    def wait(self, timeout: float | None = None) -> int:
        """Wait until the process has ended and return its exit code."""
        if self.returncode is None:
            if not select.select([self._ended], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired([MODULE], timeout or 0)
            status = os.read(self._ended, 32)
            os.close(self._ended)
            assert status, "the process that starts commands has ended"
            self.returncode = os.waitstatus_to_exitcode(int(status))
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send a signal unless the process has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)


def run(
    words: Sequence[str], environment: Mapping[str, str], folder: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Run ``deepfake WORDS`` in ``folder`` until it has ended, and return what it printed."""
    with tempfile.TemporaryFile() as stdout, tempfile.TemporaryFile() as stderr:
        code = start(words, environment, (stdout, stderr), folder).wait(RUN_S)
        printed = []
        for file in (stdout, stderr):
            file.seek(0)
            printed.append(file.read().decode())
    return subprocess.CompletedProcess([MODULE, *words], code, *printed)


def start(
    words: Sequence[str],
    environment: Mapping[str, str],
    output: tuple[BinaryIO, BinaryIO],
    folder: Path | None = None,
    *,
    program: str = MODULE,
    namespace: str | None = None,
) -> ForkedProcess:
    """Start ``deepfake WORDS`` in a session of its own, without input.

    Args:
        words: the arguments.
        environment: all environment variables.
        output: the files of its standard output and its standard error.
        folder: where it runs.
        program: the module that is run.
        namespace: the name of the network namespace it runs in.
    """
    starter = _starter()
    where = str(folder or Path.cwd())
    request = {
        "words": words, "environment": dict(environment), "folder": where,
        "program": program, "namespace": namespace,
    }  # fmt: skip
    streams = [file.fileno() for file in output]
    ended, status = os.pipe()
    try:
        socket.send_fds(starter, [json.dumps(request).encode()], [*streams, status])
        pid = starter.recv(32)
        assert pid, "the process that starts commands has ended"
    except BaseException:
        os.close(ended)
        raise
    finally:
        os.close(status)
    return ForkedProcess(int(pid), ended)


@functools.cache
def _starter() -> socket.socket:
    """Start the process that forks, once in this process, and return the connection to it."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    # Settings of this process are no settings of the commands.
    environment = {k: v for k, v in os.environ.items() if not k.startswith("DEEPFAKE_")}
    # A process with threads cannot be forked safely, and NumPy's libraries start some if they may.
    environment |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    with theirs:
        popen = subprocess.Popen(
            [sys.executable, "-m", __name__, str(theirs.fileno())],
            env=environment, stdin=subprocess.DEVNULL, pass_fds=[theirs.fileno()],
            start_new_session=True,
        )  # fmt: skip

    def end() -> None:
        ours.close()
        popen.wait()

    atexit.register(end)
    return ours


def _serve(connection: socket.socket) -> tuple[str, list[str]] | None:
    """Fork a child for each request.

    Returns ``None`` when the connection ends, and in each child the module to run with its
    arguments.
    """
    inherited = dict(os.environ)
    for name in PRELOADED:
        __import__(name)
    threads = len(list(Path("/proc/self/task").iterdir()))
    assert threads == 1, f"{threads} threads run after the imports, and fork would lose them"
    imported = {k: v for k, v in os.environ.items() if inherited.get(k) != v}
    gc.collect()
    gc.freeze()
    children: dict[int, tuple[int, int]] = {}  # by pidfd: the process, and the pipe for its status
    while True:
        ready, _, _ = select.select([connection, *children], [], [])
        for pidfd in (fd for fd in ready if fd in children):
            pid, status = children.pop(pidfd)
            _, code = os.waitpid(pid, 0)
            with contextlib.suppress(BrokenPipeError):
                os.write(status, str(code).encode())
            os.close(status)
            os.close(pidfd)
        if connection not in ready:
            continue
        message, descriptors, _, _ = socket.recv_fds(connection, MAX_REQUEST_BYTES, 3)
        if not message:
            return None
        *streams, status = descriptors
        pid = os.fork()
        if pid == 0:
            connection.close()
            for open_fd in (status, *children, *(pipe for _, pipe in children.values())):
                os.close(open_fd)
            request = json.loads(message)
            _become(request["environment"] | imported, request["folder"], streams)
            if request["namespace"] is not None:
                _enter(request["namespace"])
            return str(request["program"]), [str(word) for word in request["words"]]
        for stream in streams:
            os.close(stream)
        children[os.pidfd_open(pid)] = (pid, status)
        connection.send(str(pid).encode())


def _become(environment: dict[str, str], folder: str, streams: list[int]) -> None:
    os.setsid()
    for number, stream in enumerate(streams, start=1):
        os.dup2(stream, number)
        os.close(stream)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)


def _enter(namespace: str) -> None:
    """Change to a network namespace. (``os.setns`` came with Python 3.12.)"""
    libc = ctypes.CDLL(None, use_errno=True)
    with (NETWORKS / namespace).open() as network:
        if libc.setns(network.fileno(), 0) != 0:
            raise OSError(ctypes.get_errno(), f"the network {namespace} cannot be entered")


def main() -> None:
    """Serve the connection that the argument names; run the command in each child."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    command = _serve(socket.socket(fileno=int(sys.argv[1])))
    if command is not None:
        program, words = command
        signal.signal(signal.SIGINT, signal.default_int_handler)
        sys.argv = [MODULE, *words]
        runpy.run_module(program, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
