"""Evidence of jobs, its verification, the keys that sign it, and reviews."""

from __future__ import annotations

import hashlib
import io
from dataclasses import replace
from typing import Annotated, Any, Literal

import anyio.to_thread
from fastapi import Path, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import StreamingResponse

from deepfake_models.errors import SandboxBusy
from deepfake_service.container import Services
from deepfake_service.db.enums import Decision, Finding
from deepfake_service.errors import Overloaded
from deepfake_service.evidence.builder import TIMELINE, report_of
from deepfake_service.evidence.trust_store import trust_of
from deepfake_service.evidence.verification import verify
from deepfake_service.evidence.verification_result import Step
from deepfake_service.http.auth import Reader, Reviewer, Verifier
from deepfake_service.http.dependencies import AppState, AppStateDep, ServicesDep
from deepfake_service.http.problems import problems
from deepfake_service.http.routing import api_router
from deepfake_service.http.schemas import NO_STORE, Id, Language, Published
from deepfake_service.http.uploads import receive_body, streams_body
from deepfake_service.security.accounts import Caller

router = api_router("evidence", prefix="")

MAX_BUNDLE_BYTES = 64 * 1024 * 1024
"""A bundle of sixteen faces has some three mebibytes. Held in memory while it is verified."""

Edition = Annotated[
    int | None, Query(ge=1, description="Number of the edition; the newest if unset.")
]
Number = Annotated[int, Path(ge=1, le=999)]


def _file(media_type: str) -> dict[int | str, dict[str, Any]]:
    schema = {"type": "string", "format": "binary"}
    return {200: {"content": {media_type: {"schema": schema}}}}


class EditionOut(Published):
    """One edition of a job's evidence."""

    edition: int
    sha256: str
    created_at: str
    kept: bool = Field(description="Whether the edition is still stored.")
    withheld: bool = Field(
        description="Whether it is withheld: it shows faces, and a person may be a minor."
    )


class EditionsOut(Published):
    """The editions of a job's evidence, newest first."""

    editions: list[EditionOut]


@router.get(
    "/v1/jobs/{job_id}/evidence",
    summary="Get the evidence bundle",
    response_class=Response,
    responses={**_file("application/zip"), **problems(401, 403, 404, 409, 410, 422, 503)},
)
def get_evidence(
    job_id: Id, caller: Reader, services: ServicesDep, edition: Edition = None
) -> Response:
    """Return a signed bundle (BagIt in a ZIP) with the result, the method, its error rates, and
    everything that is needed to verify it offline. Audited."""
    bundle = services.evidence_store.edition(caller, job_id, edition)
    name = f"evidence-{job_id}-{bundle.number}.zip"
    return Response(
        bundle.content,
        media_type="application/zip",
        headers={**NO_STORE, "Content-Disposition": f'attachment; filename="{name}"'},
    )


@router.get(
    "/v1/jobs/{job_id}/evidence/editions",
    summary="List editions",
    responses=problems(401, 403, 404, 503),
)
def get_editions(job_id: Id, caller: Reader, services: ServicesDep) -> EditionsOut:
    """List the editions of a job's evidence. An edition never changes; each review adds one."""
    editions = services.evidence_store.editions(caller, job_id)
    return EditionsOut.model_validate({"editions": editions})


@router.get(
    "/v1/jobs/{job_id}/report.pdf",
    summary="Get the report",
    response_class=Response,
    responses={**_file("application/pdf"), **problems(401, 403, 404, 409, 410, 422, 503)},
)
def get_report(
    job_id: Id,
    caller: Reader,
    services: ServicesDep,
    lang: Language = "ko",
    edition: Edition = None,
) -> Response:
    """Return the report of an edition: a signed PDF/A, in Korean or English. Audited."""
    content = services.evidence_store.member(caller, job_id, report_of(lang), edition)
    name = f"report-{job_id}-{lang}.pdf"
    return Response(
        content,
        media_type="application/pdf",
        headers={**NO_STORE, "Content-Disposition": f'inline; filename="{name}"'},
    )


