"""Evidence of jobs, its verification, and the keys that it is signed with."""

from __future__ import annotations

import asyncio
import io
from typing import Annotated, Any, Literal

import anyio.to_thread
from fastapi import APIRouter, Depends, Path, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import ClientDisconnect

from deepfake_service.db.enums import Decision, Finding
from deepfake_service.errors import ClientGone, RequestTooLarge, UploadTimeout
from deepfake_service.evidence.trust_store import trusted
from deepfake_service.evidence.verification import verify
from deepfake_service.evidence.verification_result import Outcome
from deepfake_service.http.auth import Reader, current_caller
from deepfake_service.http.dependencies import app_state
from deepfake_service.http.problems import problems
from deepfake_service.http.schemas import Published
from deepfake_service.security.accounts import MAY_AUDIT, MAY_REVIEW, MAY_SUBMIT, Caller, authorize

router = APIRouter(tags=["evidence"])

MAX_BUNDLE_BYTES = 64 * 1024 * 1024
"""A bundle of sixteen faces has some three mebibytes; held in memory while it is verified."""
PRIVATE = {"Cache-Control": "no-store"}

Language = Literal["ko", "en"]
Edition = Annotated[int | None, Query(ge=1, description="Unset: the newest.")]
JobId = Annotated[str, Path(max_length=26)]
Number = Annotated[int, Path(ge=1, le=999)]


def _file(media_type: str) -> dict[int | str, dict[str, Any]]:
    schema = {"type": "string", "format": "binary"}
    return {200: {"content": {media_type: {"schema": schema}}}}


class EditionOut(Published):
    """One edition of a job's evidence."""

    edition: int
    sha256: str
    created_at: str
    kept: bool
    withheld: bool = Field(description="Whether it shows faces, and somebody may be a minor.")


class EditionsOut(Published):
    """The editions of a job's evidence, the newest first."""

    editions: list[EditionOut]


@router.get(
    "/v1/jobs/{job_id}/evidence",
    summary="Get the evidence bundle",
    response_class=Response,
    responses={**_file("application/zip"), **problems(401, 403, 404, 409, 410, 422, 503)},
)
async def get_evidence(
    request: Request, job_id: JobId, caller: Reader, edition: Edition = None
) -> Response:
    """A signed bundle (BagIt in a ZIP): what was found, how, how often that is wrong, and what it
    takes to check it offline. Audited."""
    services = app_state(request).require_services()
    found = await anyio.to_thread.run_sync(services.evidence_store.bundle, caller, job_id, edition)
    name = f"evidence-{job_id}-{found.number}.zip"
    return Response(
        found.content,
        media_type="application/zip",
        headers={**PRIVATE, "Content-Disposition": f'attachment; filename="{name}"'},
    )


@router.get(
    "/v1/jobs/{job_id}/evidence/editions",
    summary="List editions",
    responses=problems(401, 403, 404, 503),
)
async def get_editions(request: Request, job_id: JobId, caller: Reader) -> EditionsOut:
    """Which editions there are. None is ever changed; each review makes the next."""
    services = app_state(request).require_services()
    found = await anyio.to_thread.run_sync(services.evidence_store.editions, caller, job_id)
    return EditionsOut.model_validate({"editions": found})


@router.get(
    "/v1/jobs/{job_id}/report.pdf",
    summary="Get the report",
    response_class=Response,
    responses={**_file("application/pdf"), **problems(401, 403, 404, 409, 410, 422, 503)},
)
async def get_report(
    request: Request, job_id: JobId, caller: Reader, lang: Language = "ko", edition: Edition = None
) -> Response:
    """The report of an edition: a signed PDF/A, in Korean or English. Audited."""
    services = app_state(request).require_services()
    content = await anyio.to_thread.run_sync(
        services.evidence_store.report, caller, job_id, lang, edition
    )
    name = f"report-{job_id}-{lang}.pdf"
    return Response(
        content,
        media_type="application/pdf",
        headers={**PRIVATE, "Content-Disposition": f'inline; filename="{name}"'},
    )


@router.get(
    "/v1/jobs/{job_id}/timeline.svg",
    summary="Get the timeline",
    response_class=Response,
    responses={**_file("image/svg+xml"), **problems(401, 403, 404, 409, 410, 503)},
)
async def get_timeline(request: Request, job_id: JobId, caller: Reader) -> Response:
    """Who is seen when, the suspect moments, and what was not examined."""
    services = app_state(request).require_services()
    content = await anyio.to_thread.run_sync(services.evidence_store.timeline, caller, job_id)
    return Response(content, media_type="image/svg+xml", headers=PRIVATE)


