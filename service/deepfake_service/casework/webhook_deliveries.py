"""Webhooks that are due: sent in order, tried again later, given up in the end."""

from __future__ import annotations

import base64
import secrets
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from deepfake_service.db import Case, Database, Delivery, Job, Secret, current_time
from deepfake_service.db.enums import DeliveryState
from deepfake_service.errors import CallbackRefused
from deepfake_service.jobs import webhooks
from deepfake_service.observability.logs import logger
from deepfake_service.observability.metrics import Metrics
from deepfake_service.storage import Vault, context_of, secret_context
from deepfake_service.storage.envelope import KeyWrapper, unseal

SENDING_FOR = timedelta(seconds=3 * webhooks.DEADLINE_S)
"""How long a delivery is one sender's: after that it was killed, and another one sends."""
AT_ONCE = 20

_log = logger("deepfake_service.webhooks")


class WebhookSecrets:
    """An account's signing secret, made when it is first needed, kept wrapped."""

    def __init__(self, database: Database, keys: KeyWrapper) -> None:
        self._database = database
        self._keys = keys

    def of(self, account_id: str) -> str:
        """The secret as receivers' libraries take it: ``whsec_`` and base64."""
        name = f"wh-{account_id}"
        with self._database.read() as session:
            kept = session.get(Secret, name)
        if kept is None:
            try:
                with self._database.write() as session:
                    wrapped = self._keys.wrap(secrets.token_bytes(32), secret_context(name))
                    session.add(Secret(name=name, wrapped=wrapped))
            except IntegrityError:
                pass  # another process was first
            with self._database.read() as session:
                kept = session.get_one(Secret, name)
        raw = self._keys.unwrap(kept.wrapped, secret_context(name))
        return "whsec_" + base64.b64encode(raw).decode()


@dataclass(frozen=True, slots=True)
class _Due:
    id: str
    attempts: int
    job: Job
    url: str


class WebhookDeliveries:
    """Sends what is due. Several processes may do so at a time."""

    def __init__(
        self,
        database: Database,
        vault: Vault,
        webhook_secrets: WebhookSecrets,
        metrics: Metrics,
        *,
        allow_private: bool,
    ) -> None:
        self._database = database
        self._vault = vault
        self._secrets = webhook_secrets
        self._metrics = metrics
        self._allow_private = allow_private

    def send_due(self) -> int:
        """Send what is due now, one by one; how many were tried."""
        for tried in range(AT_ONCE):
            due = self._claim()
            if due is None:
                return tried
            self._finish(due, self._try(due))
        return AT_ONCE

    def _claim(self) -> _Due | None:
        """Take the delivery that is due longest: it is this process's for ``SENDING_FOR``."""
        now = self._database.clock()
        with self._database.write() as session:
            found = session.execute(
                select(Delivery, Job, Case)
                .join(Job, Delivery.job_id == Job.id)
                .join(Case, Job.case_id == Case.id)
                .where(
                    Delivery.state == DeliveryState.DUE,
                    Delivery.due_at <= now,
                    Case.wrapped_key.is_not(None),
                )
                .order_by(Delivery.due_at)
                .limit(1)
                .with_for_update(skip_locked=True, of=Delivery)
            ).first()
            if found is None:
                return None
            delivery, job, case = found.tuple()
            delivery.due_at = now + SENDING_FOR
            delivery.attempts += 1
        key = self._vault.case_key(case.id, case.wrapped_key)
        url = unseal(key, delivery.target, context_of("delivery", delivery.id)).decode()
        return _Due(delivery.id, delivery.attempts, job, url)

    def _try(self, due: _Due) -> webhooks.Outcome:
        try:
            # Checked anew each time: names can come to mean other addresses.
            target = webhooks.check(due.url, allow_private=self._allow_private)
        except CallbackRefused:
            return webhooks.Outcome("refused", final=True)
        now = self._database.clock()
        job = {"id": due.job.id, "state": due.job.state, "case_id": due.job.case_id}
        body = webhooks.event(f"job.{due.job.state}", job, now)
        return webhooks.send(target, self._secrets.of(due.job.account_id), due.id, body, now)

    def _finish(self, due: _Due, outcome: webhooks.Outcome) -> None:
        over = outcome.final or due.attempts > len(webhooks.BACK_OFF)
        with self._database.write() as session:
            delivery = session.get(Delivery, due.id)
            if delivery is None:
                return
            delivery.outcome = outcome.code
            if outcome.delivered:
                delivery.state = DeliveryState.DELIVERED
            elif over:
                delivery.state = DeliveryState.FAILED
            else:
                delivery.due_at = self._database.clock() + webhooks.BACK_OFF[due.attempts - 1]
        self._metrics.webhook(outcome.code)
        if not outcome.delivered:
            _log.warning("webhook_failed", delivery_id=due.id, outcome=outcome.code, given_up=over)


def release_callbacks(session: Session, job_id: str) -> None:
    """Let the webhooks of a job that is over be sent."""
    session.execute(
        update(Delivery)
        .where(Delivery.job_id == job_id, Delivery.state == DeliveryState.WAITING)
        .values(state=DeliveryState.DUE, due_at=current_time(session))
    )
