"""What the page of a case does with captured pages."""

from __future__ import annotations

from fastapi import APIRouter, Response

from deepfake_service.http.auth import PageReader
from deepfake_service.http.dependencies import ServicesDep
from deepfake_service.platform.errors import FieldError, InvalidRequest
from deepfake_service.web.items import Id
from deepfake_service.web.pages import Form, PageRoute, redirect

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
