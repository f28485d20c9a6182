"""``/v1/jobs`` and ``/v1/cases``: how far a job is, what came of it, and its end."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Annotated, Any

import anyio.to_thread
from fastapi import APIRouter, Query, Request, Response
from pydantic import Field
from starlette.responses import StreamingResponse

from deepfake_models.results import VerdictCode
from deepfake_service.casework.core.pagination import MAX_PAGE, Filters
from deepfake_service.container import Services
from deepfake_service.db.enums import ENDED, Finding, JobState, RetentionPolicy
from deepfake_service.errors import NotFound
from deepfake_service.http.auth import Reader
from deepfake_service.http.dependencies import app_state
from deepfake_service.http.problems import problems
from deepfake_service.http.schemas import Published
from deepfake_service.security.accounts import Caller

router = APIRouter(prefix="/v1", tags=["jobs"])

EVENTS_EVERY_S = 0.5
KEEP_ALIVE_EVERY_S = 15.0
"""A comment is sent where nothing has changed for so long: proxies end silent connections."""


class ProgressOut(Published):
    """How far an examination is, in frames."""

    stage: str | None = Field(
        description="`overview`, `dense` around suspect moments, then `evidence`."
    )
    done: int
    total: int | None


class JobBase(Published):
    """A job, less its result."""

    id: str
    kind: str
    state: JobState
    sha256: str = Field(description="Of the submitted bytes.")
    size: int
    case_id: str
    media_id: str
    priority: str
    frames: int | None
    retention: RetentionPolicy
    progress: ProgressOut
    verdict: VerdictCode | None
    finding: Finding | None = Field(description="What people found, where they have reviewed it.")
    failure: str | None = Field(description="A code, where the service failed.")
    bundle_sha256: str
    created_at: str
    started_at: str | None
    finished_at: str | None
    media_expires_at: str | None
    media_kept: bool


class JobOut(JobBase):
    """A job, with its result once it has one."""

    result: dict[str, Any] | None = Field(
        description="As `deepfake score --json --faces` states it."
    )


class JobsOut(Published):
    """A page of jobs, newest first."""

    jobs: list[JobBase]
    next: str | None = Field(description="Cursor of the next page.")


async def job_out(services: Services, caller: Caller, job_id: str) -> JobOut:
    """The job as it is answered."""
    found = await anyio.to_thread.run_sync(services.queries.job, caller, job_id)
    return JobOut.model_validate(found)


@router.get("/jobs", summary="List jobs", responses=problems(401, 403, 422, 503))
async def get_jobs(
    request: Request,
    caller: Reader,
    state: JobState | None = None,
    verdict: VerdictCode | None = None,
    case_id: Annotated[str | None, Query(max_length=26)] = None,
    limit: Annotated[int, Query(ge=1, le=MAX_PAGE)] = 50,
    cursor: Annotated[str | None, Query(max_length=200)] = None,
) -> JobsOut:
    """Jobs of this account, newest first; of all accounts for analysts."""
    filters = Filters(state, verdict, case_id)
    services = app_state(request).require_services()
    page = await anyio.to_thread.run_sync(
        lambda: services.queries.jobs(caller, filters, limit=limit, cursor=cursor)
    )
    return JobsOut.model_validate({"jobs": page.jobs, "next": page.next})


@router.get("/jobs/{job_id}", summary="Read a job", responses=problems(401, 403, 404, 410, 503))
async def get_job(request: Request, job_id: str, caller: Reader) -> JobOut:
    """A job, with its result once it has one."""
    return await job_out(app_state(request).require_services(), caller, job_id)


@router.delete(
    "/jobs/{job_id}",
    summary="Cancel and shred a job",
    status_code=204,
    responses=problems(401, 403, 404, 409, 503),
)
async def delete_job(request: Request, job_id: str, caller: Reader) -> Response:
    """Stop the job, and delete its media, its result and, if nothing else is in it, its case."""
    services = app_state(request).require_services()
    await anyio.to_thread.run_sync(services.retention.cancel, caller, job_id)
    return Response(status_code=204)


@router.get(
    "/jobs/{job_id}/events",
    summary="Follow a job",
    response_class=StreamingResponse,
    responses={
        200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}},
        **problems(401, 403, 404, 503),
    },
)
async def get_events(request: Request, job_id: str, caller: Reader) -> StreamingResponse:
    """Server-sent events: `job` whenever something changes, until the job is over."""
    services = app_state(request).require_services()
    first = await anyio.to_thread.run_sync(services.queries.progress, caller, job_id)
    return StreamingResponse(
        _events(request, services, caller, job_id, first), media_type="text/event-stream"
    )


async def _events(
    request: Request, services: Services, caller: Caller, job_id: str, job: dict[str, Any]
) -> AsyncIterator[str]:
    told, silent = None, 0.0
    while True:
        if job != told:
            told, silent = job, 0.0
            yield f"event: job\ndata: {json.dumps(job)}\n\n"
        elif silent >= KEEP_ALIVE_EVERY_S:
            silent = 0.0
            yield ": still here\n\n"
        if JobState(job["state"]) in ENDED or await request.is_disconnected():
            return
        await asyncio.sleep(EVENTS_EVERY_S)
        silent += EVENTS_EVERY_S
        try:
            job = await anyio.to_thread.run_sync(services.queries.progress, caller, job_id)
        except NotFound:
            yield "event: gone\ndata: {}\n\n"
            return


class WebhookSecretOut(Published):
    """What this account's webhooks are signed with."""

    secret: str = Field(description="For a library of the Standard Webhooks specification.")


@router.get("/webhook-secret", summary="Read the webhook secret", responses=problems(401, 403, 503))
async def get_webhook_secret(request: Request, caller: Reader) -> WebhookSecretOut:
    """The secret with which a receiver verifies this account's webhooks."""
    services = app_state(request).require_services()
    secret = await anyio.to_thread.run_sync(services.webhook_secrets.of, caller.account_id)
    return WebhookSecretOut(secret=secret)
