"""Reviews of jobs, what resembles them, and the flag of a possible minor."""

from __future__ import annotations

from typing import Annotated

from fastapi import Response
from pydantic import Field
from starlette.responses import StreamingResponse

from deepfake_service.hashes.hash_bank import SimilarCase
from deepfake_service.http.answers import binary, file_answer, file_route
from deepfake_service.http.auth import Call, Reader, Reviewer, while_authenticated
from deepfake_service.http.list_filters import Period
from deepfake_service.http.routing import api_router
from deepfake_service.http.schemas import Body, CaseId, JobId
from deepfake_service.platform.answers import Published
from deepfake_service.platform.findings import Finding
from deepfake_service.platform.texts.spreadsheets import BYTE_ORDER_MARK, csv_line
from deepfake_service.review.reviews import Judgement, OnHold, Opinion
from deepfake_service.review.shapes import FoundItems, SignSummary

router = api_router("evidence", prefix="")


class ReviewsOut(Published):
    """All decisions, and the finding that results from them."""

    finding: Finding | None = Field(description="The finding; null if nobody has decided.")
    reviewers_disagree: bool
    """Whether it is `undecided` because one reviewer confirmed and another rejected."""
    on_hold: OnHold | None = Field(description="What it waits for, by the last decision.")
    reviews: list[Opinion] = Field(description="The decisions, oldest first.")


@router.post("/v1/jobs/{job_id}/reviews", summary="Review an examination", status_code=201)
def review_job(job_id: JobId, judgement: Judgement, call: Reviewer) -> ReviewsOut:
    """Confirm or reject the verdict of the model, or leave the question open, with a reason, or
    with the signs that you saw. The verdict does not change; the evidence gets a new edition."""
    call.services.reviews.decide(call.caller, job_id, judgement)
    return _reviews(call, job_id)


@router.get("/v1/jobs/{job_id}/reviews", summary="Read the reviews")
def list_reviews(job_id: JobId, call: Reader) -> ReviewsOut:
    """Return every decision about an examination, oldest first. Audited."""
    return _reviews(call, job_id)


def _reviews(call: Call, job_id: str) -> ReviewsOut:
    services, caller = call.services, call.caller
    job = services.queries.progress(caller, job_id)
    services.queries.audit_case(caller, job.case_id)
    return ReviewsOut(
        finding=job.finding,
        reviewers_disagree=job.reviewers_disagree,
        on_hold=services.reviews.on_hold(caller, job_id),
        reviews=services.reviews.of_job(caller, job_id),
    )


class MatchesOut(Published):
    """Other cases, the same file and then the most similar first."""

    matches: list[SimilarCase] = Field(description="The other cases.")


@router.get("/v1/jobs/{job_id}/matches", summary="List similar cases")
def list_matches(job_id: JobId, call: Reader) -> MatchesOut:
    """List the similar cases that are visible to this account, for a second reviewer none: she
    decides on her own. A match never changes a verdict. Audited."""
    matches = call.services.reviews.similar(call.caller, job_id)
    call.services.queries.audit(call.caller)
    return MatchesOut(matches=matches)


@router.get("/v1/statistics/signs", summary="Count signs")
def get_signs(call: Reader, period: Period) -> SignSummary:
    """Count the signs that reviewers stated, by the findings of their items, in cases that the
    account may see. Audited."""
    return call.services.queries.signs(call.caller, *period.days(call.services))


@file_route(router, "/v1/statistics/signs.csv", "Count signs as CSV", "text/csv")
def get_signs_csv(call: Reader, period: Period) -> Response:
    """Return `GET /v1/statistics/signs` as CSV (RFC 4180), all items first."""
    found = get_signs(call, period)
    counts = [("all", found.items), *((count.code, count.items) for count in found.signs)]
    lines = [["code", *FoundItems.model_fields], *([c, *dict(n).values()] for c, n in counts)]
    content = BYTE_ORDER_MARK + "".join(map(csv_line, lines))
    name = f"signs-{found.start}-{found.end}.csv"
    return file_answer(content, "text/csv; charset=utf-8", name)


@router.get(
    "/v1/known-hashes",
    summary="Export the hashes of confirmed cases",
    response_class=StreamingResponse,
    responses=binary("application/x-ndjson"),
)
def export_known_hashes(call: Reviewer) -> StreamingResponse:
    """Return one JSON object a line, in the form that `POST /c/bank/BANK/signal` of
    Hasher-Matcher-Actioner accepts. Contains hashes only. Audited."""
    lines = while_authenticated(call.request, call.services.hash_bank.export(call.caller))
    return StreamingResponse(lines, media_type="application/x-ndjson")


@router.put("/v1/cases/{case_id}/minor", summary="Flag a possible minor", status_code=204)
def flag_minor(case_id: CaseId, call: Reviewer) -> None:
    """Record that a person shown may be a minor: pictures are withheld, fewer people see the case,
    and notices name the reporting route for child sexual abuse material."""
    call.services.reviews.flag_minor(call.caller, case_id, enabled=True)


class ReviewersIn(Body):
    """The people who may review a flagged case."""

    accounts: Annotated[list[Annotated[str, Field(max_length=100)]], Field(max_length=5)]
    """Names of accounts of people; empty for nobody else."""


@router.put(
    "/v1/cases/{case_id}/reviewers", summary="Name reviewers of a flagged case", status_code=204
)
def name_reviewers(case_id: CaseId, reviewers: ReviewersIn, call: Reader) -> None:
    """Let these people see and review a case that is flagged for a possible minor, and nobody who
    was named before. The accounts that submitted or flagged it, and administrators, can do this."""
    call.services.minor_flags.name_reviewers(call.caller, case_id, reviewers.accounts)


@router.delete(
    "/v1/cases/{case_id}/minor", summary="Remove the flag of a possible minor", status_code=204
)
def unflag_minor(case_id: CaseId, call: Reviewer) -> None:
    """Record that no person shown is a minor."""
    call.services.reviews.flag_minor(call.caller, case_id, enabled=False)
