"""A platform whose posts are looked at."""

from __future__ import annotations

import pytest

from deepfake_service.platform.networks import CallbackHosts
from deepfake_service.platform.pages import Pages
from tests.support.fake_platform import FakePlatform


@pytest.fixture
def pages(platform: FakePlatform) -> Pages:
    """Fetches from the platform, and from no other address that is not public."""
    return Pages(allowed=CallbackHosts.of("127.0.0.1"), tls=platform.tls())
