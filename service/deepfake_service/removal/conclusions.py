"""What several looks at a post amount to, and when the next one is due. Pure functions.

"Gone" is a conclusion, never one answer: two looks an hour apart found it gone, one of them by a
strong sign, and none in between found it there; or, without a strong sign, three within a day or
more. Looks are as far apart as they were recorded, if people say that they were further. A block
where the looks come from is no removal, and restricted content still exists. Where a site answers
a look otherwise that does not name this service, nothing is concluded, and a person has to look.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import combinations

from deepfake_service.platform.enums import PRESENT, LookResult, WatchState

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
WEAK_LOOKS = 3
UNCLEAR_AFTER = 3
"""Looks in a row that tell nothing, until the state before them does not count any more."""
OFFSETS_H = {24: (1, 3, 6, 12, 23, 25), 48: (1, 3, 6, 12, 24, 36, 47, 49), None: (1, 6, 24)}
"""Hours from sending, by the hours in which the recipient is to act. The deadline's own look comes
after it: that a post is up an hour before says nothing."""
OVERDUE_GAP, OVERDUE_FOR = timedelta(hours=12), timedelta(days=7)
AFTERWARDS = ((timedelta(days=14), DAY), (timedelta(days=90), timedelta(days=7)),
              (timedelta(days=365), timedelta(days=30)))  # fmt: skip
"""After content is gone: until when from then, and how often it is looked for."""
UP_FOR = timedelta(days=365)
"""How long after sending a post that stays is looked at."""
LONGEST_CHALLENGE = DAY
JITTER = 0.1
"""Share of the time to the next look by which it may be later, so that hosts see no bursts."""
_TELLS_NOTHING = frozenset({LookResult.UNREACHABLE, LookResult.UNKNOWN, LookResult.CHALLENGED})


@dataclass(frozen=True, slots=True)
class RecordedLook:
    """One look, as far as conclusions depend on it."""

    at: datetime
    result: LookResult
    strong: bool
    recorded_at: datetime
    """Later than ``at`` if a person tells of it afterwards."""

    @property
    def is_disputed(self) -> bool:
        """Whether the site told two agents different things: see ``post_pages.signs.compared``."""
        return self.result is LookResult.UNKNOWN and self.strong

    def is_apart(self, other: RecordedLook, gap: timedelta) -> bool:
        """Return whether two looks are so far apart, by when they were made and recorded."""
        recorded = abs(self.recorded_at - other.recorded_at)
        return min(abs(self.at - other.at), recorded) >= gap


@dataclass(frozen=True, slots=True)
class Conclusion:
    """What looks amount to."""

    state: WatchState
    down_at: datetime | None = None
    """The first look since which it was not up."""
    gone_at: datetime | None = None
    """The first look that found it gone, if that is confirmed."""
    returned_at: datetime | None = None
    """The last look that found it there after it had been gone."""


def conclude(looks: Sequence[RecordedLook]) -> Conclusion:
    """Return what looks amount to.

    It depends on when they were made, and not on the order in which they became known: a look that
    a person tells of afterwards can make up a removal, and can undo one.

    Args:
        looks: all of them since the notice was sent, in the order in which they were made.
    """
    found = Conclusion(WatchState.NOT_LOOKED)
    for count in range(1, len(looks) + 1):
        found = _after_newest(looks[:count], found)
    return found


def _after_newest(looks: Sequence[RecordedLook], before: Conclusion) -> Conclusion:
    """Return what looks amount to, by what they amounted to before the newest of them."""
    newest, gone_at = looks[-1], before.gone_at
    if newest.is_disputed:
        return replace(before, state=WatchState.UNCLEAR, down_at=None, gone_at=None)
    if newest.result in PRESENT:
        return _after_found(looks, before)
    run = _since(looks, absent=False)
    down = replace(before, down_at=run[0].at)
    if gone_at is not None:
        return replace(down, state=WatchState.GONE)
    gone = [s for s in run if s.result is LookResult.GONE]
    if gone and _is_confirmed(gone):
        return replace(down, state=WatchState.GONE, gone_at=gone[0].at)
    if newest.result is LookResult.GONE:
        return replace(down, state=WatchState.SUSPECTED_GONE)
    if newest.result is LookResult.RESTRICTED:
        return replace(down, state=WatchState.RESTRICTED)
    if newest.result is LookResult.BLOCKED_HERE:
        return replace(down, state=WatchState.BLOCKED)
    vain = [s.result in _TELLS_NOTHING for s in looks[-UNCLEAR_AFTER:]]
    if before.state is WatchState.NOT_LOOKED or (len(vain) == UNCLEAR_AFTER and all(vain)):
        return replace(down, state=WatchState.UNCLEAR)
    return down


def _after_found(looks: Sequence[RecordedLook], before: Conclusion) -> Conclusion:
    """Return what looks amount to, the newest of which found the post."""
    newest, gone_at = looks[-1], before.gone_at
    up = replace(before, down_at=None, gone_at=None)
    if gone_at is None:  # what returned stays so, until it is confirmed as gone again
        is_back = before.returned_at is not None
        return replace(up, state=WatchState.RETURNED if is_back else WatchState.UP)
    # A weak sign that it is back has to be confirmed as a removal has.
    again = [s for s in _since(looks, absent=True) if newest.is_apart(s, HOUR)]
    if newest.strong or again:
        return replace(up, state=WatchState.RETURNED, returned_at=newest.at)
    return replace(before, state=WatchState.GONE, down_at=gone_at)


def _since(looks: Sequence[RecordedLook], *, absent: bool) -> list[RecordedLook]:
    """Return the looks since the last one that found the post, by whatever agent; or, if
    ``absent``, since the last one that found it gone."""
    run: list[RecordedLook] = []
    for look in reversed(looks):
        is_found = look.result in PRESENT or look.is_disputed
        if look.result is LookResult.GONE if absent else is_found:
            break
        if not absent or look.result in PRESENT:
            run.append(look)
    return run[::-1]


def _is_confirmed(found: Sequence[RecordedLook]) -> bool:
    gap = HOUR if any(s.strong for s in found) else DAY
    is_long = any(one.is_apart(two, gap) for one, two in combinations(found, 2))
    return is_long and (gap == HOUR or len(found) >= WEAK_LOOKS)


@dataclass(frozen=True, slots=True)
class Plan:
    """What the times of looks depend on, beside the looks."""

    watch_id: str
    sent_at: datetime
    due_at: datetime | None


def next_look(
    plan: Plan, looks: Sequence[RecordedLook], found: Conclusion, *, retry_after_s: int | None
) -> datetime | None:
    """Return when the next look is due after the newest of ``looks``; ``None`` for never."""
    newest, now = looks[-1], looks[-1].at
    gap: timedelta | None
    if found.state is WatchState.SUSPECTED_GONE:
        run = [s for s in _since(looks, absent=False) if s.result is LookResult.GONE]
        gap = HOUR if len(run) < 2 or any(s.strong for s in run) else DAY / 2
    elif found.gone_at is not None and newest.result in PRESENT:
        gap = HOUR
    elif newest.result is LookResult.CHALLENGED:
        others = (n for n, s in enumerate(reversed(looks)) if s.result is not LookResult.CHALLENGED)
        in_row = min(next(others, len(looks)), 6)
        asked = timedelta(seconds=retry_after_s or 0)
        gap = min(max(HOUR * (1 << in_row - 1), asked), LONGEST_CHALLENGE)
    elif found.gone_at is not None:
        age = now - found.gone_at
        gap = next((each for until, each in AFTERWARDS if age < until), None)
    else:
        planned = planned_look(plan, now)
        gap = None if planned is None else planned - now
    return None if gap is None else _later(plan, now, now + gap)


def first_look(plan: Plan) -> datetime:
    """Return when the first look at a post is due."""
    hours = OFFSETS_H[_clock(plan)][0]
    return _later(plan, plan.sent_at, plan.sent_at + timedelta(hours=hours))


def planned_look(plan: Plan, after: datetime) -> datetime | None:
    """Return the first look after a time by the clock of the notice, while the post is up."""
    for hours in OFFSETS_H[_clock(plan)]:
        at = plan.sent_at + timedelta(hours=hours)
        if at > after:
            return at
    if after - plan.sent_at >= UP_FOR:
        return None
    is_overdue = plan.due_at is not None and after - plan.due_at < OVERDUE_FOR
    return after + (OVERDUE_GAP if is_overdue else DAY)


def _clock(plan: Plan) -> int | None:
    hours = round((plan.due_at - plan.sent_at) / HOUR) if plan.due_at else None
    return hours if hours in OFFSETS_H else None


def _later(plan: Plan, now: datetime, at: datetime) -> datetime:
    """Return a time a little after ``at``: the same one for the same look."""
    drawn = zlib.crc32(f"{plan.watch_id} {at.isoformat()}".encode()) / 2**32
    return at + JITTER * drawn * (at - now)
