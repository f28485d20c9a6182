"""Transactions on PostgreSQL that concern the same rows wait for each other in one order.

One of them is stopped when it has locked its rows and is about to append to the audit log. The
other one runs until it waits for the first one. If it held the lock of the log by then, neither
could go on, and PostgreSQL would abort one of them.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pyotp
import pytest
from pydantic import SecretStr
from sqlalchemy import select
from sqlalchemy.orm import Session

from deepfake_service.accounts import accounts as accounts_module
from deepfake_service.accounts import second_factors as second_factors_module
from deepfake_service.accounts.accounts import ENVIRONMENT_ID, SIGNED_IN_FOR
from deepfake_service.accounts.admin_key import ensure_admin_key
from deepfake_service.accounts.second_factors import STEP_S
from deepfake_service.audit.log import SERVICE, Action, append_entry, verify
from deepfake_service.capture.imports import TO_DO
from deepfake_service.capture.work import in_turn
from deepfake_service.cases import notice_history
from deepfake_service.cases.cases import PostDetails
from deepfake_service.evidence.listings import listed_result
from deepfake_service.examination import steps as steps_module
from deepfake_service.examination.steps import Examination
from deepfake_service.examination.submissions import Sealed, Submission
from deepfake_service.examination.webhook_deliveries import release_callbacks
from deepfake_service.hashes.hash_list import HashList
from deepfake_service.notices.states import NoticeUpdate
from deepfake_service.platform.claims import Claims
from deepfake_service.platform.db import (
    Capture,
    Case,
    Delivery,
    Job,
    KnownHashes,
    Occurrence,
    SecondFactor,
    new_id,
)
from deepfake_service.platform.enums import DeliveryState, JobState, Role
from deepfake_service.platform.errors import CodeRejected, Conflict, Forbidden
from deepfake_service.platform.findings import Decision, Finding
from deepfake_service.platform.metrics import Metrics
from deepfake_service.platform.storage import Stored
from deepfake_service.platform.storage.envelope import new_key
from deepfake_service.platform.webhooks import Callback
from deepfake_service.retention import deletion as retention
from deepfake_service.review.reviews import Judgement
from tests.support import databases, exhibits
from tests.support.captures import hand_in
from tests.support.databases import Meanwhile, adds_an_occurrence, caller_of
from tests.support.jobs import examined, submit
from tests.support.notices import GOOD, decide, look_manipulated
from tests.support.servers import WAIT_S
from tests.unit.service.conftest import Service, Starter

pytestmark = pytest.mark.postgres


@pytest.fixture
async def service(start: Starter, postgres: databases.Server) -> AsyncIterator[Service]:
    async with start(database_url=SecretStr(postgres.new_database())) as running:
        yield running


async def ended(service: Service) -> dict[str, Any]:
    """Submit a video, and end its job without evidence."""
    job = await submit(
        service, case_reference="R", source_url="https://example.org/1", platform="Example"
    )
    with service.database.write() as session:
        look_manipulated(service, session, job["id"])
        session.get_one(Job, job["id"]).evidence_expired_at = service.clock()
    return job


async def noticed(service: Service, job: dict[str, Any]) -> str:
    decide(service, job["id"], Decision.CONFIRMED)
    with service.database.read() as session:
        seen = list(session.scalars(select(Occurrence.id)))
    content = {
        "kind": "kr-d4u", "language": "en", "occurrence_ids": seen, "fields": GOOD["kr-d4u"],
    }  # fmt: skip
    answer = await service.client.post(f"/v1/cases/{job['case_id']}/notices", json=content)
    assert answer.status_code == 201, answer.text
    notice_id: str = answer.json()["id"]
    return notice_id


def decides(service: Service, job: dict[str, Any], decision: Decision) -> Callable[[], object]:
    caller, reviews = caller_of(service), service.app.state.shared.services.reviews
    return lambda: reviews.decide(caller, job["id"], Judgement(decision=decision, reason="seen"))


@pytest.mark.parametrize("what", ["a decision", "an occurrence"])
async def test_a_hold_is_set_while_a_case_changes(
    service: Service, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    job = await ended(service)
    if what == "a decision":
        task = decides(service, job, Decision.CONFIRMED)
    else:
        task = adds_an_occurrence(service, job)
    meanwhile = Meanwhile(service, task)
    meanwhile.before_entry_of(retention, monkeypatch)
    holder = caller_of(service, Role.ADMIN)
    service.app.state.shared.services.retention.hold(holder, job["case_id"], enabled=True)
    meanwhile.end()
    case = (await service.client.get(f"/v1/cases/{job['case_id']}")).json()
    assert case["legal_hold"]
    if what == "a decision":
        assert case["reviewed_at"]
        assert case["jobs"][0]["finding"] == Finding.CONFIRMED
    else:
        assert len(case["occurrences"]) == 2
    with service.database.read() as session:
        verify(session)


@pytest.mark.parametrize("what", ["update", "pdf"])
async def test_a_finding_is_reversed_while_a_notice_changes(
    service: Service, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    job = await ended(service)
    notice_id = await noticed(service, job)
    meanwhile = Meanwhile(service, decides(service, job, Decision.REJECTED))
    desk = service.app.state.shared.services.notice_desk
    caller = caller_of(service)
    meanwhile.before_entry_of(notice_history, monkeypatch)
    if what == "update":
        desk.update(caller, notice_id, NoticeUpdate(sent_at=service.database.clock()))
    else:
        with ThreadPoolExecutor(1) as pool:  # signing needs a thread without an event loop
            pool.submit(desk.pdf, caller, notice_id).result(WAIT_S)
    meanwhile.end()
    notice = (await service.client.get(f"/v1/notices/{notice_id}")).json()
    assert notice["withdraw"]
    with service.database.read() as session:
        verify(session)


async def test_a_finding_is_reversed_while_hashes_are_stored(
    start: Starter, postgres: databases.Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = SecretStr(postgres.new_database())
    async with start(database_url=url) as service:
        job = await examined(service, exhibits.video())
        bank = service.app.state.shared.services.hash_bank
        await asyncio.to_thread(decides(service, job, Decision.CONFIRMED))
        bank.remember(job["id"])
        meanwhile = Meanwhile(service, decides(service, job, Decision.REJECTED))

        def seal(hashes: HashList[KnownHashes], entry: KnownHashes, found: Any) -> None:
            monkeypatch.undo()
            hashes.seal(entry, found)
            meanwhile.begin()

        monkeypatch.setattr(HashList, "seal", seal)
        bank.remember(job["id"])
        meanwhile.end()
        with service.database.read() as session:
            assert session.get_one(Job, job["id"]).finding == Finding.REJECTED
            assert session.scalars(select(KnownHashes)).all() == []


async def test_a_job_ends_while_it_is_submitted_again_with_a_callback(service: Service) -> None:
    job = await submit(service)
    submissions = service.app.state.shared.services.submissions
    again = Submission(
        sighting=PostDetails(source_url="https://example.org/2"),
        callback=Callback("https://hooks.example.org/"),
    )
    sealed = Sealed(new_id(), new_key(), Stored(job["sha256"], job["size"]))
    caller = caller_of(service, Role.PIPELINE)
    meanwhile = Meanwhile(service, lambda: submissions._accept(caller, again, sealed))
    with service.database.write() as session:  # as at the end of an examination
        row = session.get_one(Job, job["id"], with_for_update=True)
        row.state = JobState.FAILED
        release_callbacks(session, row.id)
        session.flush()
        meanwhile.begin()
        append_entry(session, SERVICE, Action.JOB_FINISHED, row.id, JobState.FAILED)
    meanwhile.end()
    with service.database.read() as session:
        (delivery,) = session.scalars(select(Delivery)).all()
    assert (delivery.job_id, delivery.state) == (job["id"], DeliveryState.DUE)


@pytest.mark.parametrize("what", ["submitted again", "deleted"])
async def test_an_examination_succeeds_while_its_file_is(
    service: Service, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """A row that is updated twice by one transaction locks the row that it refers to, its case."""
    job = await submit(service)
    services = service.app.state.shared.services
    bundle = SimpleNamespace(sha256=job["bundle_sha256"])
    others: Any = (SimpleNamespace(bundle=bundle), None, None, None, None, Metrics())
    steps = Examination(service.database, services.vault, *others, timedelta(days=1))
    material = exhibits.material(b"still 1 120")
    result = material.examination.result.to_json()
    caller = caller_of(service, Role.PIPELINE)
    sealed = Sealed(new_id(), new_key(), Stored(job["sha256"], job["size"]))
    meanwhile = Meanwhile(
        service,
        (lambda: services.retention.cancel(caller, job["id"]))
        if what == "deleted"
        else (lambda: services.submissions._accept(caller, Submission(), sealed)),
    )
    real = steps_module.end_listing

    def end_listing(session: Session, *arguments: Any) -> None:
        real(session, *arguments)
        session.flush()
        meanwhile.begin()

    monkeypatch.setattr(steps_module, "end_listing", end_listing)
    steps._succeed(steps._open(job["id"]), result, listed_result(material))
    meanwhile.end()
    with service.database.read() as session:
        verify(session)
        left = session.scalars(select(Job.state)).all()
    assert left == ([] if what == "deleted" else [JobState.SUCCEEDED])


async def test_a_capture_is_deleted_while_a_worker_takes_it(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    capture = (await hand_in(service, b"a page")).json()
    claims, due = Claims(service.database, "worker", Capture), in_turn(TO_DO)
    meanwhile = Meanwhile(service, lambda: claims.take(due))
    meanwhile.before_entry_of(retention, monkeypatch)
    deleter = caller_of(service, Role.ADMIN)
    service.app.state.shared.services.retention.delete_capture(deleter, capture["id"])
    meanwhile.end()
    claims.release(capture["id"])
    assert not claims.take(due)


async def test_a_key_is_changed_while_it_is_revoked(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    key_id = caller_of(service, Role.AUDITOR).key_id
    assert key_id is not None
    meanwhile = Meanwhile(service, lambda: service.accounts.revoke(key_id))
    meanwhile.before_entry_of(accounts_module, monkeypatch)
    service.accounts.end(key_id, service.database.clock() + timedelta(days=1))
    meanwhile.end()


async def test_a_browser_signs_out_while_its_session_expires(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, token = service.accounts.sign_in(service.keys[Role.ANALYST])
    service.clock.advance(SIGNED_IN_FOR + timedelta(hours=1))
    meanwhile = Meanwhile(service, lambda: service.accounts.sign_out(token))
    meanwhile.before_entry_of(accounts_module, monkeypatch)
    service.accounts.sign_in(service.keys[Role.ADMIN])
    meanwhile.end()


async def test_an_account_is_disabled_while_it_submits_what_another_case_is_flagged_for(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = await submit(service, case_reference="FLAGGED")
    reviewer = {"Authorization": f"Bearer {service.keys[Role.ANALYST]}"}
    flagged = await service.client.put(f"/v1/cases/{job['case_id']}/minor", headers=reviewer)
    assert flagged.is_success
    other = (await service.client.post("/v1/cases", json={"case_reference": "OTHER"})).json()
    submissions = service.app.state.shared.services.submissions
    again = Submission(case_reference="OTHER")
    sealed = Sealed(new_id(), new_key(), Stored(job["sha256"], job["size"]))
    caller = caller_of(service, Role.PIPELINE)
    name = next(a.name for a in service.accounts.all() if a.id == caller.account_id)
    meanwhile = Meanwhile(service, lambda: submissions._accept(caller, again, sealed))
    meanwhile.before_entry_of(accounts_module, monkeypatch)
    service.accounts.disable(name)
    meanwhile.end()
    with service.database.read() as session:
        assert session.get_one(Case, other["id"]).minor_from == job["case_id"]
        verify(session)


async def test_a_code_signs_in_once_also_at_the_same_time(service: Service) -> None:
    factors = service.app.state.shared.services.second_factors
    caller = caller_of(service)
    totp = pyotp.TOTP(factors.enrol(caller).secret)
    factors.confirm(caller, totp.at(service.clock()))
    service.clock.advance(timedelta(minutes=2))
    code, step = totp.at(service.clock()), int(service.clock().timestamp()) // STEP_S
    meanwhile = Meanwhile(service, lambda: factors.check(caller, code))
    with service.database.write() as session:  # as another request with this code
        session.get_one(SecondFactor, caller.account_id, with_for_update=True).last_step = step
        session.flush()
        meanwhile.begin()
    with pytest.raises(CodeRejected):
        meanwhile.end()


async def test_a_second_factor_is_not_replaced_while_it_is_confirmed(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    factors, caller = service.app.state.shared.services.second_factors, caller_of(service)
    totp = pyotp.TOTP(factors.enrol(caller).secret)
    meanwhile = Meanwhile(service, lambda: factors.enrol(caller))
    meanwhile.before_entry_of(second_factors_module, monkeypatch)
    factors.confirm(caller, totp.at(service.clock()))
    with pytest.raises(Forbidden):
        meanwhile.end()
    service.clock.advance(timedelta(seconds=STEP_S))
    factors.check(caller, totp.at(service.clock()))


@pytest.mark.parametrize("what", ["account", "key"])
async def test_two_administrators_do_not_remove_each_other(
    service: Service, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    accounts = service.accounts
    for name in ("first", "second"):
        accounts.create(name, "person", Role.ADMIN)
    accounts.create_key("first")
    key = accounts.create_key("second")
    for account in accounts.all():
        if account.role is Role.ADMIN and account.name not in ("first", "second"):
            accounts.disable(account.name)
    meanwhile = Meanwhile(
        service,
        lambda: accounts.disable("second") if what == "account" else accounts.revoke(key.id),
    )
    meanwhile.before_entry_of(accounts_module, monkeypatch)
    accounts.disable("first")
    with pytest.raises(Conflict, match="administrator"):
        meanwhile.end()
    assert accounts.authenticate(key.text)


async def test_a_key_of_the_environment_is_not_removed_together_with_the_last_other_one(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = service.app.state.shared.settings
    chosen = settings.model_copy(update={"admin_key": SecretStr("k" * 43)})
    ensure_admin_key(service.database, chosen, terminal=True)
    listed = service.accounts.keys()
    keys = [key.id for key, account in listed if account.role is Role.ADMIN]
    *others, last = (key_id for key_id in keys if key_id != ENVIRONMENT_ID)
    for key_id in others:
        service.accounts.revoke(key_id)
    first: list[str | None] = []
    starts_without_it = settings.model_copy(update={"admin_key": None})
    meanwhile = Meanwhile(
        service,
        lambda: first.append(ensure_admin_key(service.database, starts_without_it, terminal=True)),
    )
    meanwhile.before_entry_of(accounts_module, monkeypatch)
    service.accounts.revoke(last)
    meanwhile.end()
    assert first[0] is not None
    assert service.accounts.authenticate(first[0]).role is Role.ADMIN
