"""Webhooks: send those that are due, retry those that fail, and finally give up."""

from __future__ import annotations

import base64
import contextlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated

import httpx
from pydantic import Field
from sqlalchemy import ColumnElement, and_, exists, func, or_, select, update
from sqlalchemy.orm import Session

from deepfake_service.accounts.accounts import Caller
from deepfake_service.accounts.visibility import find_visible
from deepfake_service.audit.log import Action, append_entry
from deepfake_service.platform import outbound, webhooks
from deepfake_service.platform.answers import ItemId, Published
from deepfake_service.platform.chores import Lane
from deepfake_service.platform.claims import Claims
from deepfake_service.platform.db import (
    Capture,
    Case,
    Database,
    Delivery,
    Job,
    current_time,
    new_id,
)
from deepfake_service.platform.enums import (
    ENDED,
    CallbackContent,
    CaptureState,
    DeliveryState,
    JobState,
)
from deepfake_service.platform.errors import (
    Code,
    Conflict,
    DecryptionFailed,
    InvalidRequest,
    Overloaded,
)
from deepfake_service.platform.logs import describe, logger
from deepfake_service.platform.metrics import Metrics
from deepfake_service.platform.networks import CallbackHosts
from deepfake_service.platform.storage import Vault, context_of, installation_secret, open_json
from deepfake_service.platform.storage.envelope import KeyWrapper, seal, unseal
from deepfake_service.platform.storage.vault import replace_secret
from deepfake_service.platform.webhooks import Callback

SENDERS = 8
"""Deliveries that one process sends at the same time."""
MAX_CALLBACKS = 5
"""Callback URLs of one job or capture. Each is called up to eight times, so that one with many
would occupy the deliveries of all accounts."""
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


class ShownWebhook(Published):
    """A webhook of a job or capture, and what became of it so far."""

    id: ItemId = Field(description="Its `webhook-id`.")
    state: DeliveryState
    """`waiting` for the end, `due` for an attempt, `delivered`, or `failed`: given up."""
    attempts: int = Field(description="How often it was sent.")
    outcome: Annotated[str | None, Field(examples=["http_200"])]
    """What came of the last attempt: `http_` and the status, `timeout`, `unreachable`, `unresolved`
    (no such host), `refused` (not a public address) or `unreadable`. Null before the first one."""


Shown = dict[str, list[ShownWebhook]]
"""Webhooks by their job or capture, the first one first, without their URLs."""


def shown_webhooks(session: Session, are_wanted: ColumnElement[bool]) -> Shown:
    """Return the webhooks that are wanted."""
    shown: Shown = defaultdict(list)
    for row in session.scalars(select(Delivery).where(are_wanted).order_by(Delivery.id)):
        shown[row.job_id or row.capture_id or ""].append(
            ShownWebhook(id=row.id, state=row.state, attempts=row.attempts, outcome=row.outcome)
        )
    return shown


def webhooks_of(
    database: Database,
    caller: Caller,
    owner: type[Job | Capture],
    owner_id: str,
    *,
    again: bool = False,
) -> list[ShownWebhook]:
    """Return the webhooks of a job or capture, and make those that were delivered or given up due
    ``again``, with all their attempts; ``NotFound`` unless the caller may see it."""
    over = Delivery.state.in_((DeliveryState.DELIVERED, DeliveryState.FAILED))
    with database.write() if again else database.read() as session:
        find_visible(session, caller, owner, owner_id)
        if again:
            due = {"state": DeliveryState.DUE, "due_at": current_time(session), "attempts": 0}
            session.execute(update(Delivery).where(_of(owner_id), over).values(due))
        return shown_webhooks(session, _of(owner_id))[owner_id]


