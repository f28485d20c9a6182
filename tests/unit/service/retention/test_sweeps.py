"""What a sweep still deletes while the object store does not answer."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select

from deepfake_service.platform import chores
from deepfake_service.platform.db import Case, Job, Media, Notice, new_id
from deepfake_service.platform.enums import JobState, NoticeState
from deepfake_service.platform.errors import DatabaseUnavailable, StorageUnavailable
from deepfake_service.retention.due import GRACE
from tests.support.jobs import VIDEO, submit
from tests.unit.service.conftest import Service


@pytest.fixture
async def due(service: Service) -> Any:
    """Return the sweeps, to which all of two cases is due: it was marked, and its grace is over."""
    jobs = [await submit(service, VIDEO, case_reference="A")]
    jobs.append(await submit(service, VIDEO + b"2", case_reference="B"))
    with service.database.write() as session:
        for job in jobs:
            row = session.get_one(Job, job["id"])
            row.state, row.finished_at = JobState.SUCCEEDED, service.clock()
            session.get_one(Media, job["media_id"]).expires_at = service.clock()
    service.clock.advance(timedelta(days=9000))
    sweeps = service.app.state.shared.services.sweeps
    sweeps.sweep()  # marks
    service.clock.advance(GRACE + timedelta(hours=1))
    return sweeps


async def test_an_outage_of_the_store_stops_no_deletion_that_does_not_need_it(
    service: Service, due: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chores, "FAILING_S", 0.0)
    blobs = service.app.state.shared.services.vault.blobs

    def unavailable(*_: Any) -> None:
        raise StorageUnavailable

    with monkeypatch.context() as outage:
        outage.setattr(type(blobs), "delete", unavailable)
        with pytest.raises(StorageUnavailable):
            due.sweep()
    with service.database.read() as session:
        # One may have been deleted as a whole.
        assert set(session.scalars(select(Case.wrapped_key))) == {None}
    due.sweep()
    with service.database.read() as session:
        assert not session.scalars(select(Case)).all()


async def test_evidence_that_a_notice_needs_meanwhile_is_kept(
    service: Service, due: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sweep reads what is due, and a slow store leaves time before it comes to the last of it."""
    expire = type(due)._expire

    def expire_later(self: Any, model: Any, statement: Any, delete: Any) -> None:
        def add_notices_and_delete(job_id: str) -> None:
            with service.database.write() as session:
                for case in session.scalars(select(Case)):
                    session.add(
                        Notice(
                            id=new_id(),
                            case_id=case.id,
                            account_id=case.account_id,
                            kind="eu-dsa-16",
                            language="en",
                            state=NoticeState.DRAFTED,
                            sealed=b"x",
                            created_at=service.clock(),
                        )
                    )
            delete(job_id)

        expire(self, model, statement, add_notices_and_delete if model is Job else delete)

    monkeypatch.setattr(type(due), "_expire", expire_later)
    due.sweep()
    with service.database.read() as session:
        assert session.scalars(select(Notice)).all()
        assert set(session.scalars(select(Job.evidence_expired_at))) == {None}


async def test_a_database_that_does_not_answer_ends_the_sweep(
    service: Service, due: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unavailable() -> None:
        raise DatabaseUnavailable

    stages = []
    monkeypatch.setattr(due, "_mark", unavailable)
    monkeypatch.setattr(due, "_expire_jobs", lambda: stages.append("jobs"))
    with pytest.raises(DatabaseUnavailable):
        due.sweep()
    assert not stages
