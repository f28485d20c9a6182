"""Exit codes of ``deepfake``, and the encoding of what it prints."""

from __future__ import annotations

import sys

EXIT_OK, EXIT_UNREADABLE, EXIT_INVALID = 0, 1, 2


def writes_utf8() -> bool:
    """Return whether standard output takes any character."""
    return (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"
