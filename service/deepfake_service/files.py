"""Small private files of the service: replaced as a whole, readable by their owner alone."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Callable
from pathlib import Path

from deepfake_service.errors import DataDirError


def private_folder(path: Path) -> Path:
    """Make the folder, readable by its owner alone, where it is not there.

    Raises:
        DataDirError: it cannot be made.
    """
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise DataDirError(f"the data directory cannot be made: {error.strerror}") from error
    return path


def replace_private(path: Path, text: str) -> None:
    """Write ``text`` to a 0600 file, in place of what was there, and see it onto the disk.

    Raises:
        DataDirError: it cannot be written.
    """
    partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}.partial")
    try:
        try:
            descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "w") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)  # else a power cut may bring the old file back
        finally:
            os.close(folder)
    except OSError as error:
        raise DataDirError(f"{path.name} cannot be written: {error.strerror}") from error


def create_private(path: Path, made: Callable[[], str]) -> str:
    """The text of a 0600 file, which is ``made`` where it is not there: once, whoever is first.

    Raises:
        DataDirError: it cannot be read or written.
    """
    private_folder(path.parent)
    try:
        return path.read_text()
    except FileNotFoundError:
        pass
    except OSError as error:
        raise DataDirError(f"{path.name} cannot be read: {error.strerror}") from error
    partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}.new")
    try:
        replace_private(partial, made())
        with contextlib.suppress(FileExistsError):
            # Unlike a rename, a link does not replace what another process has just put there.
            os.link(partial, path)
        return path.read_text()
    except OSError as error:
        raise DataDirError(f"{path.name} cannot be written: {error.strerror}") from error
    finally:
        partial.unlink(missing_ok=True)