@router.get(
    "/v1/jobs/{job_id}/faces/{number}.png",
    summary="Get a face",
    response_class=Response,
    responses={**_file("image/png"), **problems(401, 403, 404, 409, 410, 422, 503)},
)
async def get_face(request: Request, job_id: JobId, number: Number, caller: Reader) -> Response:
    """A face of the evidence, as the model saw it. Audited."""
    return await _picture(request, job_id, "crops", number, caller)


@router.get(
    "/v1/jobs/{job_id}/heatmaps/{number}.png",
    summary="Get a heat map",
    response_class=Response,
    responses={**_file("image/png"), **problems(401, 403, 404, 409, 410, 422, 503)},
)
async def get_heatmap(request: Request, job_id: JobId, number: Number, caller: Reader) -> Response:
    """What in that face added to its value: a transparent overlay of the same size. Audited."""
    return await _picture(request, job_id, "heatmaps", number, caller)


async def _picture(
    request: Request, job_id: str, kind: str, number: int, caller: Caller
) -> Response:
    services = app_state(request).require_services()
    content = await anyio.to_thread.run_sync(
        services.evidence_store.picture, caller, job_id, kind, number
    )
    return Response(content, media_type="image/png", headers=PRIVATE)


class StepOut(Published):
    """One step of a verification."""

    number: int
    title: str
    outcome: Outcome
    detail: str


class VerificationOut(Published):
    """What a verification found. `result` is `verified`, `signer_unknown` or `failed`."""

    result: Literal["verified", "signer_unknown", "failed"]
    sha256: str
    signer: str | None
    case: str | None
    job: str | None
    edition: int | None
    verdict: str | None
    finding: str | None
    steps: list[StepOut]
    superseded_by: int | None = Field(
        description="The newest edition of this job, where this one is an older one of ours."
    )


async def _verifier(caller: Annotated[Caller, Depends(current_caller)]) -> None:
    authorize(caller, MAY_SUBMIT | MAY_AUDIT)


@router.post(
    "/v1/verify",
    summary="Verify a bundle",
    dependencies=[Depends(_verifier)],
    responses=problems(400, 401, 403, 413, 422, 503),
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {"application/zip": {"schema": {"type": "string", "format": "binary"}}},
        }
    },
)
async def post_verify(request: Request) -> VerificationOut:
    """Take the steps of `deepfake verify` on a bundle, which is kept nowhere. Trusted are this
    service's keys, retired ones too, and those that are pinned."""
    state = app_state(request)
    services = state.require_services()
    content = io.BytesIO()
    with state.admission.enter() as ticket:
        try:
            async with asyncio.timeout(state.settings.upload_timeout_s):
                async for chunk in request.stream():
                    if content.tell() + len(chunk) > MAX_BUNDLE_BYTES:
                        raise RequestTooLarge(f"A bundle has at most {MAX_BUNDLE_BYTES} bytes.")
                    ticket.take(len(chunk))
                    content.write(chunk)
        except TimeoutError as error:
            raise UploadTimeout from error
        except ClientDisconnect as error:
            raise ClientGone from error

        def verified() -> dict[str, Any]:
            trust = trusted(state.settings, services.evidence_store.keys.published())
            found = verify(content.getvalue(), trust)
            ours = services.evidence_store.newest_of(found.sha256)
            newer = ours[1] if ours and ours[1] > ours[0] else None
            return {**found.to_json(), "superseded_by": newer}

        return VerificationOut.model_validate(await anyio.to_thread.run_sync(verified))


@router.get(
    "/.well-known/jwks.json", summary="The public keys of evidence", responses=problems(503)
)
async def get_jwks(request: Request) -> dict[str, Any]:
    """Every key that evidence of this service is or was signed with, as a JWK Set (RFC 7517).
    Somebody who verifies evidence should have them from elsewhere than the evidence."""
    services = app_state(request).require_services()
    await anyio.to_thread.run_sync(services.evidence_store.keys.current)
    return await anyio.to_thread.run_sync(services.evidence_store.keys.jwks)


class ReviewIn(BaseModel):
    """A person's decision about an examination."""

    model_config = ConfigDict(extra="forbid")

    decision: Decision
    reason: Annotated[str, Field(min_length=1, max_length=4000)]


