"""Deletion and retention: what is deleted by whom, when, and with which trace."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy import select

from deepfake_service.audit.log import verify
from deepfake_service.platform.db import AuditEntry, Case, Job, Media, Notice, new_id
from deepfake_service.platform.enums import JobState, NoticeState, Role
from deepfake_service.retention.due import GRACE
from tests.support.answers import browse
from tests.support.jobs import VIDEO, WEEK, all_entries, blobs, delete_case, finish, submit, sweep
from tests.unit.service.conftest import Service


def entries_of(service: Service, *subjects: str) -> list[AuditEntry]:
    """Verify the audit log, and return the entries on these items."""
    with service.database.read() as session:
        verify(session)
        return list(session.scalars(select(AuditEntry).where(AuditEntry.subject.in_(subjects))))


async def delete_job(service: Service, job: dict[str, Any]) -> httpx.Response:
    return await service.client.delete(f"/v1/jobs/{job['id']}")


async def delete_in_the_console(service: Service, job: dict[str, Any]) -> httpx.Response:
    bearer = service.client.headers["Authorization"]
    form = {**await browse(service, Role.PIPELINE), "sure": "yes"}
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


async def test_an_empty_case_expires_as_other_cases_do(service: Service) -> None:
    job = await submit(service, case_reference="R")
    finish(service, job["id"], service.clock() + WEEK)
    assert (await delete_job(service, job)).status_code == 204
    settings = service.app.state.shared.settings
    for days, status in ((settings.evidence_days + settings.case_days - 1, 200), (2, 404)):
        service.clock.advance(timedelta(days=days))
        for _ in range(2):
            sweep(service)
            service.clock.advance(timedelta(hours=1))
        answer = await service.client.get(f"/v1/cases/{job['case_id']}")
        assert answer.status_code == status, days
    (expired,) = [e for e in all_entries(service) if e.action == "case.expired"]
    assert expired.subject == job["case_id"]


async def test_a_case_with_notices_keeps_them_and_its_key_when_it_is_emptied(
    service: Service,
) -> None:
    job = await submit(service, case_reference="R")
    with service.database.write() as session:
        case = session.get_one(Case, job["case_id"])
        before = case.wrapped_key
        notice = Notice(
            id=new_id(), case_id=case.id, account_id=case.account_id, kind="eu-dsa-16",
            language="en", state=NoticeState.SENT, sealed=b"", created_at=service.clock(),
        )  # fmt: skip
        session.add(notice)
    assert (await delete_job(service, job)).status_code == 204
    with service.database.read() as session:
        assert session.get_one(Case, job["case_id"]).wrapped_key == before
        assert session.get(Notice, notice.id) is not None


async def test_the_console_says_what_becomes_of_the_case(service: Service) -> None:
    jobs = [await submit(service, VIDEO + bytes([n]), case_reference="R-<1>") for n in range(2)]
    csrf = await browse(service, Role.PIPELINE)
    page = (await service.client.get(f"/items/{jobs[0]['id']}")).text
    assert "The case <bdi>R-&lt;1&gt;</bdi> stays, with its other items." in page
    form = {**csrf, "sure": "yes"}
    unsure = await service.client.post(f"/items/{jobs[0]['id']}/delete", data=csrf)
    assert unsure.status_code == 422
    deleted = await service.client.post(f"/items/{jobs[0]['id']}/delete", data=form)
    assert deleted.headers["location"] == f"/cases/{jobs[0]['case_id']}?done=item_deleted"
    page = (await service.client.get(f"/items/{jobs[1]['id']}")).text
    assert "This is the only item of the case <bdi>R-&lt;1&gt;</bdi>." in page
    deleted = await service.client.post(
        f"/items/{jobs[1]['id']}/delete", data={**form, "case": "keep"}
    )
    page = (await service.client.get(deleted.headers["location"])).text
    assert "The item was deleted. Its case stays." in page
    assert "This case has no items" in page
    case = f"/cases/{jobs[1]['case_id']}"
    assert f'href="{case}"' in (await service.client.get("/?q=R-<1>")).text
    assert (await service.client.post(f"{case}/delete", data=form)).headers[
        "location"
    ] == "/?done=case_deleted"
    assert (await service.client.get(case)).status_code == 404
    last = await submit_signed_in(service, form["csrf"])
    deleted = await service.client.post(
        f"/items/{last['id']}/delete", data={**form, "case": "delete"}
    )
    assert deleted.headers["location"] == "/?done=case_deleted"
    assert "The case was deleted" in (await service.client.get(deleted.headers["location"])).text


async def submit_signed_in(service: Service, token: str) -> dict[str, Any]:
    """Submit a video as the browser that is signed in does."""
    answer = await service.client.post(
        "/v1/videos", files={"file": ("v.mp4", VIDEO)}, headers={"X-CSRF-Token": token}
    )
    assert answer.is_success, answer.text
    job: dict[str, Any] = answer.json()
    return job


async def test_who_may_see_but_not_delete_is_told_so_in_the_console(service: Service) -> None:
    job = await submit(service, case_reference="R")
    form = {**await browse(service, Role.ANALYST), "sure": "yes"}
    for path in (f"/items/{job['id']}", f"/cases/{job['case_id']}"):
        page = await service.client.get(path)
        assert f'action="{path}/delete"' not in page.text
        assert "or an administrator, may delete it" in page.text
        assert (await service.client.post(f"{path}/delete", data=form)).status_code == 403


async def test_one_sweep_deletes_a_bounded_share(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deepfake_service.retention.sweeps.MIN_SHARE", 5)
    for n in range(5 + 3):
        job = await submit(service, VIDEO + n.to_bytes(2, "big"), case_reference="R")
        finish(service, job["id"], service.clock() + WEEK)
    service.clock.advance(timedelta(days=6, hours=1))
    sweep(service)
    service.clock.advance(GRACE)
    for left in (3, 0):
        sweep(service)
        assert len(blobs(service)) == left


async def test_a_deletion_that_fails_does_not_keep_others_from_being_completed(
    service: Service,
) -> None:
    jobs = [await submit(service, VIDEO + bytes([n])) for n in range(3)]
    broken, wrapped = (jobs[0], jobs[2]), {}
    with service.database.write() as session:
        for job in jobs:  # as a process that stopped leaves them
            session.get_one(Job, job["id"]).state = JobState.CANCELLED
        for job in broken:  # whichever comes first, it is before another
            case = session.get_one(Case, job["case_id"])
            wrapped[case.id], case.wrapped_key = case.wrapped_key, b"not a wrapped key"

    def left() -> set[str]:
        with service.database.read() as session:
            return set(session.scalars(select(Job.id)))

    sweep(service)
    assert left() == {job["id"] for job in broken}
    with service.database.write() as session:
        for case_id, key in wrapped.items():
            session.get_one(Case, case_id).wrapped_key = key
    sweep(service)
    assert not left()
    assert not blobs(service)


async def test_what_is_no_longer_due_loses_its_mark(service: Service) -> None:
    job = await submit(service)
    finish(service, job["id"], service.clock() + WEEK)
    service.clock.advance(timedelta(days=6, hours=1))
    sweep(service)
    with service.database.write() as session:
        media = session.get_one(Media, job["media_id"])
        assert media.expiring_at is not None
        media.expires_at = service.clock() + timedelta(days=30)
    sweep(service)
    with service.database.write() as session:
        media = session.get_one(Media, job["media_id"])
        assert media.expiring_at is None
        media.expires_at = service.clock()  # a setting that was mistyped
    sweep(service)
    assert len(blobs(service)) == 1
    service.clock.advance(GRACE)
    sweep(service)
    assert not blobs(service)
