"""Whether commands that parse untrusted files require a complete sandbox (DEEPFAKE_SANDBOX).

Apart from ``settings``, because `deepfake score` works without the packages of the service.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

from deepfake_models.errors import SandboxIncomplete
from deepfake_service.platform.errors import SettingsError

SANDBOX = "DEEPFAKE_SANDBOX"
_VALUES = ("available", "require")


def sandbox_required() -> bool:
    """Return whether the environment requires all layers of the sandbox.

    Only this variable is read: commands that use this work without the settings of a service.
    ``SettingsError`` if its value is invalid.
    """
    value = os.environ.get(SANDBOX, "available")
    if value not in _VALUES:
        raise SettingsError(f"{SANDBOX} must be {' or '.join(_VALUES)}.")
    return value == "require"


@contextlib.contextmanager
def naming_the_setting() -> Iterator[None]:
    """Add to ``SandboxIncomplete`` which setting requires the missing layers."""
    try:
        yield
    except SandboxIncomplete as error:
        raise SandboxIncomplete(
            f'{error.message} {SANDBOX}=require needs all of them: see "The sandbox" in '
            "docs/deployment.md."
        ) from error
