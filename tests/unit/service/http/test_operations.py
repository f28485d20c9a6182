"""Health, readiness, start and stop, metrics and logs, which tell nothing of the content."""

from __future__ import annotations

import asyncio
import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from deepfake_models.bundle.results import VerdictCode
from deepfake_service.app import create_app
from deepfake_service.platform.enums import Role
from deepfake_service.platform.errors import DecryptionFailed
from deepfake_service.platform.settings import Settings
from tests.support.answers import MODEL, check_problem, one_file
from tests.unit.service.conftest import Service, Starter


async def test_only_the_listener_of_operators_serves_metrics_if_there_is_one(
    start: Starter,
) -> None:
    async with start(operations_port=9000) as service:
        assert (await service.client.get("/metrics")).status_code == 404
        assert (await service.client.get("/healthz")).status_code == 200
        own = httpx.ASGITransport(service.app)
        async with httpx.AsyncClient(transport=own, base_url="http://service:9000") as operators:
            assert (await operators.get("/metrics")).status_code == 200


async def test_r7_other_machines_read_no_metrics(start: Starter) -> None:
    async with start(host="0.0.0.0") as service:
        assert (await service.client.get("/metrics")).status_code == 404
        assert (await service.client.get("/healthz")).status_code == 200


async def test_health_and_readiness(stranger: httpx.AsyncClient) -> None:
    health = await stranger.get("/healthz")
    assert (health.status_code, health.json()) == (200, {"status": "ok"})
    ready = await stranger.get("/readyz")
    assert (ready.status_code, ready.json()) == (
        200,
        {
            "status": "ready",
            "model": MODEL,
            "not_for_use": [],
            "epoch_keys": True,
            "accepts_submissions": True,
            "sandbox": None,
        },
    )


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
async def test_head_is_answered_like_get(stranger: httpx.AsyncClient, path: str) -> None:
    head, get = await stranger.head(path), await stranger.get(path)
    assert head.status_code == get.status_code == 200
    assert head.content == b""
    for name in ("content-type", "content-length"):
        assert head.headers[name] == get.headers[name]


async def test_a_request_that_a_stop_ends_is_told_to_come_back(service: Service) -> None:
    task = asyncio.create_task(service.post(b"slow still 1 120"))
    await asyncio.to_thread(service.decoder.entered.acquire)
    task.cancel()
    service.decoder.gate.set()
    answer = await task
    assert answer.status_code == 503
    assert answer.json()["type"].endswith(":not_ready")
    assert answer.headers["content-type"] == "application/problem+json"
    assert "retry-after" in answer.headers


async def test_a_service_that_has_not_started_is_alive_but_not_ready(
    service: Service,
) -> None:
    settings = service.app.state.shared.settings
    app = create_app(settings, service.database, service.scorer, service.decoder, worker=False)
    headers = {"Authorization": f"Bearer {service.keys[Role.ADMIN]}"}
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(
        transport=transport, base_url="http://service", headers=headers
    ) as client:
        assert (await client.get("/healthz")).status_code == 200
        check_problem(await client.get("/readyz"), 503, "not_ready")
        check_problem(await client.post("/v1/frames", files=one_file()), 503, "not_ready")
        async with app.router.lifespan_context(app):
            assert (await client.get("/readyz")).status_code == 200
        check_problem(await client.get("/readyz"), 503, "not_ready")


async def test_stopping_lets_what_runs_finish(start: Starter) -> None:
    async with start() as service:
        engine = service.app.state.shared.engine
        running = asyncio.create_task(engine.pictures.score(io.BytesIO(b"slow still 1 120")))
        await asyncio.to_thread(service.decoder.entered.acquire)
    service.decoder.gate.set()
    verdict = await running
    assert verdict.score is not None


def _samples(text: str) -> dict[tuple[str, ...], float]:
    return {
        (s.name, *(f"{k}={v}" for k, v in sorted(s.labels.items()))): s.value
        for family in text_string_to_metric_families(text)
        for s in family.samples
    }


