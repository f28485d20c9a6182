"""Variables in the environment that look like settings."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from deepfake_service.settings import CREDENTIALS, PREFIX, Settings


def unknown_variables(environment: Iterable[str] | None = None) -> list[str]:
    """Return the names in the environment that look like settings but are not.

    A misspelt limit would otherwise silently keep its default. ``environment`` defaults to that of
    this process, and the names of its files in ``CREDENTIALS``.
    """
    known = {PREFIX + name.upper() for name in Settings.model_fields}
    folder = os.environ.get(CREDENTIALS)
    files = [path.name for path in Path(folder).iterdir()] if folder else []
    names = [*os.environ, *files] if environment is None else environment
    return sorted(n for n in names if n.upper().startswith(PREFIX) and n.upper() not in known)
