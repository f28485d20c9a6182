"""Reviews of jobs, what resembles them, and the flag of a possible minor."""

from __future__ import annotations

from typing import Annotated

from fastapi import Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import StreamingResponse

from deepfake_service.accounts.accounts import Caller
from deepfake_service.container import Services
from deepfake_service.http.answers import NO_STORE, binary
from deepfake_service.http.auth import Reader, Reviewer, while_authenticated
from deepfake_service.http.dependencies import ServicesDep
from deepfake_service.http.routing import api_router
from deepfake_service.http.schemas import CaseId, ItemId, JobId, Published, Time
from deepfake_service.platform.db.enums import Decision, Finding, Role

router = api_router("evidence", prefix="")


class ReviewIn(BaseModel):
    """A person's decision about an examination."""

    model_config = ConfigDict(extra="forbid")

    decision: Decision = Field(description="What you decide.")
    reason: Annotated[str, Field(min_length=1, max_length=4000)] = Field(
        description="Why. It becomes part of the evidence."
    )


class ReviewOut(Published):
    """One decision."""

    at: Time = Field(description="When it was decided.")
    name: str = Field(description="Name of the reviewer.")
    role: Role = Field(description="Role of the reviewer.")
    decision: Decision = Field(description="What was decided.")
    reason: str = Field(description="Why.")


class ReviewsOut(Published):
    """All decisions, and the finding that results from them."""

    finding: Finding | None = Field(description="The finding; null if nobody has decided.")
    reviewers_disagree: bool = Field(
        description="Whether it is `undecided` because one reviewer confirmed and another rejected."
    )
    reviews: list[ReviewOut] = Field(description="The decisions, oldest first.")


@router.post("/v1/jobs/{job_id}/reviews", summary="Review an examination", status_code=201)
def review_job(
    job_id: JobId, review: ReviewIn, caller: Reviewer, services: ServicesDep
) -> ReviewsOut:
    """Confirm or reject the verdict of the model, or leave the question open, with a reason. The
    verdict does not change; the evidence gets a new edition."""
    services.reviews.decide(caller, job_id, review.decision, review.reason)
    return _reviews(services, caller, job_id)


@router.get("/v1/jobs/{job_id}/reviews", summary="Read the reviews")
def list_reviews(job_id: JobId, caller: Reader, services: ServicesDep) -> ReviewsOut:
    """Return every decision about an examination, oldest first."""
    return _reviews(services, caller, job_id)


def _reviews(services: Services, caller: Caller, job_id: str) -> ReviewsOut:
    job = services.queries.progress(caller, job_id)
    told = {name: job[name] for name in ("finding", "reviewers_disagree")}
    reviews = [
        {name: review[name] for name in ReviewOut.model_fields}
        for review in services.reviews.of_job(caller, job_id)
    ]
    return ReviewsOut.model_validate({**told, "reviews": reviews})


class MatchOut(Published):
    """An earlier case that looks like a submission."""

    case_id: ItemId = Field(description="Id of the earlier case.")
    percent: int = Field(
        description="Per cent of the good-quality frames of this submission that look like one of "
        "the earlier case."
    )
    known_percent: int = Field(
        description="Per cent of the good-quality frames of the earlier case's medium that look "
        "like one of this submission."
    )
    found_at: Time = Field(description="When it was found.")


class MatchesOut(Published):
    """Earlier cases, most similar first."""

    matches: list[MatchOut] = Field(description="The earlier cases.")


@router.get("/v1/jobs/{job_id}/matches", summary="List similar earlier cases")
def list_matches(job_id: JobId, caller: Reader, services: ServicesDep) -> MatchesOut:
    """List the similar cases that are visible to this account. A match never changes a verdict."""
    matches = services.hash_bank.matches(caller, job_id)
    return MatchesOut.model_validate({"matches": matches})


@router.get(
    "/v1/known-hashes",
    summary="Export the hashes of confirmed cases",
    response_class=StreamingResponse,
    responses=binary("application/x-ndjson"),
)
def export_known_hashes(
    request: Request, caller: Reviewer, services: ServicesDep
) -> StreamingResponse:
    """Return one JSON object a line, in the form that `POST /c/bank/BANK/signal` of
    Hasher-Matcher-Actioner accepts. Contains hashes only. Audited."""
    lines = while_authenticated(request, services.hash_bank.export(caller))
    return StreamingResponse(lines, media_type="application/x-ndjson", headers=NO_STORE)


@router.put("/v1/cases/{case_id}/minor", summary="Flag a possible minor", status_code=204)
def flag_minor(case_id: CaseId, caller: Reviewer, services: ServicesDep) -> None:
    """Record that a person shown may be a minor: pictures are withheld, fewer people see the case,
    and notices name the reporting route for child sexual abuse material."""
    services.reviews.flag_minor(caller, case_id, enabled=True)


class ReviewersIn(BaseModel):
    """The people who may review a flagged case."""

    model_config = ConfigDict(extra="forbid")

    accounts: list[Annotated[str, Field(max_length=100)]] = Field(
        max_length=5, description="Names of accounts of people; empty for nobody else."
    )


@router.put(
    "/v1/cases/{case_id}/reviewers", summary="Name reviewers of a flagged case", status_code=204
)
def name_reviewers(
    case_id: CaseId, reviewers: ReviewersIn, caller: Reader, services: ServicesDep
) -> None:
    """Let these people see and review a case that is flagged for a possible minor, and nobody who
    was named before. The accounts that submitted or flagged it, and administrators, can do this."""
    services.minor_flags.name_reviewers(caller, case_id, reviewers.accounts)


@router.delete(
    "/v1/cases/{case_id}/minor", summary="Remove the flag of a possible minor", status_code=204
)
def unflag_minor(case_id: CaseId, caller: Reviewer, services: ServicesDep) -> None:
    """Record that no person shown is a minor."""
    services.reviews.flag_minor(caller, case_id, enabled=False)
