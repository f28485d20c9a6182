"""Which workers are alive, whatever their clocks say."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from deepfake_service.examination.workers import BEAT_S, FORGOTTEN_AFTER_S, LEASE_S, Heartbeats

NOW = datetime(2026, 1, 1, tzinfo=UTC)
TOMORROW = NOW + timedelta(days=1)


class Ticks:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_lease_of_a_clock_that_was_ahead_does_not_keep_a_dead_worker_alive() -> None:
    ticks = Ticks()
    heartbeats = Heartbeats(ticks)
    looks = int(LEASE_S / BEAT_S)
    for look in range(looks + 1):
        ticks.now = look * BEAT_S
        renewed = NOW - timedelta(hours=1) + timedelta(seconds=ticks.now)  # a clock behind ours
        heartbeats.watch({"dead": TOMORROW, "alive": renewed})
        assert ("dead" in heartbeats.alive()) is (look < looks)
        assert "alive" in heartbeats.alive()


def test_a_pause_of_the_watcher_kills_nobody() -> None:
    ticks = Ticks()
    heartbeats = Heartbeats(ticks)
    heartbeats.watch({"other": NOW})
    ticks.now = 3600.0  # the database was unavailable, and nobody could renew a lease
    heartbeats.watch({"other": NOW})
    assert "other" in heartbeats.alive()


def test_the_lease_of_a_dead_worker_is_deleted_in_the_end() -> None:
    ticks = Ticks()
    heartbeats = Heartbeats(ticks)
    for look in range(int(FORGOTTEN_AFTER_S / BEAT_S)):
        ticks.now = look * BEAT_S
        heartbeats.watch({"dead": TOMORROW})
        assert not heartbeats.long_dead()
    ticks.now += BEAT_S
    heartbeats.watch({"dead": TOMORROW})
    assert heartbeats.long_dead() == {"dead": TOMORROW}
    heartbeats.watch({})
    assert not heartbeats.long_dead()
