"""Times that clients send."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

from pydantic import AfterValidator, AwareDatetime
from pydantic_core import PydanticCustomError


def _utc(at: datetime) -> datetime:
    try:
        return at.astimezone(UTC)
    except OverflowError as error:
        raise PydanticCustomError("not_a_time", "send a time from the year 1 to 9999") from error


Moment = Annotated[AwareDatetime, AfterValidator(_utc)]
"""A time with a zone, converted to UTC."""
