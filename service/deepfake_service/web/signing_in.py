"""Sign-in and sign-out, the language switch, and static files."""

from __future__ import annotations

from importlib.resources import files
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from deepfake_service.documents.i18n import LANGUAGES
from deepfake_service.errors import NotAuthenticated, NotFound
from deepfake_service.http.auth import SignedIn, session_cookie, session_token, uses_tls
from deepfake_service.http.dependencies import AppStateDep
from deepfake_service.security.roles import MAY_SUBMIT
from deepfake_service.web.language import COOKIE as LANGUAGE_COOKIE
from deepfake_service.web.pages import Form, PageRoute, PublicForm, page, redirect

router = APIRouter(include_in_schema=False, route_class=PageRoute)

STATIC = {
    "console.css": "text/css",
    "submit.js": "text/javascript",
    "item.js": "text/javascript",
    "times.js": "text/javascript",
    "case.js": "text/javascript",
    "progress.js": "text/javascript",
    "icon.svg": "image/svg+xml",
}
LANGUAGE_COOKIE_S = 365 * 24 * 3600

Next = Annotated[str, Query(alias="next", max_length=1000)]


def local_path(path: str) -> str:
    """Return ``path`` if it is a path of this site, and ``/`` otherwise (no open redirects)."""
    is_local = path.startswith("/") and not path.startswith(("//", "/\\")) and path.isprintable()
    return path if is_local else "/"


@router.get("/sign-in")
def get_sign_in(request: Request, target: Next = "/") -> Response:
    """Show the sign-in form."""
    return page(request, "sign_in.html", next=local_path(target), failed=False)


@router.post("/sign-in")
def post_sign_in(request: Request, state: AppStateDep, fields: PublicForm) -> Response:
    """Exchange a key for a session cookie that scripts cannot read. It replaces the browser's
    earlier session, which ends."""
    target = local_path(fields.get("next", "/"))
    hours = state.settings.session_hours
    state.failed_sign_ins.check(request)
    try:
        caller, token = state.accounts.sign_in(fields.get("key", ""), hours=hours)
    except NotAuthenticated:
        state.failed_sign_ins.record(request, fields.get("key", ""))
        return page(request, "sign_in.html", status=401, next=target, failed=True)
    if target == "/" and caller.role not in MAY_SUBMIT:
        target = "/audit"
    if earlier := session_token(request):
        state.accounts.sign_out(earlier)
    response = redirect(target)
    response.set_cookie(
        session_cookie(request),
        token,
        max_age=int(hours * 3600),
        httponly=True,
        samesite="strict",
        secure=uses_tls(request),
    )
    return response


@router.post("/sign-out")
def post_sign_out(request: Request, _: SignedIn, state: AppStateDep, __: Form) -> Response:
    """End the session and delete its cookie."""
    state.accounts.sign_out(session_token(request))
    response = redirect("/sign-in")
    response.delete_cookie(
        session_cookie(request), httponly=True, samesite="strict", secure=uses_tls(request)
    )
    return response


@router.get("/language/{language}")
def get_language(request: Request, language: str, target: Next = "/") -> Response:
    """Switch the language and return to the page."""
    if language not in LANGUAGES:
        raise NotFound
    response = redirect(local_path(target))
    response.set_cookie(
        LANGUAGE_COOKIE,
        language,
        max_age=LANGUAGE_COOKIE_S,
        httponly=True,
        samesite="lax",
        secure=uses_tls(request),
    )
    return response


@router.get("/static/{name}")
def get_static(name: str) -> Response:
    """Return a static file of the console."""
    if name not in STATIC:
        raise NotFound
    content = (files("deepfake_service.web") / "static" / name).read_bytes()
    return Response(
        content, media_type=STATIC[name], headers={"Cache-Control": "max-age=300, must-revalidate"}
    )
