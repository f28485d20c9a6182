"""Fixtures of the tests of accounts."""

from __future__ import annotations

import pytest


@pytest.fixture
def many_failures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let an address fail to sign in as often as it likes."""
    monkeypatch.setattr("deepfake_service.http.admission.FAILED_SIGN_INS", "1000/minute")