class ReviewOut(Published):
    """One decision."""

    at: str
    name: str
    role: str
    decision: Decision
    reason: str


class ReviewsOut(Published):
    """All decisions, and what they come to."""

    finding: Finding | None
    reviews: list[ReviewOut]


async def reviewer(caller: Annotated[Caller, Depends(current_caller)]) -> Caller:
    """The caller, who may review.

    Raises:
        Forbidden: they may not.
    """
    authorize(caller, MAY_REVIEW)
    return caller


Reviewer = Annotated[Caller, Depends(reviewer)]


@router.post(
    "/v1/jobs/{job_id}/reviews",
    summary="Review an examination",
    status_code=201,
    responses=problems(400, 401, 403, 404, 409, 410, 422, 503),
)
async def post_review(
    request: Request, job_id: JobId, wanted: ReviewIn, caller: Reviewer
) -> ReviewsOut:
    """Confirm or reject what the machine found, or leave it undecided, with a reason. The verdict
    stays as it is; the evidence gets a new edition."""
    services = app_state(request).require_services()
    await anyio.to_thread.run_sync(
        services.reviews.decide, caller, job_id, wanted.decision, wanted.reason
    )
    return await _reviews(request, job_id, caller)


@router.get(
    "/v1/jobs/{job_id}/reviews",
    summary="Read the reviews",
    responses=problems(401, 403, 404, 410, 503),
)
async def get_reviews(request: Request, job_id: JobId, caller: Reader) -> ReviewsOut:
    """Every decision about an examination, the oldest first."""
    return await _reviews(request, job_id, caller)


async def _reviews(request: Request, job_id: str, caller: Caller) -> ReviewsOut:
    services = app_state(request).require_services()

    def read() -> dict[str, Any]:
        finding = services.queries.progress(caller, job_id)["finding"]
        return {"finding": finding, "reviews": services.reviews.of(caller, job_id)}

    return ReviewsOut.model_validate(await anyio.to_thread.run_sync(read))


class MatchOut(Published):
    """An earlier case that a submission looks like."""

    case_id: str
    percent: int = Field(description="Of its frames of good quality that are alike.")
    found_at: str


class MatchesOut(Published):
    """Earlier cases, the most alike first."""

    matches: list[MatchOut]


@router.get(
    "/v1/jobs/{job_id}/matches",
    summary="List earlier cases that look alike",
    responses=problems(401, 403, 404, 503),
)
async def get_matches(request: Request, job_id: JobId, caller: Reader) -> MatchesOut:
    """Those that the caller may see. A match never changes a verdict."""
    services = app_state(request).require_services()
    found = await anyio.to_thread.run_sync(services.hash_bank.matches, caller, job_id)
    return MatchesOut.model_validate({"matches": found})


@router.get(
    "/v1/known-hashes",
    summary="Export the hashes of confirmed cases",
    response_class=Response,
    responses={**_file("application/x-ndjson"), **problems(401, 403, 503)},
)
async def get_known_hashes(request: Request, caller: Reviewer) -> Response:
    """One JSON object a line, as Hasher-Matcher-Actioner's `POST /c/bank/BANK/signal` takes it.
    Hashes alone. Audited."""
    services = app_state(request).require_services()
    content = await anyio.to_thread.run_sync(services.hash_bank.export, caller)
    return Response(content, media_type="application/x-ndjson", headers=PRIVATE)


@router.put(
    "/v1/cases/{case_id}/minor",
    summary="Flag a possible minor",
    status_code=204,
    responses=problems(401, 403, 404, 503),
)
async def put_minor(request: Request, case_id: JobId, caller: Reviewer) -> Response:
    """Somebody who is shown may be a minor: pictures are withheld, fewer people see the case, and
    notices name the child-abuse route."""
    return await _minor(request, case_id, caller, wanted=True)


@router.delete(
    "/v1/cases/{case_id}/minor",
    summary="Take the flag away",
    status_code=204,
    responses=problems(401, 403, 404, 503),
)
async def delete_minor(request: Request, case_id: JobId, caller: Reviewer) -> Response:
    """Nobody who is shown is a minor."""
    return await _minor(request, case_id, caller, wanted=False)


async def _minor(request: Request, case_id: str, caller: Caller, *, wanted: bool) -> Response:
    services = app_state(request).require_services()
    await anyio.to_thread.run_sync(
        lambda: services.reviews.flag_minor(caller, case_id, wanted=wanted)
    )
    return Response(status_code=204)
