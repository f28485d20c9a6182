"""The types of columns that the database itself does not have: times in UTC, and states."""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import DateTime, Dialect, String, TypeDecorator


class Moment(TypeDecorator[datetime]):
    """A time in UTC. SQLite has no time zones, so that they are restored on reading."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, _: Dialect) -> datetime | None:
        if value is not None and value.tzinfo is None:
            raise ValueError("a time must have a time zone")
        return value.astimezone(UTC) if value else None

    def process_result_value(self, value: datetime | None, _: Dialect) -> datetime | None:
        if value is not None and value.tzinfo is None:
            return value.replace(tzinfo=UTC)
        return value


class States(TypeDecorator[StrEnum]):
    """A column of states, stored as their strings in a VARCHAR.

    The database does not constrain the values, so that a new state needs no migration. A value that
    only a newer version of this program knows is read as a plain string: one such row must not make
    a query of many rows fail.
    """

    impl = String
    cache_ok = True

    def __init__(self, kind: type[StrEnum], length: int) -> None:
        super().__init__(length)
        self.kind = kind

    def process_bind_param(self, value: Any, _: Dialect) -> str | None:
        """Return the string to store; ``ValueError`` if ``value`` is not a state of this column."""
        return None if value is None else str(self.kind(value))

    def process_result_value(self, value: Any, _: Dialect) -> Any:
        """Return the state, or the string where it is unknown."""
        try:
            return None if value is None else self.kind(value)
        except ValueError:
            return value