async def test_metrics_count_without_content(service: Service) -> None:
    await service.post(b"still 1 120", b"noise", b"moving")
    await service.client.get("/secret-path/secret-name.jpg")
    await service.client.request("SECRET-METHOD", "/healthz")
    answer = await service.client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain")
    found = _samples(answer.text)
    frames = ("method=POST", "route=/v1/frames")
    assert found["deepfake_http_requests_total", *frames, "status=200"] == 1
    assert found["deepfake_http_request_seconds_count", *frames] == 1
    unmatched = ("method=GET", "route=unmatched", "status=404")
    assert found["deepfake_http_requests_total", *unmatched] == 1
    assert found["deepfake_frames_total",] == 3
    assert found["deepfake_decoder_failures_total", "code=undecodable"] == 1
    assert found["deepfake_decoder_failures_total", "code=not_a_picture"] == 1
    assert found["deepfake_pictures_waiting",] == 0
    assert found["deepfake_http_requests_in_progress",] == 1  # the one that asks
    assert "secret" not in answer.text.lower()
    assert ".jpg" not in answer.text
    assert not re.search(r"0\.88\d", answer.text)


async def test_apps_do_not_share_metrics(service: Service, start: Starter) -> None:
    await service.post(b"still 1 120")
    async with start() as other:
        text = (await other.client.get("/metrics")).text
    assert "deepfake_frames_total 0.0" in text


async def test_metrics_which_need_no_key_tell_nobody_a_verdict(service: Service) -> None:
    before = (await service.client.get("/metrics")).text
    await service.post(b"still 1 120", b"still 1 3")
    service.app.state.shared.metrics.job_ended("succeeded", 1.0)
    after = (await service.client.get("/metrics")).text
    assert after != before
    assert not [v for v in VerdictCode if f'"{v}"' in after]


async def test_each_request_leaves_one_line_without_content(
    service: Service, log_lines: Callable[[], list[dict[str, Any]]]
) -> None:
    files = {"files": ("secret-name.jpg", b"still 1 120")}
    headers = {"X-Request-ID": "case-0042-a"}
    answer = await service.client.post("/v1/frames", files=files, headers=headers)
    assert answer.headers["x-request-id"] == "case-0042-a"
    (line,) = [entry for entry in log_lines() if entry["event"] == "request"]
    assert line.pop("timestamp")
    assert line.pop("duration_ms") > 0
    key_id = service.keys[Role.PIPELINE].split("_")[1]
    assert line == {
        "event": "request", "level": "info", "logger": "deepfake_service.access", "method": "POST",
        "route": "/v1/frames", "status": 200, "request_id": "case-0042-a", "key_id": key_id,
    }  # fmt: skip
    assert (await service.client.get("/v1/jobs?secret=secret")).status_code == 422
    everything = json.dumps(log_lines())
    assert "secret" not in everything
    assert service.keys[Role.PIPELINE] not in everything


@pytest.mark.parametrize("given", ["x", "a b c d e f g h", "{{7*7}}{{7*7}}", "a" * 65])
async def test_an_improper_request_id_is_replaced(service: Service, given: str) -> None:
    answer = await service.client.get("/healthz", headers={"X-Request-ID": given})
    assert answer.headers["x-request-id"] != given
    assert re.fullmatch(r"[0-9a-f]{32}", answer.headers["x-request-id"])


async def test_a_database_under_another_master_key_is_not_served(
    service: Service, tmp_path: Path
) -> None:
    """Machines that share a database need the same master key; the error names the setting."""
    settings = Settings(data_dir=tmp_path / "other")
    app = create_app(settings, service.database, service.scorer, service.decoder, worker=False)
    with pytest.raises(DecryptionFailed, match=r"DEEPFAKE_MASTER_KEY.*after a comma"):
        async with app.router.lifespan_context(app):
            pytest.fail("it must not start")
