"""The period of a statistic, as a query names it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from typing import Annotated

from fastapi import Depends, Query

from deepfake_service.platform.errors import FieldError, InvalidRequest
from deepfake_service.platform.texts.formatting import KST
from deepfake_service.removal.statistics import GroupBy


@dataclass(frozen=True, slots=True)
class Period:
    """Which notices are counted, and by what they are grouped."""

    start: Annotated[
        date | None,
        Query(
            description="The first day of sending, in Korea; the first of this year if unset.",
            examples=["2026-01-01"],
        ),
    ] = None
    end: Annotated[
        date | None,
        Query(
            description="The last day of sending, in Korea; today if unset.",
            examples=["2026-12-31"],
        ),
    ] = None
    by: Annotated[GroupBy, Query(description="What posts are grouped by.")] = GroupBy.PLATFORM

    def days(self, now: datetime) -> tuple[date, date]:
        """Return the first and the last day; ``InvalidRequest`` if the last one comes first."""
        today = now.astimezone(KST).date()
        end = self.end or max(today, self.start or today)
        start = self.start or date(end.year, 1, 1)
        if start > end:
            detail = "must not come before start"
            raise InvalidRequest(f'The field "end" {detail}.', errors=[FieldError("end", detail)])
        return start, end


PeriodDep = Annotated[Period, Depends()]
