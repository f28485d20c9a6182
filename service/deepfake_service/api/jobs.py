"""``/v1/jobs``: the progress and result of jobs, and how they are cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated, Literal

import anyio.to_thread
from fastapi import Query
from pydantic import Field
from starlette.responses import StreamingResponse

from deepfake_service.examination.webhook_deliveries import ShownWebhook, webhooks_of
from deepfake_service.http.auth import Call, Follower, Reader, Uploader, check_still_authenticated
from deepfake_service.http.list_filters import JobQuery
from deepfake_service.http.routing import api_router
from deepfake_service.http.schemas import CaptureId, JobId, ResultOut
from deepfake_service.platform.answers import Published
from deepfake_service.platform.db import Capture, Job
from deepfake_service.platform.enums import ENDED
from deepfake_service.platform.errors import Forbidden, NotAuthenticated, NotFound
from deepfake_service.review.shapes import PlainJob, ScoredJob

router = api_router("jobs")

EVENTS_EVERY_S = 0.5
KEEP_ALIVE_EVERY_S = 15.0
"""After so long without a change a comment is sent, because proxies close silent connections."""


class JobOut(ScoredJob):
    """A job, with its result once there is one."""

    result: ResultOut | None = Field(description="The result; null until the job has succeeded.")
    webhooks: list[ShownWebhook] = Field(description="The webhooks of its callback URLs.")


class JobsOut(Published):
    """A page of jobs."""

    jobs: list[ScoredJob] = Field(description="The jobs of this page.")
    next: str | None = Field(description="Cursor of the next page; null on the last one.")


def job_out(call: Call, job_id: str) -> JobOut:
    """Return what a job's caller is told of it. Reads the database: call it in a thread."""
    job, result = call.services.queries.job(call.caller, job_id)
    webhooks = webhooks_of(call.state.database, call.caller, Job, job_id)
    return JobOut(**dict(job), result=result, webhooks=webhooks)


@router.get("/jobs", summary="List jobs")
def list_jobs(call: Reader, query: JobQuery) -> JobsOut:
    """List the jobs of this account with the values of their results; analysts and administrators
    see the jobs of all accounts. Audited once in ten minutes."""
    filters = query.filters(call)
    queries = call.services.queries
    listed = queries.scored_jobs(call.caller, filters, limit=query.limit, cursor=query.cursor)
    return JobsOut(jobs=listed.rows, next=listed.next)


@router.get("/jobs/{job_id}", summary="Read a job")
def get_job(job_id: JobId, call: Reader) -> JobOut:
    """Return a job, with its result once there is one. Reading a result is audited."""
    return job_out(call, job_id)


@router.delete("/jobs/{job_id}", summary="Cancel and delete a job", status_code=204)
def delete_job(
    job_id: JobId,
    call: Reader,
    case: Annotated[
        Literal["keep", "delete"],
        Query(
            description="`delete` deletes the case as well if nothing else is in it. Otherwise it "
            "stays, with its reference and its notices, until it is deleted or expires."
        ),
    ] = "keep",
) -> None:
    """Stop the job and delete its result, its evidence and its media, with where they were seen,
    unless another job has the same media. From then on it is answered as an id that never was
    (404); the audit log keeps `job.cancelled` and `job.deleted` with its id. The case stays, even
    if it is empty then, and so does the file in a capture that it was taken out of: see `DELETE
    /v1/captures/{capture_id}`."""
    call.services.retention.cancel(call.caller, job_id, with_case=case == "delete")


@router.get(
    "/jobs/{job_id}/events",
    summary="Follow a job",
    response_class=StreamingResponse,
    responses={200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}}},
)
def follow_job(job_id: JobId, call: Follower) -> StreamingResponse:
    """Send the server-sent event `job` whenever the job changes, until it has ended. Its data are
    the job as JSON, without `media_kind` and `result`. The stream also ends with the event `gone`
    when the job is deleted, with `signed_out` when the key or session becomes invalid, and with
    `stopping` when the service stops. After that or a break, follow the job again: the first event
    has its present state."""
    first = call.services.queries.progress(call.caller, job_id)

    def progress() -> PlainJob:
        try:
            return call.services.queries.progress(call.caller, job_id)
        finally:
            # Checked after the job was read: what happened after the end of a key is not told.
            check_still_authenticated(call.request)

    async def changes() -> AsyncIterator[str]:
        job, sent, silent_s = first, None, 0.0
        while True:
            if job != sent:
                sent, silent_s = job, 0.0
                yield f"event: job\ndata: {job.model_dump_json()}\n\n"
            elif silent_s >= KEEP_ALIVE_EVERY_S:
                silent_s = 0.0
                yield ": still here\n\n"
            if job.state in ENDED or await call.request.is_disconnected():
                return
            if call.state.is_stopping():
                # A server that stops waits for its requests, and accepts no others meanwhile.
                yield "event: stopping\ndata: {}\n\n"
                return
            await asyncio.sleep(EVENTS_EVERY_S)
            silent_s += EVENTS_EVERY_S
            try:
                job = await anyio.to_thread.run_sync(progress)
            except (NotAuthenticated, Forbidden):
                yield "event: signed_out\ndata: {}\n\n"
                return
            except NotFound:
                yield "event: gone\ndata: {}\n\n"
                return

    return StreamingResponse(changes(), media_type="text/event-stream")


class WebhooksOut(Published):
    """The webhooks of a job or capture."""

    webhooks: list[ShownWebhook] = Field(description="One for each URL and event, oldest first.")


@router.post("/jobs/{job_id}/webhooks", summary="Send a job's webhooks again", status_code=202)
def resend_job_webhooks(job_id: JobId, call: Uploader) -> WebhooksOut:
    """Send the webhooks of a job again that were delivered or given up, with the same
    `webhook-id`."""
    database = call.state.database
    return WebhooksOut(webhooks=webhooks_of(database, call.caller, Job, job_id, again=True))


@router.post(
    "/captures/{capture_id}/webhooks", summary="Send a capture's webhooks again", status_code=202
)
def resend_webhooks(capture_id: CaptureId, call: Uploader) -> WebhooksOut:
    """Send the webhooks of a capture again that were delivered or given up, as those of a job."""
    database = call.state.database
    return WebhooksOut(webhooks=webhooks_of(database, call.caller, Capture, capture_id, again=True))


class WebhookSecretOut(Published):
    """The secret that signs this account's webhooks."""

    secret: str = Field(description="For any library of the Standard Webhooks specification.")


@router.get("/webhook-secret", summary="Read the webhook secret")
def get_webhook_secret(call: Reader) -> WebhookSecretOut:
    """Return the secret with which a receiver verifies this account's webhooks."""
    return WebhookSecretOut(secret=call.services.webhook_secrets.of(call.caller.account_id))


@router.post("/webhook-secret", summary="Replace the webhook secret")
def replace_webhook_secret(call: Reader) -> WebhookSecretOut:
    """Replace the secret of this account's webhooks, for example because others know it. From now
    on webhooks are signed with the new one, those that are sent again as well. Audited."""
    return WebhookSecretOut(secret=call.services.webhook_secrets.replace(call.caller))
