"""The help page: what verdicts and values mean, and where victims find support."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from deepfake_service.errors import ServiceError
from deepfake_service.http.auth import browser_caller
from deepfake_service.http.dependencies import AppStateDep
from deepfake_service.web.pages import PageRoute, page

router = APIRouter(include_in_schema=False, route_class=PageRoute)


@router.get("/help")
def get_help(request: Request, state: AppStateDep) -> Response:
    """Show the help page, with or without a session."""
    try:
        caller = browser_caller(request)
    except ServiceError:
        caller = None
    return page(request, "help.html", caller, support=state.settings.support_contact)
