"""Watches: one for each post of a notice that was sent. Looks at the post move it from state to
state (``conclusions.py``)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from urllib.parse import urlsplit

from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session, defer

from deepfake_service.audit.log import Action
from deepfake_service.cases.cases import BlindIndex, open_post
from deepfake_service.evidence.bundle.look_format import predicate_of, record_of
from deepfake_service.platform.db import Look, Notice, Occurrence, Watch, current_time, new_id
from deepfake_service.platform.enums import NoticeState, WatchState
from deepfake_service.platform.networks import host_of, site_of
from deepfake_service.platform.storage import open_json
from deepfake_service.removal.conclusions import (
    Conclusion,
    Plan,
    RecordedLook,
    conclude,
    first_look,
    next_look,
)


def follow_notice(
    blind_index: BlindIndex,
    session: Session,
    key: bytes,
    notice: Notice,
    posts: Sequence[str],
    removes: bool,
) -> None:
    """Watch the posts of a notice that was sent, of which those of a recipient that removes none
    are only counted. Look no more at those of one that was withdrawn; forget them if it was not
    sent after all."""
    of_notice = Watch.notice_id == notice.id
    if notice.state is NoticeState.WITHDRAWN:
        session.execute(update(Watch).where(of_notice).values(next_look_at=None))
    elif notice.state is NoticeState.DRAFTED:
        session.execute(delete(Watch).where(of_notice))
        notice.gone_at = notice.returned_at = None
    elif notice.state is NoticeState.SENT:
        assert notice.sent_at is not None
        for post in dict.fromkeys(posts):
            occurrence = session.get(Occurrence, post)
            if occurrence is None:
                continue  # deleted since the notice was created
            site = _site_of_post(key, occurrence) if removes else None
            watch = Watch(
                id=new_id(),
                notice_id=notice.id,
                occurrence_id=post,
                host=site and blind_index.of("host", site),
                state=WatchState.NOT_LOOKED,
            )
            if site:
                watch.next_look_at = first_look(Plan(watch.id, notice.sent_at, notice.due_at))
            session.add(watch)


def move_watches(
    session: Session, key: bytes, look: Look, *, retry_after_s: int | None
) -> list[Action]:
    """Move the watches of a post after a look at it; return what happened to the post."""
    happened: set[Action] = set()
    recorded = _recorded_looks(session, key, look.occurrence_id)
    of_post = Watch.occurrence_id == look.occurrence_id
    for watch in session.scalars(select(Watch).where(of_post)).all():
        watch.worker = None
        notice = session.get_one(Notice, watch.notice_id)
        if notice.sent_at is None or look.at < notice.sent_at:
            if watch.next_look_at and notice.sent_at:  # else due again at once: of a clock set back
                watch.next_look_at = max(watch.next_look_at, notice.sent_at)
            continue  # what was seen before a notice was sent is nothing that it achieved
        looks = [each for each in recorded if each.at >= notice.sent_at]
        found = conclude(looks)
        happened |= _move(watch, found, look)
        watch.next_look_at, watch.attempts = None, 0
        if watch.host is not None and notice.state is not NoticeState.WITHDRAWN:
            plan = Plan(watch.id, notice.sent_at, notice.due_at)
            at = next_look(plan, looks, found, retry_after_s=retry_after_s)
            # A person may record what she saw earlier.
            watch.next_look_at = at and max(at, current_time(session))
        session.flush()
        _sum_up(session, notice)
    return sorted(happened)


def _move(watch: Watch, found: Conclusion, newest: Look) -> set[Action]:
    """Set the state of a watch to what the looks amount to; return what happened to the post."""
    happened: set[Action] = set()
    if found.gone_at and found.gone_at != watch.gone_at:
        happened.add(Action.POST_GONE)
    # A removal that was confirmed and is none, by what a person tells afterwards, is told as well.
    is_undone = watch.gone_at and not found.gone_at and found.state is not WatchState.UNCLEAR
    if is_undone or found.returned_at not in (None, watch.returned_at):
        happened.add(Action.POST_RETURNED)
    watch.state, watch.down_at = found.state, found.down_at
    watch.gone_at, watch.returned_at = found.gone_at, found.returned_at
    watch.looked_at = max(newest.at, watch.looked_at or newest.at)
    return happened


def _site_of_post(key: bytes, occurrence: Occurrence) -> str | None:
    """Return the site of a post that can be looked at; ``None`` for others."""
    url = open_post(key, occurrence).source_url
    host = host_of(url)
    return site_of(host) if host and urlsplit(url or "").scheme in ("http", "https") else None


def _recorded_looks(session: Session, key: bytes, occurrence_id: str) -> list[RecordedLook]:
    """Return the looks at a post, in the order in which they were made."""
    rows = session.scalars(
        select(Look)
        .where(Look.occurrence_id == occurrence_id)
        .order_by(Look.at, Look.number)
        .options(defer(Look.sealed))  # of which only people's are read
    ).all()
    looks = []
    for row in rows:
        recorded_at = row.at  # for the service, which records at once
        if row.account_id is not None:
            envelope, _ = record_of(open_json(key, row))
            recorded_at = datetime.fromisoformat(predicate_of(envelope).recorded_at)
        looks.append(RecordedLook(row.at, row.result, row.strong, recorded_at))
    return looks


def _sum_up(session: Session, notice: Notice) -> None:
    """Record with a notice whether all its posts are gone, and whether one returned and was not
    confirmed as gone again: one look in between that tells something else, or nothing, ends no
    alarm."""
    of_notice = Watch.notice_id == notice.id
    counted = select(func.count(), func.count(Watch.gone_at), func.max(Watch.gone_at))
    posts, gone, last_gone_at = session.execute(counted.where(of_notice)).one()
    notice.gone_at = last_gone_at if gone == posts else None
    returned = select(func.max(Watch.returned_at))
    notice.returned_at = session.scalar(returned.where(of_notice, Watch.gone_at.is_(None)))
