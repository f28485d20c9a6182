"""What a webhook is signed with, and what it says."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy import select

from deepfake_service.audit.log import Action
from deepfake_service.examination.webhook_deliveries import WebhookDeliveries
from deepfake_service.platform import webhooks
from deepfake_service.platform.db import AuditEntry, Delivery, Secret
from deepfake_service.platform.enums import DeliveryState, Role
from tests.support import exhibits
from tests.support.jobs import examined, post_video
from tests.support.stand_ins import Receiver, deliveries_of, delivery_state, do_due
from tests.unit.service.conftest import Service


async def test_a_delivery_whose_secret_does_not_unwrap_is_a_failed_attempt(
    service: Service, deliveries: WebhookDeliveries, receiver: Receiver
) -> None:
    receiver.outcome = webhooks.DeliveryOutcome("http_200", delivered=True)
    name = f"wh-{service.accounts.authenticate(service.keys[Role.PIPELINE]).account_id}"
    service.app.state.shared.services.webhook_secrets.of(name.removeprefix("wh-"))
    with service.database.write() as session:
        secret = session.get_one(Secret, name)
        wrapped, secret.wrapped = secret.wrapped, b"not a wrapped secret"
    assert do_due(deliveries) == 1
    with service.database.write() as session:
        delivery = session.scalars(select(Delivery)).one()
        assert (delivery.attempts, delivery.outcome) == (1, "unreadable")
        session.get_one(Secret, name).wrapped = wrapped
    service.clock.advance(webhooks.BACK_OFF[0] + timedelta(seconds=1))
    assert do_due(deliveries) == 1
    assert delivery_state(service) is DeliveryState.DELIVERED


async def test_a_secret_that_became_known_is_replaced_for_the_next_attempt(
    service: Service, deliveries: WebhookDeliveries, monkeypatch: pytest.MonkeyPatch
) -> None:
    signed_with: list[str] = []

    def send(_target: Any, secret: str, *_: Any) -> webhooks.DeliveryOutcome:
        signed_with.append(secret)
        return webhooks.DeliveryOutcome("http_401")

    async def ask(method: str, role: Role) -> httpx.Response:
        key = {"Authorization": f"Bearer {service.keys[role]}"}
        return await service.client.request(method, "/v1/webhook-secret", headers=key)

    monkeypatch.setattr(webhooks, "send", send)
    assert do_due(deliveries) == 1
    first = (await ask("GET", Role.PIPELINE)).json()["secret"]
    others = (await ask("GET", Role.ANALYST)).json()["secret"]
    second = (await ask("POST", Role.PIPELINE)).json()["secret"]
    assert (await ask("GET", Role.PIPELINE)).json()["secret"] == second
    assert (await ask("GET", Role.ANALYST)).json()["secret"] == others
    assert (await ask("POST", Role.AUDITOR)).status_code == 403
    service.clock.advance(webhooks.BACK_OFF[0])
    assert do_due(deliveries) == 1
    assert signed_with == [first, second]
    assert len({first, second, others}) == 3
    with service.database.read() as session:
        replaced = select(AuditEntry).where(AuditEntry.action == Action.WEBHOOK_SECRET_REPLACED)
        (entry,) = session.scalars(replaced)
    assert entry.account_id == entry.subject


async def test_each_address_is_called_once_and_told_the_verdict_only_if_it_was_asked_for(
    service: Service, receiver: Receiver
) -> None:
    receiver.outcome = webhooks.DeliveryOutcome("http_200", delivered=True)
    job = await examined(
        service,
        exhibits.video(),
        case_reference="2026-0117",
        callback_url="https://hooks.example/a",
    )
    again = await post_video(
        service, exhibits.video(), case_reference="2026-0117",
        callback_url="https://hooks.example/b", callback_content="verdict",
    )  # fmt: skip
    known = await post_video(
        service, exhibits.video(), case_reference="2026-0117",
        callback_url="https://hooks.example/a", callback_content="verdict",
    )  # fmt: skip
    assert again.json()["id"] == known.json()["id"] == job["id"]
    assert do_due(deliveries_of(service)) == 2
    (shown,) = (await service.client.get(f"/v1/jobs/{job['id']}")).json()["webhooks"][:1]
    assert (shown["state"], shown["outcome"], shown["attempts"]) == ("delivered", "http_200", 1)
    plain, told = sorted((json.loads(body)["data"] for body in receiver.bodies), key=len)
    assert plain == {"id": job["id"], "state": "succeeded", "case_id": job["case_id"]}
    verdict = again.json()["verdict"]
    assert told == {**plain, "verdict": verdict, "case_reference": "2026-0117"}
    assert set(plain) == {"id", "state", "case_id"}


async def test_the_content_of_a_webhook_needs_an_address(service: Service) -> None:
    answer = await post_video(service, b"video", callback_content="verdict")
    assert answer.status_code == 422
    assert answer.json()["errors"] == [
        {"field": "callback_content", "detail": "send a callback_url with it"}
    ]