def add_callback(session: Session, key: bytes, owner: Job | Capture, callback: Callback) -> None:
    """Have the end of a job or capture told to a URL, at once if it has ended. A URL that it has is
    not called again; ``Conflict`` if it has as many as it can have."""
    deliveries = session.scalars(select(Delivery).where(_of(owner.id))).all()
    if callback.url in {each.url for each in _callbacks(key, deliveries)}:
        return  # a repeated request leads to one webhook only
    if len(deliveries) >= MAX_CALLBACKS:
        raise Conflict(code=Code.TOO_MANY_CALLBACKS)
    delivery_id, now = new_id(), current_time(session)
    has_ended = owner.state in (*ENDED, CaptureState.CAPTURED, CaptureState.REFUSED)
    session.add(
        Delivery(
            id=delivery_id,
            job_id=owner.id if isinstance(owner, Job) else None,
            capture_id=owner.id if isinstance(owner, Capture) else None,
            target=seal(key, callback.to_bytes(), context_of("delivery", delivery_id)),
            state=DeliveryState.DUE if has_ended else DeliveryState.WAITING,
            due_at=now,
            created_at=now,
        )
    )


def callbacks_of(session: Session, key: bytes, owner_id: str) -> list[Callback]:
    """Return whom the end of a job or capture is told."""
    return _callbacks(key, session.scalars(select(Delivery).where(_of(owner_id))).all())


def _callbacks(key: bytes, deliveries: Sequence[Delivery]) -> list[Callback]:
    opened = (unseal(key, each.target, context_of("delivery", each.id)) for each in deliveries)
    return [Callback.from_bytes(each) for each in opened]


def _of(owner_id: str) -> ColumnElement[bool]:
    return or_(Delivery.job_id == owner_id, Delivery.capture_id == owner_id)


@dataclass(frozen=True, slots=True)
class _Due:
    id: str
    owner: Job | Capture
    callback: Callback | None
    """``None`` if it cannot be read: that may be seen to."""
    reference: str | None
    """Of the case, if the callback asks for it."""
    post_id: str | None
    """The post that has returned, if the webhook is about one."""

    @property
    def host(self) -> str:
        try:
            return httpx.URL(self.callback.url).host if self.callback else ""
        except httpx.InvalidURL:
            return ""


