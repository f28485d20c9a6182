"""Serves a model bundle over HTTP and on the command line. No torch."""

import functools
from importlib.metadata import PackageNotFoundError, version


@functools.cache
def program_version() -> str:
    """Return the installed version of this program."""
    try:
        return version("deepfake-service")
    except PackageNotFoundError:
        return "0+unknown"
