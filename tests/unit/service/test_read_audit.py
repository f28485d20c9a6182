"""Repeated reads are audited once in a while."""

from __future__ import annotations

from datetime import timedelta

from deepfake_service.casework.core.read_audit import WINDOW, ReadAudit
from deepfake_service.db.enums import Role
from deepfake_service.security.accounts import Caller
from tests.support.clocks import AdjustableClock


def test_a_key_that_reads_a_subject_again_is_noted_after_ten_minutes() -> None:
    clock = AdjustableClock()
    reads = ReadAudit(clock)
    caller, other_key = Caller("a", Role.ANALYST, "1"), Caller("a", Role.ANALYST, "2")
    assert reads.is_first_read(caller, "media")
    assert reads.is_first_read(caller, "pictures")
    assert reads.is_first_read(other_key, "media")
    clock.advance(WINDOW - timedelta(seconds=1))
    assert not reads.is_first_read(caller, "media")
    clock.advance(timedelta(seconds=2))
    assert reads.is_first_read(caller, "media")


def test_a_clock_that_is_set_back_hides_no_read() -> None:
    clock = AdjustableClock()
    reads = ReadAudit(clock)
    caller = Caller("a", Role.ANALYST, "1")
    assert reads.is_first_read(caller, "media")
    clock.advance(timedelta(hours=-1))
    assert reads.is_first_read(caller, "media")
