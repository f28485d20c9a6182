"""Submitting, an examined item, its case, and what people decide about them."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request, Response

from deepfake_models.faces.crops import square
from deepfake_service.casework.core.pagination import Filters
from deepfake_service.db.enums import ENDED, Decision, JobState
from deepfake_service.documents.i18n import translations, words
from deepfake_service.documents.report_presenter import SummaryPresenter
from deepfake_service.documents.report_tables import TablePresenter
from deepfake_service.documents.timeline import LEFT, RIGHT, WIDTH
from deepfake_service.errors import (
    EvidenceMissing,
    FieldError,
    ImageryWithheld,
    InvalidRequest,
    NotReviewable,
)
from deepfake_service.evidence.builder import VERDICT
from deepfake_service.http.auth import PageReader, SignedIn
from deepfake_service.http.dependencies import AppState, app_state
from deepfake_service.http.problems import problem_of
from deepfake_service.notices.kinds import KINDS
from deepfake_service.security.accounts import MAY_HOLD, MAY_REVIEW, MAY_SUBMIT, Caller, authorize
from deepfake_service.storage import BlobMissing
from deepfake_service.web.language import language_of
from deepfake_service.web.pages import PageRoute, back, call, form, page, safe

router = APIRouter(include_in_schema=False, route_class=PageRoute)

Id = Annotated[str, Path(max_length=26)]
Cursor = Annotated[str | None, Query(max_length=200)]
MAX_REASON = 4000
ITEMS, OCCURRENCES = 50, 50
"""Shown at a time."""


@router.get("/submit")
async def get_submit(request: Request, caller: SignedIn) -> Response:
    """Drop or choose files, and watch them being examined."""
    authorize(caller, MAY_SUBMIT)
    return page(request, "submit.html", caller, most=app_state(request).settings.max_video_bytes)


@router.get("/items/{job_id}")
async def get_item(request: Request, job_id: Id, caller: PageReader) -> Response:
    """What was found in one item: in words, with its error rate, and the moments in pictures."""
    language = language_of(request)
    found = await call(lambda: _item(app_state(request), caller, job_id, language))
    return page(request, "item.html", caller, decisions=[str(d) for d in Decision], **found)


def _item(state: AppState, caller: Caller, job_id: str, language: str) -> dict[str, Any]:
    services = state.require_services()
    after_review = timedelta(hours=state.settings.media_hours_after_review)
    job = services.queries.progress(caller, job_id)
    case = services.queries.brief(caller, job["case_id"])
    seen = services.queries.occurrences(
        caller, job["case_id"], media_id=job["media_id"], limit=OCCURRENCES
    )
    found: dict[str, Any] = {
        "job": job,
        "case": case,
        "over": JobState(job["state"]) in ENDED,
        "occurrences": seen.occurrences,
        "more_occurrences": seen.next is not None,
        "view": None,
        "missing": None,
        "reviews": services.reviews.of(caller, job_id),
        "matches": services.hash_bank.matches(caller, job_id),
        "editions": services.evidence_store.editions(caller, job_id),
        "notices": services.notice_desk.of_case(caller, job["case_id"]),
        "kinds": list(KINDS),
        "deletable": services.queries.deletable(caller, job_id),
        "reason": "",
        "problem": None,
        "kept_until": _kept_until(job, case, after_review),
    }
    if job["state"] == JobState.SUCCEEDED:
        try:
            bundle = services.evidence_store.bundle(caller, job_id, shown=True)
            document = json.loads(bundle.member(VERDICT))
        except (EvidenceMissing, ImageryWithheld, BlobMissing) as error:
            found["missing"] = translations(language).gettext(error.message)
        else:
            found["view"] = _shown(document, language)
    return found


def _kept_until(
    job: dict[str, Any], case: dict[str, Any], after_review: timedelta
) -> datetime | None:
    """When the media go: at their time, or some hours after the review of the whole case."""
    if job["media_expires_at"] is None:
        return None
    expires = datetime.fromisoformat(job["media_expires_at"])
    if case["reviewed_at"] is None:
        return expires
    return min(expires, datetime.fromisoformat(case["reviewed_at"]) + after_review)


def _shown(document: dict[str, Any], language: str) -> dict[str, Any]:
    summary = SummaryPresenter(document, words(language))
    tables = TablePresenter(document, words(language))
    faces = document["exact"]["faces"]
    media = document["result"]["media"]
    return {
        **summary.page_one(),
        "verdict": document["result"]["verdict"],
        "timeline": safe(summary.timeline()),
        "timeline_left": 100 * LEFT / WIDTH,
        "timeline_span": 100 * (WIDTH - LEFT - RIGHT) / WIDTH,
        "people": summary.people(),
        "people_more": summary.people_more(),
        "pictures_meaning": summary.pictures_meaning(),
        "pictures": [
            {
                "number": p["number"],
                "time_s": faces[p["face"]]["time_s"],
                "person": faces[p["face"]]["track"] + 1,
                "inner": _inner(faces[p["face"]]["box"], document["method"]["crop"]["scale"]),
                "llr": p["log_likelihood_ratio"],
            }
            for p in sorted(
                document["pictures"], key=lambda p: (-p["log_likelihood_ratio"], p["number"])
            )
        ],
        "item": tables.item(),
        "finding": tables.finding(),
        "method": tables.method(),
        "conditions": tables.conditions(),
        "is_video": bool(media) and media["kind"] == "video",
        "minor": document["case"]["minor"],
    }


def _inner(box: list[float], scale: float) -> tuple[float, float, float, float]:
    """Where a face's box lies in its crop, x, y, width and height in hundredths of the crop."""
    x0, y0, side = square((box[0], box[1], box[2], box[3]), scale)
    return (
        round(100 * (box[0] - x0) / side, 1),
        round(100 * (box[1] - y0) / side, 1),
        round(100 * (box[2] - box[0]) / side, 1),
        round(100 * (box[3] - box[1]) / side, 1),
    )


