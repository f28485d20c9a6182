"""Whether deletions may rely on the clock: a person confirms a leap of more than a day.

A wrong hardware clock, a bad time server or a resumed virtual machine can set it years ahead, and
everything would be past its retention. So each sweep remembers when it was. If the clock is more
than a day from the last one, nothing is deleted until somebody has looked at the date.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import func, select

from deepfake_service.audit.log import SERVICE, Action, append_entry
from deepfake_service.platform.db import AuditEntry, Database, Fact, current_time
from deepfake_service.platform.logs import logger

LONGEST_GAP = timedelta(days=1)
_NAME = "clock"

_log = logger("deepfake_service.platform.clock")


def is_clock_confirmed(database: Database) -> bool:
    """Return whether the clock is within a day of the last sweep, and remember this one."""
    with database.write() as session:
        now, fact = current_time(session), session.get(Fact, _NAME)
        if fact is not None:
            last: datetime = datetime.fromisoformat(fact.value)
        else:  # of a new installation the log ends now
            last = session.scalar(select(func.max(AuditEntry.at))) or now
        if abs(now - last) > LONGEST_GAP:
            _log.error("clock_not_confirmed", now=now.isoformat(), last=last.isoformat())
            return False
        session.merge(Fact(name=_NAME, value=max(now, last).isoformat()))
    return True


def confirm_clock(database: Database) -> datetime:
    """Let deletions rely on the clock as it is, and return its time. Audited."""
    with database.write() as session:
        now = current_time(session)
        session.merge(Fact(name=_NAME, value=now.isoformat()))
        append_entry(session, SERVICE, Action.CLOCK_CONFIRMED)
    return now
