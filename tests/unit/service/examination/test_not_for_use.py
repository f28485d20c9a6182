"""A model bundle that decides nothing, by its own figures, is called so wherever it is used."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from deepfake_models.scorer import Scorer
from deepfake_service.examination import engine
from deepfake_service.platform.enums import Role
from deepfake_service.platform.settings import Settings
from tests.unit.service.conftest import Service


def spoiled(service: Service) -> None:
    """Give the running service a bundle whose threshold no manipulated video reaches."""
    running = service.app.state.shared.engine
    spec = running.bundle.spec
    item = spec.thresholds.item.model_copy(update={"true_positive_rate": 0.0})
    thresholds = spec.thresholds.model_copy(update={"item": item})
    spec = spec.model_copy(update={"thresholds": thresholds})
    running.bundle = replace(running.bundle, spec=spec)


async def test_operators_and_every_page_are_told(service: Service) -> None:
    await service.sign_in(Role.ANALYST)
    client = service.client
    assert (await client.get("/readyz")).json()["not_for_use"] == []
    english = {"Accept-Language": "en"}
    assert "Not for use" not in (await client.get("/", headers=english)).text
    spoiled(service)
    ready = (await client.get("/readyz")).json()
    assert ready["status"] == "ready"
    assert ready["not_for_use"] == ["No manipulated held-out video is called manipulated."]
    for path in ("/", "/submit", "/help", "/account"):
        page = (await client.get(path, headers=english)).text
        assert "Not for use: the thresholds of this model decide nothing." in page, path
        assert "No manipulated video of the held-out material" in page, path
    korean = (await client.get("/", headers={"Accept-Language": "ko"})).text
    assert "아무것도 판정하지 못합니다." in korean
    client.cookies.clear()
    assert "Not for use" not in (await client.get("/sign-in", headers=english)).text


def test_the_start_is_logged(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    warned: list[tuple[str, dict[str, Any]]] = []
    monkeypatch.setattr(Scorer, "open", lambda *_, **__: service.scorer)
    monkeypatch.setattr(
        engine._log, "warning", lambda event, **values: warned.append((event, values))
    )
    expected = {"model_not_for_use": {"reasons": ["video: few_groups"]}}
    with engine.engine_running(Settings()):
        assert not expected.keys() & dict(warned)
    bundle = service.scorer.bundle
    item = bundle.spec.calibration.item.model_copy(update={"groups": 2})
    levels = bundle.spec.calibration.model_copy(update={"item": item})
    spec = bundle.spec.model_copy(update={"calibration": levels})
    service.scorer.bundle = replace(bundle, spec=spec)
    with engine.engine_running(Settings()):
        assert expected.items() <= dict(warned).items()
