"""Reading what became of posts: their looks, and the way of each from report to removal."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Literal

from pydantic import Field
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from deepfake_service.accounts.accounts import Caller
from deepfake_service.accounts.visibility import find_visible
from deepfake_service.cases.cases import read_screenshot, screenshot_of_look
from deepfake_service.evidence.bundle.documents import Failed
from deepfake_service.evidence.bundle.look_format import (
    Record,
    file_of,
    looks_of,
    record_of,
)
from deepfake_service.platform.answers import ItemId, Published, Sha256, Time
from deepfake_service.platform.clock import iso_time
from deepfake_service.platform.db import Case, Database, Job, Look, Notice, Occurrence, Watch
from deepfake_service.platform.enums import JobState, LookResult, NoticeState, WatchState
from deepfake_service.platform.errors import NotFound, RecordAltered
from deepfake_service.platform.storage import Vault, open_json
from deepfake_service.post_pages.signs import Signal


class LookRecord(Published):
    """One look at a post. It is never changed."""

    id: ItemId = Field(description="Id of the look.")
    number: int = Field(description="1 for the first look at the post.")
    at: Time = Field(description="When it was made.")
    account: ItemId | None = Field(description="Id of the person's account; null: the service.")
    result: LookResult = Field(description="What it found.")
    strong: bool
    """Whether what it found is a strong sign; of `unknown`: that the site called the post gone to
    this service, and not to a look that did not name it, so that a person has to look."""
    signals: list[Signal] = Field(description="What it concluded this from.")
    note: str | None = Field(description="The person's note.")
    screenshot: bool = Field(description="Whether a screenshot is stored with it.")
    text: str = Field(description="The text that the page showed instead, shortened.")
    sha256: Sha256 = Field(description="Digest of the record, which the next one has.")


class SignedLook(LookRecord):
    """A look with its record, from which everything else in it follows."""

    record: dict[str, object]
    """The signed record: a DSSE envelope of an in-toto statement."""


class LooksFile(Published):
    """Looks at a post to hand on, in canonical JSON (RFC 8785), for `deepfake verify`."""

    format: Literal["deepfake-service/looks/1"] = Field(description="The format.")
    post: ItemId = Field(description="Id of the post.")
    looks: list[SignedLook] = Field(description="The looks at it, oldest first.")


class PostNotice(Published):
    """A notice that was sent about a post."""

    id: ItemId = Field(description="Id of the notice.")
    kind: str = Field(description="Its kind.")
    state: NoticeState = Field(description="Its state.")
    sent_at: Time | None = Field(description="When it was sent.")
    due_at: Time | None = Field(description="The recipient's deadline, if there is one.")


class PostTimeline(Published):
    """The way of a post, from the report to its removal."""

    occurrence_id: ItemId = Field(description="Id of the occurrence.")
    recorded_at: Time = Field(description="When it was recorded.")
    examined_at: Time | None = Field(description="When its file was last examined.")
    notices: list[PostNotice] = Field(description="The notices about it, as they were sent.")
    looks: int = Field(description="How many looks there were.")
    looked_at: Time | None = Field(description="When the last look was made.")
    result: LookResult | None = Field(description="What the last look found.")
    strong: bool | None = Field(description="Whether that is a strong sign.")
    sha256: Sha256 | None = Field(description="Digest of the record of the last look.")
    state: WatchState | None
    """What the looks amount to; null if no notice was sent."""
    late: bool = Field(description="Whether it is there past the deadline of a notice.")
    gone_at: Time | None = Field(description="The first look that found it gone, if confirmed.")
    returned_at: Time | None = Field(description="When it was found to be there again.")
    next_look_at: Time | None = Field(description="When the service looks next.")


class PostLooks(Published):
    """A post and the looks at it."""

    post: PostTimeline = Field(description="The post.")
    looks: list[LookRecord] = Field(description="The looks at it, newest first.")


class Posts:
    """Reads the looks at posts.

    Raises from each method that has a caller:
        NotFound: there is no such post in the case, or the caller may not see it.
    """

    def __init__(self, database: Database, vault: Vault, *, looks: bool) -> None:
        """Read from a database; ``looks``: whether the service looks at posts by itself."""
        self._database = database
        self._vault = vault
        self._is_looking = looks

    def read(self, caller: Caller, case_id: str, occurrence_id: str) -> PostLooks:
        """Return a post and the looks at it, newest first; ``RecordAltered`` if one was removed or
        changed."""
        looks, _ = self._looks(caller, case_id, occurrence_id)
        timeline = self.timelines(caller, case_id, [occurrence_id])[occurrence_id]
        return PostLooks(post=timeline, looks=looks[::-1])

    def file(self, caller: Caller, case_id: str, occurrence_id: str) -> bytes:
        """Return the looks at a post with their signed records, as a file to hand on: see
        ``look_format.file_of``. ``NotFound`` before the first look; ``RecordAltered`` as
        ``read``."""
        _, records = self._looks(caller, case_id, occurrence_id)
        if not records:
            raise NotFound
        return file_of(records)

    def _looks(
        self, caller: Caller, case_id: str, occurrence_id: str
    ) -> tuple[list[LookRecord], list[Record]]:
        """Return the looks at a post and their records, oldest first."""
        with self._database.read() as session:
            _, case = find_post(session, caller, case_id, occurrence_id)
            key = self._vault.case_key(case)
            rows = session.scalars(
                select(Look).where(Look.occurrence_id == occurrence_id).order_by(Look.number)
            ).all()
        records = [record_of(open_json(key, row)) for row in rows]
        return _stated(rows, records), records

    def screenshot(self, caller: Caller, case_id: str, occurrence_id: str, look_id: str) -> bytes:
        """Return the screenshot of a person's look, and audit that it was read; ``Forbidden``
        if a person shown may be a minor."""
        with self._database.read() as session:
            _, case = find_post(session, caller, case_id, occurrence_id)
            look = session.get(Look, look_id)
        if look is None or look.occurrence_id != occurrence_id:
            raise NotFound
        name = screenshot_of_look(case_id, look_id)
        return read_screenshot(self._database, self._vault, caller.actor, case, look_id, name)

    def timelines(
        self, caller: Caller, case_id: str, occurrence_ids: Collection[str]
    ) -> dict[str, PostTimeline]:
        """Return the way of each post: when it was examined, noticed, looked at and gone."""
        with self._database.read() as session:
            case, _ = find_visible(session, caller, Case, case_id)
            posts = session.scalars(
                select(Occurrence).where(
                    Occurrence.id.in_(occurrence_ids), Occurrence.case_id == case_id
                )
            ).all()
            ids = [post.id for post in posts]
            examined = (
                select(Job.media_id, func.max(Job.finished_at))
                .where(
                    Job.media_id.in_({p.media_id for p in posts}), Job.state == JobState.SUCCEEDED
                )
                .group_by(Job.media_id)
            )
            examined_at: dict[str, datetime | None] = dict(session.execute(examined).all())
            watched: defaultdict[str, list[tuple[Watch, Notice]]] = defaultdict(list)
            of_posts = select(Watch, Notice).join(Notice, Watch.notice_id == Notice.id)
            for watch, notice in session.execute(
                of_posts.where(Watch.occurrence_id.in_(ids)).order_by(Notice.sent_at, Notice.id)
            ):
                watched[watch.occurrence_id].append((watch, notice))
            placed = select(
                Look.id,
                func.row_number().over(
                    partition_by=Look.occurrence_id, order_by=(Look.at.desc(), Look.number.desc())
                ).label("place"),
                func.count().over(partition_by=Look.occurrence_id).label("looks"),
            ).where(Look.occurrence_id.in_(ids)).subquery()  # fmt: skip
            newest = select(Look, placed.c.looks).join(placed, Look.id == placed.c.id)
            last = {
                look.occurrence_id: (look, count)
                for look, count in session.execute(newest.where(placed.c.place == 1))
            }
            now, is_looked_at = self._database.clock(), self._is_looking and case.minor_at is None
            return {
                post.id: _timeline(
                    post,
                    examined_at.get(post.media_id),
                    watched[post.id],
                    last.get(post.id, (None, 0)),
                    now,
                    is_looked_at=is_looked_at,
                )
                for post in posts
            }


def _stated(rows: Sequence[Look], records: Sequence[Record]) -> list[LookRecord]:
    """Return what the records of a post, oldest first, state; ``RecordAltered`` if one was removed,
    changed, or moved here from elsewhere."""
    facts = [(r.sha256, r.occurrence_id, r.result, r.strong, iso_time(r.at)) for r in rows]
    try:
        post, looks = looks_of(records) if records else ("", [])
    except Failed:
        post, looks = "", []
    if facts != [(look.sha256, post, look.result, look.strong, look.at) for look in looks]:
        raise RecordAltered(
            f"The looks at the post {rows[0].occurrence_id} contradict each other: they were "
            "altered outside this program."
        )
    return [LookRecord.model_validate(look.model_dump()) for look in looks]


def find_post(
    session: Session, caller: Caller, case_id: str, occurrence_id: str
) -> tuple[Occurrence, Case]:
    """Return a post of a case that the caller may see, and the case."""
    occurrence, case = find_visible(session, caller, Occurrence, occurrence_id)
    if occurrence.case_id != case_id or case.wrapped_key is None:
        raise NotFound
    return occurrence, case


def last_look(session: Session, occurrence_id: str) -> Look | None:
    """Return the look at a post that was recorded last, which need not be the last one made."""
    statement = select(Look).where(Look.occurrence_id == occurrence_id)
    return session.scalars(statement.order_by(Look.number.desc()).limit(1)).first()


def _timeline(
    post: Occurrence,
    examined_at: datetime | None,
    watched: Sequence[tuple[Watch, Notice]],
    looked: tuple[Look | None, int],
    now: datetime,
    *,
    is_looked_at: bool,
) -> PostTimeline:
    newest, (last, looks) = watched[-1][0] if watched else None, looked
    is_late = any(
        notice.due_at is not None and notice.due_at < now and not watch.gone_at
        for watch, notice in watched
        if notice.state is not NoticeState.WITHDRAWN
    )
    upcoming = [watch.next_look_at for watch, _ in watched if watch.next_look_at]
    return PostTimeline(
        occurrence_id=post.id,
        recorded_at=post.created_at,
        examined_at=examined_at,
        notices=[PostNotice.model_validate(n, from_attributes=True) for _, n in watched],
        looks=looks,
        looked_at=last.at if last else None,
        result=last.result if last else None,
        strong=last.strong if last else None,
        sha256=last.sha256 if last else None,
        state=newest.state if newest else None,
        late=is_late,
        gone_at=newest.gone_at if newest else None,
        returned_at=newest.returned_at if newest else None,
        next_look_at=min(upcoming) if upcoming and is_looked_at else None,
    )
