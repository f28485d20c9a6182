"""Send webhooks by the Standard Webhooks specification: signed, to public addresses, no redirects.

``outbound.check`` checks where they go.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

import httpx
from pydantic import Field
from standardwebhooks.webhooks import Webhook

from deepfake_models.bundle.results import VerdictCode
from deepfake_service.platform.answers import ItemId, Published, Time
from deepfake_service.platform.enums import CallbackContent, CaptureState, JobState
from deepfake_service.platform.outbound import AnswerLimits, Target, fetch

DEADLINE_S = 20.0
"""Time for the whole request: a receiver that sends a byte now and then must not delay others."""
_LIMITS = AnswerLimits(max_bytes=0, pause_s=10.0, deadline_s=DEADLINE_S)
BACK_OFF = tuple(timedelta(seconds=s) for s in (5, 30, 120, 600, 3600, 6 * 3600, 24 * 3600))
"""Waiting times after failed attempts. After the last one the delivery has failed. They add up to
about 31 hours, so that a receiver may be down over a night."""
GONE = 410
"""The status by which, in the specification, a receiver declines further webhooks."""


@dataclass(frozen=True, slots=True, repr=False)
class Callback:
    """Where a webhook is sent, and what it says."""

    url: str
    content: CallbackContent = CallbackContent.IDS

    def to_bytes(self) -> bytes:
        """Return the callback as it is sealed."""
        return json.dumps([self.url, str(self.content)]).encode()

    @classmethod
    def from_bytes(cls, stored: bytes) -> Callback:
        """Return the callback that ``to_bytes`` stored."""
        url, content = json.loads(stored)
        return cls(url, CallbackContent(content))


@dataclass(frozen=True, slots=True)
class DeliveryOutcome:
    """The result of one attempt: a code, and whether no further attempt is to be made."""

    code: str
    delivered: bool = False
    final: bool = False


class EndedJob(Published):
    """A job that has ended."""

    id: ItemId = Field(description="Id of the job.")
    state: Literal[JobState.SUCCEEDED, JobState.FAILED, JobState.EXPIRED]
    """How it ended."""
    case_id: ItemId = Field(description="Id of its case.")
    verdict: VerdictCode | None = None
    """The conclusion of the model. Left out unless `callback_content=verdict` asked for it."""
    case_reference: str | None = None
    """Your reference of the case. Left out unless it has one, and likewise."""


class JobEvent(Published):
    """A job has ended."""

    type: Literal["job.succeeded", "job.failed", "job.expired"] = Field(description="How.")
    timestamp: Time = Field(description="When this attempt was sent.")
    data: EndedJob = Field(description="The job.")


class EndedCapture(Published):
    """A capture that was read, or refused."""

    id: ItemId = Field(description="Id of the capture.")
    state: Literal[CaptureState.CAPTURED, CaptureState.REFUSED] = Field(description="Which.")
    case_id: ItemId = Field(description="Id of its case.")
    reason: str | None = None
    """Why it was refused, or why a link has no picture or video: a code. Left out without one."""


class CaptureEvent(Published):
    """A capture was read, or refused."""

    type: Literal["capture.ended"] = Field(description="What happened.")
    timestamp: Time = Field(description="When this attempt was sent.")
    data: EndedCapture = Field(description="The capture.")


class ReturnedPost(Published):
    """A post that was gone and is there again."""

    id: ItemId = Field(description="Id of the post: an occurrence.")
    job_id: ItemId = Field(description="Id of the job of its file.")
    case_id: ItemId = Field(description="Id of its case.")


class PostEvent(Published):
    """A post of a file that was gone is there again."""

    type: Literal["post.returned"] = Field(description="What happened.")
    timestamp: Time = Field(description="When this attempt was sent.")
    data: ReturnedPost = Field(description="The post.")


Event = JobEvent | CaptureEvent | PostEvent
"""The bodies of webhooks, in the form that the specification asks for."""


def send(target: Target, secret: str, message_id: str, body: str, at: datetime) -> DeliveryOutcome:
    """Deliver ``body`` once, signed with ``secret`` (``whsec_...``). Any 2xx status is success.
    Redirects are not followed, because their target was not checked."""
    headers = {
        "Content-Type": "application/json",
        "User-Agent": "deepfake-service",
        "webhook-id": message_id,
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": Webhook(secret).sign(message_id, at, body),
    }
    try:
        status = fetch(target, _LIMITS, headers, post=body.encode()).status
    except (httpx.TimeoutException, TimeoutError):
        return DeliveryOutcome("timeout")
    except httpx.HTTPError:
        return DeliveryOutcome("unreachable")
    if 200 <= status < 300:
        return DeliveryOutcome(f"http_{status}", delivered=True)
    return DeliveryOutcome(f"http_{status}", final=status == GONE)
