"""``/v1/notices``: notices to platforms and authorities, their outcomes, and the organisation that
sends them."""

from __future__ import annotations

from fastapi import Response
from pydantic import Field

from deepfake_service.accounts.organisation import Organisation
from deepfake_service.http.answers import file_route, pdf_answer
from deepfake_service.http.auth import Administrator, DocumentReader, Reader
from deepfake_service.http.list_filters import Page
from deepfake_service.http.routing import api_router
from deepfake_service.http.schemas import CaseId, NoticeId
from deepfake_service.notices.kinds import KINDS, Bilingual
from deepfake_service.notices.shapes import FullNotice, NoticeOfCase, NoticeSummary
from deepfake_service.notices.states import (
    KindId,
    Language,
    NoticePart,
    NoticeRequest,
    NoticeUpdate,
)
from deepfake_service.platform.answers import Published

router = api_router("notices")


class KindOut(Published):
    """A kind of notice, as its manifest describes it."""

    id: KindId = Field(description="The kind.")
    name: Bilingual = Field(description="Its name.")
    country: str = Field(description="Whose law it rests on; `any` for a treaty.")
    language: Language = Field(description="The language of its addressees.")
    law: Bilingual = Field(description="The legal provision that it rests on.")
    recipient: str = Field(description="`platform`, `authority` or `search_engine`.")
    follows: list[str]
    """The kinds that it can follow, where these were not acted on."""
    needs: list[str] = Field(description="What each occurrence needs: `url`, `screenshot`.")
    hours_to_act: int | None = Field(description="Hours from sending to the expected action.")
    deadline: Bilingual = Field(description="Where the deadline comes from.")
    outcomes: list[str] = Field(description="What can come of it, besides that it is withdrawn.")
    fields: dict[str, object]
    """JSON Schema; each field names the `provision` that it comes from."""


class KindsOut(Published):
    """All kinds of notices."""

    kinds: list[KindOut] = Field(description="The kinds.")


class NoticesOut(Published):
    """A list of notices."""

    notices: list[NoticeSummary] = Field(description="The notices.")
    next: str | None = None
    """Cursor of the next page; null on the last one."""


class OverdueNoticesOut(Published):
    """The notices whose deadline has passed, longest overdue first."""

    notices: list[NoticeOfCase] = Field(description="The first 200 of them.")
    total: int = Field(description="How many there are.")


@router.get("/notices", summary="List kinds of notices")
def list_notice_kinds() -> KindsOut:
    """List the kinds of notices, their legal provisions, and the fields that each needs."""
    stated = set(KindOut.model_fields) - {"fields"}
    kinds = [
        {**kind.model_dump(include=stated), "fields": kind.model.model_json_schema()}
        for kind in KINDS.values()
    ]
    return KindsOut.model_validate({"kinds": kinds})


@router.post("/cases/{case_id}/notices", summary="Create a notice", status_code=201)
def create_notice(
    response: Response, case_id: CaseId, notice: NoticeRequest, call: Reader
) -> FullNotice:
    """Create a notice about occurrences of a case. If fields are missing or invalid, the answer
    lists them. The service signs for no one: a person supplies statements and signatures."""
    created = call.services.notice_desk.create(call.caller, case_id, notice)
    response.headers["Location"] = f"/v1/notices/{created.id}"
    return created


@router.get("/cases/{case_id}/notices", summary="List a case's notices")
def list_notices(case_id: CaseId, call: Reader, page: Page) -> NoticesOut:
    """List the notices of a case, newest first. Audited."""
    desk = call.services.notice_desk
    listed = desk.of_case(call.caller, case_id, limit=page.limit, cursor=page.cursor)
    call.services.queries.audit_case(call.caller, case_id)
    return NoticesOut(notices=list(listed.rows), next=listed.next)


@router.get("/notices/overdue", summary="List overdue notices")
def list_overdue_notices(call: Reader) -> OverdueNoticesOut:
    """List the notices whose deadline has passed without an answer, longest overdue first. Audited
    once in ten minutes."""
    overdue = call.services.notice_desk.of_part(call.caller, NoticePart.OVERDUE)
    return OverdueNoticesOut(notices=overdue.notices, total=overdue.total)


@router.get("/notices/{notice_id}", summary="Read a notice")
def get_notice(notice_id: NoticeId, call: Reader) -> FullNotice:
    """Return a notice with its fields, its text and its outcome. Audited."""
    return call.services.notice_desk.read(call.caller, notice_id)


@file_route(router, "/notices/{notice_id}/notice.pdf", "Read a notice as a PDF", "application/pdf")
def get_notice_pdf(notice_id: NoticeId, call: DocumentReader) -> Response:
    """Return a notice as a PDF/A for a person to send. Audited.

    It is made once, at the first request, unless the notice was withdrawn or marked `withdraw`
    before, and signed if the operator has a certificate. Its SHA-256 is in the history of the
    notice and in the audit log."""
    content = call.services.notice_desk.pdf(call.caller, notice_id)
    return pdf_answer(content, f"notice-{notice_id}.pdf")


@router.patch("/notices/{notice_id}", summary="Update the state of a notice")
def update_notice(notice_id: NoticeId, update: NoticeUpdate, call: Reader) -> FullNotice:
    """Record that a notice was sent (this starts its deadline), acknowledged (the text or number of
    a receipt) or answered."""
    return call.services.notice_desk.update(call.caller, notice_id, update)


@router.get("/organisation", summary="Read the organisation")
def get_organisation(call: Reader) -> Organisation:
    """Return the organisation that issues reports and sends notices."""
    return call.services.sender.organisation()


@router.put("/organisation", summary="Change the organisation")
def put_organisation(organisation: Organisation, call: Administrator) -> Organisation:
    """Replace the organisation; fields that are left out become null. Evidence and notices that
    were made keep what they have. The audit log names the fields that were changed."""
    call.services.sender.change_organisation(call.caller, organisation)
    return call.services.sender.organisation()
