"""States of jobs and deliveries, and how long media stay."""

from __future__ import annotations

from enum import StrEnum


class JobState(StrEnum):
    """Where a job is. ``failed`` means that *we* failed; media that cannot be examined succeed
    with the verdict ``unable_to_evaluate``."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"
    """Not examined in time, and its media deleted."""


ENDED = frozenset({JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED, JobState.EXPIRED})
REUSED = frozenset({JobState.QUEUED, JobState.RUNNING, JobState.SUCCEEDED})
"""Jobs that are returned for equal content; others are worth another try."""


class RetentionPolicy(StrEnum):
    """How long the media of a job are kept."""

    STANDARD = "standard"
    """Until some time after the review, or after the verdict."""
    ZERO = "zero"
    """Until it is scored."""


class DeliveryState(StrEnum):
    """Where a webhook is."""

    WAITING = "waiting"
    DUE = "due"
    DELIVERED = "delivered"
    FAILED = "failed"


class Decision(StrEnum):
    """What one person decides about an examination. The machine's verdict stays as it is."""

    CONFIRMED = "confirmed"
    REJECTED = "rejected"
    UNDECIDED = "undecided"


class Finding(StrEnum):
    """What the decisions on an examination come to."""

    CONFIRMED = "confirmed"
    REJECTED = "rejected"
    UNDECIDED = "undecided"
    AWAITING_SECOND = "awaiting_second"
    """Confirmed by one person, where two are needed."""
