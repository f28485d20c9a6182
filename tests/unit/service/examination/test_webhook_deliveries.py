"""When webhooks are sent, tried again and given up, by a clock that the tests set."""

from __future__ import annotations

import socket
import threading
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select
from structlog.testing import capture_logs

from deepfake_service.examination.webhook_deliveries import (
    WebhookDeliveries,
    release_callbacks,
)
from deepfake_service.platform import chores, outbound, webhooks
from deepfake_service.platform.db import Case, Delivery, Job, Lease, new_id
from deepfake_service.platform.enums import DeliveryState, JobState, Role
from deepfake_service.platform.outbound import check
from deepfake_service.platform.storage import context_of
from deepfake_service.platform.storage.envelope import seal
from tests.support.jobs import headers, post_video
from tests.support.servers import wait_until
from tests.support.stand_ins import Receiver, deliveries_of, delivery_state, do_due
from tests.unit.service.conftest import Service


def add_due(service: Service, deliveries: WebhookDeliveries, urls: Sequence[str]) -> None:
    """Make further webhooks of the job due."""
    with service.database.write() as session:
        (job,) = session.scalars(select(Job))
        case = session.get_one(Case, job.case_id)
        key = deliveries._vault.case_key(case)
        for url in urls:
            delivery_id = new_id()
            target = seal(
                key, webhooks.Callback(url).to_bytes(), context_of("delivery", delivery_id)
            )
            session.add(
                Delivery(
                    id=delivery_id, job_id=job.id, target=target, state=DeliveryState.DUE,
                    due_at=service.clock(), created_at=service.clock(),
                )
            )  # fmt: skip


async def test_a_job_that_is_deleted_tells_nobody(
    service: Service, deliveries: WebhookDeliveries, receiver: Receiver
) -> None:
    with service.database.write() as session:  # as at the beginning of a deletion
        session.scalars(select(Job)).one().state = JobState.CANCELLED
    assert do_due(deliveries) == 0
    assert receiver.bodies == []


async def test_a_delivery_is_tried_again_later_and_finally_given_up(
    service: Service, deliveries: WebhookDeliveries, receiver: Receiver
) -> None:
    for pause in webhooks.BACK_OFF:
        assert do_due(deliveries) == 1
        service.clock.advance(pause - timedelta(seconds=1))
        assert do_due(deliveries) == 0
        service.clock.advance(timedelta(seconds=2))
    assert delivery_state(service) is DeliveryState.DUE
    assert "deepfake_webhooks_due 1.0" in (await service.client.get("/metrics")).text
    with capture_logs() as logged:
        assert do_due(deliveries) == 1
    assert delivery_state(service) is DeliveryState.FAILED
    assert "deepfake_webhooks_due 0.0" in (await service.client.get("/metrics")).text
    service.clock.advance(timedelta(days=30))
    assert do_due(deliveries) == 0
    assert len(receiver.bodies) == len(webhooks.BACK_OFF) + 1
    with service.database.read() as session:
        job_id = session.scalars(select(Job.id)).one()
    assert [each.get("job_id") for each in logged if each["event"] == "webhook_failed"] == [job_id]
    receiver.outcome = webhooks.DeliveryOutcome("http_200", delivered=True)
    for _ in range(2):  # also one that came
        again = await service.client.post(f"/v1/jobs/{job_id}/webhooks")
        assert again.status_code == 202
        (webhook,) = again.json()["webhooks"]
        assert (webhook["state"], webhook["attempts"]) == ("due", 0)
        assert do_due(deliveries) == 1
        assert delivery_state(service) is DeliveryState.DELIVERED
    auditor = headers(service, Role.AUDITOR)
    refused = await service.client.post(f"/v1/jobs/{job_id}/webhooks", headers=auditor)
    assert refused.status_code == 403


@pytest.mark.parametrize("failed", [False, True])
async def test_a_clock_that_was_ahead_delays_no_webhook(
    service: Service, deliveries: WebhookDeliveries, receiver: Receiver, failed: bool
) -> None:
    ahead = timedelta(days=365)
    service.clock.advance(ahead)
    with service.database.write() as session:
        session.scalars(select(Delivery)).one().state = DeliveryState.WAITING
        release_callbacks(session, session.scalars(select(Job.id)).one())
    if failed:
        assert do_due(deliveries) == 1
    receiver.outcome = webhooks.DeliveryOutcome("http_200", delivered=True)
    service.clock.advance(-ahead)
    assert do_due(deliveries) == 1
    assert delivery_state(service) is DeliveryState.DELIVERED
    assert do_due(deliveries) == 0


async def test_a_delivery_whose_sender_died_is_sent_by_another_process(
    service: Service, deliveries: WebhookDeliveries, receiver: Receiver
) -> None:
    receiver.outcome = None
    with pytest.raises(KeyboardInterrupt):
        do_due(deliveries)
    receiver.outcome = webhooks.DeliveryOutcome("http_200", delivered=True)
    another = deliveries_of(service, "worker-2")
    with service.database.write() as session:
        ends_at = service.clock() + timedelta(seconds=9)
        session.add(Lease(executor_id="worker-1", expires_at=ends_at))
    assert do_due(another) == 0  # the first one may be alive
    service.clock.advance(timedelta(seconds=10))
    assert do_due(another) == 1
    assert delivery_state(service) is DeliveryState.DELIVERED
    assert '"state":"failed"' in receiver.bodies[-1]


