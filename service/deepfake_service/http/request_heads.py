"""Refusal of request heads that two servers could read differently (request smuggling, RFC 9112).

h11 is more tolerant than the standard asks for. If a reverse proxy reads a request in another way
than this server, a client can hide a second request in the first.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from h11 import LocalProtocolError
from h11._receivebuffer import ReceiveBuffer

_BARE_LINE_FEED = re.compile(rb"(?<!\r)\n")
_END = b"\r\n\r\n"


class StrictBuffer(ReceiveBuffer):
    """The bytes that a connection received; replaces the buffer of an ``h11.Connection``.

    It refuses, in a head or in the trailers of a chunked body: lines that end without a carriage
    return, folded lines, and more than ``max_bytes``; in a head also ``Transfer-Encoding`` beside
    ``Content-Length`` or in HTTP/1.0. h11 only bounds heads that arrive in several pieces.
    """

    def __init__(self, max_bytes: int) -> None:
        super().__init__()
        self._max_bytes = max_bytes

    def maybe_extract_lines(self) -> list[bytearray] | None:
        """Return the lines up to the first empty one, or ``None`` if they are not complete.

        Raises:
            LocalProtocolError: the lines are refused. h11 makes a ``RemoteProtocolError`` of it,
                and uvicorn answers 400 and closes the connection.
        """
        searched = self._multiple_lines_search
        found = self._data.find(_END, max(0, searched - 2))
        # Without an end, everything that was received belongs to the head.
        size = len(self._data) if found < 0 else found + len(_END)
        if self._data[:2] == b"\r\n":
            size = 2
        if size > self._max_bytes:
            raise LocalProtocolError("head too large", error_status_hint=431)
        if _BARE_LINE_FEED.search(self._data, searched if found < 0 else 0, size):
            raise LocalProtocolError("line feed without carriage return")
        lines = super().maybe_extract_lines()
        if lines:
            _check(lines)
        return lines


def _check(lines: Sequence[bytearray]) -> None:
    if any(line.startswith((b" ", b"\t")) for line in lines):
        raise LocalProtocolError("folded line")
    names = {bytes(line.partition(b":")[0]).lower() for line in lines[1:]}
    if b"transfer-encoding" in names:
        if b"content-length" in names:
            raise LocalProtocolError("Transfer-Encoding beside Content-Length")
        if lines[0].endswith(b"HTTP/1.0"):
            raise LocalProtocolError("Transfer-Encoding in HTTP/1.0")
