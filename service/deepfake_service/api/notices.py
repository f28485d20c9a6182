"""``/v1/notices``: notices to platforms and authorities, their outcomes, and the organisation that
sends them."""

from __future__ import annotations

from typing import Any

from fastapi import Response
from pydantic import Field

from deepfake_models.bundle.spec import is_none
from deepfake_service.accounts.organisation import Organisation
from deepfake_service.http.answers import file_route, pdf_answer
from deepfake_service.http.auth import Administrator, DocumentReader, Reader
from deepfake_service.http.dependencies import PageDep
from deepfake_service.http.routing import api_router
from deepfake_service.http.schemas import CaseId, NoticeId
from deepfake_service.notices.compose import Basis, WithoutConsent
from deepfake_service.notices.kinds import KINDS, Bilingual
from deepfake_service.notices.states import (
    CaptureChoice,
    KindId,
    Language,
    NoticePart,
    NoticeRequest,
    NoticeUpdate,
)
from deepfake_service.platform.answers import ItemId, Published, Sha256, Time
from deepfake_service.platform.db.enums import NoticeEventKind, NoticeState

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
    fields: dict[str, Any]
    """JSON Schema; each field names the `provision` that it comes from."""


class KindsOut(Published):
    """All kinds of notices."""

    kinds: list[KindOut] = Field(description="The kinds.")


class NoticeBase(Published):
    """A notice without its text."""

    id: ItemId = Field(description="Id of the notice.")
    case_id: ItemId = Field(description="Id of its case.")
    kind: KindId = Field(description="Its kind.")
    language: Language = Field(description="Its language.")
    recipient: str | None = Field(description="Who it is addressed to.")
    state: NoticeState = Field(description="What has become of it.")
    created_at: Time = Field(description="When it was created.")
    sent_at: Time | None = Field(description="When it was sent; null until then.")
    due_at: Time | None = Field(description="The recipient's deadline, if there is one.")
    overdue: bool = Field(description="Whether the deadline has passed without an answer.")
    answered_at: Time | None = Field(description="When it was answered; null until then.")
    gone_at: Time | None
    """When looks had found the last of its posts gone; null while one is there."""
    returned_at: Time | None
    """When one of its posts was found to be there again; null if none is."""
    withdraw: bool
    """Whether it should be withdrawn: the finding was reversed, or a person was flagged as a
    possible minor."""


class NoticeEventOut(Published):
    """One thing that happened to a notice. It is never changed.

    `digest` is the SHA-256 of the canonical JSON (RFC 8785) of all other fields but `name`, and is
    the last word of the detail of its entry in the audit log.
    """

    type: str = Field(description="Names the form of the event: `deepfake-service/notice-event/1`.")
    notice: ItemId = Field(description="Id of the notice.")
    number: int = Field(description="1 for the first event of the notice.")
    previous: Sha256 | None = Field(description="Digest of the event before it.")
    at: Time = Field(description="When it was recorded.")
    account: ItemId | None = Field(description="Id of the account; null for the service.")
    name: str | None = Field(description="Name of the account.")
    event: NoticeEventKind = Field(description="What happened.")
    state: NoticeState = Field(description="State of the notice after it.")
    sent_at: Time | None = Field(description="When the notice was sent, as known then.")
    due_at: Time | None = Field(description="The deadline of the recipient, as known then.")
    answered_at: Time | None = Field(description="When it was answered, as known then.")
    receipt: str | None = Field(description="Text or number of the receipt that was recorded.")
    reason: str | None = Field(default=None, exclude_if=is_none)
    """Why it was sent before it was created here, or was not recorded before it was marked; left
    out otherwise."""
    document_sha256: Sha256 | None
    """SHA-256 of the text for `created`, of the PDF for `signed`."""
    salt: str = Field(description="Keeps the digest from confirming guesses at the content.")
    digest: Sha256 = Field(description="SHA-256 of the event, as the audit log has it.")


