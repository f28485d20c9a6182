"""What ``/v1/jobs`` and the metrics tell of jobs, to whom, and when the database is lost."""

from __future__ import annotations

import base64
import re
from datetime import timedelta
from typing import Any

import pytest

from deepfake_service.platform.enums import Role
from tests.support import exhibits
from tests.support.jobs import VIDEO, examined, headers, post_video, sweep
from tests.unit.service.conftest import Service


async def test_a_list_may_be_empty_and_a_page_that_is_none_is_refused(service: Service) -> None:
    await post_video(service)
    none = await service.client.get("/v1/jobs?state=succeeded")
    assert none.json() == {"jobs": [], "next": None}
    for wrong in (
        "cursor=nonsense",
        "cursor=bm90fG9uZQ==",
        "limit=0",
        "state=lost",
        "state=cancelled",
    ):
        assert (await service.client.get(f"/v1/jobs?{wrong}")).status_code == 422


async def test_roles_see_what_they_may(service: Service) -> None:
    job = (await post_video(service)).json()
    path = f"/v1/jobs/{job['id']}"
    for role, status in ((Role.ANALYST, 200), (Role.ADMIN, 200), (Role.AUDITOR, 403)):
        answer = await service.client.get(path, headers=headers(service, role))
        assert answer.status_code == status, role
    assert (
        await service.client.get(path, headers={"Authorization": "Bearer x"})
    ).status_code == 401
    audit = await service.client.get("/v1/audit", headers=headers(service, Role.AUDITOR))
    assert audit.status_code == 200
    actions = [e["action"] for e in audit.json()["entries"]]
    assert "media.submitted" in actions
    assert "secret-name" not in audit.text
    for role in (Role.PIPELINE, Role.ANALYST):
        answer = await service.client.get("/v1/audit", headers=headers(service, role))
        assert answer.status_code == 403


async def test_every_job_that_ends_is_counted_by_its_state(service: Service) -> None:
    async def counted() -> dict[str, float]:
        text = (await service.client.get("/metrics")).text
        found = re.findall(r'^deepfake_jobs_total\{state="(\w+)"\} (\S+)', text, re.MULTILINE)
        return {state: float(number) for state, number in found if float(number)}

    done = await examined(
        service, exhibits.video(), case_reference="A"
    )  # by no worker of this process
    assert await counted() == {}
    job = (await post_video(service)).json()
    await post_video(service, VIDEO + b"2")
    assert (await service.client.delete(f"/v1/jobs/{job['id']}")).status_code == 204
    assert (await service.client.delete(f"/v1/jobs/{done['id']}")).status_code == 204
    assert await counted() == {"cancelled": 1}
    address = f"/v1/audit?subject={job['id']}"
    kept = await service.client.get(address, headers=headers(service, Role.AUDITOR))
    told = [entry["action"] for entry in kept.json()["entries"]]
    assert told == ["media.submitted", "job.cancelled", "job.deleted"]
    for days in (6, 2):
        service.clock.advance(timedelta(days=days))
        sweep(service)
    assert await counted() == {"cancelled": 1, "expired": 1}


async def test_metrics_tell_of_the_queue(service: Service) -> None:
    await post_video(service)
    text = (await service.client.get("/metrics")).text
    assert 'deepfake_jobs_waiting{priority="batch"} 1.0' in text
    assert any(
        line.startswith("deepfake_oldest_job_seconds ") and float(line.split()[1]) >= 0
        for line in text.splitlines()
    )


async def test_without_a_database_requests_are_told_to_come_back(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sqlalchemy.exc import OperationalError

    def lost(*_: Any, **__: Any) -> None:
        raise OperationalError("secret", {}, Exception("secret"))

    with monkeypatch.context() as gone:
        gone.setattr("deepfake_service.platform.db.database.Session", lost)
        answer = await post_video(service)
        assert answer.status_code == 503
        assert answer.json()["type"].endswith(":database_unavailable")
        assert "secret" not in answer.text
        assert (await service.client.get("/healthz")).status_code == 200
        metrics = await service.client.get("/metrics")
        assert metrics.status_code == 200
        assert "deepfake_webhooks_due NaN" in metrics.text
        assert "deepfake_records_altered 0.0" in metrics.text
    assert (await post_video(service)).status_code == 202


async def test_a_cursor_from_before_time_is_refused(service: Service) -> None:
    for at in ("0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"):
        cursor = base64.urlsafe_b64encode(f"{at}|x".encode()).decode()
        answer = await service.client.get("/v1/jobs", params={"cursor": cursor})
        assert answer.status_code == 422
