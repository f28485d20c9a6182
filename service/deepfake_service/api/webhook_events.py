"""The webhooks that the service sends, as part of the API's description."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Header, Response
from pydantic import Field

from deepfake_models.bundle.results import VerdictCode
from deepfake_models.bundle.spec import is_none
from deepfake_service.db.enums import JobState
from deepfake_service.http.description import operation_id
from deepfake_service.http.schemas import ItemId, Published, Time

router = APIRouter(generate_unique_id_function=operation_id)


class EventJobOut(Published):
    """The job that has ended."""

    id: ItemId = Field(description="Id of the job.")
    state: JobState = Field(description="The state in which it ended.")
    case_id: ItemId = Field(description="Id of the case that it belongs to.")
    verdict: VerdictCode | None = Field(
        default=None,
        exclude_if=is_none,
        description="The conclusion of the model, if the submission asked for it.",
    )
    case_reference: str | None = Field(
        default=None,
        exclude_if=is_none,
        description="Your reference of the case, if the submission asked for it.",
    )


class EventOut(Published):
    """A webhook in the form of the Standard Webhooks specification."""

    type: Literal["job.succeeded", "job.failed", "job.expired"] = Field(
        description="What happened."
    )
    timestamp: Time = Field(description="When the webhook was sent.")
    data: EventJobOut = Field(description="What it happened to.")


def _describe(state: str, summary: str) -> None:
    async def receive(
        event: EventOut,
        webhook_id: Annotated[str, Header(description="The same for every attempt.")],
        webhook_timestamp: Annotated[int, Header(description="When it was sent, in Unix time.")],
        webhook_signature: Annotated[
            str, Header(description="Signature with the secret of `GET /v1/webhook-secret`.")
        ],
    ) -> Response:
        raise NotImplementedError  # the receiver answers, not this service

    router.post(
        f"job.{state}",
        name=f"job_{state}",
        summary=summary,
        description="Sent to the `callback_url` of a job, unless the job is deleted before that. "
        "Any status from 200 to 299 accepts it; 410 declines further attempts, and any other "
        "answer leads to another attempt.",
        status_code=204,
    )(receive)


_describe("succeeded", "A job has a result")
_describe("failed", "The service failed to examine a job")
_describe("expired", "A job was not examined in time")
