"""Posts of a case: links and captured pages of them, and the page of one post."""

from __future__ import annotations

from fastapi import APIRouter, Response
from pydantic import ValidationError

from deepfake_service.capture.links import Link, links_of
from deepfake_service.http.answers import file_answer
from deepfake_service.http.problems import invalid_fields
from deepfake_service.http.submission_form import CaptureForm
from deepfake_service.platform.errors import FieldError, InvalidRequest
from deepfake_service.platform.texts.spreadsheets import BYTE_ORDER_MARK, csv_line
from deepfake_service.removal.looks import BY_PEOPLE
from deepfake_service.web.pages import Form, Id, PageRoute, Reader, redirect, require_sure
from deepfake_service.web.submit import TriedLinks, submit_page

router = APIRouter(include_in_schema=False, route_class=PageRoute)

_COLUMNS = (
    "url", "state", "reason", "next_step", "requested_at", "finished_at", "pictures_and_videos",
    "note", "capture", "sha256",
)  # fmt: skip


@router.post("/cases/{case_id}/captures/{capture_id}/examine")
def post_examine(case_id: Id, capture_id: Id, visit: Reader, fields: Form) -> Response:
    """Have the ticked pictures and videos of a capture examined."""
    ticked = fields.get("media", "").split()
    if not ticked or not all(n.isascii() and n.isdecimal() and len(n) < 6 for n in ticked):
        raise InvalidRequest(errors=[FieldError("media", "choose one")])
    numbers = [int(number) for number in ticked]
    visit.services.captures.choose(visit.caller, capture_id, numbers)
    return redirect(f"/cases/{case_id}", "chosen", part="captures")


@router.post("/cases/{case_id}/captures/{capture_id}/delete")
def post_delete_capture(case_id: Id, capture_id: Id, visit: Reader, fields: Form) -> Response:
    """Delete a capture. Items that were taken out of it stay."""
    require_sure(fields)
    visit.services.retention.delete_capture(visit.caller, capture_id)
    return redirect(f"/cases/{case_id}", "capture_deleted", part="captures")


@router.post("/links")
def post_links(visit: Reader, fields: Form) -> Response:
    """Let workers capture the posts at pasted links. Lines without one keep no other, and are shown
    again with what is wrong with each."""
    lines, examine = fields.get("links", ""), "examine" in fields
    given = {name: fields[name] for name in ("case_id", "case_reference") if fields.get(name)}
    case_id, links = given.get("case_id"), list[Link]()
    try:
        form = CaptureForm.model_validate(given)
        links, faults = links_of(lines)
        if links:
            where = (form.case_id, form.case_reference)
            queued = visit.services.links.add(visit.caller, where, links, examine=examine)
            case_id = queued.case_id
        lines, problems = "\n".join(f.text for f in faults), [f.error for f in faults]
    except ValidationError as error:
        problems = invalid_fields(error)
    except InvalidRequest as error:
        links, problems = [], list(error.errors)
    if not problems:
        return redirect(f"/cases/{case_id}", "linked", part="captures")
    reference = given.get("case_reference", "")
    return submit_page(visit, TriedLinks(lines, case_id, reference, examine, len(links), problems))


@router.post("/cases/{case_id}/links/cancel")
def post_cancel(case_id: Id, visit: Reader, _: Form) -> Response:
    """Keep the links of a case that wait from being opened."""
    visit.services.links.cancel(visit.caller, case_id)
    return redirect(f"/cases/{case_id}", "cancelled", part="captures")


@router.get("/cases/{case_id}/captures.csv")
def get_captures_table(case_id: Id, visit: Reader) -> Response:
    """Return a line for each capture of a case: what became of it, and what can be done."""
    visit.services.queries.brief(visit.caller, case_id)
    lines, by_whom = [csv_line(_COLUMNS)], visit.translate("according to the capture")
    for found in reversed(visit.services.captures.of_case(visit.caller, case_id, None).captures):
        told = found.detail or found.waits
        detail = visit.translate(told) if told else None
        claimed = f"{found.pages[0].url} ({by_whom})" if found.pages else ""
        cells = (
            found.source_url or claimed, found.state,
            found.reason, detail, found.created_at, found.finished_at,
            len(found.media), found.note, found.id, found.sha256,
        )  # fmt: skip
        lines.append(csv_line(cells))
    content = BYTE_ORDER_MARK + "".join(lines)
    return file_answer(content, "text/csv; charset=utf-8", f"captures-{case_id}.csv")


@router.get("/cases/{case_id}/posts/{post_id}")
def get_post(case_id: Id, post_id: Id, visit: Reader) -> Response:
    """Show what became of a post."""
    services, caller = visit.services, visit.caller
    found = services.posts.read(caller, case_id, post_id)
    return visit.page(
        "post.html",
        case=services.queries.brief(caller, case_id),
        post=services.queries.occurrence(caller, case_id, post_id),
        line=found.post,
        looks=found.looks,
        people={account.id: account.name for account in visit.state.accounts.all()},
        choices=BY_PEOPLE,
    )


@router.post("/cases/{case_id}/posts/{post_id}/look")
def post_look(case_id: Id, post_id: Id, visit: Reader, _: Form) -> Response:
    """Let a worker look at a post."""
    visit.services.looks.request_look(visit.caller, case_id, post_id)
    return redirect(f"/cases/{case_id}/posts/{post_id}", "look_asked")