@router.post("/items/{job_id}/review")
async def post_review(request: Request, job_id: Id, caller: SignedIn) -> Response:
    """Note what a person decides."""
    fields = await form(request)
    authorize(caller, MAY_REVIEW)
    decision, reason = fields.get("decision", ""), fields.get("reason", "")
    wrong = []
    if decision not in set(Decision):
        wrong.append(FieldError("decision", "choose one"))
    if not 1 <= len(reason) <= MAX_REASON:
        wrong.append(FieldError("reason", f"1 to {MAX_REASON} characters are needed"))
    services = app_state(request).require_services()
    try:
        if wrong:
            raise InvalidRequest("; ".join(f"{e.field}: {e.detail}" for e in wrong), errors=wrong)
        await call(lambda: services.reviews.decide(caller, job_id, Decision(decision), reason))
    except (InvalidRequest, NotReviewable) as error:
        # What was written is shown again, not lost.
        language = language_of(request)
        found = await call(lambda: _item(app_state(request), caller, job_id, language))
        found |= {"reason": reason, "problem": translations(language).gettext(error.message)}
        decisions = [str(d) for d in Decision]
        status = problem_of(error).status
        return page(request, "item.html", caller, status=status, decisions=decisions, **found)
    return back(f"/items/{job_id}#review")


@router.post("/items/{job_id}/delete")
async def post_delete(request: Request, job_id: Id, caller: PageReader) -> Response:
    """Cancel and shred an item."""
    fields = await form(request)
    if fields.get("sure") != "yes":
        raise InvalidRequest(errors=[FieldError("sure", "tick the box: this cannot be undone")])
    services = app_state(request).require_services()
    await call(lambda: services.retention.cancel(caller, job_id))
    return back("/")


@router.get("/cases/{case_id}")
async def get_case(
    request: Request,
    case_id: Id,
    caller: PageReader,
    cursor: Cursor = None,
    seen: Cursor = None,
) -> Response:
    """A case: its items, where they were seen, its notices. ``seen`` goes on in the occurrences."""
    services = app_state(request).require_services()

    def read() -> dict[str, Any]:
        filters = Filters(case_id=case_id)
        return {
            "case": services.queries.brief(caller, case_id),
            "items": services.queries.jobs(caller, filters, limit=ITEMS, cursor=cursor),
            "seen": services.queries.occurrences(caller, case_id, limit=OCCURRENCES, cursor=seen),
            "notices": services.notice_desk.of_case(caller, case_id),
            "cursor": cursor,
            "seen_cursor": seen,
        }

    return page(request, "case.html", caller, kinds=list(KINDS), **await call(read))


@router.post("/cases/{case_id}/hold")
async def post_hold(request: Request, case_id: Id, caller: SignedIn) -> Response:
    """Set or lift a legal hold."""
    fields = await form(request)
    authorize(caller, MAY_HOLD)
    services = app_state(request).require_services()
    wanted = fields.get("wanted") == "yes"
    await call(lambda: services.retention.hold(caller, case_id, wanted=wanted))
    return back(f"/cases/{case_id}")


@router.post("/cases/{case_id}/minor")
async def post_minor(request: Request, case_id: Id, caller: SignedIn) -> Response:
    """Say that somebody may be a minor, or that nobody is."""
    fields = await form(request)
    authorize(caller, MAY_REVIEW)
    services = app_state(request).require_services()
    wanted = fields.get("wanted") == "yes"
    await call(lambda: services.reviews.flag_minor(caller, case_id, wanted=wanted))
    # Whoever flagged it may not see the case any more.
    return back(f"/cases/{case_id}" if not wanted else "/")