@dataclass
class WebhookDeliveries(Lane[_Due]):
    """Sends the webhooks that are due."""

    _database: Database
    _vault: Vault
    _secrets: WebhookSecrets
    _metrics: Metrics
    executor_id: str
    allowed: CallbackHosts

    def __post_init__(self) -> None:
        super().__init__("webhook", SENDERS)
        self._claims = Claims(self._database, self.executor_id, Delivery)

    @staticmethod
    def is_due(now: datetime) -> ColumnElement[bool]:
        """Return the condition that a webhook is to be sent now."""
        return exists().where(_is_due(now))

    def _claim(self, free: int, busy: set[str]) -> dict[str, _Due]:
        chosen: dict[str, _Due] = {}
        for due in self._candidates():
            if due.host not in busy and len(chosen) < free:
                chosen.setdefault(due.host, due)
        are_chosen = Delivery.id.in_([due.id for due in chosen.values()])
        wanted = select(Delivery).where(are_chosen, _is_due(self._database.clock()))
        taken = {row.id for row in self._claims.take(wanted, free)} if chosen else ()
        return {host: due for host, due in chosen.items() if due.id in taken}

    def _candidates(self) -> list[_Due]:
        """Return due deliveries: the oldest of each account, then their second, and so on."""
        account = func.coalesce(Job.account_id, Capture.account_id)
        turn = func.row_number().over(partition_by=account, order_by=Delivery.due_at)
        due = (
            select(Delivery, Job, Capture, Case)
            .outerjoin(Job, Delivery.job_id == Job.id)
            .outerjoin(Capture, Delivery.capture_id == Capture.id)
            .join(Case, Case.id == func.coalesce(Job.case_id, Capture.case_id))
            .where(
                _is_due(self._database.clock()),
                self._claims.are_free(),
                Case.wrapped_key.is_not(None),
                # A deletion takes the job's callbacks with it, and tells nobody.
                or_(Job.id.is_(None), Job.state != JobState.CANCELLED),
            )
            .order_by(turn, Delivery.due_at)
            .limit(CANDIDATES)
        )
        with self._database.read() as session:
            rows = session.execute(due).all()
        return [self._opened(*row) for row in rows]

    def _opened(
        self, delivery: Delivery, job: Job | None, capture: Capture | None, case: Case
    ) -> _Due:
        callback = reference = None
        with contextlib.suppress(DecryptionFailed):
            key = self._vault.case_key(case)
            (read,) = _callbacks(key, [delivery])
            if read.content is CallbackContent.VERDICT:
                reference = open_json(key, case)["reference"]
            callback = read
        owner = job or capture
        assert owner is not None
        return _Due(delivery.id, owner, callback, reference, delivery.occurrence_id)

    def _do(self, due: _Due) -> None:
        try:
            outcome = self._send(due)
        except Exception as error:
            _log.error("webhook_broken", delivery_id=due.id, failure=describe(error))
            outcome = webhooks.DeliveryOutcome("unreadable")
        self._finish(due.id, outcome)

    def _send(self, due: _Due) -> webhooks.DeliveryOutcome:
        if due.callback is None:
            return webhooks.DeliveryOutcome("unreadable")
        try:
            # Checked for each attempt, because a name can resolve to another address by then.
            target = outbound.check(due.callback.url, allowed=self.allowed)
        except Overloaded:
            return webhooks.DeliveryOutcome("unresolved")
        except InvalidRequest:
            return webhooks.DeliveryOutcome("refused", final=True)
        now = self._database.clock()
        try:
            secret = self._secrets.of(due.owner.account_id)
        except DecryptionFailed:
            return webhooks.DeliveryOutcome("unreadable")
        body = _event(due, now).model_dump_json(exclude_none=True)
        return webhooks.send(target, secret, due.id, body, now)

    def _finish(self, delivery_id: str, outcome: webhooks.DeliveryOutcome) -> None:
        with self._database.write() as session:
            delivery = session.get(Delivery, delivery_id)
            if delivery is None or delivery.worker != self.executor_id:
                return  # it was deleted, or this worker was taken for dead
            delivery.worker = None
            is_over = outcome.final or delivery.attempts > len(webhooks.BACK_OFF)
            delivery.outcome = outcome.code
            if outcome.delivered:
                delivery.state = DeliveryState.DELIVERED
            elif is_over:
                delivery.state = DeliveryState.FAILED
            else:
                delivery.due_at = self._database.clock() + webhooks.BACK_OFF[delivery.attempts - 1]
        self._metrics.webhooks.labels(outcome.code).inc()
        if not outcome.delivered:
            _log.warning(
                "webhook_failed", delivery_id=delivery_id, job_id=delivery.job_id,
                capture_id=delivery.capture_id, outcome=outcome.code, given_up=is_over,
            )  # fmt: skip


def _event(due: _Due, at: datetime) -> webhooks.Event:
    owner, timestamp = due.owner, at.isoformat(timespec="milliseconds")
    if isinstance(owner, Capture):
        capture = webhooks.EndedCapture.model_validate(owner, from_attributes=True)
        return webhooks.CaptureEvent(type="capture.ended", timestamp=timestamp, data=capture)
    if due.post_id is not None:
        post = webhooks.ReturnedPost(id=due.post_id, job_id=owner.id, case_id=owner.case_id)
        return webhooks.PostEvent(type="post.returned", timestamp=timestamp, data=post)
    job: dict[str, object] = {"id": owner.id, "state": owner.state, "case_id": owner.case_id}
    if due.callback and due.callback.content is CallbackContent.VERDICT:
        job |= {"verdict": owner.verdict, "case_reference": due.reference}
    event = {"type": f"job.{owner.state}", "timestamp": timestamp, "data": job}
    return webhooks.JobEvent.model_validate(event)


def _is_due(now: datetime) -> ColumnElement[bool]:
    """Return the condition that a webhook is to be sent now. Nothing waits for longer than the
    longest back-off: a later time is that of a clock which was ahead and has been corrected."""
    is_past = or_(Delivery.due_at <= now, Delivery.due_at > now + webhooks.BACK_OFF[-1])
    return and_(Delivery.state == DeliveryState.DUE, is_past)


def release_callbacks(session: Session, owner_id: str) -> None:
    """Make the webhooks of a job or capture that has ended due."""
    session.execute(
        update(Delivery)
        .where(_of(owner_id), Delivery.state == DeliveryState.WAITING)
        .values(state=DeliveryState.DUE, due_at=current_time(session))
    )
