"""``/v1/notices``: what has to be told to platforms and authorities, and what came of it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, Literal

import anyio.to_thread
from fastapi import APIRouter, Depends, Path, Request, Response
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from deepfake_service.api.evidence import PRIVATE, Language
from deepfake_service.casework.core.notice_states import Update, Wanted
from deepfake_service.db.enums import NoticeState
from deepfake_service.http.auth import Reader, current_caller
from deepfake_service.http.dependencies import app_state
from deepfake_service.http.problems import problems
from deepfake_service.http.schemas import Published
from deepfake_service.notices.kinds import KINDS
from deepfake_service.security.accounts import MAY_SUBMIT, Caller, authorize

router = APIRouter(prefix="/v1", tags=["notices"])

Id = Annotated[str, Path(max_length=26)]
KindName = Literal["eu-dsa-16", "us-take-it-down", "kr-tba-22-5", "kr-d4u", "budapest-29"]


class KindOut(Published):
    """A kind of notice."""

    kind: str
    provision: str
    clock_hours: float | None = Field(description="From sending to when it ought to be acted on.")
    clock_basis: str
    needs_url: bool
    needs_screenshot: bool
    waived_for_minors: list[str]
    fields: dict[str, Any] = Field(
        description="JSON Schema; each field names the `provision` that it comes from."
    )


class KindsOut(Published):
    """All kinds of notices."""

    kinds: list[KindOut]


class NoticeBase(Published):
    """A notice, less what it says."""

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
        description="Whether what it rests on has changed: the finding was reversed, or somebody "
        "was flagged as a possible minor."
    )


class BasisOut(Published):
    """What a notice rests on."""

    sha256: str
    verdict: str
    finding: str | None
    job: str
    edition: int
    examined_at: str


class SectionOut(Published):
    """A heading and its lines."""

    heading: str
    lines: list[str]


class WordsOut(Published):
    """A notice in words."""

    title: str
    opening: str
    sections: list[SectionOut]


class NoticeOut(NoticeBase):
    """A notice."""

    recipient: str | None
    receipt: str | None
    fields: dict[str, Any]
    occurrence_ids: list[str]
    basis: list[BasisOut]
    text: str = Field(description="Plain text, for pasting into a form.")
    words: WordsOut


class NoticesOut(Published):
    """Some notices."""

    notices: list[NoticeBase]


class NoticeIn(BaseModel):
    """A notice to be made."""

    model_config = ConfigDict(extra="forbid")

    kind: KindName
    language: Language = "ko"
    occurrence_ids: Annotated[list[str], Field(max_length=200)]
    recipient: Annotated[str | None, Field(max_length=200)] = None
    fields: dict[str, Any]


class NoticeUpdate(BaseModel):
    """What became of a notice. A person sends it; this notes that they did."""

    model_config = ConfigDict(extra="forbid")

    sent_at: AwareDatetime | None = None
    receipt: Annotated[str | None, Field(max_length=2000)] = None
    outcome: NoticeState | None = None
    answered_at: AwareDatetime | None = None


@router.get("/notices", summary="List kinds of notices")
async def get_kinds() -> KindsOut:
    """Which kinds there are, by which provision, and which fields each wants."""
    return KindsOut.model_validate({"kinds": [kind.to_json() for kind in KINDS.values()]})


async def _notifier(caller: Annotated[Caller, Depends(current_caller)]) -> Caller:
    authorize(caller, MAY_SUBMIT)
    return caller


Notifier = Annotated[Caller, Depends(_notifier)]


@router.post(
    "/cases/{case_id}/notices",
    summary="Make a notice",
    status_code=201,
    responses=problems(400, 401, 403, 404, 409, 410, 422, 503),
)
async def post_notice(
    request: Request, response: Response, case_id: Id, wanted: NoticeIn, caller: Notifier
) -> NoticeOut:
    """A notice about occurrences of a case. Refused with the list of what is missing or malformed.
    The service signs for nobody: statements and signatures are fields that a person supplies."""
    services = app_state(request).require_services()
    made = Wanted(
        wanted.kind, wanted.language, wanted.occurrence_ids, wanted.fields, wanted.recipient
    )
    found = await anyio.to_thread.run_sync(services.notice_desk.make, caller, case_id, made)
    response.headers["Location"] = f"/v1/notices/{found['id']}"
    return NoticeOut.model_validate(found)


@router.get(
    "/cases/{case_id}/notices",
    summary="List a case's notices",
    responses=problems(401, 403, 404, 410, 503),
)
async def get_case_notices(request: Request, case_id: Id, caller: Reader) -> NoticesOut:
    """The notices of a case, the newest first."""
    services = app_state(request).require_services()
    found = await anyio.to_thread.run_sync(services.notice_desk.of_case, caller, case_id)
    return NoticesOut.model_validate({"notices": found})


@router.get("/notices/overdue", summary="List overdue notices", responses=problems(401, 403, 503))
async def get_overdue(request: Request, caller: Reader) -> NoticesOut:
    """Notices that ought to have been acted on by now, the longest overdue first."""
    services = app_state(request).require_services()
    found = await anyio.to_thread.run_sync(services.notice_desk.overdue, caller)
    return NoticesOut.model_validate({"notices": found})


@router.get(
    "/notices/{notice_id}", summary="Read a notice", responses=problems(401, 403, 404, 410, 503)
)
async def get_notice(request: Request, notice_id: Id, caller: Reader) -> NoticeOut:
    """A notice: its fields, its words, what became of it. Audited."""
    services = app_state(request).require_services()
    return NoticeOut.model_validate(
        await anyio.to_thread.run_sync(services.notice_desk.read, caller, notice_id)
    )


@router.get(
    "/notices/{notice_id}/text",
    summary="Read a notice as plain text",
    response_class=Response,
    responses={
        200: {"content": {"text/plain": {"schema": {"type": "string"}}}},
        **problems(401, 403, 404, 410, 503),
    },
)
async def get_text(request: Request, notice_id: Id, caller: Reader) -> Response:
    """For pasting into a form. Audited."""
    services = app_state(request).require_services()
    found = await anyio.to_thread.run_sync(services.notice_desk.read, caller, notice_id)
    return Response(found["text"], media_type="text/plain; charset=utf-8", headers=PRIVATE)


@router.get(
    "/notices/{notice_id}/notice.pdf",
    summary="Read a notice as a PDF",
    response_class=Response,
    responses={
        200: {"content": {"application/pdf": {"schema": {"type": "string", "format": "binary"}}}},
        **problems(401, 403, 404, 410, 503),
    },
)
async def get_pdf(request: Request, notice_id: Id, caller: Reader) -> Response:
    """The notice as a PDF/A, to be sent by a person. Audited."""
    services = app_state(request).require_services()
    content = await anyio.to_thread.run_sync(services.notice_desk.pdf, caller, notice_id)
    return Response(
        content,
        media_type="application/pdf",
        headers={**PRIVATE, "Content-Disposition": f'inline; filename="notice-{notice_id}.pdf"'},
    )


@router.patch(
    "/notices/{notice_id}",
    summary="Note what became of a notice",
    responses=problems(400, 401, 403, 404, 410, 422, 503),
)
async def patch_notice(
    request: Request, notice_id: Id, wanted: NoticeUpdate, caller: Notifier
) -> NoticeOut:
    """That it was sent (the clock starts), received (a receipt's text or number), answered."""
    services = app_state(request).require_services()
    update = Update(
        sent_at=_utc(wanted.sent_at),
        receipt=wanted.receipt,
        outcome=wanted.outcome,
        answered_at=_utc(wanted.answered_at),
    )
    return NoticeOut.model_validate(
        await anyio.to_thread.run_sync(services.notice_desk.update, caller, notice_id, update)
    )


def _utc(at: datetime | None) -> datetime | None:
    return at and at.astimezone(UTC)