async def test_a_delivery_waits_for_a_name_server_that_is_down_and_not_for_an_unknown_name(
    service: Service, deliveries: WebhookDeliveries, monkeypatch: pytest.MonkeyPatch
) -> None:
    failures = [socket.EAI_AGAIN, socket.EAI_NONAME]

    def fails(*_: Any, **__: Any) -> None:
        raise socket.gaierror(failures.pop(0), "no answer")

    monkeypatch.setattr(outbound, "check", check)
    monkeypatch.setattr(outbound.socket, "getaddrinfo", fails)
    assert do_due(deliveries) == 1
    assert delivery_state(service) is DeliveryState.DUE
    service.clock.advance(webhooks.BACK_OFF[0])
    assert do_due(deliveries) == 1
    assert delivery_state(service) is DeliveryState.FAILED


@pytest.mark.parametrize(
    ("failure", "status", "code"),
    [
        (socket.EAI_AGAIN, 503, "callback_unresolved"),
        (socket.EAI_NONAME, 422, "callback_refused"),
    ],
)
async def test_a_submission_is_to_be_repeated_while_a_name_server_is_down(
    service: Service, monkeypatch: pytest.MonkeyPatch, failure: int, status: int, code: str
) -> None:
    def fails(*_: Any, **__: Any) -> None:
        raise socket.gaierror(failure, "no answer")

    monkeypatch.setattr(outbound.socket, "getaddrinfo", fails)
    answer = await post_video(service, b"video", callback_url="https://hooks.example/a")
    assert (answer.status_code, answer.json()["type"].rpartition(":")[2]) == (status, code)
    assert ("Retry-After" in answer.headers) is (status == 503)


async def test_a_receiver_that_does_not_answer_holds_up_no_other_host(
    service: Service, deliveries: WebhookDeliveries, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers, sent = threading.Event(), []

    def send(target: str, *_: Any) -> webhooks.DeliveryOutcome:
        sent.append(target)
        if "silent" in target:
            assert answers.wait(60)
            return webhooks.DeliveryOutcome("timeout")
        return webhooks.DeliveryOutcome("http_200", delivered=True)

    monkeypatch.setattr(webhooks, "send", send)
    silent = [f"https://silent.example/{n}" for n in range(12)]
    add_due(service, deliveries, [*silent, "https://other.example/"])
    deliveries.start_due()
    wait_until(lambda: {"https://hooks.example/a", "https://other.example/"} <= set(sent))
    wait_until(lambda: any("silent" in url for url in sent))
    assert len([url for url in sent if "silent" in url]) == 1
    answers.set()
    everything = {*silent, "https://hooks.example/a", "https://other.example/"}

    def is_all_sent() -> bool:
        do_due(deliveries)
        return set(sent) == everything

    wait_until(is_all_sent)


async def test_a_host_gets_the_next_webhook_as_soon_as_it_has_answered(
    service: Service,
    deliveries: WebhookDeliveries,
    receiver: Receiver,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each host used to get one webhook a second, however many were due."""
    monkeypatch.setattr(chores, "LOOK_AGAIN_S", 60.0)  # however slow the machine is
    receiver.outcome = webhooks.DeliveryOutcome("http_200", delivered=True)
    add_due(service, deliveries, [f"https://hooks.example/{n}" for n in range(12)])
    deliveries.run_due()
    assert len(receiver.bodies) == 13
    with service.database.read() as session:
        assert set(session.scalars(select(Delivery.state))) == {DeliveryState.DELIVERED}


async def test_a_stopping_worker_begins_no_further_delivery(
    service: Service, deliveries: WebhookDeliveries, receiver: Receiver
) -> None:
    add_due(service, deliveries, [f"https://hooks.example/{n}" for n in range(12)])

    def send(*_: Any) -> webhooks.DeliveryOutcome:
        receiver.bodies.append("")
        if len(receiver.bodies) == 3:
            deliveries.stop()
        return webhooks.DeliveryOutcome("http_200", delivered=True)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(webhooks, "send", send)
        patch.setattr(chores, "LOOK_AGAIN_S", 60.0)  # however slow the machine is
        deliveries.run_due()
    assert len(receiver.bodies) == 3


async def test_a_delivery_that_cannot_be_read_holds_up_no_other_and_is_tried_again(
    service: Service, deliveries: WebhookDeliveries, receiver: Receiver
) -> None:
    receiver.outcome = webhooks.DeliveryOutcome("http_200", delivered=True)
    fields = {"callback_url": "https://hooks.example/b"}
    locked = (await post_video(service, b"locked", **fields)).json()
    with service.database.write() as session:
        session.get_one(Job, locked["id"]).state = JobState.FAILED
        release_callbacks(session, locked["id"])
        case = session.get_one(Case, locked["case_id"])
        wrapped, case.wrapped_key = case.wrapped_key, b"not a wrapped key"

    def states() -> dict[str, tuple[DeliveryState, int, str | None]]:
        with service.database.read() as session:
            return {
                d.job_id: (d.state, d.attempts, d.outcome)
                for d in session.scalars(select(Delivery))
            }

    assert do_due(deliveries) == 2
    for job in (locked,):
        assert states().pop(job["id"]) == (DeliveryState.DUE, 1, "unreadable")
    assert DeliveryState.DELIVERED in [state for state, *_ in states().values()]
    assert do_due(deliveries) == 0
    assert states()[locked["id"]][1] == 1, "it was tried again at once"
    with service.database.write() as session:
        session.get_one(Case, locked["case_id"]).wrapped_key = wrapped
    service.clock.advance(webhooks.BACK_OFF[0] + timedelta(seconds=1))
    assert do_due(deliveries) == 1
    assert {state for state, *_ in states().values()} == {DeliveryState.DELIVERED}
