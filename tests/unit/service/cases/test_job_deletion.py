"""Deleting jobs and cases through the API: by whom, and what goes with them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select

from deepfake_service.audit.log import verify
from deepfake_service.platform.db import AuditEntry, Case, Job, KnownHashes, Media, new_id
from deepfake_service.platform.enums import Role
from tests.support.jobs import VIDEO, blobs, headers, post_video, sweep
from tests.support.servers import files_containing
from tests.unit.service.conftest import Service


async def test_who_may_see_a_job_is_told_that_it_may_not_delete_it(service: Service) -> None:
    job = (await post_video(service, case_reference="A")).json()
    analyst = headers(service, Role.ANALYST)
    for address in (f"/v1/jobs/{job['id']}", f"/v1/cases/{job['case_id']}"):
        refused = await service.client.delete(address, headers=analyst)
        assert refused.status_code == 403
        assert "may delete it" in refused.json()["detail"]
        assert (await service.client.get(address)).status_code == 200
    assert (await service.client.delete(address, headers=headers(service, Role.ADMIN))).is_success


async def test_a_case_is_deleted_with_its_last_job_if_that_is_asked_for(service: Service) -> None:
    one = (await post_video(service, b"a" * 99, case_reference="R-1")).json()
    two = (await post_video(service, b"b" * 99, case_reference="R-1")).json()
    assert (await service.client.delete(f"/v1/jobs/{one['id']}?case=delete")).status_code == 204
    assert (await service.client.get(f"/v1/jobs/{one['id']}")).status_code == 404
    assert (await service.client.get(f"/v1/jobs/{two['id']}")).status_code == 200
    assert len(blobs(service)) == 1
    assert (await service.client.delete(f"/v1/jobs/{two['id']}?case=shred")).status_code == 422
    assert (await service.client.delete(f"/v1/jobs/{two['id']}?case=delete")).status_code == 204
    assert (await service.client.get(f"/v1/cases/{two['case_id']}")).status_code == 404
    assert not blobs(service)
    with service.database.read() as session:
        assert not session.scalars(select(Case)).all()
        verify(session)


async def test_a_shredded_cases_key_is_in_no_file(service: Service) -> None:
    job = (await post_video(service)).json()
    with service.database.read() as session:
        wrapped = session.get_one(Case, job["case_id"]).wrapped_key
    assert wrapped
    if service.database.engine.dialect.name != "sqlite":
        pytest.skip("where PostgreSQL keeps what was deleted is its administrator's concern")
    folder = service.app.state.shared.settings.data_dir
    service.database.purge_deleted()
    assert files_containing(folder, wrapped)
    assert (await service.client.delete(f"/v1/cases/{job['case_id']}")).status_code == 204
    assert not files_containing(folder, wrapped)


async def test_the_last_job_of_a_case_takes_its_keys_with_it_and_leaves_the_case(
    service: Service,
) -> None:
    job = (
        await post_video(service, case_reference="R-1", source_url="https://example.org/1")
    ).json()
    shot = {"screenshot": ("s.png", b"\x89PNG\r\n\x1a\n" + bytes(100))}
    path = f"/v1/cases/{job['case_id']}"
    seen = await service.client.post(f"{path}/occurrences", files=shot)
    looks = f"{path}/occurrences/{seen.json()['id']}/looks"
    look = await service.client.post(looks, files={"result": (None, "gone"), **shot})
    assert (seen.status_code, look.status_code) == (201, 201)
    assert len(blobs(service)) == 3
    with service.database.read() as session:
        keys = [
            session.get_one(Case, job["case_id"]).wrapped_key,
            session.get_one(Media, job["media_id"]).wrapped_key,
        ]
    assert (await service.client.delete(f"/v1/jobs/{job['id']}")).status_code == 204
    assert not blobs(service)
    case = (await service.client.get(path)).json()
    assert (case["case_reference"], case["jobs"], case["occurrences"]) == ("R-1", [], [])
    if service.database.engine.dialect.name == "sqlite":
        folder = service.app.state.shared.settings.data_dir
        assert not [key for key in keys if key and files_containing(folder, key)]
    with service.database.read() as session:
        verify(session)
        entries = session.scalars(select(AuditEntry).order_by(AuditEntry.number)).all()
    deletion = [(e.action, e.subject) for e in entries]
    assert ("job.deleted", job["id"]) in deletion
    assert ("case.emptied", job["case_id"]) in deletion
    assert "case.shredded" not in dict(deletion)
    # The case is as good as new.
    again = (await post_video(service, case_reference="R-1")).json()
    assert (again["case_id"], again["id"] != job["id"]) == (job["case_id"], True)
    assert (await service.client.get(path)).json()["case_reference"] == "R-1"


async def test_a_deletion_that_was_interrupted_is_finished_by_the_sweep(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = (await post_video(service, b"a" * 99, case_reference="R-1")).json()
    two = (await post_video(service, b"b" * 99, case_reference="R-1")).json()
    retention = service.app.state.shared.services.retention
    for name, job in (("delete_job", one), ("finish_shredding", two)):
        with monkeypatch.context() as killed:
            killed.setattr(
                retention.__class__, name, lambda *_: (_ for _ in ()).throw(RuntimeError)
            )
            caller = service.accounts.authenticate(service.keys[Role.PIPELINE])
            with pytest.raises(RuntimeError):
                retention.cancel(caller, job["id"], with_case=True)
        sweep(service)
        assert (await service.client.get(f"/v1/jobs/{job['id']}")).status_code == 404
    assert not blobs(service)
    with service.database.read() as session:
        assert not session.scalars(select(Case)).all()


async def test_hashes_go_with_the_item_that_they_are_of(service: Service) -> None:
    job = (await post_video(service, case_reference="R")).json()
    other = (await post_video(service, VIDEO + b"2", case_reference="R")).json()
    now = datetime.now(UTC)
    with service.database.write() as session:
        for one in (job, other):
            session.add(
                KnownHashes(
                    id=new_id(),
                    case_id=one["case_id"],
                    job_id=one["id"],
                    sealed=b"x",
                    created_at=now,
                    expires_at=now + timedelta(days=9),
                )
            )
    assert (await service.client.delete(f"/v1/jobs/{job['id']}")).status_code == 204
    with service.database.read() as session:
        ids = [other["id"], job["id"]]
        left = session.scalars(select(KnownHashes.job_id).where(KnownHashes.job_id.in_(ids))).all()
    assert left == [other["id"]]


@pytest.mark.parametrize("with_case", [True, False])
async def test_both_items_of_a_case_deleted_at_once_leave_nothing(
    service: Service, monkeypatch: pytest.MonkeyPatch, with_case: bool
) -> None:
    job = (await post_video(service, case_reference="R")).json()
    other = (await post_video(service, VIDEO + b"2", case_reference="R")).json()
    retention = service.app.state.shared.services.retention
    caller = service.accounts.authenticate(service.keys[Role.PIPELINE])
    real = retention.delete_job

    def meanwhile(job_id: str) -> None:
        monkeypatch.setattr(retention, "delete_job", real)
        # Before the rows of this one are gone.
        retention.cancel(caller, other["id"], with_case=with_case)
        real(job_id)

    monkeypatch.setattr(retention, "delete_job", meanwhile)
    retention.cancel(caller, job["id"], with_case=with_case)
    with service.database.read() as session:
        assert (session.get(Case, job["case_id"]) is None) is with_case
        assert not session.scalars(select(Job)).all()
        emptied = session.scalars(select(AuditEntry).where(AuditEntry.action == "case.emptied"))
        assert len(emptied.all()) == (0 if with_case else 1)
    assert not blobs(service)
