"""Small private files of the service, replaced as a whole, and what else only its user may read."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Callable
from pathlib import Path

from deepfake_models.machine import atomic_write
from deepfake_models.sandbox.confinement import protect_memory
from deepfake_service.platform.errors import DataDirError


def private_folder(path: Path) -> Path:
    """Create the folder ``path``, accessible only to its owner, unless it exists; return it.
    ``DataDirError`` if the folder cannot be created."""
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise DataDirError(f"The data directory cannot be created: {error.strerror}.") from error
    return path


def replace_private(path: Path, text: str) -> None:
    """Replace the content of a file with mode 0600 by ``text``, durably and in one step;
    ``DataDirError`` if the file cannot be written."""
    try:
        with atomic_write(path, mode=0o600, durable=True) as file:
            file.write(text.encode("utf-8"))
    except OSError as error:
        raise DataDirError(f"{path.name} cannot be written: {error.strerror}.") from error


def create_private(path: Path, make: Callable[[], str]) -> str:
    """Return the text of a file with mode 0600; if there is none, create it with ``make()``.

    If several processes create the file at once, all of them get the text of the first.
    ``DataDirError`` if the file cannot be read or written.
    """
    private_folder(path.parent)
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        pass
    except OSError as error:
        raise DataDirError(f"{path.name} cannot be read: {error.strerror}.") from error
    partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}.new")
    try:
        replace_private(partial, make())
        with contextlib.suppress(FileExistsError):
            # Unlike a rename, a link does not replace a file that another process just created.
            os.link(partial, path)
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise DataDirError(f"{path.name} cannot be written: {error.strerror}.") from error
    finally:
        partial.unlink(missing_ok=True)


def protect_process() -> None:
    """Close the memory and the environment of this process to others, and the files that it creates
    from now on."""
    protect_memory()
    restrict_files()


def restrict_files() -> None:
    """Let only this user read the files that this process creates from now on. SQLite, and
    libraries of object stores, create files with the default mode."""
    os.umask(0o077)