@router.get(
    "/v1/jobs/{job_id}/timeline.svg",
    summary="Get the timeline",
    response_class=Response,
    responses={**_file("image/svg+xml"), **problems(401, 403, 404, 409, 410, 503)},
)
def get_timeline(job_id: Id, caller: Reader, services: ServicesDep) -> Response:
    """Draw when each person is visible, the suspect moments, and what was not examined."""
    content = services.evidence_store.member(caller, job_id, TIMELINE)
    return Response(content, media_type="image/svg+xml", headers=NO_STORE)


@router.get(
    "/v1/jobs/{job_id}/faces/{number}.png",
    summary="Get a face",
    response_class=Response,
    responses={**_file("image/png"), **problems(401, 403, 404, 409, 410, 422, 503)},
)
def get_face(job_id: Id, number: Number, caller: Reader, services: ServicesDep) -> Response:
    """Return a face of the evidence as the model received it. Audited."""
    content = services.evidence_store.picture(caller, job_id, "crops", number)
    return Response(content, media_type="image/png", headers=NO_STORE)


@router.get(
    "/v1/jobs/{job_id}/heatmaps/{number}.png",
    summary="Get a heat map",
    response_class=Response,
    responses={**_file("image/png"), **problems(401, 403, 404, 409, 410, 422, 503)},
)
def get_heatmap(job_id: Id, number: Number, caller: Reader, services: ServicesDep) -> Response:
    """Return a transparent overlay of the face's size that marks the regions that raised its score.
    Audited."""
    content = services.evidence_store.picture(caller, job_id, "heatmaps", number)
    return Response(content, media_type="image/png", headers=NO_STORE)


class VerificationOut(Published):
    """The result of a verification. `result` is `verified`, `signer_unknown` or `failed`."""

    result: Literal["verified", "signer_unknown", "failed"]
    sha256: str
    signer: str | None
    case: str | None
    job: str | None
    edition: int | None
    verdict: str | None
    finding: str | None
    steps: list[Step]
    superseded_by: int | None = Field(
        description="The newest edition of the job, if this service issued this bundle and has "
        "issued a newer edition since."
    )


@router.post(
    "/v1/verify",
    summary="Verify a bundle",
    responses=problems(400, 401, 403, 413, 422, 503),
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {"application/zip": {"schema": {"type": "string", "format": "binary"}}},
        }
    },
)
@streams_body
async def post_verify(
    request: Request, caller: Verifier, state: AppStateDep, services: ServicesDep
) -> VerificationOut:
    """Run the steps of `deepfake verify` on a bundle, which is not stored. Trusted are the keys of
    this service, retired ones included, and the pinned keys of others."""
    content = io.BytesIO()
    with state.admission.enter(caller.account_id) as ticket:
        async for chunk in receive_body(
            request,
            max_bytes=MAX_BUNDLE_BYTES,
            timeout_s=state.settings.upload_timeout_s,
            noun="A bundle",
        ):
            ticket.take(len(chunk))
            content.write(chunk)
        return await anyio.to_thread.run_sync(_verify, content.getvalue(), state, services)


def _verify(content: bytes, state: AppState, services: Services) -> VerificationOut:
    store = services.evidence_store
    settings = state.settings
    trust = trust_of(store.keys.published(), settings.pinned_keys, settings.timestamp_roots)
    if services.revocation_list.is_withdrawn(hashlib.sha256(content).hexdigest()):
        trust = replace(trust, revocations=services.revocation_list.current())
    assert state.engine is not None  # as the services are
    try:
        verification = verify(content, trust, readers=state.engine.bundle_readers)
    except SandboxBusy as error:
        raise Overloaded from error
    own = store.newest_of(verification.sha256)
    newer = own[1] if own and own[1] > own[0] else None
    return VerificationOut.model_validate({**verification.to_json(), "superseded_by": newer})


@router.get(
    "/.well-known/jwks.json",
    summary="Get the public keys that sign evidence",
    responses=problems(503),
)
def get_jwks(services: ServicesDep) -> dict[str, Any]:
    """Return every key that signs or has signed evidence of this service, as a JWK Set (RFC 7517).
    To verify evidence, obtain the keys from a source other than the evidence itself."""
    services.evidence_store.keys.current()
    return services.evidence_store.keys.jwks()


