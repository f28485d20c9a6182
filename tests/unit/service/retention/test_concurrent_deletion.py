"""What is deleted on PostgreSQL while another transaction is about to change it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from deepfake_service.audit.log import SERVICE, Action, append_entry, verify
from deepfake_service.cases import case_lock
from deepfake_service.cases.case_lock import lock_case
from deepfake_service.cases.media_deletion import expire, expire_screenshot
from deepfake_service.examination.submissions import Sealed, Submission
from deepfake_service.platform.db import AuditEntry, Case, Job, Media, Occurrence, new_id
from deepfake_service.platform.enums import JobState, Role
from deepfake_service.platform.errors import NotFound
from deepfake_service.platform.storage import Stored
from deepfake_service.platform.storage.envelope import new_key
from deepfake_service.retention.deletion import delete_case_key
from tests.support import databases
from tests.support.databases import Meanwhile, adds_an_occurrence, caller_of
from tests.support.jobs import submit
from tests.unit.service.conftest import Service, Starter

pytestmark = pytest.mark.postgres


@pytest.fixture
async def service(start: Starter, postgres: databases.Server) -> AsyncIterator[Service]:
    async with start(database_url=SecretStr(postgres.new_database())) as running:
        yield running


def flags(service: Service, job: dict[str, Any]) -> Callable[[], object]:
    caller, reviews = caller_of(service), service.app.state.shared.services.reviews
    return lambda: reviews.flag_minor(caller, job["case_id"], enabled=True)


def deletes_the_item(service: Service, job: dict[str, Any]) -> Callable[[], object]:
    caller = caller_of(service, Role.PIPELINE)
    deleter = service.app.state.shared.services.retention
    return lambda: deleter.cancel(caller, job["id"])


@pytest.mark.parametrize("change", [adds_an_occurrence, flags, deletes_the_item])
async def test_what_is_in_a_case_that_is_deleted_is_not_found(
    service: Service, change: Callable[[Service, Any], Callable[[], object]]
) -> None:
    job = await submit(service, case_reference="R")
    meanwhile = Meanwhile(service, change(service, job))
    with service.database.write() as session:
        service.database.one_at_a_time(session, session.get_one(Job, job["id"]).account_id)
        lock_case(session, job["case_id"])
        meanwhile.begin()
        session.execute(delete(Case).where(Case.id == job["case_id"]))
    with pytest.raises(NotFound):
        meanwhile.end()


@pytest.mark.parametrize("what", ["its key", "the case"])
@pytest.mark.parametrize("equal", [True, False])
async def test_what_is_submitted_to_a_case_that_expires_is_kept_in_another(
    service: Service, what: str, equal: bool
) -> None:
    job = await submit(service, case_reference="R")
    submissions = service.app.state.shared.services.submissions
    caller = caller_of(service, Role.PIPELINE)
    sha256 = job["sha256"] if equal else "f" * 64
    sealed = Sealed(new_id(), new_key(), Stored(sha256, job["size"]))
    again = Submission(case_reference="R")
    accepted: list[tuple[str, bool]] = []
    meanwhile = Meanwhile(
        service, lambda: accepted.append(submissions._accept(caller, again, sealed))
    )
    with service.database.write() as session:  # as a sweep does
        case = lock_case(session, job["case_id"])
        assert case is not None
        meanwhile.begin()
        if what == "its key":
            delete_case_key(session, SERVICE, Action.CASE_EXPIRED, case)
        else:
            session.execute(delete(Case).where(Case.id == case.id))
    meanwhile.end()
    ((job_id, is_new),) = accepted
    assert is_new
    with service.database.read() as session:
        new = session.get_one(Job, job_id)
        assert session.get_one(Case, new.case_id).wrapped_key is not None
        assert session.get_one(Media, new.media_id).blob == sealed.blob
        verify(session)


async def test_a_job_that_ends_while_it_is_deleted_was_not_cancelled(service: Service) -> None:
    job = await submit(service)
    meanwhile = Meanwhile(service, deletes_the_item(service, job))
    with service.database.write() as session:  # as at the end of an examination
        row = session.get_one(Job, job["id"], with_for_update=True)
        row.state = JobState.FAILED
        session.flush()
        meanwhile.begin()
        append_entry(session, SERVICE, Action.JOB_FINISHED, row.id, JobState.FAILED)
    meanwhile.end()
    with service.database.read() as session:
        actions = session.scalars(select(AuditEntry.action).where(AuditEntry.subject == job["id"]))
        assert list(actions) == [Action.MEDIA_SUBMITTED, Action.JOB_FINISHED, Action.JOB_DELETED]


@pytest.mark.parametrize("what", ["medium", "screenshot"])
async def test_a_medium_that_is_deleted_before_it_expires_is_left_alone(
    service: Service, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    job = await submit(service)
    database, services = service.database, service.app.state.shared.services
    with database.read() as session:
        occurrence_id = session.scalars(select(Occurrence.id)).one()
    vault = services.vault
    real = case_lock.lock_case

    def deleted_meanwhile(session: Session, case_id: str) -> Case | None:
        monkeypatch.setattr(case_lock, "lock_case", real)
        services.retention.cancel(caller_of(service, Role.PIPELINE), job["id"])
        return real(session, case_id)

    monkeypatch.setattr(case_lock, "lock_case", deleted_meanwhile)
    if what == "medium":
        expire(database, vault, job["media_id"])
    else:
        expire_screenshot(database, vault, occurrence_id)
    with database.read() as session:
        assert session.get(Media, job["media_id"]) is None
        verify(session)
