"""Looks at posts: recorded for people and for the service, and what they amount to.

Watches begin when a notice is sent, by its clock. Every look, whoever made it, is recorded once for
its post, and moves all watches of that post.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session, defer

from deepfake_service.accounts.accounts import Caller
from deepfake_service.audit.log import SERVICE, Action, Actor, append_entry
from deepfake_service.cases.case_lock import lock_open_case
from deepfake_service.cases.cases import BlindIndex, open_occurrence
from deepfake_service.evidence.bundle.look_format import (
    MOST_FOR_PEOPLE,
    predicate_of,
    signed_look,
)
from deepfake_service.evidence.signing_keys import SigningKeys
from deepfake_service.platform.clock import CLIENT_SKEW, iso_time
from deepfake_service.platform.db import (
    Case,
    Database,
    Delivery,
    Job,
    Look,
    Notice,
    Occurrence,
    Watch,
    current_time,
    new_id,
)
from deepfake_service.platform.db.enums import (
    PRESENT,
    DeliveryState,
    LookResult,
    NoticeState,
    WatchState,
)
from deepfake_service.platform.errors import (
    LooksSwitchedOff,
    NotFound,
    NotWatched,
    invalid_field,
)
from deepfake_service.platform.logs import logger
from deepfake_service.platform.pages import Page
from deepfake_service.platform.storage import Vault, context_of, open_json, seal_json
from deepfake_service.platform.storage.envelope import seal, unseal
from deepfake_service.removal.conclusions import (
    CONSIDERED,
    Plan,
    Seen,
    conclude,
    first_look,
    next_look,
)
from deepfake_service.removal.posts import find_post, last_look, screenshot_of_look
from deepfake_service.removal.signals import Sight, host_of, site_of

BY_PEOPLE = (
    LookResult.GONE,
    LookResult.UP,
    LookResult.RESTRICTED,
    LookResult.BLOCKED_HERE,
)
"""What a person can state."""

_log = logger("deepfake_service.looks")


@dataclass(frozen=True, slots=True)
class LookMade:
    """A look that is to be recorded."""

    sight: Sight
    at: datetime
    page: Page | None = None
    missed: int = 0
    """Looks that were planned before it and were not made."""
    note: str | None = None
    screenshot: bytes | None = field(default=None, repr=False)


@dataclass
class Looks:
    """Records looks and follows what they amount to.

    Raises from each method that has a caller:
        NotFound: there is no such post in the case, or the caller may not see it.
    """

    _database: Database
    _vault: Vault
    _blind_index: BlindIndex
    _keys: SigningKeys
    vantage: str | None
    """The country that requests come from, if any are sent."""

    def begin(
        self, session: Session, key: bytes, notice: Notice, posts: Sequence[str], *, watched: bool
    ) -> None:
        """Watch the posts of a notice that was sent.

        Args:
            watched: whether its recipient can remove them. Those of others are only counted.
        """
        assert notice.sent_at is not None
        for post in dict.fromkeys(posts):
            occurrence = session.get(Occurrence, post)
            if occurrence is None:
                continue  # deleted since the notice was created
            host = _host(open_occurrence(key, occurrence)["source_url"]) if watched else None
            watch = Watch(
                id=new_id(),
                notice_id=notice.id,
                occurrence_id=post,
                host=host and self._blind_index.of("host", host),
                state=WatchState.NOT_LOOKED,
            )
            if host:
                watch.next_look_at = first_look(Plan(watch.id, notice.sent_at, notice.due_at))
            session.add(watch)

    @staticmethod
    def end(session: Session, notice: Notice) -> None:
        """Look no more at the posts of a notice that was withdrawn; forget them if it was not sent
        after all."""
        of_notice = Watch.notice_id == notice.id
        if notice.state is NoticeState.WITHDRAWN:
            session.execute(update(Watch).where(of_notice).values(next_look_at=None))
        elif notice.state is NoticeState.DRAFTED:
            session.execute(delete(Watch).where(of_notice))
            notice.gone_at = notice.returned_at = None

    def ask(self, caller: Caller, case_id: str, occurrence_id: str) -> None:
        """Let a worker look at a post as soon as its host may be asked again.

        Raises:
            InvalidRequest: the post has too many looks. LooksSwitchedOff: the service sends no
                requests. NotWatched: no notice about it was sent, or a minor may be shown.
        """
        if self.vantage is None:
            raise LooksSwitchedOff
        with self._database.write() as session:
            _, case = find_post(session, caller, case_id, occurrence_id)
            _check_number(session, occurrence_id)
            if case.minor_at is not None:
                raise NotWatched
            asked = session.execute(
                update(Watch)
                .where(Watch.occurrence_id == occurrence_id, Watch.host.is_not(None))
                .values(next_look_at=current_time(session))
                .returning(Watch.id)
            )
            if not asked.all():
                raise NotWatched
            append_entry(session, caller.actor, Action.LOOK_ASKED, occurrence_id)

    def state(self, caller: Caller, case_id: str, occurrence_id: str, made: LookMade) -> str:
        """Record what a person saw when she looked at a post, and return the id of the look;
        ``InvalidRequest`` if the time lies ahead, or before the post was recorded, the screenshot
        would show the content itself, or the post has too many looks."""
        now, result = self._database.clock(), made.sight.result
        if made.at > now + CLIENT_SKEW:
            raise invalid_field("seen_at", "in the future")
        if made.screenshot is not None and result in PRESENT:
            raise invalid_field(
                "screenshot", "only of what is there instead; add a post for one that shows it"
            )
        if result not in BY_PEOPLE:
            raise invalid_field("result", f"use one of {', '.join(BY_PEOPLE)}")
        with self._database.read() as session:
            post, _ = find_post(session, caller, case_id, occurrence_id)
            _check_number(session, occurrence_id)
        if made.at < post.created_at - CLIENT_SKEW:
            raise invalid_field(
                "seen_at", "before the post was recorded; enter when you looked after that"
            )
        at = max(min(made.at, now), post.created_at)
        return self.record(occurrence_id, replace(made, at=at), caller.actor)

    def record(self, occurrence_id: str, made: LookMade, actor: Actor = SERVICE) -> str:
        """Record a look, and what the looks amount to now; return its id. ``NotFound`` if the post
        was deleted meanwhile."""
        signer = self._keys.current().statement
        look_id = new_id()
        stored = self._store_screenshot(occurrence_id, look_id, made.screenshot)
        with self._database.write() as session:
            occurrence = session.get(Occurrence, occurrence_id)
            if occurrence is None:
                raise NotFound
            case = lock_open_case(session, occurrence.case_id)
            key = self._vault.case_key(case)
            last = last_look(session, occurrence_id)
            known = open_json(key, last)["known"] if last else {}
            watches = session.scalars(
                select(Watch).where(Watch.occurrence_id == occurrence_id)
            ).all()
            predicate = {
                "id": look_id,
                "post": occurrence_id,
                "number": last.number + 1 if last else 1,
                "previous_sha256": last.sha256 if last else None,
                "at": iso_time(made.at),
                "recorded_at": iso_time(current_time(session)),
                "vantage": None if actor.account_id else self.vantage,
                "account": actor.account_id,
                "result": str(made.sight.result),
                "strong": made.sight.strong,
                "signals": list(made.sight.signals),
                "missed": made.missed,
                "exchanges": _exchanges_of(made.page),
                "note": made.note,
                "screenshot_sha256": stored,
            }
            url = open_occurrence(key, occurrence)["source_url"]
            text = made.sight.text if made.sight.result not in PRESENT else ""
            envelope, digest = signed_look(url, predicate, text, signer)
            look = Look(
                id=look_id,
                occurrence_id=occurrence_id,
                number=predicate["number"],
                account_id=actor.account_id,
                result=made.sight.result,
                strong=made.sight.strong,
                at=made.at,
                sha256=digest,
            )
            content = {"envelope": envelope, "known": made.sight.known or known, "text": text}
            seal_json(key, look, content)
            session.add(look)
            session.flush()
            said = f"{made.sight.result} {digest}"
            append_entry(session, actor, Action.POST_LOOKED_AT, occurrence_id, said)
            self._follow(session, key, look, watches, made)
        return look_id

    def _follow(
        self,
        session: Session,
        key: bytes,
        look: Look,
        watches: Sequence[Watch],
        made: LookMade,
    ) -> None:
        """Move the watches of a post after a look at it."""
        seen = _seen(session, key, look.occurrence_id)
        happened: set[Action] = set()
        for watch in watches:
            notice = session.get_one(Notice, watch.notice_id)
            if notice.sent_at is None or look.at < notice.sent_at:
                continue  # what was seen before a notice was sent is nothing that it achieved
            looks = [each for each in seen if each.at >= notice.sent_at]
            found = conclude(looks, watch.state, watch.gone_at)
            if found.gone_at and watch.gone_at is None:
                happened.add(Action.POST_GONE)
            if found.state is WatchState.RETURNED and watch.state is not WatchState.RETURNED:
                watch.returned_at = look.at
                happened.add(Action.POST_RETURNED)
            watch.state, watch.down_at, watch.gone_at = found.state, found.down_at, found.gone_at
            watch.looked_at = max(look.at, watch.looked_at or look.at)
            watch.next_look_at = None
            is_watched = watch.host is not None and notice.state is not NoticeState.WITHDRAWN
            if is_watched:
                plan = Plan(watch.id, notice.sent_at, notice.due_at)
                waits = made.sight.retry_after_s
                at = next_look(plan, looks, found, retry_after_s=waits)
                # A person may record what she saw earlier.
                watch.next_look_at = at and max(at, self._database.clock())
            session.flush()
            _sum_up(session, notice)
        for action in sorted(happened):
            append_entry(session, SERVICE, action, look.occurrence_id, look.sha256)
        if Action.POST_RETURNED in happened:
            _log.warning("post_returned", occurrence=look.occurrence_id)
            self._announce_return(session, look.occurrence_id)

    def _announce_return(self, session: Session, occurrence_id: str) -> None:
        """Make webhooks due that tell those who submitted a medium that its post has returned."""
        occurrence = session.get_one(Occurrence, occurrence_id)
        key = self._vault.case_key(session.get_one(Case, occurrence.case_id))
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
                    occurrence_id=occurrence_id,
                    created_at=current_time(session),
                )
            )

    def _store_screenshot(
        self, occurrence_id: str, look_id: str, content: bytes | None
    ) -> str | None:
        if content is None:
            return None
        with self._database.read() as session:
            case = session.get_one(Case, session.get_one(Occurrence, occurrence_id).case_id)
        self._vault.write(screenshot_of_look(case.id, look_id), self._vault.case_key(case), content)
        return hashlib.sha256(content).hexdigest()


def _check_number(session: Session, occurrence_id: str) -> None:
    """Raise ``InvalidRequest`` if no person may add a look at a post: its records could not be
    verified in one file then."""
    last = last_look(session, occurrence_id)
    if last is not None and last.number >= MOST_FOR_PEOPLE:
        raise invalid_field(
            "result", "this post has so many looks that no person can add one; only the service can"
        )


def _exchanges_of(page: Page | None) -> list[dict[str, Any]]:
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


def _host(url: str | None) -> str | None:
    """Return the site of a URL that can be looked at; ``None`` for others."""
    host = host_of(url)
    return site_of(host) if host and urlsplit(url or "").scheme in ("http", "https") else None


def _seen(session: Session, key: bytes, occurrence_id: str) -> list[Seen]:
    """Return the newest looks at a post, in the order in which they were made."""
    rows = session.scalars(
        select(Look)
        .where(Look.occurrence_id == occurrence_id)
        .order_by(Look.number.desc())
        .limit(CONSIDERED)
        .options(defer(Look.sealed))  # of which only people's are read
    ).all()
    return sorted((_as_seen(key, row) for row in reversed(rows)), key=lambda seen: seen.at)


def _as_seen(key: bytes, look: Look) -> Seen:
    recorded_at = look.at  # for the service, which records at once
    if look.account_id is not None:
        stated = predicate_of(open_json(key, look)["envelope"])
        recorded_at = datetime.fromisoformat(stated["recorded_at"])
    return Seen(look.at, look.result, look.strong, recorded_at)


def _sum_up(session: Session, notice: Notice) -> None:
    """Record with a notice whether all its posts are gone, and whether one returned."""
    of_notice = Watch.notice_id == notice.id
    counted = select(func.count(), func.count(Watch.gone_at), func.max(Watch.gone_at))
    posts, gone, last_gone_at = session.execute(counted.where(of_notice)).one()
    notice.gone_at = last_gone_at if gone == posts else None
    returned = select(func.max(Watch.returned_at))
    notice.returned_at = session.scalar(
        returned.where(of_notice, Watch.state == WatchState.RETURNED)
    )
