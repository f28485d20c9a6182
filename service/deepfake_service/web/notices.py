"""Pages of notices: the lists, each notice with what became of it, its package, and removals in
numbers."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated

from fastapi import APIRouter, Query, Response
from starlette.responses import StreamingResponse

from deepfake_service.http.answers import attachment
from deepfake_service.http.auth import while_authenticated
from deepfake_service.http.list_filters import Grouped
from deepfake_service.notices.kinds import KINDS, kind_of
from deepfake_service.notices.package import package_of
from deepfake_service.notices.states import NoticePart, NoticeUpdate
from deepfake_service.platform.clock import iso_time
from deepfake_service.platform.enums import NoticeState
from deepfake_service.platform.errors import FieldError, InvalidRequest
from deepfake_service.platform.texts.i18n import words
from deepfake_service.removal.statistics import GroupBy
from deepfake_service.removal.statistics_pages import plot_of, table_of
from deepfake_service.review.shapes import FoundItems
from deepfake_service.web.notice_form import followers_of
from deepfake_service.web.pages import (
    HEADERS,
    Downloader,
    Form,
    Id,
    PageRoute,
    Reader,
    checked_input,
    redirect,
    safe,
)

router = APIRouter(include_in_schema=False, route_class=PageRoute)

MAX_START = 1_000_000
MAX_OFFSET_MINUTES = 14 * 60
"""The time zone farthest from UTC is UTC+14."""
PIECE_BYTES = 256 * 1024


@router.get("/notices")
def get_notices(
    visit: Reader,
    part: NoticePart | None = None,
    start: Annotated[int, Query(ge=0, le=MAX_START)] = 0,
) -> Response:
    """Show the notices by what is to be done, and by when: the first ones of each part, or those
    of one ``part`` after the first ``start``."""
    parts = [part] if part else [each for each in NoticePart if each is not NoticePart.OVERDUE]
    desk = visit.services.notice_desk
    shown = {each: desk.of_part(visit.caller, each, start=start) for each in parts}
    return visit.page("notices.html", notices=shown, part=part)


@router.get("/notices/{notice_id}")
def get_notice(notice_id: Id, visit: Reader) -> Response:
    """Show a notice, its deadline, its outcome and its history."""
    return _notice_page(visit, notice_id)


def _notice_page(
    visit: Reader,
    notice_id: str,
    typed: dict[str, str] | None = None,
    errors: Sequence[FieldError] = (),
) -> Response:
    services, caller = visit.services, visit.caller
    notice = services.notice_desk.read(caller, notice_id)
    case = services.queries.brief(caller, notice.case_id)
    outcomes = kind_of(notice.kind).outcomes if notice.sent_at else ()
    ids = tuple(notice.occurrence_ids) if notice.sent_at else ()
    posts = services.queries.occurrences(caller, notice.case_id, ids=ids).rows if ids else []
    return visit.page(
        "notice.html",
        status=422 if errors else 200,
        notice=notice,
        case=case,
        posts=posts,
        followers=followers_of(notice),
        lines=services.posts.timelines(caller, notice.case_id, ids) if ids else {},
        withheld=bool(notice.captures) and case.minor,
        outcomes=[*outcomes, NoticeState.WITHDRAWN],
        now=iso_time(services.notice_desk.now()),
        typed=typed or {},
        errors=visit.explained(errors),
    )


@router.post("/notices/{notice_id}")
def post_update(notice_id: Id, visit: Reader, values: Form) -> Response:
    """Record that a notice was sent, received or answered, or show what is wrong with it."""
    services = visit.services
    try:
        update = _update(values, services.notice_desk.now())
        services.notice_desk.update(visit.caller, notice_id, update)
    except InvalidRequest as error:
        return _notice_page(visit, notice_id, values, error.errors)
    return redirect(f"/notices/{notice_id}")


def _update(values: dict[str, str], now: datetime) -> NoticeUpdate:
    """Return what a form of the notice's page says."""
    what, outcome = values.get("what"), values.get("outcome", "")
    if what == "sent":
        sent_at = values.get("sent_at", "")
        return checked_input(
            NoticeUpdate,
            sent_at=_local_time(sent_at, values.get("offset", "")) if sent_at else now,
            sent_reason=values.get("sent_reason") or None,
        )
    if what == "undo":
        return NoticeUpdate(undo_sent=True)
    if what == "receipt":
        return checked_input(NoticeUpdate, receipt=values.get("receipt", ""))
    if what == "outcome" and outcome in set(NoticeState):
        return NoticeUpdate(outcome=NoticeState(outcome))
    raise InvalidRequest(errors=[FieldError("outcome", "choose one")])


def _local_time(text: str, offset: str) -> datetime:
    """Convert the time of a form to UTC.

    ``offset`` is the number of minutes that UTC is ahead of the user's zone, as JavaScript's
    ``getTimezoneOffset`` returns it. Without scripts it is empty, and the form asks for UTC.
    """
    try:
        ahead = int(offset or 0)
        if abs(ahead) > MAX_OFFSET_MINUTES:
            raise ValueError("no such zone")
        return datetime.fromisoformat(text).replace(tzinfo=UTC) + timedelta(minutes=ahead)
    except (ValueError, OverflowError) as error:
        invalid = FieldError("sent_at", "a date and a time are needed")
        raise InvalidRequest(errors=[invalid]) from error


@router.get("/notices/{notice_id}/package.zip")
def get_package(notice_id: Id, visit: Downloader) -> Response:
    """Return what is sent with a notice as a ZIP, which is made while it is sent."""
    services = visit.services
    package = package_of(
        services.notice_desk, services.cases, services.evidence_store, visit.caller, notice_id
    )
    pieces = (
        piece[start : start + PIECE_BYTES]
        for piece in package
        for start in range(0, len(piece), PIECE_BYTES)
    )
    return StreamingResponse(
        while_authenticated(visit.request, pieces),
        media_type="application/zip",
        headers=HEADERS | attachment(f"notice-{notice_id}.zip"),
    )


@router.get("/statistics")
def get_statistics(visit: Reader, period: Grouped) -> Response:
    """Show what became of the posts of notices, by platform, kind or month."""
    found = period.removals(visit.services, visit.caller)
    signs = visit.services.queries.signs(visit.caller, found.start, found.end)
    texts = words(visit.language, polite=True)

    def kind_name(kind: str) -> str:
        return KINDS[kind].name.of(visit.language)

    head, rows = table_of(found, texts, kind_name)
    plot = plot_of(found, texts, kind_name)
    return visit.page(
        "statistics.html",
        summary=found,
        ways=list(GroupBy),
        head=head,
        rows=rows,
        plot=plot and safe(plot),
        notes=texts.list("removals_notes"),
        findings=list(FoundItems.model_fields),
        reviewed=signs.items,
        counts=[
            (texts.of("signs", count.code), count.items)
            for count in signs.signs
            if any(count.items.model_dump().values())
        ],
    )
