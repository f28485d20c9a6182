"""Send webhooks by the Standard Webhooks specification: signed, to public addresses, no redirects.

``outbound.check`` checks where they go.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import httpx
from standardwebhooks.webhooks import Webhook

from deepfake_service.platform.db.enums import CallbackContent
from deepfake_service.platform.outbound import Target, sent

TIMEOUT_S = 10.0
"""Time for connecting, and for each read."""
DEADLINE_S = 20.0
"""Time for the whole request: a receiver that sends a byte now and then must not delay others."""
BACK_OFF = tuple(timedelta(seconds=s) for s in (5, 30, 120, 600, 3600, 6 * 3600, 24 * 3600))
"""Waiting times after failed attempts. After the last one the delivery has failed. They add up to
about 31 hours, so that a receiver may be down over a night."""
GONE = 410
"""The status by which, in the specification, a receiver declines further webhooks."""


@dataclass(frozen=True, slots=True)
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

    def __repr__(self) -> str:
        return "Callback()"


@dataclass(frozen=True, slots=True)
class DeliveryOutcome:
    """The result of one attempt: a code, and whether no further attempt is to be made."""

    code: str
    delivered: bool = False
    final: bool = False


def event(name: str, data: dict[str, Any], at: datetime) -> str:
    """Return the body of an event in the form that the specification asks for."""
    content = {"type": name, "timestamp": at.isoformat(timespec="milliseconds"), "data": data}
    return json.dumps(content, separators=(",", ":"))


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
        status = asyncio.run(asyncio.wait_for(_post(target, headers, body), DEADLINE_S))
    except (httpx.TimeoutException, TimeoutError):
        return DeliveryOutcome("timeout")
    except httpx.HTTPError:
        return DeliveryOutcome("unreachable")
    if 200 <= status < 300:
        return DeliveryOutcome(f"http_{status}", delivered=True)
    return DeliveryOutcome(f"http_{status}", final=status == GONE)


async def _post(target: Target, headers: dict[str, str], body: str) -> int:
    """Return the status of the response, whose body is not read."""
    async with (
        httpx.AsyncClient(timeout=TIMEOUT_S, follow_redirects=False, trust_env=False) as client,
        sent(client, "POST", target, headers, body.encode()) as (answer, _),
    ):
        return answer.status_code
