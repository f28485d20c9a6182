"""Pages that list the notices of all cases."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from deepfake_service.casework.core.pagination import MAX_PAGE
from deepfake_service.casework.notice_clock import NoticePart
from deepfake_service.http.auth import PageReader
from deepfake_service.http.dependencies import ServicesDep
from deepfake_service.web.pages import Cursor, PageRoute, page

router = APIRouter(include_in_schema=False, route_class=PageRoute)

MAX_START = 1_000_000


@router.get("/notices")
def get_notices(
    request: Request,
    caller: PageReader,
    services: ServicesDep,
    part: NoticePart | None = None,
    start: Annotated[int, Query(ge=0, le=MAX_START)] = 0,
) -> Response:
    """Show the notices by what is to be done, and by when: the first ones of each part, or those
    of one ``part`` after the first ``start``."""
    parts = NoticePart if part is None else [part]
    shown = services.notice_clock.by_clock(caller, parts, start if part else 0)
    return page(request, "notices.html", caller, notices=shown, part=part)


@router.get("/overdue")
def get_overdue(
    request: Request,
    caller: PageReader,
    services: ServicesDep,
    cursor: Cursor = None,
    limit: Annotated[int, Query(ge=1, le=MAX_PAGE)] = MAX_PAGE,
) -> Response:
    """Show a page of the notices whose deadline has passed without a reaction."""
    overdue = services.notice_desk.overdue(caller, limit=limit, cursor=cursor)
    notices = services.notice_clock.described(caller, overdue.notices)
    return page(
        request, "overdue.html", caller,
        overdue=overdue, notices=notices, cursor=cursor, limit=limit,
    )  # fmt: skip
