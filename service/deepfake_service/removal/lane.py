"""The lane of looks in a worker: claim those that are due, one at a time for each site, and look.

It has threads of its own and takes nothing from the queue of examinations. Several workers may have
one; what keeps them from asking a site too often is in the database.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import partial

from sqlalchemy import ColumnElement, exists, func, or_, select, update
from sqlalchemy.orm import aliased

from deepfake_service.cases.cases import open_post
from deepfake_service.platform.chores import Lane
from deepfake_service.platform.claims import MAX_ATTEMPTS, Claims
from deepfake_service.platform.db import Case, Database, Notice, Occurrence, Watch
from deepfake_service.platform.errors import NotFound
from deepfake_service.platform.logs import describe, logger
from deepfake_service.platform.storage import Vault
from deepfake_service.post_pages.reading import ShownPage
from deepfake_service.removal.conclusions import Plan, planned_look
from deepfake_service.removal.looks import Looks, NewLook, memory_of
from deepfake_service.removal.page_looks import PostLooker
from deepfake_service.removal.posts import last_look

LOOKERS = 4
"""Looks that one process makes at the same time. With a second for each, they are 300,000 a day."""
SITE_GAP = timedelta(seconds=10)
SITE_LOOKS_AN_HOUR = 300
"""How often one site is asked, at most: a person who clicks through posts asks as often."""
NEVER_FOR = timedelta(days=1)
"""How long the page of an address that never was is compared with, of each site."""
MAX_NEVER = 2000
"""Sites whose page is in memory. An entry has the text of one page."""
MAX_MISSED = 1000

_log = logger("deepfake_service.looks")


class LookLane(Lane[Watch]):
    """Makes the looks that are due."""

    def __init__(
        self, database: Database, executor_id: str, vault: Vault, looks: Looks, looker: PostLooker
    ) -> None:
        super().__init__("look", LOOKERS)
        self._claims = Claims(database, executor_id, Watch)
        self._database = database
        self._vault = vault
        self._looks = looks
        self._looker = looker
        self._never: dict[str | None, tuple[datetime, ShownPage | None]] = {}

    def close(self) -> None:
        super().close()
        self._looker.close()

    @staticmethod
    def is_due(now: datetime) -> ColumnElement[bool]:
        """Return the condition that a look is due, if its site may be asked again."""
        return exists().where(Watch.next_look_at <= now)

    def _claim(self, free: int, busy: set[str]) -> dict[str, Watch]:
        """Claim looks, the longest due of each site that is in nobody's hands."""
        now = self._database.clock()
        other = aliased(Watch)
        is_busy = other.looked_at > now - SITE_GAP, other.worker.in_(self._claims.others())
        lately = exists().where(other.host == Watch.host, or_(*is_busy))
        this_hour = (
            select(func.count(other.id))
            .where(other.host == Watch.host, other.looked_at > now - timedelta(hours=1))
            .correlate(Watch)
            .scalar_subquery()
        )
        order = Watch.next_look_at, Watch.id
        place = func.row_number().over(partition_by=Watch.host, order_by=order)
        # The service looks at no post by itself that may show a minor: see docs/removal.md.
        due = (
            select(Watch.id, place.label("place"))
            .join(Occurrence, Watch.occurrence_id == Occurrence.id)
            .join(Case, Occurrence.case_id == Case.id)
            .where(
                Watch.next_look_at <= now,
                Watch.host.is_not(None),
                Case.minor_at.is_(None),
                Case.wrapped_key.is_not(None),
            )
            .subquery()
        )
        first = (
            select(Watch)
            .join(due, Watch.id == due.c.id)
            .where(due.c.place == 1, Watch.host.not_in(busy))
            .where(~lately, this_hour < SITE_LOOKS_AN_HOUR)
            .order_by(*order)
        )
        taken = self._claims.take(first, free, looked_at=now)
        return {watch.host or "": watch for watch in taken}

    def _do(self, due: Watch) -> None:
        if due.attempts > MAX_ATTEMPTS:
            self._postpone(due)
            return
        try:
            self._looks.record(due.occurrence_id, self._look(due))
        except NotFound:
            pass  # deleted meanwhile
        except Exception as error:
            _log.error("look_broken", watch=due.id, failure=describe(error))
            self._postpone(due)

    def _postpone(self, due: Watch) -> None:
        """Let others have their turn before a post that cannot be looked at, as if altered."""
        later = self._database.clock() + timedelta(days=1)
        with self._database.write() as session:
            of_post = Watch.occurrence_id == due.occurrence_id
            session.execute(
                update(Watch)
                .where(of_post, Watch.next_look_at.is_not(None))
                .values(next_look_at=later, worker=None, attempts=0)
            )

    def _look(self, due: Watch) -> NewLook:
        """Look at a post; ``NotFound`` if it was deleted."""
        with self._database.read() as session:
            occurrence = session.get(Occurrence, due.occurrence_id)
            if occurrence is None or session.get(Watch, due.id) is None:
                raise NotFound
            notice = session.get_one(Notice, due.notice_id)
            key = self._vault.case_key(session.get_one(Case, occurrence.case_id))
            url = open_post(key, occurrence).source_url or ""
            memory = memory_of(key, last_look(session, due.occurrence_id))
        at = self._database.clock()
        never_there = partial(self._never_there, due.host)
        observation, page = self._looker.look(url, at, memory, never_there)
        return NewLook(observation, at, page, missed=_missed(due, notice, at))

    def _never_there(self, host: str | None, url: str) -> ShownPage | None:
        """Return what the page of a post that never was shows. It is fetched once a day for each
        site."""
        now = self._database.clock()
        known = self._never.get(host)  # one look at a time is made at each site
        if known is None or now - known[0] >= NEVER_FOR:
            if len(self._never) >= MAX_NEVER:
                self._never.clear()
            known = self._never[host] = (now, self._looker.page_that_never_was(url))
        return known[1]


def _missed(watch: Watch, notice: Notice, now: datetime) -> int:
    """Count the looks after a planned one that were due before ``now``: the service was down."""
    if notice.sent_at is None or watch.next_look_at is None:
        return 0
    plan, at, missed = Plan(watch.id, notice.sent_at, notice.due_at), watch.next_look_at, 0
    while missed < MAX_MISSED:
        following = planned_look(plan, at)
        if following is None or following >= now:
            break
        at, missed = following, missed + 1
    return missed
