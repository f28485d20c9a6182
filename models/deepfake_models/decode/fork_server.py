"""The fork server of a pool, seen from its parent; ``forking`` is its program.

It has imported what the processes need, so that each of them costs some milliseconds instead of the
half second that the imports take.
"""

from __future__ import annotations

import importlib.util
import socket
import subprocess
import sys
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from deepfake_models.decode import protocol as wire
from deepfake_models.errors import DecoderFailed

PACKAGE_FOLDER = Path(__file__).resolve().parents[2]
"""The folder from which this process imports ``deepfake_models``."""

START_TIMEOUT_S = 180.0
"""Time for the server to import its libraries and start a process: usually half a second, but far
longer under load."""

END_TIMEOUT_S = 5.0
"""Time for the server to end when it is asked to, before it is killed."""


class ForkServer:
    """A process that starts confined processes and ends them. It never sees a byte of any item.

    Its methods may be called from several threads at once.
    """

    def __init__(self, options: wire.Options) -> None:
        # Each message on such a socket arrives whole, so that threads need no lock.
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._control.settimeout(START_TIMEOUT_S)
        with theirs:
            self._process = subprocess.Popen(  # noqa: S603 - fixed command, own interpreter
                [sys.executable, "-P", "-s", "-m", "deepfake_models.decode.forking",
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

        If none can be started, ``connection`` is closed.

        Args:
            number: the name of the process in ``end``.
            connection: a socket, of which the server gets a copy.

        Raises:
            DecoderFailed: the server has ended.
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
        """Return whether the server runs."""
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
