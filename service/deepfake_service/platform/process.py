"""Protection of a process that has keys in memory from other processes of the same user."""

from __future__ import annotations

import ctypes
import os
from typing import get_args

from pydantic import SecretStr

from deepfake_models.sandbox.confinement import protect_memory
from deepfake_service.platform.settings import PREFIX, Settings

STORE_SECRETS = (
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AZURE_STORAGE_ACCOUNT_KEY",
    "AZURE_STORAGE_CLIENT_SECRET",
    "AZURE_STORAGE_SAS_TOKEN",
    "GOOGLE_SERVICE_ACCOUNT_KEY",
)
"""Variables from which the libraries of object stores read credentials, at any time."""

_libc = ctypes.CDLL(None)
_libc.getenv.argtypes, _libc.getenv.restype = [ctypes.c_char_p], ctypes.c_void_p


def protect_process() -> None:
    """Close the memory of this process to others, and take secrets out of its environment.

    Call it once the settings have been read. The block of memory that ``/proc/PID/environ`` shows
    (proc_pid_environ(5)) loses its secrets as well, because Linux never updates it by itself.
    """
    protect_memory()
    restrict_files()
    for name, field in Settings.model_fields.items():
        if SecretStr in (field.annotation, *get_args(field.annotation)):
            forget_variable(f"{PREFIX}{name.upper()}")
    for name in STORE_SECRETS:
        value = os.environ.get(name)
        forget_variable(name)
        if value is not None:
            os.environ[name] = value  # a copy, outside the block that other processes may read


def restrict_files() -> None:
    """Let only this user read the files that this process creates from now on. SQLite, and
    libraries of object stores, create files with the default mode."""
    os.umask(0o077)


def forget_variable(name: str) -> None:
    """Remove a variable from the environment, and overwrite its value in memory."""
    value = os.environ.get(name)
    if value is None:
        return
    address = _libc.getenv(os.fsencode(name))
    if address:
        ctypes.memset(address, 0, len(os.fsencode(value)))
    del os.environ[name]
