"""What looks amount to, and when the next one is due."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta

import pytest

from deepfake_service.platform.enums import LookResult, WatchState
from deepfake_service.removal.conclusions import (
    JITTER,
    Conclusion,
    Plan,
    RecordedLook,
    conclude,
    first_look,
    next_look,
    planned_look,
)

SENT = datetime(2026, 11, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
SIGNS = {
    "u": (LookResult.UP, False), "U": (LookResult.UP, True),
    "g": (LookResult.GONE, False), "G": (LookResult.GONE, True),
    "r": (LookResult.RESTRICTED, True), "b": (LookResult.BLOCKED_HERE, True),
    "c": (LookResult.CHALLENGED, True), "x": (LookResult.UNREACHABLE, False),
    "?": (LookResult.UNKNOWN, False), "!": (LookResult.UNKNOWN, True),
}  # fmt: skip


def follow(text: str) -> tuple[list[WatchState], Conclusion, list[RecordedLook]]:
    """Follow looks such as ``1U 2G 3/8G``: hours from sending, and those of the record if they are
    others, and what was found."""
    looks: list[RecordedLook] = []
    states: list[WatchState] = []
    found = conclude(looks)
    for each in text.split():
        made, _, recorded = each[:-1].partition("/")
        at, recorded_at = (SENT + float(hours) * HOUR for hours in (made, recorded or made))
        looks.append(RecordedLook(at, *SIGNS[each[-1]], recorded_at))
        found = conclude(looks)
        states.append(found.state)
    return states, found, looks


@pytest.mark.parametrize(
    ("looks", "last"),
    [
        ("1G", "suspected_gone"),
        ("1G 2G", "gone"),
        ("1G 1.5G", "suspected_gone"),  # within an hour
        ("1g 2G", "gone"),
        ("1g 2g 3g", "suspected_gone"),  # weak signs, within a day
        ("1g 13g 26g", "gone"),
        ("1g 26g", "suspected_gone"),
        ("1G 2U 3G", "suspected_gone"),  # up in between
        ("1G 2x 3G", "gone"),
        ("1U 2b 3b 30b 60b", "blocked"),  # however often it is blocked
        ("1b 2x 3b 300b", "blocked"),
        ("1U 2r 30r 60r", "restricted"),
        ("1U 2c", "up"),
        ("1U 2c 3x 4?", "unclear"),
        ("1x", "unclear"),
        ("1G 2G 3U", "returned"),
        ("1G 2G 3u", "gone"),  # to be confirmed
        ("1G 2G 3u 4u", "returned"),
        ("1G 2G 3u 4G", "gone"),
        ("1G 2G 3U 4U", "returned"),
        ("1G 2G 3U 4G", "suspected_gone"),
        ("1G 2G 3U 4G 5G", "gone"),
        ("1G 2G 3U 4G 5U", "returned"),  # one look in between is no second removal
        ("1G 2G 3U 4c 5x 6? 7U", "returned"),
        ("1G 2G 3c 4x 5r", "gone"),
        ("1/9G 2/9G", "suspected_gone"),  # told of at one time
        ("1/9G 2/9G 10G", "gone"),
        ("1G 1.5/9G", "suspected_gone"),  # and made at one time
        ("1/9G 8G 9.5G", "gone"),  # the two last ones
        ("1G 2G 3/9u 9u", "gone"),
        ("1G 2G 3u 4/9u", "returned"),
    ],
)
def test_looks_amount_to_a_state(looks: str, last: str) -> None:
    states, found, _ = follow(looks)
    assert str(states[-1]) == last
    assert (found.gone_at is not None) is (last == "gone")


def test_the_time_of_a_removal_is_that_of_the_first_look_that_found_it() -> None:
    _, found, _ = follow("1U 3G 3.5x 5G")
    assert found.gone_at == SENT + 3 * HOUR
    _, found, _ = follow("1G 2G 3U 5G 7G")
    assert found.gone_at == SENT + 5 * HOUR


def test_the_time_of_a_return_is_that_of_the_look_that_found_it() -> None:
    assert follow("1U 3G 5G")[1].returned_at is None
    assert follow("1U 3G 5G 7U 9U 11G 13G")[1].returned_at == SENT + 7 * HOUR


def test_nothing_is_concluded_from_what_a_site_says_to_this_service_alone() -> None:
    states, found, _ = follow("1G 2!")
    assert states[-1] is WatchState.UNCLEAR
    states, found, _ = follow("1G 2! 3G")  # what it said before does not count
    assert states[-1] is WatchState.SUSPECTED_GONE
    states, found, _ = follow("1G 2G 3!")
    assert (states[-1], found.gone_at) == (WatchState.UNCLEAR, None)
    states, found, _ = follow("1G 2! 3G 4G")
    assert found.gone_at == SENT + 3 * HOUR


def times(plan: Plan, text: str, count: int) -> list[float]:
    """Return the hours from sending of the next looks, if each finds the same."""
    result, strong = SIGNS[text]
    looks = [RecordedLook(first_look(plan), result, strong, first_look(plan))]
    while len(looks) < count:
        at = next_look(plan, looks, conclude(looks), retry_after_s=None)
        if at is None:
            break
        looks.append(RecordedLook(at, result, strong, at))
    return [(seen.at - SENT) / HOUR for seen in looks]


@pytest.mark.parametrize(
    ("hours", "planned"),
    [(48, (1, 3, 6, 12, 24, 36, 47, 49)), (24, (1, 3, 6, 12, 23, 25)), (None, (1, 6, 24, 48))],
)
def test_the_clock_of_the_notice_sets_the_looks(
    hours: int | None, planned: tuple[int, ...]
) -> None:
    plan = Plan("w", SENT, SENT + hours * HOUR if hours else None)
    made = times(plan, "U", len(planned))
    before = 0.0
    for at, wanted in zip(made, planned, strict=True):
        assert wanted <= at <= wanted + JITTER * (wanted - before) + 2.5
        before = at
    if hours:  # that it is up before its deadline proves nothing
        assert any(hours < at <= hours * 1.1 for at in made)


def test_overdue_posts_are_looked_at_twice_a_day_and_then_daily_for_a_year() -> None:
    plan = Plan("w", SENT, SENT + 48 * HOUR)
    made = times(plan, "U", 1000)
    week = [at for at in made if 49 <= at < 48 + 168]
    assert 13 <= len(week) <= 15
    assert 365 * 24 <= made[-1] <= 366 * 24 + 3
    gaps = [b - a for a, b in itertools.pairwise(made) if a > 48 + 168]
    assert all(24 <= gap <= 24 * 1.1 + 0.01 for gap in gaps)


def test_what_is_gone_is_looked_for_ever_more_rarely() -> None:
    made = times(Plan("w", SENT, None), "G", 1000)
    assert 1 <= made[1] - made[0] <= 1.1
    days = [at / 24 for at in made]
    assert 12 <= len([d for d in days if 0.2 < d <= 14]) <= 15
    assert 9 <= len([d for d in days if 14.9 < d <= 90]) <= 12
    assert 7 <= len([d for d in days if d > 90]) <= 11
    assert days[-1] < 365 + 34


def test_challenges_are_answered_by_patience() -> None:
    made = times(Plan("w", SENT, None), "c", 12)
    gaps = [b - a for a, b in itertools.pairwise(made)]
    assert all(2**n <= gap <= 2**n * 1.1 for n, gap in enumerate(gaps[:4]))
    assert all(24 <= gap <= 26.4 for gap in gaps[5:])
    plan, looks = Plan("w", SENT, None), [RecordedLook(SENT, LookResult.CHALLENGED, True, SENT)]
    found = conclude(looks)
    asked = next_look(plan, looks, found, retry_after_s=7200)
    assert asked is not None
    assert 2 <= (asked - SENT) / HOUR <= 2.2
    longest = next_look(plan, looks, found, retry_after_s=999_999)
    assert longest is not None
    assert (longest - SENT) / HOUR <= 26.4


def test_looks_do_not_come_at_the_same_second() -> None:
    firsts = {first_look(Plan(f"w{n}", SENT, None)) for n in range(100)}
    assert len(firsts) == 100
    assert all(HOUR <= at - SENT <= 1.1 * HOUR for at in firsts)
    assert planned_look(Plan("w", SENT, None), SENT + timedelta(days=366)) is None
