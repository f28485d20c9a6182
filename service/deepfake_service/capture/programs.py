"""Programs of this package that run in an enclosure, and whose only way out is a gate.

What they write is as hostile as what they fetch: callers bound and check it.
"""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from deepfake_models.errors import DecoderFailed, DecoderTooSlow
from deepfake_service.capture.gate import BLOCK, Gate

MAX_LINE_BYTES = 64 << 10

OpenGate = Callable[[socket.socket], Gate]
"""Makes the gate for a program, which asks for connections on the socket."""


@dataclass(frozen=True, slots=True)
class Running:
    """A program that runs, and its gate."""

    gate: Gate
    process: subprocess.Popen[bytes]

    def ask(self, request: bytes) -> bytes:
        """Give it its input, and return the first line that it writes; ``DecoderFailed`` if it does
        not write one."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        with suppress(BrokenPipeError), self.process.stdin as given:
            given.write(request)
        line = self.process.stdout.readline(MAX_LINE_BYTES)
        if not line.endswith(b"\n"):
            raise DecoderFailed
        return line

    def rest(self, most: int) -> Iterator[bytes]:
        """Yield what it writes until it ends; ``DecoderFailed`` if that has more than ``most``
        bytes, or the program fails."""
        assert self.process.stdout is not None
        while piece := self.process.stdout.read(BLOCK):
            most -= len(piece)
            if most < 0:
                raise DecoderFailed
            yield piece
        if self.process.wait() != 0:
            raise DecoderFailed


class Programs:
    """Runs programs, and ends those that run when it is closed."""

    def __init__(self) -> None:
        self._running: set[subprocess.Popen[bytes]] = set()
        self.is_closed = False

    def close(self) -> None:
        """End the programs that run. Callers that wait for one get ``DecoderFailed``."""
        self.is_closed = True
        for process in list(self._running):
            process.kill()

    @contextmanager
    def run(self, module: str, open_gate: OpenGate, seconds: float) -> Iterator[Running]:
        """Run a module and lend it; it ends with the context.

        Raises:
            DecoderFailed: it failed, or this was closed.
            DecoderTooSlow: it took longer than ``seconds``.
        """
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with (
            theirs,
            open_gate(ours) as gate,
            subprocess.Popen(  # noqa: S603 - fixed command, own interpreter
                [sys.executable, "-P", "-s", "-m", module, str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                # What a program prints may quote the page.
                stderr=subprocess.DEVNULL,
                cwd="/",
                env={"PYTHONPATH": ":".join(filter(None, sys.path)), "PATH": "/usr/bin:/bin",
                     "LC_ALL": "C.UTF-8", "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
            ) as process,
        ):  # fmt: skip
            is_late = threading.Event()

            def expire() -> None:
                is_late.set()
                process.kill()

            timer = threading.Timer(seconds, expire)
            timer.start()
            self._running.add(process)
            try:
                if self.is_closed:
                    raise DecoderFailed
                yield Running(gate, process)
            except DecoderFailed as error:
                raise (DecoderTooSlow if is_late.is_set() else DecoderFailed) from error
            finally:
                self._running.discard(process)
                timer.cancel()
                process.kill()
