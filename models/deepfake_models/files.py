"""Replace a file in one step, so that no reader ever sees half of it."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


@contextmanager
def atomic_write(path: Path, *, mode: int = 0o666, durable: bool = False) -> Iterator[BinaryIO]:
    """Open a new binary file that takes the place of ``path`` when the block ends without an error.

    The file is written beside ``path`` under a hidden temporary name, which is removed if the block
    raises; ``path`` then keeps its previous content. ``mode`` gives the permissions of the new
    file, less the process's umask. With ``durable`` the content and the new name are on the disk
    when the block has ended: a power cut cannot bring the previous file back.

    Raises:
        OSError: the file cannot be written or cannot replace ``path``.
    """
    partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}.partial")
    try:
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with os.fdopen(descriptor, "wb") as file:
            yield file
            if durable:
                file.flush()
                os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    if durable:
        sync(path.parent)


def sync(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def atomic_write_text(path: Path, text: str) -> None:
    """Replace the content of ``path`` with ``text`` as UTF-8, in one step; see ``atomic_write``."""
    with atomic_write(path) as file:
        file.write(text.encode("utf-8"))
