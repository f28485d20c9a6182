"""Messages between a decoder process and its parent: JSON or raw bytes, never pickle.

Each message is one length-prefixed block (``multiprocessing.connection``) whose first byte tells
whether a JSON object or plain data follows. The parent trusts nothing that the child says: every
length is bounded before it is read and every field is checked.
"""

from __future__ import annotations

import json
from multiprocessing.connection import Connection
from typing import Any

from deepfake_models.errors import DeepfakeError

JSON, DATA = b"J", b"D"

MAX_JSON_BYTES = 16 << 10
"""Headers are small; anything longer is not one."""

MAX_READ_BYTES = 1 << 20
"""Most that a child may ask for at once, and the size of the blocks that it caches."""

MAX_TEXT = 300
"""Characters of an error's message that are taken over."""


class WireError(DeepfakeError):
    """The decoder process sent what the protocol does not allow."""


def send(connection: Connection, message: dict[str, Any]) -> None:
    connection.send_bytes(JSON + json.dumps(message, allow_nan=False).encode())


def send_data(connection: Connection, data: bytes | memoryview) -> None:
    connection.send_bytes(b"".join((DATA, data)))


def receive(connection: Connection) -> dict[str, Any]:
    """The next message, which must be a JSON object. Raises ``EOFError`` at the end."""
    return parse(_block(connection, MAX_JSON_BYTES))


def receive_data(connection: Connection, limit: int) -> memoryview:
    """The next message, which must be data of at most ``limit`` bytes."""
    block = memoryview(_block(connection, limit + 1))
    if block[:1] != DATA:
        raise WireError
    return block[1:]


def _block(connection: Connection, limit: int) -> bytes:
    try:
        return connection.recv_bytes(limit)
    except EOFError:
        raise
    except OSError as error:  # longer than the limit, or the other side has gone
        raise WireError from error


def parse(block: bytes) -> dict[str, Any]:
    if block[:1] != JSON:
        raise WireError
    try:
        message = json.loads(block[1:].decode())
    except (ValueError, RecursionError) as error:
        raise WireError from error
    if not isinstance(message, dict):
        raise WireError
    return message


def integer(message: dict[str, Any], name: str, low: int, high: int) -> int:
    """The integer ``name`` of a message, within [``low``, ``high``]."""
    value = message.get(name)
    if type(value) is not int or not low <= value <= high:
        raise WireError
    return value


def boolean(message: dict[str, Any], name: str) -> bool:
    """The boolean ``name`` of a message."""
    value = message.get(name)
    if not isinstance(value, bool):
        raise WireError
    return value


def number(message: dict[str, Any], name: str, low: float, high: float) -> float:
    """The finite number ``name`` of a message, within [``low``, ``high``]."""
    value = message.get(name)
    if not isinstance(value, int | float) or isinstance(value, bool) or not low <= value <= high:
        raise WireError
    return float(value)


def text(message: dict[str, Any], name: str) -> str:
    """The text ``name`` of a message: printable, cut to ``MAX_TEXT`` characters."""
    value = message.get(name)
    if not isinstance(value, str):
        raise WireError
    return "".join(c if c.isprintable() else " " for c in value[:MAX_TEXT])
