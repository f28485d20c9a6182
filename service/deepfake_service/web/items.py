"""Pages of one item, of its case, and the decisions made on them."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import fields

from fastapi import APIRouter, Response
from pydantic import ValidationError

from deepfake_service.accounts.accounts import may_review
from deepfake_service.cases.filters import Filters
from deepfake_service.evidence.bundle.signs import BY_KIND, SIGNS, Signs
from deepfake_service.http.problems import problem_of
from deepfake_service.notices.kinds import KINDS, Kind
from deepfake_service.platform.enums import ENDED, CaptureState
from deepfake_service.platform.errors import (
    Conflict,
    FieldError,
    InvalidRequest,
    invalid_field,
)
from deepfake_service.platform.findings import MANIPULATED, Decision
from deepfake_service.platform.pagination import Order
from deepfake_service.platform.texts.i18n import words
from deepfake_service.review.reviews import NO_GROUNDS, Judgement, OnHold
from deepfake_service.review.shapes import HoldRequest
from deepfake_service.web.item_view import result_view
from deepfake_service.web.pages import (
    Cursor,
    Form,
    Id,
    Keeper,
    PageRoute,
    Reader,
    Reviewer,
    Visit,
    checked_input,
    redirect,
    require_sure,
)

router = APIRouter(include_in_schema=False, route_class=PageRoute)

ITEMS_PER_PAGE, OCCURRENCES_PER_PAGE = 50, 50
"""As many as a page of the API has by default. The page of a case has both lists."""


@router.get("/items/{job_id}")
def get_item(job_id: Id, visit: Reader) -> Response:
    """Show one item: the verdict with its error rates, the suspect faces, review and evidence."""
    return visit.page("item.html", status=200, **_item(visit, job_id))


def _item(visit: Visit, job_id: str) -> dict[str, object]:
    """Return the variables of ``item.html``."""
    page = visit.services.item_pages.read(visit.caller, job_id)
    return {
        **{field.name: getattr(page, field.name) for field in fields(page)},
        "case": page.job.case,
        "notices": visit.services.notice_desk.of_case(visit.caller, page.job.case_id),
        "over": page.job.state in ENDED,
        "view": result_view(page.document, visit.language) if page.document else None,
        "missing": page.missing and visit.translate(page.missing.message),
        "compared": visit.services.captures.of_case(
            visit.caller, page.job.case_id, state=CaptureState.COMPARISON
        ).captures,
        "kinds": _kinds(visit),
        "sign_kinds": BY_KIND,
        "notice": visit.request.query_params.get("notice"),
        "typed": {},
        "typed_signs": {},
        "now": visit.state.database.clock(),
        "problem": None,
    }


def _kinds(visit: Visit) -> list[str]:
    """Return the kinds of notices, the usual ones first: those that need no earlier notice, in the
    reader's language, to platforms."""

    def rank(kind: Kind) -> tuple[bool, bool, bool]:
        return bool(kind.follows), kind.language != visit.language, kind.recipient != "platform"

    return [kind.id for kind in sorted(KINDS.values(), key=rank)]


@router.get("/items/{job_id}/progress")
def get_progress(job_id: Id, visit: Reader) -> Response:
    """Return how far an examination is, as the item's page shows it."""
    job = visit.services.queries.progress(visit.caller, job_id)
    return visit.page("item_progress.html", job=job)


@router.get("/items/{job_id}/next")
def get_next(job_id: Id, visit: Reader) -> Response:
    """Go to the most urgent item that awaits a review, or to the queue if there is none."""
    following = visit.services.triage.next_unreviewed(visit.caller, job_id)
    return redirect(f"/items/{following}" if following else "/")


def judgement_in(form: Mapping[str, str]) -> Judgement:
    """Return what the form of a review states; ``InvalidRequest`` if something is missing. Each
    line of ``signs`` is one in JSON, as the API has it."""
    decision, reason = form.get("decision", ""), form.get("reason", "")
    invalid = []
    if decision not in set(Decision):
        invalid.append(FieldError("decision", "choose one"))
    if not reason and not form.get("signs"):
        invalid.append(NO_GROUNDS)
    if invalid:
        raise InvalidRequest(errors=invalid)
    held = {field.name: form.get(field.name, "") for field in fields(OnHold)}
    is_held = decision == Decision.UNDECIDED and any(held.values())
    return checked_input(
        Judgement,
        decision=decision,
        reason=reason,
        signs=_signs_in(form),
        note=form.get("note", ""),
        on_hold=checked_input(OnHold, **held) if is_held else None,
    )


def _signs_in(form: Mapping[str, str]) -> Signs:
    try:
        return SIGNS.validate_json(f"[{','.join(form.get('signs', '').splitlines())}]")
    except ValidationError as error:
        raise invalid_field("signs", "choose at most 20 from the list") from error


