"""Signing in with a key, signing out, switching the language, and the files that pages load."""

from __future__ import annotations

from importlib.resources import files
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from deepfake_service.documents.i18n import LANGUAGES
from deepfake_service.errors import NotAuthenticated, NotFound
from deepfake_service.http.auth import COOKIE, SignedIn
from deepfake_service.http.dependencies import app_state
from deepfake_service.security.accounts import MAY_SUBMIT
from deepfake_service.web.language import COOKIE as LANGUAGE_COOKIE
from deepfake_service.web.pages import PageRoute, back, call, form, page

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

Next = Annotated[str, Query(alias="next", max_length=1000)]


def over_tls(request: Request) -> bool:
    """Whether browsers reach us over TLS, so that cookies need go no other way."""
    public = app_state(request).settings.public_url or str(request.url)
    return public.startswith("https://")


def local(path: str) -> str:
    """A path of ours, or the first page: never another site's address."""
    plain = path.startswith("/") and not path.startswith(("//", "/\\")) and path.isprintable()
    return path if plain else "/"


@router.get("/sign-in")
async def get_sign_in(request: Request, wanted: Next = "/") -> Response:
    """The page to sign in on."""
    return page(request, "sign_in.html", next=local(wanted), failed=False)


@router.post("/sign-in")
async def post_sign_in(request: Request) -> Response:
    """Sign in with a key: it is exchanged for a cookie that scripts cannot read."""
    fields = await form(request, signed=False)
    state = app_state(request)
    wanted = local(fields.get("next", "/"))
    hours = state.settings.session_hours
    try:
        caller, token = await call(
            lambda: state.accounts.sign_in(fields.get("key", ""), hours=hours)
        )
    except NotAuthenticated:
        return page(request, "sign_in.html", status=401, next=wanted, failed=True)
    if wanted == "/" and caller.role not in MAY_SUBMIT:
        wanted = "/audit"
    answer = back(wanted)
    answer.set_cookie(
        COOKIE,
        token,
        max_age=int(hours * 3600),
        httponly=True,
        samesite="strict",
        secure=over_tls(request),
    )
    return answer


@router.post("/sign-out")
async def post_sign_out(request: Request, _: SignedIn) -> Response:
    """Forget this browser."""
    await form(request)
    token = request.cookies.get(COOKIE, "")
    await call(lambda: app_state(request).accounts.sign_out(token))
    answer = back("/sign-in")
    answer.delete_cookie(COOKIE, httponly=True, samesite="strict")
    return answer


@router.get("/language/{language}")
async def get_language(request: Request, language: str, wanted: Next = "/") -> Response:
    """Switch the language."""
    if language not in LANGUAGES:
        raise NotFound
    answer = back(local(wanted))
    answer.set_cookie(
        LANGUAGE_COOKIE,
        language,
        max_age=365 * 24 * 3600,
        httponly=True,
        samesite="lax",
        secure=over_tls(request),
    )
    return answer


@router.get("/static/{name}")
async def get_static(name: str) -> Response:
    """One of the few files that pages load."""
    if name not in STATIC:
        raise NotFound
    content = (files("deepfake_service.web") / "static" / name).read_bytes()
    return Response(
        content, media_type=STATIC[name], headers={"Cache-Control": "max-age=300, must-revalidate"}
    )
