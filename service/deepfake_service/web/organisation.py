"""The page of the organisation, and the form of one's own contact, which fill forms of notices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from fastapi import APIRouter, Request, Response

from deepfake_service.casework.contacts import organisation_of_form
from deepfake_service.container import Services
from deepfake_service.documents.i18n import translations
from deepfake_service.errors import FieldError, InvalidRequest
from deepfake_service.http.auth import PageAdmin
from deepfake_service.http.dependencies import ServicesDep
from deepfake_service.security.accounts import Caller
from deepfake_service.web.language import language_of
from deepfake_service.web.pages import Form, PageRoute, page, redirect

router = APIRouter(include_in_schema=False, route_class=PageRoute)


@router.get("/admin/organisation")
def get_organisation(request: Request, caller: PageAdmin, services: ServicesDep) -> Response:
    """Show the form of the organisation."""
    return _organisation_page(request, caller, services)


@router.post("/admin/organisation")
def post_organisation(
    request: Request, caller: PageAdmin, services: ServicesDep, values: Form
) -> Response:
    """Store the organisation, or show the form again with what is wrong."""
    try:
        record = organisation_of_form(values)
    except InvalidRequest as error:
        return _organisation_page(request, caller, services, typed=values, errors=error.errors)
    services.contacts.change_organisation(caller, record)
    return redirect("/admin/organisation?saved=yes")


def _organisation_page(
    request: Request,
    caller: Caller,
    services: Services,
    *,
    typed: Mapping[str, str] | None = None,
    errors: Sequence[FieldError] = (),
) -> Response:
    stored: dict[str, Any] = asdict(services.contacts.organisation())
    return page(
        request,
        "organisation.html",
        caller,
        status=422 if errors else 200,
        values={name: value or "" for name, value in stored.items()} | dict(typed or {}),
        errors=explained(request, errors),
        saved=request.query_params.get("saved") == "yes" and not errors,
    )


def explained(request: Request, errors: Sequence[FieldError]) -> dict[str, str]:
    """Return what is wrong with fields, by name, in the reader's language."""
    translate = translations(language_of(request)).gettext
    return {e.field: e.translated(translate) for e in errors}
