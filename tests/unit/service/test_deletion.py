"""Deletion, time and retention: what is deleted by whom, when, and with which trace."""

from __future__ import annotations

import re
from typing import Any

import httpx
import pytest
from sqlalchemy import select

from deepfake_service.db import AuditEntry, Job
from deepfake_service.db.enums import JobState, Role
from deepfake_service.security.audit_log import verify

# ``conftest.Service``; conftest modules cannot be imported.
Service = Any

VIDEO = b"still 1 120 " + bytes(range(256)) * 30


async def submit(service: Service, video: bytes = VIDEO, **fields: str) -> dict[str, Any]:
    """Submit a video and return its job."""
    answer = await service.client.post("/v1/videos", files={"file": ("v.mp4", video)}, data=fields)
    assert answer.is_success, answer.text
    job: dict[str, Any] = answer.json()
    return job


def finish(service: Service, job_id: str) -> None:
    """End a job as a worker would."""
    with service.database.write() as session:
        job = session.get_one(Job, job_id)
        job.state, job.finished_at = JobState.SUCCEEDED, service.clock()


def entries_of(service: Service, *subjects: str) -> list[AuditEntry]:
    """Verify the audit log, and return the entries on these items."""
    with service.database.read() as session:
        verify(session)
        return list(session.scalars(select(AuditEntry).where(AuditEntry.subject.in_(subjects))))


async def delete_job(service: Service, job: dict[str, Any]) -> httpx.Response:
    return await service.client.delete(f"/v1/jobs/{job['id']}")


async def delete_case(service: Service, job: dict[str, Any]) -> httpx.Response:
    return await service.client.delete(f"/v1/cases/{job['case_id']}")


async def delete_in_the_console(service: Service, job: dict[str, Any]) -> httpx.Response:
    await service.client.post("/sign-in", data={"key": service.keys[Role.PIPELINE]})
    bearer = service.client.headers.pop("Authorization")
    page = await service.client.get(f"/items/{job['id']}")
    token = re.search(r'name="csrf" value="([^"]+)"', page.text)
    assert token, page.text
    form = {"csrf": token[1], "sure": "yes"}
    answer = await service.client.post(f"/items/{job['id']}/delete", data=form)
    service.client.headers["Authorization"] = bearer
    return answer


@pytest.mark.parametrize("delete", [delete_job, delete_case, delete_in_the_console])
async def test_a_finished_item_cannot_be_deleted_without_a_trace(
    service: Service, delete: Any
) -> None:
    job = await submit(service, case_reference="R-1")
    await submit(service, VIDEO + b"2", case_reference="R-1")
    finish(service, job["id"])
    answer = await delete(service, job)
    assert answer.status_code in (204, 303), answer.text
    assert (await service.client.get(f"/v1/jobs/{job['id']}")).status_code == 404
    deletions = [
        entry
        for entry in entries_of(service, job["id"], job["case_id"])
        if entry.action in ("job.deleted", "case.shredded")
    ]
    caller = service.accounts.authenticate(service.keys[Role.PIPELINE])
    assert [e.account_id for e in deletions] == [caller.account_id]
    assert deletions[0].key_id == caller.key_id
