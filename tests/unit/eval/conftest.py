"""Fixtures that the tests of the evaluation share."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support import evalkit


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a tiny bundle. It is shared: do not change it."""
    directory = tmp_path_factory.mktemp("bundle")
    evalkit.tiny_bundle(directory)
    return directory
