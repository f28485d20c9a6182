"""Serves a model bundle over HTTP and on the command line. No torch."""

import functools
import warnings
from importlib.metadata import PackageNotFoundError, version

# pyHanko imports DSA keys wherever it is used, of which cryptography warns since version 51.
warnings.filterwarnings("ignore", "DSA is deprecated", module="pyhanko")


@functools.cache
def program_version() -> str:
    """Return the installed version of this program."""
    try:
        return version("deepfake-service")
    except PackageNotFoundError:
        return "0+unknown"
