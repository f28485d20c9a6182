"""What the page of a case does with captured pages and with links."""

from __future__ import annotations

from fastapi import APIRouter, Response

from deepfake_service.capture.links import links_of
from deepfake_service.cases.cases import canonical_reference
from deepfake_service.http.answers import NO_STORE, attachment
from deepfake_service.platform.errors import FieldError, InvalidRequest
from deepfake_service.platform.texts.spreadsheets import BYTE_ORDER_MARK, csv_line
from deepfake_service.web.items import Id
from deepfake_service.web.pages import Form, PageRoute, Reader, redirect

router = APIRouter(include_in_schema=False, route_class=PageRoute)


@router.post("/cases/{case_id}/captures/{capture_id}/examine")
def post_examine(case_id: Id, capture_id: Id, visit: Reader, fields: Form) -> Response:
    """Have the ticked pictures and videos of a capture examined."""
    ticked = fields.get("media", "").split()
    if not ticked or not all(n.isascii() and n.isdecimal() and len(n) < 6 for n in ticked):
        raise InvalidRequest(errors=[FieldError("media", "choose one")])
    numbers = [int(number) for number in ticked]
    visit.services.captures.choose(visit.caller, capture_id, numbers)
    return redirect(f"/cases/{case_id}", "chosen", part="captures")


@router.post("/links")
def post_links(visit: Reader, fields: Form) -> Response:
    """Let workers capture the posts at pasted links."""
    where = (fields.get("case_id") or None, canonical_reference(fields.get("case_reference", "")))
    links = links_of(fields.get("links", ""))
    examine = "examine" in fields
    case_id, _ = visit.services.links.add(visit.caller, where, links, examine=examine)
    return redirect(f"/cases/{case_id}", "linked", part="captures")


@router.get("/cases/{case_id}/captures.csv")
def get_captures_table(case_id: Id, visit: Reader) -> Response:
    """Return a line for each capture of a case: what became of it, and what can be done."""
    visit.services.queries.brief(visit.caller, case_id)
    lines = [csv_line(_COLUMNS)]
    for found in reversed(visit.services.captures.of_case(visit.caller, case_id, None)):
        pages, media = found["pages"], found["media"]
        detail = visit.translate(found["detail"]) if found["detail"] else None
        cells = (
            found["source_url"] or (pages[0]["url"] if pages else ""), found["state"],
            found["reason"], detail, found["created_at"], found["finished_at"],
            len(media), found["note"], found["id"], found["sha256"],
        )  # fmt: skip
        lines.append(csv_line(cells))
    content = BYTE_ORDER_MARK + "".join(lines)
    headers = {**NO_STORE, **attachment(f"captures-{case_id}.csv")}
    return Response(content, media_type="text/csv; charset=utf-8", headers=headers)


_COLUMNS = (
    "url", "state", "reason", "next_step", "requested_at", "finished_at", "pictures_and_videos",
    "note", "capture", "sha256",
)  # fmt: skip
