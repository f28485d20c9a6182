"""What answers of the API are made of, for types that rooms publish as they are."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

EXAMPLE_ID = "01kb0zq9v7m3x8t2e4r6y1w5cd"

ItemId = Annotated[str, Field(examples=[EXAMPLE_ID])]
"""An id of this service: a ULID."""
Sha256 = Annotated[
    str, Field(examples=["9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"])
]
"""A SHA-256 in 64 hexadecimal digits."""
Time = Annotated[
    str,
    Field(json_schema_extra={"format": "date-time"}, examples=["2026-01-31T12:00:00.000+00:00"]),
]
"""A time in ISO 8601, in UTC."""


class Published(BaseModel):
    """Base of responses. A field that is not declared is a programming error. What does not fit in
    the line of a field is described below it."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)
