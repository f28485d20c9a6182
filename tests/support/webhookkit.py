"""A receiver of webhooks, and their deliveries in an app under test."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select

from deepfake_service.examination.webhook_deliveries import WebhookDeliveries
from deepfake_service.platform import webhooks
from deepfake_service.platform.db import Delivery
from deepfake_service.platform.db.enums import DeliveryState

# ``conftest.Service`` of the unit tests.
Service = Any


class Receiver:
    """Stands in for the receiver: it answers with ``outcome``, or dies."""

    def __init__(self) -> None:
        self.outcome: webhooks.DeliveryOutcome | None = webhooks.DeliveryOutcome("timeout")
        self.bodies: list[str] = []

    def send(
        self, _target: Any, _secret: str, _id: str, body: str, _at: Any
    ) -> webhooks.DeliveryOutcome:
        self.bodies.append(body)
        if self.outcome is None:
            raise KeyboardInterrupt
        return self.outcome


def send_due(deliveries: WebhookDeliveries) -> int:
    """Send the webhooks that are due, wait for the outcome, and return how many were tried."""
    tried = 0
    while started := deliveries.start_due():
        for sent in started:
            sent.result()
        tried += len(started)
    return tried


def state(service: Service) -> DeliveryState:
    with service.database.read() as session:
        return session.scalars(select(Delivery.state)).one()