class NoticeOut(NoticeBase):
    """A notice."""

    receipt: str | None = Field(description="Text or number of the recipient's receipt.")
    fields: dict[str, Any] = Field(description="The fields of its kind, as they were given.")
    occurrence_ids: list[ItemId] = Field(description="Ids of the occurrences that it is about.")
    captures: CaptureChoice | None
    """How its PDF shows the screenshots of the occurrences; null if it does not."""
    basis: list[Basis]
    """The findings that it rests on, with their examinations; empty if it rests on a statement."""
    without_consent: WithoutConsent | None
    """The statement that it rests on; null if it rests on findings."""
    text: str = Field(description="Plain text, for pasting into a form.")
    undo_until: Time | None
    """Until when `undo_sent` can take back that it was sent."""
    history: list[NoticeEventOut] = Field(description="What happened to it, oldest first.")


class NoticesOut(Published):
    """A list of notices."""

    notices: list[NoticeBase] = Field(description="The notices.")
    next: str | None = None
    """Cursor of the next page; null on the last one."""


class OverdueNotice(NoticeBase):
    """A notice whose deadline has passed."""

    case_reference: str | None = Field(description="The reference of its case.")


class OverdueNoticesOut(Published):
    """The notices whose deadline has passed, longest overdue first."""

    notices: list[OverdueNotice] = Field(description="The first 200 of them.")
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
) -> NoticeOut:
    """Create a notice about occurrences of a case. If fields are missing or invalid, the answer
    lists them. The service signs for no one: a person supplies statements and signatures."""
    created = call.services.notice_desk.create(call.caller, case_id, notice)
    response.headers["Location"] = f"/v1/notices/{created['id']}"
    return NoticeOut.model_validate(created)


@router.get("/cases/{case_id}/notices", summary="List a case's notices")
def list_notices(case_id: CaseId, call: Reader, page: PageDep) -> NoticesOut:
    """List the notices of a case, newest first. Audited."""
    desk = call.services.notice_desk
    listed = desk.of_case(call.caller, case_id, limit=page.limit, cursor=page.cursor)
    call.services.queries.audit_case(call.caller, case_id)
    return NoticesOut.model_validate({"notices": listed.rows, "next": listed.next})


@router.get("/notices/overdue", summary="List overdue notices")
def list_overdue_notices(call: Reader) -> OverdueNoticesOut:
    """List the notices whose deadline has passed without an answer, longest overdue first. Audited
    once in ten minutes."""
    overdue = call.services.notice_desk.of_part(call.caller, NoticePart.OVERDUE)
    return OverdueNoticesOut(notices=overdue.notices, total=overdue.total)


@router.get("/notices/{notice_id}", summary="Read a notice")
def get_notice(notice_id: NoticeId, call: Reader) -> NoticeOut:
    """Return a notice with its fields, its text and its outcome. Audited."""
    return NoticeOut.model_validate(call.services.notice_desk.read(call.caller, notice_id))


@file_route(router, "/notices/{notice_id}/notice.pdf", "Read a notice as a PDF", "application/pdf")
def get_notice_pdf(notice_id: NoticeId, call: DocumentReader) -> Response:
    """Return a notice as a PDF/A for a person to send. Audited.

    It is made once, at the first request, unless the notice was withdrawn or marked `withdraw`
    before, and signed if the operator has a certificate. Its SHA-256 is in the history of the
    notice and in the audit log."""
    content = call.services.notice_desk.pdf(call.caller, notice_id)
    return pdf_answer(content, f"notice-{notice_id}.pdf")


@router.patch("/notices/{notice_id}", summary="Update the state of a notice")
def update_notice(notice_id: NoticeId, update: NoticeUpdate, call: Reader) -> NoticeOut:
    """Record that a notice was sent (this starts its deadline), acknowledged (the text or number of
    a receipt) or answered."""
    updated = call.services.notice_desk.update(call.caller, notice_id, update)
    return NoticeOut.model_validate(updated)


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
