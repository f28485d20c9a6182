"""A platform whose posts are looked at."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from deepfake_service.platform.networks import CallbackHosts
from deepfake_service.platform.pages import Pages
from tests.support.fake_platform import FakePlatform, resolving


@pytest.fixture(scope="session")
def platform_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("platform")


@pytest.fixture
def platform(platform_folder: Path) -> Iterator[FakePlatform]:
    made = FakePlatform(platform_folder)
    with resolving({"warning.or.kr": "127.0.0.1"}):
        yield made
    made.close()


@pytest.fixture
def pages(platform: FakePlatform) -> Pages:
    """Fetches from the platform, and from no other address that is not public."""
    return Pages(allowed=CallbackHosts.of("127.0.0.1"), tls=platform.tls())
