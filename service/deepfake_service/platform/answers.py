"""What answers of the API are made of, for types that rooms publish as they are."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from deepfake_models.bundle.results import Leaning
from deepfake_models.bundle.spec import is_none
from deepfake_service.platform.clock import iso_time

EXAMPLE_ID = "01kb0zq9v7m3x8t2e4r6y1w5cd"


def _written(at: object) -> object:
    return iso_time(at) if isinstance(at, datetime) else at


ItemId = Annotated[str, Field(examples=[EXAMPLE_ID])]
"""An id of this service: a ULID."""
Sha256 = Annotated[
    str, Field(examples=["9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"])
]
"""A SHA-256 in 64 hexadecimal digits."""
Time = Annotated[
    str,
    BeforeValidator(_written),
    Field(json_schema_extra={"format": "date-time"}, examples=["2026-01-31T12:00:00.000+00:00"]),
]
"""A time in ISO 8601, in UTC, of which one from the database is made."""
Score = Annotated[
    float | None,
    Field(
        ge=0.0,
        le=1.0,
        description="Higher = more probably manipulated, calibrated at the bundle's prior. "
        "Null if nothing was scored.",
    ),
]
LogLikelihoodRatio = Annotated[
    float | None,
    Field(description="Base 10, independent of the prior. Null if nothing was scored."),
]
ValueLeaning = Annotated[
    Leaning | None,
    Field(
        exclude_if=is_none,
        description="Which way the value leans, by edges whose error rates are in the model bundle "
        "and in the evidence. It ranks a queue and never proves anything: more authentic media "
        "lean towards manipulated than are called so. Left out if nothing was scored, or the "
        "model bundle has no such edges.",
    ),
]


class Published(BaseModel):
    """Base of responses. A field that is not declared is a programming error. What does not fit in
    the line of a field is described below it."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)