@router.post("/items/{job_id}/review")
def post_review(job_id: Id, visit: Reviewer, fields: Form) -> Response:
    """Record a reviewer's decision, or show the page again with what is wrong, or with a decision
    that came in while the reviewer was reading.

    A reviewer who comes from the form of a notice goes back to it if the finding supports it.
    """
    services, caller = visit.services, visit.caller
    known = fields.get("known", "")
    try:
        seen = int(known) if known.isdecimal() else None
        finding = services.reviews.decide(caller, job_id, judgement_in(fields), known=seen)
    except (InvalidRequest, Conflict) as error:
        values = _item(visit, job_id)
        # Nothing typed or ticked is lost; only browsers of others send signs that are none.
        values |= {"typed": fields, "notice": fields.get("notice")}
        with suppress(InvalidRequest):
            values["typed_signs"] = {sign.code: sign for sign in _signs_in(fields)}
        names, wrong = words(visit.language), visit.explained(error.errors).items()
        faults = [f"{names.of('fields', field)}: {what}" for field, what in wrong]
        values["problem"] = "; ".join(faults) or visit.translate(error.message)
        return visit.page("item.html", status=problem_of(error).status, **values)
    if finding in MANIPULATED and (kind := fields.get("notice")) in KINDS:
        job = services.queries.progress(caller, job_id)
        return redirect(f"/cases/{job.case_id}/notices/{kind}?media={job.media_id}")
    return redirect(f"/items/{job_id}", "reviewed", part="review")


@router.post("/items/{job_id}/delete")
def post_delete(job_id: Id, visit: Reader, fields: Form) -> Response:
    """Cancel the job and delete the item, and its case if that was chosen and it has no other."""
    require_sure(fields)
    services, caller = visit.services, visit.caller
    case_id = services.queries.progress(caller, job_id).case_id
    with_case = fields.get("case") == "delete"
    if services.retention.cancel(caller, job_id, with_case=with_case):
        return redirect("/", "case_deleted")
    return redirect(f"/cases/{case_id}", "item_deleted")


@router.get("/cases/{case_id}")
def get_case(case_id: Id, visit: Reader, cursor: Cursor = None, seen: Cursor = None) -> Response:
    """Show a case. ``cursor`` and ``seen`` are the pages of its items and of its occurrences."""
    services, caller, queries = visit.services, visit.caller, visit.services.queries
    case = queries.brief(caller, case_id)
    accounts = visit.state.accounts.all() if case.minor else ()
    of_case = Filters(case_id=case_id)
    items = queries.jobs(caller, of_case, queries.plain, limit=ITEMS_PER_PAGE, cursor=cursor)
    posts = queries.occurrences(caller, case_id, limit=OCCURRENCES_PER_PAGE, cursor=seen)
    media = {job.media_id for job in items.rows} | {post.media_id for post in posts.rows}
    of_media = Filters(case_id=case_id, media=tuple(media), order=Order.OLDEST)
    return visit.page(
        "case.html",
        trail=services.minor_flags.trail(caller, case_id),
        kinds=_kinds(visit),
        case=case,
        items=items,
        empty=not (items.rows or cursor),
        deletable=queries.case_deletable(caller, case_id),
        able=[account.name for account in accounts if may_review(account)],
        seen=posts,
        lines=services.posts.timelines(caller, case_id, [post.id for post in posts.rows]),
        names={
            key: item.name
            for item in queries.jobs(caller, of_media, queries.item).rows
            for key in (item.id, item.media_id)
        },
        captures=services.captures.of_case(caller, case_id).captures,
        opens_links=services.links.enabled,
        notices=services.notice_desk.of_case(caller, case_id),
        cursor=cursor,
        seen_cursor=seen,
    )


@router.post("/cases/{case_id}/hold")
def post_hold(case_id: Id, visit: Keeper, fields: Form) -> Response:
    """Set or lift a legal hold."""
    enabled = fields.get("wanted") == "yes"
    if not enabled:
        require_sure(fields)
    given = {n: fields.get(n) or None for n in HoldRequest.__dataclass_fields__}
    asked = checked_input(HoldRequest, **given)
    visit.services.retention.hold(visit.caller, case_id, enabled=enabled, asked=asked)
    return redirect(f"/cases/{case_id}", "hold_set" if enabled else "hold_lifted")


@router.post("/cases/{case_id}/minor")
def post_minor(case_id: Id, visit: Reviewer, fields: Form) -> Response:
    """Flag a case for a possible minor, or remove the flag."""
    require_sure(fields)
    flagged = fields.get("wanted") == "yes"
    visit.services.reviews.flag_minor(visit.caller, case_id, enabled=flagged)
    return redirect(f"/cases/{case_id}", "minor_flagged" if flagged else "minor_unflagged")


@router.post("/cases/{case_id}/reviewers")
def post_reviewers(case_id: Id, visit: Reader, fields: Form) -> Response:
    """Name the people who may review a flagged case."""
    names = fields.get("accounts", "").splitlines()
    visit.services.minor_flags.name_reviewers(visit.caller, case_id, names)
    return redirect(f"/cases/{case_id}", "reviewers_named")


@router.post("/cases/{case_id}/delete")
def post_delete_case(case_id: Id, visit: Reader, fields: Form) -> Response:
    """Delete a case with everything in it."""
    require_sure(fields)
    visit.services.retention.shred(case_id, visit.caller)
    return redirect("/", "case_deleted")
