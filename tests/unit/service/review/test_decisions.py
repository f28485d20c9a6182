"""A decision that was recorded stands, whatever fails of what follows from it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select
from structlog.testing import capture_logs

from deepfake_service.audit.log import SERVICE
from deepfake_service.cases.cases import material_of
from deepfake_service.evidence.bundle.documents import Failed
from deepfake_service.hashes import hash_bank
from deepfake_service.hashes.hash_bank import HashBank
from deepfake_service.platform.db import Case, Job, KnownHashes, Review
from deepfake_service.platform.enums import JobState, Role
from deepfake_service.platform.errors import StorageUnavailable
from deepfake_service.platform.findings import Decision, Finding
from deepfake_service.platform.storage.blobs import BLOB_FOLDER
from deepfake_service.review.reviews import Judgement
from tests.support import exhibits
from tests.support.jobs import VIDEO, decide, document, evidence, examined, submit
from tests.unit.service.conftest import Service, Starter


def case_key(service: Service, job_id: str) -> tuple[Job, bytes]:
    with service.database.read() as session:
        job = session.get_one(Job, job_id)
        case = session.get_one(Case, job.case_id)
    return job, service.app.state.shared.services.vault.case_key(case)


def break_store(service: Service, job_id: str) -> tuple[Path, bytes]:
    """Let the store fail to read what was gathered for a job's evidence.

    Returns:
        The file, and what was in it.
    """
    folder: Path = service.app.state.shared.settings.data_dir / BLOB_FOLDER
    blob = folder / material_of(case_key(service, job_id)[0])
    content = blob.read_bytes()
    blob.unlink()
    blob.symlink_to(blob.name)  # a loop
    return blob, content


def damage_material(service: Service, job_id: str) -> None:
    job, key = case_key(service, job_id)
    vault = service.app.state.shared.services.vault
    vault.write(material_of(job), key, b"no material")


FAILURES = {
    "the store": (break_store, StorageUnavailable),
    "the material": (damage_material, Failed),
}


@pytest.mark.parametrize("what", FAILURES)
async def test_a_decision_stands_if_what_follows_from_it_fails(
    service: Service, what: str, capsys: pytest.CaptureFixture[str]
) -> None:
    fail: Callable[[Any, str], Any]
    fail, error = FAILURES[what]
    jobs = [
        (await examined(service, video))["id"]
        for video in (exhibits.video(), exhibits.video() + bytes(9))
    ]
    services = service.app.state.shared.services
    for job_id in jobs:
        await asyncio.to_thread(services.evidence_store.issue, job_id, SERVICE)
    fail(service, jobs[0])
    with pytest.raises(error):
        await asyncio.to_thread(services.evidence_store.issue, jobs[0], SERVICE)
    caller = service.accounts.authenticate(service.keys[Role.ANALYST])
    outcomes = await asyncio.to_thread(
        services.reviews.decide_each,
        caller,
        jobs,
        Judgement(decision=Decision.CONFIRMED, reason="seen by Kim"),
    )
    assert outcomes == dict.fromkeys(jobs)  # none was refused
    with service.database.read() as session:
        made = select(Review.job_id).where(Review.account_id == caller.account_id)
        assert sorted(session.scalars(made)) == sorted(jobs)
    # The other decision has its edition.
    assert [e.edition for e in services.evidence_store.editions(caller, jobs[1])] == [2, 1]
    logged = capsys.readouterr().out
    assert "edition_failed" in logged
    assert error.__name__ in logged
    assert "Kim" not in logged


async def test_an_edition_of_what_was_deleted_meanwhile_is_no_error(service: Service) -> None:
    job = await examined(service, exhibits.video())
    reviews = service.app.state.shared.services.reviews
    with service.database.write() as session:
        session.get_one(Case, job["case_id"]).wrapped_key = None
    with capture_logs() as logged:
        await asyncio.to_thread(reviews._create_edition, SERVICE, job["id"])
    assert [each["event"] for each in logged] == []


async def test_what_failed_is_done_later_and_holds_nothing_else_up(start: Starter) -> None:
    async with start() as service:
        jobs = [
            (await examined(service, video))["id"]
            for video in (exhibits.video(), exhibits.video() + bytes(9))
        ]
        services = service.app.state.shared.services
        caller = service.accounts.authenticate(service.keys[Role.ANALYST])
        for job_id in jobs:
            await asyncio.to_thread(services.evidence_store.issue, job_id, SERVICE)
            blob, content = break_store(service, job_id)
            finding = await asyncio.to_thread(
                services.reviews.decide,
                caller,
                job_id,
                Judgement(decision=Decision.CONFIRMED, reason="seen"),
            )
            assert finding is Finding.CONFIRMED

        def hashed() -> set[str]:
            with service.database.read() as session:
                return set(session.scalars(select(KnownHashes.job_id)))

        assert hashed() == set()
        blob.unlink()
        blob.write_bytes(content)
        await asyncio.to_thread(services.reviews.catch_up)
        await asyncio.to_thread(services.hash_bank.catch_up)
        assert hashed() == {jobs[1]}
        assert [e.edition for e in services.evidence_store.editions(caller, jobs[1])] == [2, 1]


async def test_media_without_hashes_hold_up_none_that_have_some(
    start: Starter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hash_bank, "CATCH_UP_BATCH", 1)
    async with start() as service:
        jobs = [(await submit(service, VIDEO + bytes([n])))["id"] for n in range(2)]
        jobs.insert(1, (await examined(service, exhibits.video()))["id"])
        services = service.app.state.shared.services
        caller = service.accounts.authenticate(service.keys[Role.ANALYST])
        with service.database.write() as session:
            for job_id in jobs:
                session.get_one(Job, job_id).state = JobState.SUCCEEDED
        for job_id in jobs:
            await asyncio.to_thread(
                services.reviews.decide,
                caller,
                job_id,
                Judgement(decision=Decision.CONFIRMED, reason="seen"),
            )
        with service.database.write() as session:  # as if the store had not answered
            HashBank.forget(session, jobs[1])
        for _ in jobs:
            services.hash_bank.catch_up()
        with service.database.read() as session:
            hashed = select(KnownHashes.job_id).where(KnownHashes.sealed != b"")
            assert session.scalars(hashed).all() == [jobs[1]]


async def test_a_later_decision_counts_although_the_clock_was_set_back(service: Service) -> None:
    job = await examined(service, exhibits.video())
    assert (await decide(service, job, "confirmed")).json()["finding"] == "confirmed"
    service.clock.jump(timedelta(hours=-1))
    assert (await decide(service, job, "rejected")).json()["finding"] == "rejected"
    assert document(await evidence(service, job))["finding"] == "rejected"
    path = f"/v1/jobs/{job['id']}/reviews"
    listed = (await service.client.get(path)).json()["reviews"]
    assert [review["decision"] for review in listed] == ["confirmed", "rejected"]
