"""Places in a list that is ordered by several columns, all of them falling or all rising."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import ColumnElement, and_, or_
from sqlalchemy.orm import InstrumentedAttribute

from deepfake_service.errors import FieldError, InvalidRequest

UNRANKED = -100
"""Stands for the rank of a job without a value."""
MAX_RANK = 2**15 - 1
"""What a column of ranks holds."""
MAX_TURN = 2**63 - 1
"""What the column of turns holds."""


@dataclass(frozen=True, slots=True)
class Position:
    """The values of the columns that order a list: ranks, if it has them, time and id of a job."""

    values: tuple[Any, ...]

    @property
    def job_id(self) -> str:
        """The id of the job."""
        return str(self.values[-1])

    @property
    def standing(self) -> int:
        """The first rank, in a list by urgency how urgent the job is; 0 without ranks."""
        return int(self.values[0]) if len(self.values) > 2 else 0

    def encoded(self) -> str:
        """Return the cursor of the rows after this position."""
        *ranks, at, row_id = self.values
        text = "|".join([*map(str, ranks), at.isoformat(), row_id])
        return base64.urlsafe_b64encode(text.encode()).decode()

    @classmethod
    def decoded(cls, cursor: str, *, ranks: int, turns: bool = False) -> Position:
        """Return the position that a cursor names, in a list with so many ranks.

        With ``turns``, the last of them is the turn of a waiting job.

        Raises:
            InvalidRequest: the cursor is not one that ``encoded`` made for such a list.
        """
        try:
            *found, at, row_id = base64.urlsafe_b64decode(cursor.encode()).decode().split("|")
            moment = datetime.fromisoformat(at)
            if moment.tzinfo is None or len(found) != ranks:
                raise ValueError("another list")
            ranks_found = [int(rank) for rank in found]
            most = [MAX_RANK] * ranks
            if turns:
                most[-1] = MAX_TURN
            if any(abs(rank) > limit for rank, limit in zip(ranks_found, most, strict=True)):
                raise ValueError("no rank")
            return cls((*ranks_found, moment.astimezone(UTC), row_id))
        except (ValueError, OverflowError, binascii.Error, UnicodeError) as error:
            invalid = FieldError("cursor", "not a cursor from an earlier response")
            raise InvalidRequest(
                "The cursor is invalid. Request the list from its beginning.", errors=[invalid]
            ) from error


def after(
    order: Sequence[ColumnElement[Any] | InstrumentedAttribute[Any]],
    position: Position,
    *,
    rising: bool = False,
) -> ColumnElement[bool]:
    """Return the condition for the rows after a position, in a list by falling ``order``.

    With ``rising``, the list is in the opposite order.
    """
    pairs = list(zip(order, position.values, strict=True))
    return or_(
        *(
            and_(
                *(column == value for column, value in pairs[:n]),
                pairs[n][0] > pairs[n][1] if rising else pairs[n][0] < pairs[n][1],
            )
            for n in range(len(pairs))
        )
    )
