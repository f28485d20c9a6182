"""The secrets that the files of ``deploy`` expect."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.deployment import written_secrets


@pytest.fixture(scope="session")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write the secrets, which are not to be changed, and return their folder."""
    return written_secrets(tmp_path_factory.mktemp("deploy"))
