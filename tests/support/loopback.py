"""Servers of a test's own on loopback."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from socketserver import BaseServer
from typing import TypeVar

S = TypeVar("S", bound=BaseServer)
POLL_S = 0.02
"""How soon a server sees that it is to stop. By default half a second, which most tests would spend
waiting for that alone."""


@contextlib.contextmanager
def serving(server: S) -> Iterator[S]:
    """Let ``server`` answer in a thread of its own until the block ends."""
    thread = threading.Thread(target=server.serve_forever, args=(POLL_S,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
