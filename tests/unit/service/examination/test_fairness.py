"""Attacks of one account on the others: floods of jobs, of large pictures, and of requests."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from threading import Event, Semaphore
from typing import Any

import httpx
import pytest
from dbos import DBOSClient

from deepfake_service.examination.queue import PlainJson, queue_rank
from deepfake_service.examination.submissions import Submission
from deepfake_service.http import admission, auth
from deepfake_service.platform.db import Account, Job
from deepfake_service.platform.enums import JobState, Priority, Role
from deepfake_service.platform.errors import Conflict, RecordAltered, TooManyRequests
from deepfake_service.platform.findings import Decision
from deepfake_service.review.reviews import Judgement, Reviews
from tests.unit.service.conftest import Service, Starter

LIMIT = "This account is at its limit of concurrent"


async def submit(service: Service, role: Role, name: str, **options: Any) -> str:
    async def chunks() -> AsyncIterator[bytes]:
        yield f"{role} {name}".encode()

    submissions = service.app.state.shared.services.submissions
    caller = service.accounts.authenticate(service.keys[role])
    sealed = await submissions.seal(chunks())
    accepted = await submissions.accept(caller, Submission(**options), sealed)
    job_id: str = accepted.job_id
    return job_id


def served_in_order(service: Service, jobs: list[str]) -> list[str]:
    """Return the jobs in the order in which the queue hands them out."""
    client = DBOSClient(system_database_url=service.database.url, serializer=PlainJson())
    try:
        queued = {w.workflow_id: w for w in client.list_queued_workflows()}
    finally:
        client.destroy()
    return sorted(jobs, key=lambda j: (queued[j].priority, queued[j].created_at))


async def test_a_flood_of_jobs_does_not_delay_the_first_job_of_another_account(
    service: Service,
) -> None:
    flood = [await submit(service, Role.PIPELINE, str(n)) for n in range(12)]
    first = await submit(service, Role.ANALYST, "urgent")
    second = await submit(service, Role.ANALYST, "second")
    order = served_in_order(service, [*flood, first, second])
    assert order.index(first) <= 1
    assert order.index(second) <= 3
    assert [job for job in order if job in flood] == flood


async def test_a_newcomer_takes_turns_and_does_not_overtake_a_whole_queue(
    service: Service,
) -> None:
    earlier = [await submit(service, Role.PIPELINE, str(n)) for n in range(8)]
    with service.database.write() as session:
        for job_id in earlier[:4]:
            session.get_one(Job, job_id).state = JobState.RUNNING
    later = [await submit(service, Role.ANALYST, str(n)) for n in range(4)]
    order = served_in_order(service, [*earlier[4:], *later])
    owners = ["earlier" if job in earlier else "later" for job in order]
    assert owners == ["earlier", "later"] * 4


async def test_an_account_whose_last_job_runs_does_not_wait_for_the_flood_of_another(
    service: Service,
) -> None:
    batch = [await submit(service, Role.PIPELINE, str(n)) for n in range(8)]
    with service.database.write() as session:
        for job_id in batch:
            session.get_one(Job, job_id).state = JobState.SUCCEEDED
        session.get_one(Job, batch[-1]).state = JobState.RUNNING
    flood = [await submit(service, Role.ANALYST, str(n)) for n in range(8)]
    urgent = await submit(service, Role.PIPELINE, "urgent")
    assert served_in_order(service, [*flood, urgent]).index(urgent) <= 2


async def test_live_is_a_right_of_an_account_and_not_a_field(service: Service) -> None:
    service.accounts.create("system", "system", Role.PIPELINE)
    service.accounts.create("urgent", "system", Role.PIPELINE, live=True)

    async def priority(name: str, content: bytes) -> str:
        key = {"Authorization": f"Bearer {service.accounts.create_key(name).text}"}
        files = {"file": ("v.mp4", content)}
        answer = await service.client.post(
            "/v1/videos", files=files, data={"priority": "live"}, headers=key
        )
        assert answer.status_code == 202
        return str(answer.json()["priority"])

    assert await priority("system", b"first") == "batch"
    assert await priority("urgent", b"second") == "live"


def test_priorities_do_not_overlap() -> None:
    ranks = [queue_rank(p, turn) for p in Priority for turn in (0, 1, 10**12)]
    assert ranks == sorted(set(ranks))
    assert 1 <= ranks[0] <= ranks[-1] < 2**31


async def test_one_account_cannot_take_every_pending_request(
    start: Starter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(admission, "BUDGET", 2 * admission.SCORING)
    async with start() as service:
        flood = [asyncio.create_task(service.post(b"slow still 1 120")) for _ in range(2)]
        for _ in flood:
            await asyncio.to_thread(service.decoder.entered.acquire)
        refused = await service.post(b"still 1 120")
        assert refused.status_code == 429
        assert refused.headers["retry-after"]
        other = {"Authorization": f"Bearer {service.keys[Role.ANALYST]}"}
        admitted = asyncio.create_task(service.post(b"still 1 120", headers=other))
        await asyncio.sleep(0)
        service.decoder.gate.set()
        assert (await admitted).status_code == 200
        assert [(await task).status_code for task in flood] == [200, 200]
        assert (await service.post(b"still 1 120")).status_code == 200


async def test_slow_uploads_of_one_account_leave_room_for_those_of_another(
    start: Starter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(admission, "BUDGET", 2)
    async with start() as service:
        budget = service.app.state.shared.budget
        begun, arrived = asyncio.Semaphore(0), asyncio.Event()
        account = service.accounts.authenticate(service.keys[Role.PIPELINE]).account_id

        def upload(content: Any, role: Role = Role.PIPELINE) -> asyncio.Task[httpx.Response]:
            sent: dict[str, Any] = {"files": {"file": ("a", content)}}
            key = {"Authorization": f"Bearer {service.keys[role]}"}
            if not isinstance(content, bytes):
                key["Content-Type"], sent = "multipart/form-data; boundary=b", {"content": content}
            return asyncio.create_task(service.client.post("/v1/videos", headers=key, **sent))

        async def slow() -> AsyncIterator[bytes]:
            head = 'Content-Disposition: form-data; name="file"; filename="a"'
            yield f"--b\r\n{head}\r\n\r\nthe first piece".encode()
            begun.release()
            await arrived.wait()
            yield b"\r\n--b--\r\n"

        async with asyncio.timeout(60):
            held = [upload(slow()) for _ in range(2)]
            for _ in held:
                await begun.acquire()
            refused = await upload(b"video")
            assert refused.status_code == 429
            assert refused.headers["retry-after"] == "5"
            problem = refused.json()
            assert problem["type"] == "urn:deepfake-service:problem:too_many_at_once"
            assert problem["detail"].startswith(
                "This account is at its limit of concurrent requests."
            )
            assert (await upload(b"another", Role.ANALYST)).status_code == 202
            held[1].cancel()  # as if its client had left
            await asyncio.wait(held[1:])
            assert (await upload(b"video")).status_code == 202
            arrived.set()
            assert (await held[0]).status_code == 202
        assert budget.spent[account] == 0


async def test_event_streams_of_an_account_are_limited(
    start: Starter, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = Event()
    monkeypatch.setattr("deepfake_service.api.jobs.EVENTS_EVERY_S", 0.05)
    monkeypatch.setattr(
        "deepfake_service.api.jobs.check_still_authenticated", lambda _: begun.set()
    )
    monkeypatch.setattr(admission, "BUDGET", 1)
    async with start() as service:
        budget = service.app.state.shared.budget
        account = service.accounts.authenticate(service.keys[Role.PIPELINE]).account_id
        job_id = await submit(service, Role.PIPELINE, "followed")
        address = f"/v1/jobs/{job_id}/events"
        analyst = {"Authorization": f"Bearer {service.keys[Role.ANALYST]}"}
        async with asyncio.timeout(60):
            followed = asyncio.create_task(service.client.get(address))
            assert await asyncio.to_thread(begun.wait, 60)
            refused = await service.client.get(address)
            assert refused.status_code == 429
            assert refused.headers["retry-after"] == "5"
            problem = refused.json()
            assert problem["type"] == "urn:deepfake-service:problem:too_many_at_once"
            assert problem["detail"].startswith(
                "This account is at its limit of concurrent requests."
            )
            assert not followed.done()
            with service.database.write() as session:
                session.get_one(Job, job_id).state = JobState.SUCCEEDED
            assert '"succeeded"' in (await followed).text
            for headers in ({}, analyst):
                answer = await service.client.get(address, headers=headers)
                assert answer.status_code == 200
        assert not budget.spent[account]


async def test_reads_are_limited_and_repeated_ones_audited_once(start: Starter) -> None:
    async with start(reads_per_account="20/minute") as service:
        statuses = [(await service.client.get("/v1/jobs")).status_code for _ in range(25)]
        assert statuses == [200] * 20 + [429] * 5
        other = {"Authorization": f"Bearer {service.keys[Role.ANALYST]}"}
        assert (await service.client.get("/v1/jobs", headers=other)).status_code == 200


async def test_verification_is_limited(start: Starter) -> None:
    async with start(submissions_per_account="3/minute") as service:
        key = {"Authorization": f"Bearer {service.keys[Role.AUDITOR]}"}
        statuses = [
            (await service.client.post("/v1/verify", content=b"x", headers=key)).status_code
            for _ in range(5)
        ]
        assert statuses[3:] == [429, 429]


async def test_others_disabled_in_the_database_do_not_make_the_submitter_alone(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Reviews, "_create_edition", lambda *_: None)  # the job has no evidence
    analyst = service.accounts.authenticate(service.keys[Role.ANALYST])
    job_id = await submit(service, Role.ANALYST, "own")
    with service.database.write() as session:
        session.get_one(Job, job_id).state = JobState.SUCCEEDED
    with service.database.engine.begin() as connection:
        connection.exec_driver_sql(
            "UPDATE accounts SET disabled_at = '2026-01-01 00:00:00' WHERE id != ?",
            (analyst.account_id,),
        )
    reviews = service.app.state.shared.services.reviews
    with pytest.raises(RecordAltered):
        reviews.decide(analyst, job_id, Judgement(decision=Decision.CONFIRMED, reason="seen"))


@pytest.mark.parametrize("rule", ["if_alone", "always", "never"])
async def test_who_submitted_cannot_alone_confirm(
    start: Starter, rule: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Reviews, "_create_edition", lambda *_: None)  # the jobs have no evidence
    async with start(submitter_confirms=rule) as service:
        reviews = service.app.state.shared.services.reviews
        analyst = service.accounts.authenticate(service.keys[Role.ANALYST])
        admin = service.accounts.authenticate(service.keys[Role.ADMIN])

        async def examined(role: Role, name: str) -> str:
            job_id = await submit(service, role, name)
            with service.database.write() as session:
                session.get_one(Job, job_id).state = JobState.SUCCEEDED
            return job_id

        job_id = await examined(Role.ANALYST, "own")
        alone = reviews.decide(
            analyst, job_id, Judgement(decision=Decision.CONFIRMED, reason="seen")
        )
        assert alone == ("confirmed" if rule == "always" else "awaiting_second")
        assert (
            reviews.decide(admin, job_id, Judgement(decision=Decision.CONFIRMED, reason="seen"))
            == "confirmed"
        )
        job_id = await examined(Role.ANALYST, "each something else")
        reviews.decide(analyst, job_id, Judgement(decision=Decision.CONFIRMED, reason="seen"))
        differs = reviews.decide(
            admin, job_id, Judgement(decision=Decision.BODY_GENERATED, reason="seen")
        )
        assert differs == ("confirmed" if rule == "always" else "body_generated")
        of_another = await examined(Role.PIPELINE, "another's")
        assert (
            reviews.decide(
                analyst, of_another, Judgement(decision=Decision.CONFIRMED, reason="seen")
            )
            == "confirmed"
        )
        others = [a.id for a in service.accounts.all() if a.id != analyst.account_id]
        with service.database.write() as session:  # an administrator cannot disable the last one
            for account_id in others:
                session.get_one(Account, account_id).disabled_at = service.clock()
        job_id = await examined(Role.ANALYST, "alone in the centre")
        alone = reviews.decide(
            analyst, job_id, Judgement(decision=Decision.CONFIRMED, reason="seen")
        )
        assert alone == ("awaiting_second" if rule == "never" else "confirmed")


async def test_the_two_accounts_of_the_installer_are_one_person(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Reviews, "_create_edition", lambda *_: None)  # the job has no evidence
    reviews = service.app.state.shared.services.reviews
    callers = []
    for name in ("administrator", "environment"):
        service.accounts.create(name, "person", Role.ADMIN)
        callers.append(service.accounts.authenticate(service.accounts.create_key(name).text))
    job_id = await submit(service, Role.PIPELINE, "x")
    with service.database.write() as session:
        session.get_one(Job, job_id).state = JobState.SUCCEEDED
    reviews.decide(callers[0], job_id, Judgement(decision=Decision.CONFIRMED, reason="seen"))
    with pytest.raises(Conflict, match="another account of yours"):
        reviews.decide(callers[1], job_id, Judgement(decision=Decision.CONFIRMED, reason="seen"))


async def test_pages_and_changes_count_against_a_rate(start: Starter) -> None:
    """The console and several roles had none, so that one session could ask without end."""
    async with start(reads_per_account="4/minute") as service:
        analyst = {"Authorization": f"Bearer {service.keys[Role.ANALYST]}"}
        hold = "/v1/cases/unknown/hold"
        statuses = [(await service.client.put(hold, headers=analyst)).status_code for _ in range(6)]
        assert statuses == [404] * 4 + [429] * 2
        await service.sign_in(Role.AUDITOR)
        del service.client.headers["Authorization"]
        statuses = [(await service.client.get("/audit")).status_code for _ in range(6)]
        assert statuses == [200] * 4 + [429] * 2


async def test_an_account_downloads_few_tables_at_the_same_time(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    await service.sign_in(Role.ANALYST)
    begun, go_on = Semaphore(0), Event()

    def held(_: object) -> None:
        begun.release()
        assert go_on.wait(60)

    monkeypatch.setattr(auth, "CHECKED_EVERY_S", 0.0)
    monkeypatch.setattr(auth, "check_still_authenticated", held)
    path, most = "/results.csv", admission.BUDGET // admission.HEAVY
    downloads = [asyncio.create_task(service.client.get(path)) for _ in range(most)]
    for _ in downloads:
        assert await asyncio.to_thread(begun.acquire, timeout=60)
    refused = await service.client.get(path, headers={"Accept-Language": "en"})
    assert (refused.status_code, refused.headers["retry-after"]) == (429, "5")
    assert f"{LIMIT} requests." in refused.text
    go_on.set()
    assert [(await task).status_code for task in downloads] == [200] * most
    assert (await service.client.get(path)).status_code == 200


def test_requests_of_all_kinds_share_one_budget_of_their_account() -> None:
    budget = admission.AccountBudget()
    with contextlib.ExitStack() as held:
        for _ in range(admission.BUDGET - admission.HEAVY + 1):
            held.enter_context(budget.enter("a"))
        with pytest.raises(TooManyRequests, match="limit of concurrent requests"):
            held.enter_context(budget.enter("a", admission.HEAVY))
        held.enter_context(budget.enter("b", admission.HEAVY))
    assert budget.spent["a"] == budget.spent["b"] == 0
