"""Looks at posts: each is recorded once, signed, whoever made it, and moves the watches of the
post."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from deepfake_service.accounts.accounts import Caller
from deepfake_service.audit.log import SERVICE, Action, Actor, append_entry
from deepfake_service.cases.case_lock import lock_open_case
from deepfake_service.cases.cases import open_post, screenshot_of_look
from deepfake_service.evidence.bundle.look_format import MOST_FOR_PEOPLE, signed_look
from deepfake_service.evidence.signing_keys import SigningKeys
from deepfake_service.platform.clock import CLIENT_SKEW, iso_time
from deepfake_service.platform.db import (
    Account,
    Case,
    Database,
    Delivery,
    Job,
    Look,
    Occurrence,
    Watch,
    current_time,
    new_id,
)
from deepfake_service.platform.enums import PRESENT, DeliveryState, LookResult
from deepfake_service.platform.errors import Code, Conflict, Forbidden, NotFound, invalid_field
from deepfake_service.platform.logs import logger
from deepfake_service.platform.pages import Page
from deepfake_service.platform.storage import Vault, context_of, open_json, seal_json
from deepfake_service.platform.storage.envelope import seal, unseal
from deepfake_service.post_pages.signs import Observation, PostMemory
from deepfake_service.removal.posts import find_post, last_look
from deepfake_service.removal.watches import move_watches

BY_PEOPLE = (
    LookResult.GONE,
    LookResult.UP,
    LookResult.RESTRICTED,
    LookResult.BLOCKED_HERE,
)
"""What a person can state."""

_log = logger("deepfake_service.looks")


@dataclass(frozen=True, slots=True)
class NewLook:
    """A look that is to be recorded."""

    observation: Observation
    at: datetime
    page: Page | None = None
    missed: int = 0
    """Looks that were planned before it and were not made."""
    note: str | None = None
    screenshot: bytes | None = field(default=None, repr=False)


@dataclass
class Looks:
    """Records looks.

    Raises from each method that has a caller:
        NotFound: there is no such post in the case, or the caller may not see it.
    """

    _database: Database
    _vault: Vault
    _keys: SigningKeys
    vantage: str | None
    """The country that requests come from, if any are sent."""

    def request_look(self, caller: Caller, case_id: str, occurrence_id: str) -> None:
        """Let a worker look at a post as soon as its host may be asked again.

        Raises:
            InvalidRequest: the post has too many looks. Conflict: the service sends no
                requests. Conflict: no notice about it was sent, or a minor may be shown.
        """
        if self.vantage is None:
            raise Conflict(code=Code.LOOKS_SWITCHED_OFF)
        with self._database.write() as session:
            _, case = find_post(session, caller, case_id, occurrence_id)
            _check_number(session, occurrence_id)
            if case.minor_at is not None:
                raise Conflict(code=Code.NOT_WATCHED)
            requested = session.execute(
                update(Watch)
                .where(Watch.occurrence_id == occurrence_id, Watch.host.is_not(None))
                .values(next_look_at=current_time(session))
                .returning(Watch.id)
            )
            if not requested.all():
                raise Conflict(code=Code.NOT_WATCHED)
            append_entry(session, caller.actor, Action.LOOK_ASKED, occurrence_id)

    def record_for(self, caller: Caller, case_id: str, occurrence_id: str, new: NewLook) -> str:
        """Record what a person saw when she looked at a post, and return the id of the look.

        Raises:
            Forbidden: the account is that of a system. InvalidRequest: the time lies ahead, or
                before the post was recorded, the screenshot would show the content itself, or the
                post has too many looks.
        """
        now, result = self._database.clock(), new.observation.result
        if new.at > now + CLIENT_SKEW:
            raise invalid_field("seen_at", "in the future")
        if new.screenshot is not None and result in PRESENT:
            raise invalid_field(
                "screenshot", "only of what is there instead; add a post for one that shows it"
            )
        if result not in BY_PEOPLE:
            raise invalid_field("result", f"use one of {', '.join(BY_PEOPLE)}")
        with self._database.read() as session:
            post, _ = find_post(session, caller, case_id, occurrence_id)
            if session.get_one(Account, caller.account_id).kind != "person":
                raise Forbidden("Only people can record what they saw; this is a system account.")
            _check_number(session, occurrence_id)
        if new.at < post.created_at - CLIENT_SKEW:
            raise invalid_field(
                "seen_at", "before the post was recorded; enter when you looked after that"
            )
        at = max(min(new.at, now), post.created_at)
        return self.record(occurrence_id, replace(new, at=at), caller.actor)

    def record(self, occurrence_id: str, new: NewLook, actor: Actor = SERVICE) -> str:
        """Record a look, and move the watches of its post; return its id. ``NotFound`` if the post
        was deleted meanwhile."""
        self._keys.current()  # not in the transaction: the first reading may write a key
        look_id = new_id()
        look = Look(
            id=look_id,
            occurrence_id=occurrence_id,
            account_id=actor.account_id,
            result=new.observation.result,
            strong=new.observation.strong,
            at=new.at,
        )
        screenshot_sha256 = self._store_screenshot(occurrence_id, look_id, new.screenshot)
        with self._database.write() as session:
            occurrence = session.get(Occurrence, occurrence_id)
            if occurrence is None:
                raise NotFound
            key = self._vault.case_key(lock_open_case(session, occurrence.case_id))
            self._seal(session, key, occurrence, look, new, screenshot_sha256)
            detail = f"{look.result} {look.sha256}"
            append_entry(session, actor, Action.POST_LOOKED_AT, occurrence_id, detail)
            wait_s = new.observation.retry_after_s
            happened = move_watches(session, key, look, retry_after_s=wait_s)
            for action in happened:
                append_entry(session, SERVICE, action, occurrence_id, look.sha256)
            if Action.POST_RETURNED in happened:
                _log.warning("post_returned", occurrence=occurrence_id)
                _announce_return(session, key, occurrence)
        return look_id

    def _seal(
        self, session: Session, key: bytes, post: Occurrence, look: Look, new: NewLook,
        screenshot_sha256: str | None,
    ) -> None:  # fmt: skip
        """Sign a look as the one after the last at its post, and add it sealed."""
        last, observation = last_look(session, post.id), new.observation
        look.number = last.number + 1 if last else 1
        predicate: dict[str, object] = {
            "id": look.id,
            "post": post.id,
            "number": look.number,
            "previous_sha256": last.sha256 if last else None,
            "at": iso_time(look.at),
            "recorded_at": iso_time(current_time(session)),
            "vantage": None if look.account_id else self.vantage,
            "account": look.account_id,
            "result": str(look.result),
            "strong": look.strong,
            "signals": [asdict(signal) for signal in observation.signals],
            "missed": new.missed,
            "exchanges": _exchanges_of(new.page),
            "note": new.note,
            "screenshot_sha256": screenshot_sha256,
        }
        url = open_post(key, post).source_url
        signer = self._keys.current().statement
        envelope, look.sha256 = signed_look(url, predicate, observation.text, signer)
        memory = observation.memory
        if memory == PostMemory():  # of a person's look
            memory = memory_of(key, last)
        record = envelope.model_dump(mode="json")
        content = {"envelope": record, "known": asdict(memory), "text": observation.text}
        seal_json(key, look, content)
        session.add(look)
        session.flush()

    def _store_screenshot(
        self, occurrence_id: str, look_id: str, content: bytes | None
    ) -> str | None:
        if content is None:
            return None
        with self._database.read() as session:
            case = session.get_one(Case, session.get_one(Occurrence, occurrence_id).case_id)
        self._vault.write(screenshot_of_look(case.id, look_id), self._vault.case_key(case), content)
        return hashlib.sha256(content).hexdigest()


def memory_of(key: bytes, look: Look | None) -> PostMemory:
    """Return what a look left for the next one to compare with; empty before the first."""
    return PostMemory(**open_json(key, look)["known"]) if look else PostMemory()


def _announce_return(session: Session, key: bytes, occurrence: Occurrence) -> None:
    """Make webhooks due that tell those who submitted a medium that its post has returned."""
    wanted = session.scalars(
        select(Delivery)
        .join(Job, Delivery.job_id == Job.id)
        .where(Job.media_id == occurrence.media_id, Delivery.occurrence_id.is_(None))
    ).all()
    for delivery in wanted:
        copy_id = new_id()
        target = unseal(key, delivery.target, context_of("delivery", delivery.id))
        session.add(
            Delivery(
                id=copy_id,
                job_id=delivery.job_id,
                target=seal(key, target, context_of("delivery", copy_id)),
                state=DeliveryState.DUE,
                due_at=current_time(session),
                occurrence_id=occurrence.id,
                created_at=current_time(session),
            )
        )


def _check_number(session: Session, occurrence_id: str) -> None:
    """Raise ``InvalidRequest`` if no person may add a look at a post: its records could not be
    verified in one file then."""
    last = last_look(session, occurrence_id)
    if last is not None and last.number >= MOST_FOR_PEOPLE:
        raise invalid_field(
            "result", "this post has so many looks that no person can add one; only the service can"
        )


def _exchanges_of(page: Page | None) -> list[dict[str, object]]:
    """Return what a record has of each answer."""
    return [
        {
            "url": answer.url,
            "status": answer.status,
            "address": answer.address,
            "headers": dict(answer.headers),
            "body_bytes": answer.body_bytes,
            "body_sha256": answer.body_sha256,
            "cut": answer.is_cut,
        }
        for answer in (page.answers if page else ())
    ]
