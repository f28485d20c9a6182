"""What the page of a case does with captured pages and with links."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from deepfake_service.accounts.accounts import MAY_SUBMIT
from deepfake_service.capture.links import links_of
from deepfake_service.cases.cases import canonical_reference
from deepfake_service.http.answers import NO_STORE, attachment
from deepfake_service.http.auth import PageReader
from deepfake_service.http.dependencies import ServicesDep
from deepfake_service.platform.errors import FieldError, Forbidden, InvalidRequest
from deepfake_service.platform.texts.i18n import translations
from deepfake_service.platform.texts.spreadsheets import BYTE_ORDER_MARK, csv_line
from deepfake_service.web.items import Id
from deepfake_service.web.pages import Form, PageRoute, language_of, redirect

router = APIRouter(include_in_schema=False, route_class=PageRoute)


@router.post("/cases/{case_id}/captures/{capture_id}/examine")
def post_examine(
    case_id: Id, capture_id: Id, caller: PageReader, services: ServicesDep, fields: Form
) -> Response:
    """Have the ticked pictures and videos of a capture examined."""
    ticked = fields.get("media", "").split()
    if not ticked or not all(n.isascii() and n.isdecimal() and len(n) < 6 for n in ticked):
        raise InvalidRequest(errors=[FieldError("media", "choose one")])
    services.captures.choose(caller, capture_id, [int(number) for number in ticked])
    return redirect(f"/cases/{case_id}", "chosen", part="captures")


@router.post("/links")
def post_links(caller: PageReader, services: ServicesDep, fields: Form) -> Response:
    """Let workers capture the posts at pasted links."""
    if caller.role not in MAY_SUBMIT:
        raise Forbidden
    where = (fields.get("case_id") or None, canonical_reference(fields.get("case_reference", "")))
    links = links_of(fields.get("links", ""))
    case_id, _ = services.links.add(caller, where, links, examine="examine" in fields)
    return redirect(f"/cases/{case_id}", "linked", part="captures")


@router.get("/cases/{case_id}/captures.csv")
def get_captures_table(
    request: Request, case_id: Id, caller: PageReader, services: ServicesDep
) -> Response:
    """Return a line for each capture of a case: what became of it, and what can be done."""
    services.queries.brief(caller, case_id)
    translate = translations(language_of(request)).gettext
    lines = [csv_line(_COLUMNS)]
    for found in reversed(services.captures.of_case(caller, case_id, None)):
        pages, media = found["pages"], found["media"]
        detail = translate(found["detail"]) if found["detail"] else None
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
