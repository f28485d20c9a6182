"""What became of the posts of notices, in numbers for a yearly report.

How long removals take is estimated by Kaplan and Meier ("Nonparametric estimation from incomplete
observations", 1958): a post that is still up was up for at least as long as it was looked at. The
median of the removed ones alone would favour what is removed fast.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum
from itertools import groupby

from pydantic import Field
from sqlalchemy import func, select

from deepfake_service.accounts.accounts import Caller
from deepfake_service.accounts.visibility import visible_to
from deepfake_service.cases.cases import open_post
from deepfake_service.cases.posts import Post
from deepfake_service.platform.answers import Published
from deepfake_service.platform.db import Case, Database, Look, Notice, Occurrence, Watch
from deepfake_service.platform.enums import TAKEN_DOWN, NoticeState, WatchState
from deepfake_service.platform.networks import host_of, site_of
from deepfake_service.platform.storage import Vault
from deepfake_service.platform.storage.sealed_columns import opened_rows
from deepfake_service.platform.texts.formatting import KST, days_in_korea

FEWEST = 5
"""Posts of a group: fewer could tell of whom they are."""
OTHERS = "other"
_GROUPS = {
    WatchState.GONE: "removed",
    WatchState.RESTRICTED: "restricted",
    WatchState.BLOCKED: "blocked",
    WatchState.UP: "up",
    WatchState.RETURNED: "up",
}


class GroupBy(StrEnum):
    """What posts are grouped by."""

    PLATFORM = "platform"
    KIND = "kind"
    MONTH = "month"


@dataclass(frozen=True, slots=True, repr=False)
class FollowedPost:
    """One post of one notice."""

    platform: str
    kind: str
    month: str
    """Of sending, in Korea."""
    counted_as: frozenset[str]
    hours: float | None
    """From sending to its removal, or to the last look at it; ``None`` if no one looked."""
    is_removed: bool


class RemovalCounts(Published):
    """Posts of notices. `removed` to `unclear` add up to `sent`."""

    sent: int = Field(description="Posts of notices that were sent.")
    removed: int = Field(description="Confirmed as gone by looks, or by the recipient's answer.")
    restricted: int = Field(description="Shown to those who sign in only, or made private.")
    blocked: int = Field(description="Blocked where the looks come from, and not removed.")
    up: int = Field(description="Still there.")
    unclear: int = Field(description="No one has looked, or looks told nothing.")
    returned: int = Field(description="There again after they were gone.")
    refused: int = Field(description="Of notices that were refused.")
    past_deadline: int = Field(description="Not removed by the recipient's deadline, or back.")


class RemovalGroup(Published):
    """The numbers of one group."""

    name: str
    """The platform, the kind of notice or the month; `other` for groups of fewer than five posts;
    empty for the total."""
    counts: RemovalCounts = Field(description="The numbers of posts.")
    timed: int = Field(description="How many posts the times are estimated from.")
    median_h: float | None
    """Hours from sending until half are removed, by Kaplan and Meier; null if fewer than half are.
    """
    p90_h: float | None = Field(description="The same for nine in ten.")
    curve: list[tuple[float, float]] = Field(exclude=True)
    """The share that is removed after so many hours."""


class RemovalSummary(Published):
    """What became of the posts of notices that were sent in a period."""

    start: date = Field(description="The first day.")
    end: date = Field(description="The last day, which is in it.")
    by: GroupBy = Field(description="What each of `groups` is.")
    groups: list[RemovalGroup] = Field(description="The groups.")
    total: RemovalGroup = Field(description="All of them together.")


COUNTS = tuple(RemovalCounts.model_fields)
"""What is counted."""


class RemovalStatistics:
    """Counts what became of posts."""

    def __init__(self, database: Database, vault: Vault) -> None:
        self._database = database
        self._vault = vault

    def summary(self, caller: Caller, start: date, end: date, by: GroupBy) -> RemovalSummary:
        """Return the numbers of the notices of cases that the caller may see, which were sent from
        ``start`` to ``end``, in Korea."""
        posts = self._followed(caller, start, end)
        grouped = group_posts(posts, lambda post: str(getattr(post, by)))
        groups = [_group(name, found) for name, found in grouped]
        if by is GroupBy.MONTH:
            groups.sort(key=lambda group: (group.name == OTHERS, group.name))
        return RemovalSummary(start=start, end=end, by=by, groups=groups, total=_group("", posts))

    def _followed(self, caller: Caller, start: date, end: date) -> list[FollowedPost]:
        begins, ends = days_in_korea(start, end)
        last = (
            select(func.max(Look.at))
            .where(Look.occurrence_id == Watch.occurrence_id, Look.at >= Notice.sent_at)
            .correlate(Watch, Notice)
            .scalar_subquery()
        )
        wanted = (
            select(Watch, Notice, Occurrence, Case, last)
            .join(Notice, Watch.notice_id == Notice.id)
            .join(Occurrence, Watch.occurrence_id == Occurrence.id)
            .join(Case, Notice.case_id == Case.id)
            .where(
                Notice.sent_at >= begins,
                Notice.sent_at < ends,
                Notice.state != NoticeState.WITHDRAWN,
                Case.wrapped_key.is_not(None),
                visible_to(caller),
            )
        )

        with self._database.read() as session:
            now, rows = self._database.clock(), session.execute(wanted).all()
            opened = opened_rows(rows, lambda row: open_post(self._vault.case_key(row[3]), row[2]))
            return [_follow(row[0], row[1], post, row[4], now) for row, post in opened]


def _follow(
    watch: Watch,
    notice: Notice,
    post: Post,
    looked_at: datetime | None,
    now: datetime,
) -> FollowedPost:
    assert notice.sent_at is not None
    host = host_of(post.source_url)
    platform = site_of(host) if host else str(post.platform or "–").casefold().strip()
    counted = _GROUPS.get(watch.state, "unclear")
    removed_at = watch.gone_at
    # A person's answer counts where looks say nothing else, such as that it returned after that.
    answered_at = notice.answered_at if notice.state in TAKEN_DOWN else None
    is_back = answered_at and watch.returned_at and watch.returned_at >= answered_at
    if counted == "unclear" and answered_at and not is_back:
        counted, removed_at = "removed", answered_at
    names = {"sent", counted}
    if watch.returned_at is not None:
        names.add("returned")
    if notice.state is NoticeState.REFUSED:
        names.add("refused")
    if notice.due_at is not None and (removed_at or now) > notice.due_at:
        names.add("past_deadline")
    until = removed_at or looked_at
    hours = max((until - notice.sent_at) / timedelta(hours=1), 0.0) if until else None
    month = f"{notice.sent_at.astimezone(KST):%Y-%m}"
    is_removed = removed_at is not None
    return FollowedPost(platform, notice.kind, month, frozenset(names), hours, is_removed)


def group_posts(
    posts: Iterable[FollowedPost], name_of: Callable[[FollowedPost], str]
) -> list[tuple[str, list[FollowedPost]]]:
    """Return posts by group, the largest first; groups of fewer than ``FEWEST`` become one.

    If they are too few even so, the next larger group joins them: else its number could be
    subtracted from the total.
    """
    by_name: dict[str, list[FollowedPost]] = {}
    for post in posts:
        by_name.setdefault(name_of(post), []).append(post)
    ordered = sorted(by_name.items(), key=lambda each: (-len(each[1]), each[0]))
    small: list[FollowedPost] = []
    while ordered and (len(ordered[-1][1]) < FEWEST or 0 < len(small) < FEWEST):
        small += ordered.pop()[1]
    return [*ordered, (OTHERS, small)] if small else ordered


def _group(name: str, posts: Sequence[FollowedPost]) -> RemovalGroup:
    times = [(post.hours, post.is_removed) for post in posts if post.hours is not None]
    curve = removed_by(times)
    counts = {each: sum(each in post.counted_as for post in posts) for each in COUNTS}
    return RemovalGroup(
        name=name,
        counts=RemovalCounts(**counts),
        timed=len(times),
        median_h=quantile(curve, 0.5),
        p90_h=quantile(curve, 0.9),
        curve=curve,
    )


def removed_by(times: Iterable[tuple[float, bool]]) -> list[tuple[float, float]]:
    """Return the share that is removed by Kaplan and Meier, at each time at which it changes.

    Args:
        times: hours, each with whether that is a removal, or how long at least the post was up.
    """
    ordered = sorted(times)
    left, up = len(ordered), 1.0
    curve: list[tuple[float, float]] = []
    for at, same in groupby(ordered, key=lambda each: each[0]):
        here = [was_removed for _, was_removed in same]
        if any(here):
            up *= 1 - sum(here) / left
            curve.append((at, 1 - up))
        left -= len(here)
    return curve


def quantile(curve: Iterable[tuple[float, float]], share: float) -> float | None:
    """Return the first time by which ``share`` is removed; ``None`` if that was not reached."""
    return next((hours for hours, removed in curve if removed >= share - 1e-12), None)