@router.get(
    "/v1/revocations",
    summary="Get the editions and keys that must not be relied on",
    response_class=Response,
    responses={
        200: {"content": {"application/json": {"schema": {"type": "object"}}}},
        **problems(503),
    },
)
def get_revocations(services: ServicesDep) -> Response:
    """Return a signed list (DSSE) of the digests of replaced and withdrawn editions of evidence and
    of revoked keys, for `deepfake verify --revocations`. It needs no key and names no case."""
    content = services.revocation_list.signed()
    return Response(
        content, media_type="application/json", headers={"Cache-Control": "public, max-age=300"}
    )


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
    """All decisions, and the finding that results from them."""

    finding: Finding | None
    reviews: list[ReviewOut]


@router.post(
    "/v1/jobs/{job_id}/reviews",
    summary="Review an examination",
    status_code=201,
    responses=problems(400, 401, 403, 404, 409, 410, 422, 503),
)
def post_review(
    job_id: Id, review: ReviewIn, caller: Reviewer, services: ServicesDep
) -> ReviewsOut:
    """Confirm or reject the verdict of the model, or leave the question open, with a reason. The
    verdict does not change; the evidence gets a new edition."""
    services.reviews.decide(caller, job_id, review.decision, review.reason)
    return _reviews(services, caller, job_id)


@router.get(
    "/v1/jobs/{job_id}/reviews",
    summary="Read the reviews",
    responses=problems(401, 403, 404, 410, 503),
)
def get_reviews(job_id: Id, caller: Reader, services: ServicesDep) -> ReviewsOut:
    """Return every decision about an examination, oldest first."""
    return _reviews(services, caller, job_id)


def _reviews(services: Services, caller: Caller, job_id: str) -> ReviewsOut:
    finding = services.queries.progress(caller, job_id)["finding"]
    reviews = services.reviews.of(caller, job_id)
    return ReviewsOut.model_validate({"finding": finding, "reviews": reviews})


class MatchOut(Published):
    """An earlier case that looks like a submission."""

    case_id: str
    percent: int = Field(description="Share of its good-quality frames that look alike.")
    found_at: str


class MatchesOut(Published):
    """Earlier cases, most similar first."""

    matches: list[MatchOut]


@router.get(
    "/v1/jobs/{job_id}/matches",
    summary="List similar earlier cases",
    responses=problems(401, 403, 404, 503),
)
def get_matches(job_id: Id, caller: Reader, services: ServicesDep) -> MatchesOut:
    """List the similar cases that are visible to this account. A match never changes a verdict."""
    matches = services.hash_bank.matches(caller, job_id)
    return MatchesOut.model_validate({"matches": matches})


@router.get(
    "/v1/known-hashes",
    summary="Export the hashes of confirmed cases",
    response_class=StreamingResponse,
    responses={**_file("application/x-ndjson"), **problems(401, 403, 503)},
)
def get_known_hashes(caller: Reviewer, services: ServicesDep) -> StreamingResponse:
    """Return one JSON object a line, in the form that `POST /c/bank/BANK/signal` of
    Hasher-Matcher-Actioner accepts. Contains hashes only. Audited."""
    lines = services.hash_bank.export(caller)
    return StreamingResponse(lines, media_type="application/x-ndjson", headers=NO_STORE)


@router.put(
    "/v1/cases/{case_id}/minor",
    summary="Flag a possible minor",
    status_code=204,
    responses=problems(401, 403, 404, 503),
)
def put_minor(case_id: Id, caller: Reviewer, services: ServicesDep) -> Response:
    """Record that a person shown may be a minor: pictures are withheld, fewer people see the case,
    and notices name the reporting route for child sexual abuse material."""
    services.reviews.flag_minor(caller, case_id, enabled=True)
    return Response(status_code=204)


@router.delete(
    "/v1/cases/{case_id}/minor",
    summary="Remove the flag of a possible minor",
    status_code=204,
    responses=problems(401, 403, 404, 503),
)
def delete_minor(case_id: Id, caller: Reviewer, services: ServicesDep) -> Response:
    """Record that no person shown is a minor."""
    services.reviews.flag_minor(caller, case_id, enabled=False)
    return Response(status_code=204)
