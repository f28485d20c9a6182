"""``/v1/notices``: notices to platforms and authorities, and their outcomes."""

from __future__ import annotations

from typing import Any

from fastapi import Response
from pydantic import Field

from deepfake_service.casework.core.notice_states import NoticeRequest, NoticeUpdate
from deepfake_service.db.enums import NoticeState
from deepfake_service.http.auth import Reader
from deepfake_service.http.dependencies import PageDep, ServicesDep
from deepfake_service.http.problems import problems
from deepfake_service.http.routing import api_router
from deepfake_service.http.schemas import NO_STORE, Id, Published
from deepfake_service.notices.kinds import KINDS
from deepfake_service.notices.render import Basis, Composed

router = api_router("notices")


class KindOut(Published):
    """A kind of notice."""

    kind: str
    provision: str = Field(description="The legal provision that it rests on.")
    clock_hours: float | None = Field(description="Hours from sending to the expected action.")
    clock_basis: str = Field(description="Where the deadline comes from.")
    needs_url: bool
    needs_screenshot: bool
    waived_for_minors: list[str] = Field(
        description="Fields that may be left out if a person shown may be a minor."
    )
    fields: dict[str, Any] = Field(
        description="JSON Schema; each field names the `provision` that it comes from."
    )


class KindsOut(Published):
    """All kinds of notices."""

    kinds: list[KindOut]


class NoticeBase(Published):
    """A notice without its content."""

    id: str
    case_id: str
    kind: str
    language: str
    state: NoticeState
    created_at: str
    sent_at: str | None
    due_at: str | None
    overdue: bool
    answered_at: str | None
    withdraw: bool = Field(
        description="Whether it should be withdrawn: the finding was reversed, or a person was "
        "flagged as a possible minor."
    )


class NoticeOut(NoticeBase):
    """A notice."""

    recipient: str | None
    receipt: str | None
    fields: dict[str, Any]
    occurrence_ids: list[str]
    basis: list[Basis]
    text: str = Field(description="Plain text, for pasting into a form.")
    words: Composed


class NoticesOut(Published):
    """A list of notices."""

    notices: list[NoticeBase]
    next: str | None = Field(
        default=None, description="Cursor of the next page; null on the last one."
    )


@router.get("/notices", summary="List kinds of notices")
def get_kinds() -> KindsOut:
    """List the kinds of notices, their legal provisions, and the fields that each needs."""
    return KindsOut.model_validate({"kinds": [kind.to_json() for kind in KINDS.values()]})


@router.post(
    "/cases/{case_id}/notices",
    summary="Create a notice",
    status_code=201,
    responses=problems(400, 401, 403, 404, 409, 410, 422, 503),
)
def post_notice(
    response: Response, case_id: Id, notice: NoticeRequest, caller: Reader, services: ServicesDep
) -> NoticeOut:
    """Create a notice about occurrences of a case. If fields are missing or invalid, the answer
    lists them. The service signs for no one: a person supplies statements and signatures."""
    created = services.notice_desk.create(caller, case_id, notice)
    response.headers["Location"] = f"/v1/notices/{created['id']}"
    return NoticeOut.model_validate(created)


@router.get(
    "/cases/{case_id}/notices",
    summary="List a case's notices",
    responses=problems(401, 403, 404, 410, 422, 503),
)
def get_case_notices(
    case_id: Id, caller: Reader, services: ServicesDep, page: PageDep
) -> NoticesOut:
    """List the notices of a case, newest first."""
    listed = services.notice_desk.of_case(caller, case_id, limit=page.limit, cursor=page.cursor)
    return NoticesOut.model_validate({"notices": listed.notices, "next": listed.next})


@router.get("/notices/overdue", summary="List overdue notices", responses=problems(401, 403, 503))
def get_overdue(caller: Reader, services: ServicesDep) -> NoticesOut:
    """List the notices whose deadline has passed without an answer, longest overdue first, at most
    200."""
    return NoticesOut.model_validate({"notices": services.notice_desk.overdue(caller)})


@router.get(
    "/notices/{notice_id}", summary="Read a notice", responses=problems(401, 403, 404, 410, 503)
)
def get_notice(notice_id: Id, caller: Reader, services: ServicesDep) -> NoticeOut:
    """Return a notice with its fields, its text and its outcome. Audited."""
    return NoticeOut.model_validate(services.notice_desk.read(caller, notice_id))


@router.get(
    "/notices/{notice_id}/text",
    summary="Read a notice as plain text",
    response_class=Response,
    responses={
        200: {"content": {"text/plain": {"schema": {"type": "string"}}}},
        **problems(401, 403, 404, 410, 503),
    },
)
def get_text(notice_id: Id, caller: Reader, services: ServicesDep) -> Response:
    """Return the text of a notice, for pasting into a form. Audited."""
    text = services.notice_desk.read(caller, notice_id)["text"]
    return Response(text, media_type="text/plain; charset=utf-8", headers=NO_STORE)


@router.get(
    "/notices/{notice_id}/notice.pdf",
    summary="Read a notice as a PDF",
    response_class=Response,
    responses={
        200: {"content": {"application/pdf": {"schema": {"type": "string", "format": "binary"}}}},
        **problems(401, 403, 404, 410, 503),
    },
)
def get_pdf(notice_id: Id, caller: Reader, services: ServicesDep) -> Response:
    """Return a notice as a PDF/A for a person to send. Audited."""
    content = services.notice_desk.pdf(caller, notice_id)
    return Response(
        content,
        media_type="application/pdf",
        headers={**NO_STORE, "Content-Disposition": f'inline; filename="notice-{notice_id}.pdf"'},
    )


@router.patch(
    "/notices/{notice_id}",
    summary="Update the state of a notice",
    responses=problems(400, 401, 403, 404, 410, 422, 503),
)
def patch_notice(
    notice_id: Id, update: NoticeUpdate, caller: Reader, services: ServicesDep
) -> NoticeOut:
    """Record that a notice was sent (this starts its deadline), acknowledged (the text or number of
    a receipt) or answered."""
    return NoticeOut.model_validate(services.notice_desk.update(caller, notice_id, update))
