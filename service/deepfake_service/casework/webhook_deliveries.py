"""Webhooks: send those that are due, retry those that fail, and finally give up."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from deepfake_service.db import Case, Database, Delivery, Job, current_time
from deepfake_service.db.enums import DeliveryState
from deepfake_service.errors import CallbackRefused
from deepfake_service.jobs import webhooks
from deepfake_service.observability.logs import logger
from deepfake_service.observability.metrics import Metrics
from deepfake_service.storage import Vault, context_of, installation_secret
from deepfake_service.storage.envelope import KeyWrapper, unseal

CLAIMED_FOR = timedelta(seconds=3 * webhooks.DEADLINE_S)
"""How long a delivery belongs to one process. After that the process is taken for dead."""
BATCH = 20

_log = logger("deepfake_service.webhooks")


class WebhookSecrets:
    """The secret of each account that its webhooks are signed with."""

    def __init__(self, database: Database, keys: KeyWrapper) -> None:
        self._database = database
        self._keys = keys

    def of(self, account_id: str) -> str:
        """Return the secret in the form of Standard Webhooks: ``whsec_`` and base64.

        Raises:
            DecryptionFailed: the secret was wrapped by another master key.
        """
        secret = installation_secret(self._database, self._keys, f"wh-{account_id}")
        return "whsec_" + base64.b64encode(secret).decode()


@dataclass(frozen=True, slots=True)
class _Due:
    id: str
    attempts: int
    job: Job
    url: str


class WebhookDeliveries:
    """Sends webhooks. Several processes may do so at the same time."""

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
        """Send the webhooks that are due, and return how many were tried."""
        for tried in range(BATCH):
            due = self._claim()
            if due is None:
                return tried
            self._finish(due, self._try(due))
        return BATCH

    def _claim(self) -> _Due | None:
        """Claim the delivery that has been due longest, for ``CLAIMED_FOR``."""
        now = self._database.clock()
        with self._database.write() as session:
            row = session.execute(
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
            if row is None:
                return None
            delivery, job, case = row
            delivery.due_at = now + CLAIMED_FOR
            delivery.attempts += 1
        key = self._vault.case_key(case)
        url = unseal(key, delivery.target, context_of("delivery", delivery.id)).decode()
        return _Due(delivery.id, delivery.attempts, job, url)

    def _try(self, due: _Due) -> webhooks.Outcome:
        try:
            # Checked for each attempt, because a name can resolve to another address by then.
            target = webhooks.check(due.url, allow_private=self._allow_private)
        except CallbackRefused:
            return webhooks.Outcome("refused", final=True)
        now = self._database.clock()
        job = {"id": due.job.id, "state": due.job.state, "case_id": due.job.case_id}
        body = webhooks.event(f"job.{due.job.state}", job, now)
        return webhooks.send(target, self._secrets.of(due.job.account_id), due.id, body, now)

    def _finish(self, due: _Due, outcome: webhooks.Outcome) -> None:
        is_over = outcome.final or due.attempts > len(webhooks.BACK_OFF)
        with self._database.write() as session:
            delivery = session.get(Delivery, due.id)
            if delivery is None:
                return
            delivery.outcome = outcome.code
            if outcome.delivered:
                delivery.state = DeliveryState.DELIVERED
            elif is_over:
                delivery.state = DeliveryState.FAILED
            else:
                delivery.due_at = self._database.clock() + webhooks.BACK_OFF[due.attempts - 1]
        self._metrics.webhook(outcome.code)
        if not outcome.delivered:
            _log.warning(
                "webhook_failed", delivery_id=due.id, outcome=outcome.code, given_up=is_over
            )


def release_callbacks(session: Session, job_id: str) -> None:
    """Make the webhooks of a job that has ended due."""
    session.execute(
        update(Delivery)
        .where(Delivery.job_id == job_id, Delivery.state == DeliveryState.WAITING)
        .values(state=DeliveryState.DUE, due_at=current_time(session))
    )
