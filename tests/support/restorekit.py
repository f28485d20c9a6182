"""Commands on a data directory, and requests by a role."""

from __future__ import annotations

from typing import Any

import pytest
from typer.testing import CliRunner, Result

from deepfake_service.cli.app import app as command
from deepfake_service.platform.db.enums import Role
from deepfake_service.platform.settings import Settings

# ``conftest.Service`` of the unit tests.
Service = Any


def as_role(service: Service, role: Role) -> dict[str, dict[str, str]]:
    return {"headers": {"Authorization": f"Bearer {service.keys[role]}"}}


def run(settings: Settings, *words: object) -> Result:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DEEPFAKE_DATA_DIR", str(settings.data_dir))
        return CliRunner().invoke(command, [str(w) for w in words])
