"""Requests that are sent again."""

from __future__ import annotations

import pytest
from sqlalchemy import select

from deepfake_service.platform.db import Delivery
from deepfake_service.platform.enums import Role
from tests.support.jobs import VIDEO, blobs, headers, post_video
from tests.unit.service.conftest import Service


async def test_equal_content_gives_the_job_that_there_is_and_keeps_a_new_url(
    service: Service,
) -> None:
    first = (await post_video(service, source_url="https://example.org/1")).json()
    same = await post_video(service, source_url="https://example.org/1")
    other = await post_video(service, source_url="https://example.org/2")
    assert (same.status_code, other.status_code) == (200, 200)
    assert same.json()["id"] == other.json()["id"] == first["id"]
    case = (await service.client.get(f"/v1/cases/{first['case_id']}")).json()
    assert [o["source_url"] for o in case["occurrences"]] == [
        "https://example.org/1", "https://example.org/2",
    ]  # fmt: skip
    assert len(blobs(service)) == 1
    differently = await post_video(service, frames="16")
    assert differently.status_code == 202
    theirs = await service.client.post(
        "/v1/videos", files={"file": ("v", VIDEO)}, headers=headers(service, Role.ANALYST)
    )
    assert theirs.status_code == 202


async def test_a_repeated_request_does_not_return_a_job_that_is_being_deleted(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = (await post_video(service, case_reference="A")).json()
    retention = service.app.state.shared.services.retention
    with monkeypatch.context() as killed:
        killed.setattr(retention, "delete_job", lambda _: None)  # the process stops here
        retention.cancel(service.accounts.authenticate(service.keys[Role.PIPELINE]), first["id"])
    again = await post_video(service, case_reference="A")
    assert (again.status_code, again.json()["state"]) == (202, "queued")
    assert again.json()["id"] != first["id"]
    service.app.state.shared.services.sweeps.sweep()
    once_more = await post_video(service, case_reference="A")
    assert (once_more.status_code, once_more.json()["id"]) == (200, again.json()["id"])


async def test_a_retry_is_told_of_once(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deepfake_service.platform.outbound.check", lambda *_, **__: None)

    async def told(url: str) -> int:
        job = await post_video(service, callback_url=url)
        with service.database.read() as session:
            found = session.scalars(select(Delivery).where(Delivery.job_id == job.json()["id"]))
            return len(found.all())

    assert await told("https://example.org/hook") == 1
    assert await told("https://example.org/hook") == 1
