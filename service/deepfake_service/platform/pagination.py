"""Pages of lists: a cursor names the last row of a page.

Cursors are opaque to clients. They hold the name of a list and what orders it: ranks, if it has
any, and then the time and the id of a row.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Generic, TypeVar, TypeVarTuple

from sqlalchemy import (
    ColumnElement,
    Row,
    Select,
    SQLColumnExpression,
    func,
    tuple_,
)
from sqlalchemy.orm import Session

from deepfake_service.platform.db import Case, Job, Notice, Occurrence
from deepfake_service.platform.errors import FieldError, InvalidRequest

MAX_PAGE = 200
"""Rows of one answer, each of which is decrypted before it begins."""
UNRANKED = -100
"""Stands for the rank of a job without a value."""
MAX_RANK, MAX_TURN = 2**15 - 1, 2**63 - 1
"""What columns of ranks and of turns hold."""
Columns = Sequence[SQLColumnExpression[object]]
T = TypeVar("T")
M = TypeVar("M", bound=Job | Case | Notice | Occurrence)
Others = TypeVarTuple("Others")


class Order(StrEnum):
    """The order of a list."""

    NEWEST = "newest"
    OLDEST = "oldest"
    LIKELIHOOD = "likelihood"
    """Of jobs only: by falling likelihood ratio in steps of half a decade, and then the newest
    first. Jobs without a value are last."""


@dataclass(frozen=True, slots=True)
class ListPage(Generic[T]):
    """A page of a list, and the cursor of the next page."""

    rows: Sequence[T]
    next: str | None


def cursor_of(name: str, values: Sequence[object]) -> str:
    """Return the cursor of the rows after the one with these values of the columns that order the
    list of this name: ranks, if it has them, time and id."""
    text = "|".join([name, *(v.isoformat() if isinstance(v, datetime) else str(v) for v in values)])
    return base64.urlsafe_b64encode(text.encode()).decode()


def values_of(cursor: str, name: str, largest: Sequence[int]) -> tuple[object, ...]:
    """Return the values that a cursor names, in a list with a rank for each of ``largest``;
    ``InvalidRequest`` if the cursor is not one that ``cursor_of`` made for the list ``name``."""
    try:
        of, *found, at, row_id = base64.urlsafe_b64decode(cursor.encode()).decode().split("|")
        moment, ranks = datetime.fromisoformat(at), [int(rank) for rank in found]
        beyond = [abs(rank) > most for rank, most in zip(ranks, largest, strict=True)]
        if of != name or moment.tzinfo is None or any(beyond):
            raise ValueError("another list")
        return (*ranks, moment.astimezone(UTC), row_id)
    except (ValueError, OverflowError) as error:
        invalid = FieldError("cursor", "not a cursor from an earlier response")
        raise InvalidRequest(
            "The cursor is invalid. Request the list from its beginning.", errors=[invalid]
        ) from error


def after(order: Columns, values: Sequence[object], *, rising: bool = False) -> ColumnElement[bool]:
    """Return the condition for the rows after the one with these values, in a list by falling
    ``order``. With ``rising``, the list is in the opposite order."""
    row, last = tuple_(*order), tuple(values)
    return row > last if rising else row < last


def page_of(
    session: Session,
    statement: Select[M, *Others],
    model: type[M],
    limit: int,
    cursor: str | None,
    order: Order = Order.NEWEST,
) -> tuple[Sequence[Row[M, *Others]], str | None]:
    """Return ``limit`` rows of ``model`` in this order, from the one after a cursor on, and the
    cursor of the next page, if there is one; ``InvalidRequest`` if the cursor is not one of an
    earlier answer."""
    ranked, rising = order is Order.LIKELIHOOD, order is Order.OLDEST
    rank: Columns = (func.coalesce(Job.rank, UNRANKED),) if ranked else ()
    columns: Columns = (*rank, model.created_at, model.id)
    name = f"{model.__tablename__} {order}"
    values: tuple[object, ...]
    if cursor is not None:
        values = values_of(cursor, name, (MAX_RANK,) if ranked else ())
        statement = statement.where(after(columns, values, rising=rising))
    statement = statement.order_by(*(c if rising else c.desc() for c in columns))
    rows = session.execute(statement.limit(limit + 1)).all()
    if len(rows) <= limit:
        return rows, None
    last: M = rows[limit - 1][0]
    values = (last.created_at, last.id)
    if ranked and isinstance(last, Job):
        values = (UNRANKED if last.rank is None else last.rank, *values)
    return rows[:limit], cursor_of(name, values)
