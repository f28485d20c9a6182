"""The values of columns that hold one of a few states. They are stored as their strings."""

from __future__ import annotations

from enum import StrEnum
from typing import Literal


class Role(StrEnum):
    """What an account may do."""

    PIPELINE = "pipeline"
    """Submit media and read its own submissions."""
    ANALYST = "analyst"
    """Submit, read and review."""
    AUDITOR = "auditor"
    """Read the audit log, but neither media nor scores."""
    ADMIN = "admin"
    """Do everything, and manage accounts and keys."""


class JobState(StrEnum):
    """The state of a job. ``failed`` means that the service failed. Jobs on media that cannot be
    examined succeed with the verdict ``unable_to_evaluate``."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"
    """Not examined in time; its media were deleted."""


ListedState = Literal[
    JobState.QUEUED, JobState.RUNNING, JobState.SUCCEEDED, JobState.FAILED, JobState.EXPIRED
]
"""The states that are shown: a cancelled job is being deleted, and is in no list."""
ENDED = frozenset({JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED, JobState.EXPIRED})
UNFINISHED = frozenset(JobState) - ENDED
REUSED = frozenset({JobState.QUEUED, JobState.RUNNING, JobState.SUCCEEDED})
"""States of jobs that are returned for equal content. Jobs in other states are worth a retry."""


class JobStage(StrEnum):
    """What a running job is at, in order, or what a queued one waits for."""

    OVERVIEW = "overview"
    DENSE = "dense"
    EVIDENCE = "evidence"
    AWAITING_MODEL = "awaiting_model"
    """It was begun with a model bundle or version that no living worker has."""


class Priority(StrEnum):
    """The priority of a job in the queue."""

    LIVE = "live"
    """A person is waiting for the result."""
    BATCH = "batch"
    LOW = "low"

    @property
    def rank(self) -> int:
        """The position of this priority: lower ranks are served first."""
        return list(Priority).index(self) + 1


class RetentionPolicy(StrEnum):
    """How long the media of a job are kept."""

    STANDARD = "standard"
    """Until some time after the review, or after the verdict."""
    ZERO = "zero"
    """Until they have been scored."""


class CaptureState(StrEnum):
    """The state of a capture that was handed in."""

    QUEUED = "queued"
    """A link that waits to be fetched, or is being fetched."""
    RECEIVED = "received"
    """Stored, and not read yet."""
    CAPTURED = "captured"
    """Read, signed and kept."""
    REFUSED = "refused"
    """It could not be read; the reason is stated."""
    COMPARISON = "comparison"
    """A picture or video that people compare items with. It is never read, signed or examined."""


class CallbackContent(StrEnum):
    """What a webhook says about its job."""

    IDS = "ids"
    """Its id, the id of its case, and the state in which it ended."""
    VERDICT = "verdict"
    """The verdict and the reference of the case as well."""


class DeliveryState(StrEnum):
    """The state of a webhook."""

    WAITING = "waiting"
    DUE = "due"
    DELIVERED = "delivered"
    FAILED = "failed"


class EditionState(StrEnum):
    """Why an edition of evidence must not be relied on any more."""

    SUPERSEDED = "superseded"
    """A newer edition replaced it."""
    WITHDRAWN = "withdrawn"
    """The service no longer answers for it."""


class NoticeEventKind(StrEnum):
    """What happened to a notice. Its value is part of what digests cover: never change one."""

    CREATED = "created"
    SIGNED = "signed"
    """The PDF was made and signed."""
    SENT = "sent"
    SEND_UNDONE = "send_undone"
    """Recorded as sent by mistake."""
    RECEIPT = "receipt"
    OUTCOME = "outcome"
    TO_WITHDRAW = "to_withdraw"
    """The finding was reversed, or a person was flagged as a possible minor."""
    UPHELD = "upheld"
    """The finding was confirmed again, so that the notice need not be withdrawn."""


class NoticeState(StrEnum):
    """The state of a notice."""

    DRAFTED = "drafted"
    SENT = "sent"
    REMOVED = "removed"
    """The content was blocked or deleted."""
    TEMPORARILY_BLOCKED = "temporarily_blocked"
    """Blocked under Korean law until the Commission has deliberated."""
    DELISTED = "delisted"
    """A search engine no longer lists it. The content itself is not removed."""
    REFUSED = "refused"
    NO_ANSWER = "no_answer"
    PRESERVED = "preserved"
    """The data are preserved; mutual assistance has to be requested before the deadline."""
    WITHDRAWN = "withdrawn"


TAKEN_DOWN = frozenset({NoticeState.REMOVED, NoticeState.DELISTED})
"""Outcomes after which people no longer find the content where the notice says it is."""


class LookResult(StrEnum):
    """What a look at a post found. Its value is part of signed records: never change one."""

    UP = "up"
    MOVED = "moved"
    """It is at another address of the same site."""
    CHANGED = "changed"
    """Its address shows something else."""
    GONE = "gone"
    RESTRICTED = "restricted"
    """It is shown to those who sign in only, or was made private: the content still exists."""
    BLOCKED_HERE = "blocked_here"
    """It is blocked where the look comes from, and may be there for others."""
    CHALLENGED = "challenged"
    """The site asks whether a person is looking, or for fewer requests."""
    UNREACHABLE = "unreachable"
    UNKNOWN = "unknown"


PRESENT = frozenset({LookResult.UP, LookResult.MOVED, LookResult.CHANGED})


class WatchState(StrEnum):
    """What the looks at a post amount to."""

    NOT_LOOKED = "not_looked"
    UP = "up"
    SUSPECTED_GONE = "suspected_gone"
    """A look found it gone; others have to confirm that."""
    GONE = "gone"
    RESTRICTED = "restricted"
    BLOCKED = "blocked"
    """Blocked where the looks come from, which is not its removal."""
    UNCLEAR = "unclear"
    RETURNED = "returned"
    """It was gone, and is there again."""
