"""Webhooks: send those that are due, retry those that fail, and finally give up."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

import httpx
from sqlalchemy import ColumnElement, and_, func, or_, select, update
from sqlalchemy.orm import Session

from deepfake_service.accounts.accounts import Caller
from deepfake_service.audit.log import Action, append_entry
from deepfake_service.platform import outbound, webhooks
from deepfake_service.platform.chores import Lane
from deepfake_service.platform.db import Case, Database, Delivery, Job, current_time
from deepfake_service.platform.db.enums import CallbackContent, DeliveryState, JobState
from deepfake_service.platform.errors import CallbackRefused, CallbackUnresolved, DecryptionFailed
from deepfake_service.platform.logs import describe, logger
from deepfake_service.platform.metrics import Metrics
from deepfake_service.platform.networks import CallbackHosts
from deepfake_service.platform.storage import Vault, context_of, installation_secret, open_json
from deepfake_service.platform.storage.envelope import KeyWrapper, unseal
from deepfake_service.platform.storage.vault import replace_secret

CLAIMED_FOR = timedelta(seconds=3 * webhooks.DEADLINE_S)
"""How long a delivery belongs to one process. After that the process is taken for dead, or could
not record the outcome: the webhook is sent again, with the same id."""
SENDERS = 8
"""Deliveries that one process sends at the same time."""
CANDIDATES = 200
"""Due deliveries among which some with an idle host are looked for."""

_log = logger("deepfake_service.webhooks")


def count_due(database: Database) -> int:
    """Count the webhooks that are to be sent or sent again."""
    counted = select(func.count()).where(Delivery.state == DeliveryState.DUE)
    with database.read() as session:
        return session.scalar(counted) or 0


class WebhookSecrets:
    """The secret of each account that its webhooks are signed with."""

    def __init__(self, database: Database, keys: KeyWrapper) -> None:
        self._database = database
        self._keys = keys

    def of(self, account_id: str) -> str:
        """Return the secret in the form of Standard Webhooks: ``whsec_`` and base64.
        ``DecryptionFailed`` if the secret was wrapped by another master key."""
        return _text(installation_secret(self._database, self._keys, f"wh-{account_id}"))

    def replace(self, caller: Caller) -> str:
        """Replace the secret of the caller's account, and return the new one.

        Webhooks that are sent again are signed with the new one, too. ``DecryptionFailed`` if the
        secret was wrapped by another master key.
        """
        self.of(caller.account_id)  # creates it on first use
        with self._database.write() as session:
            secret = replace_secret(session, self._keys, f"wh-{caller.account_id}")
            append_entry(session, caller.actor, Action.WEBHOOK_SECRET_REPLACED, caller.account_id)
        return _text(secret)


def _text(secret: bytes) -> str:
    return "whsec_" + base64.b64encode(secret).decode()


@dataclass(frozen=True, slots=True)
class _Due:
    id: str
    job: Job
    callback: webhooks.Callback
    reference: str | None
    """Of the case, if the callback asks for it."""
    post_id: str | None
    """The post that has returned, if the webhook is about one."""

    @property
    def host(self) -> str:
        try:
            return httpx.URL(self.callback.url).host
        except httpx.InvalidURL:
            return ""


@dataclass
class WebhookDeliveries(Lane[_Due]):
    """Sends the webhooks that are due."""

    _database: Database
    _vault: Vault
    _secrets: WebhookSecrets
    _metrics: Metrics
    allowed: CallbackHosts

    def __post_init__(self) -> None:
        super().__init__("webhook", SENDERS)

    def _claim(self, free: int, busy: set[str]) -> Iterator[_Due]:
        for due in self._candidates():
            if free and due.host not in busy and self._is_ours(due.id):
                free -= 1
                busy.add(due.host)
                yield due

    def _candidates(self) -> list[_Due]:
        """Return due deliveries: the oldest of each account, then their second, and so on.

        One that cannot be read counts as a failed attempt: it must not hold up the others, and may
        be readable again once a person has seen to it.
        """
        turn = func.row_number().over(partition_by=Job.account_id, order_by=Delivery.due_at)
        due = (
            select(Delivery, Job, Case)
            .join(Job, Delivery.job_id == Job.id)
            .join(Case, Job.case_id == Case.id)
            .where(
                _is_due(self._database.clock()),
                Case.wrapped_key.is_not(None),
                # A deletion takes the job's callbacks with it, and tells nobody.
                Job.state != JobState.CANCELLED,
            )
            .order_by(turn, Delivery.due_at)
            .limit(CANDIDATES)
        )
        with self._database.read() as session:
            rows = session.execute(due).all()
        unreadable, found = list[str](), list[_Due]()
        for delivery, job, case in rows:
            try:
                found.append(self._opened(delivery, job, case))
            except DecryptionFailed:
                unreadable.append(delivery.id)
        for delivery_id in unreadable:
            if self._is_ours(delivery_id):
                self._finish(delivery_id, webhooks.DeliveryOutcome("unreadable"))
        return found

    def _opened(self, delivery: Delivery, job: Job, case: Case) -> _Due:
        key = self._vault.case_key(case)
        stored = unseal(key, delivery.target, context_of("delivery", delivery.id))
        callback = webhooks.Callback.from_bytes(stored)
        reference = None
        if callback.content is CallbackContent.VERDICT:
            reference = open_json(key, case)["reference"]
        return _Due(delivery.id, job, callback, reference, delivery.occurrence_id)

    def _is_ours(self, delivery_id: str) -> bool:
        """Claim a delivery for ``CLAIMED_FOR``, unless another process was faster."""
        now = self._database.clock()
        with self._database.write() as session:
            claimed = session.execute(
                update(Delivery)
                .where(Delivery.id == delivery_id, _is_due(now))
                .values(due_at=now + CLAIMED_FOR, attempts=Delivery.attempts + 1)
                .returning(Delivery.id)
            ).first()
        return claimed is not None

    def _do(self, due: _Due) -> None:
        try:
            self._finish(due.id, self._send(due))
        except Exception as error:
            _log.error("webhook_broken", delivery_id=due.id, failure=describe(error))

    def _send(self, due: _Due) -> webhooks.DeliveryOutcome:
        try:
            # Checked for each attempt, because a name can resolve to another address by then.
            target = outbound.check(due.callback.url, allowed=self.allowed)
        except CallbackUnresolved:
            return webhooks.DeliveryOutcome("unresolved")
        except CallbackRefused:
            return webhooks.DeliveryOutcome("refused", final=True)
        now = self._database.clock()
        job = {"id": due.job.id, "state": due.job.state, "case_id": due.job.case_id}
        if due.callback.content is CallbackContent.VERDICT:
            told = {"verdict": due.job.verdict, "case_reference": due.reference}
            job |= {name: value for name, value in told.items() if value is not None}
        try:
            secret = self._secrets.of(due.job.account_id)
        except DecryptionFailed:
            return webhooks.DeliveryOutcome("unreadable")
        if due.post_id is not None:
            returned = {"id": due.post_id, "job_id": due.job.id, "case_id": due.job.case_id}
            body = webhooks.event("post.returned", returned, now)
        else:
            body = webhooks.event(f"job.{due.job.state}", job, now)
        return webhooks.send(target, secret, due.id, body, now)

    def _finish(self, delivery_id: str, outcome: webhooks.DeliveryOutcome) -> None:
        with self._database.write() as session:
            delivery = session.get(Delivery, delivery_id)
            if delivery is None:
                return
            is_over = outcome.final or delivery.attempts > len(webhooks.BACK_OFF)
            delivery.outcome = outcome.code
            if outcome.delivered:
                delivery.state = DeliveryState.DELIVERED
            elif is_over:
                delivery.state = DeliveryState.FAILED
            else:
                delivery.due_at = self._database.clock() + webhooks.BACK_OFF[delivery.attempts - 1]
        self._metrics.webhook(outcome.code)
        if not outcome.delivered:
            _log.warning(
                "webhook_failed", delivery_id=delivery_id, outcome=outcome.code, given_up=is_over
            )


def _is_due(now: datetime) -> ColumnElement[bool]:
    """Return the condition that a webhook is to be sent now. Nothing waits for longer than the
    longest back-off: a later time is that of a clock which was ahead and has been corrected."""
    is_past = or_(Delivery.due_at <= now, Delivery.due_at > now + webhooks.BACK_OFF[-1])
    return and_(Delivery.state == DeliveryState.DUE, is_past)


def release_callbacks(session: Session, job_id: str) -> None:
    """Make the webhooks of a job that has ended due."""
    session.execute(
        update(Delivery)
        .where(Delivery.job_id == job_id, Delivery.state == DeliveryState.WAITING)
        .values(state=DeliveryState.DUE, due_at=current_time(session))
    )
