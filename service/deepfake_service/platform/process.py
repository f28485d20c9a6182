"""Protection of a process that has keys in memory from other processes of the same user."""

from __future__ import annotations

import os

from deepfake_models.sandbox.confinement import protect_memory


def protect_process() -> None:
    """Close the memory and the environment of this process to others, and the files that it creates
    from now on."""
    protect_memory()
    restrict_files()


def restrict_files() -> None:
    """Let only this user read the files that this process creates from now on. SQLite, and
    libraries of object stores, create files with the default mode."""
    os.umask(0o077)
