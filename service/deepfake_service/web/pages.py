"""What all pages share: the frame, the policy, who is signed in, forms, and errors as pages."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from functools import cache
from typing import Any
from urllib.parse import parse_qsl, quote

import anyio.to_thread
from fastapi import Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from starlette.responses import HTMLResponse, RedirectResponse

from deepfake_service.db.enums import Role
from deepfake_service.documents.i18n import translations, words
from deepfake_service.errors import (
    InvalidRequest,
    NotAuthenticated,
    RequestTooLarge,
    ServiceError,
)
from deepfake_service.http.auth import COOKIE, browser_caller, check_csrf, check_site, csrf_of
from deepfake_service.http.dependencies import app_state
from deepfake_service.http.problems import problem_of
from deepfake_service.security.accounts import MAY_REVIEW, MAY_SUBMIT, Caller
from deepfake_service.web.language import language_of

MAX_FORM_BYTES = 512 * 1024
"""Three texts of 5,000 Hangul, which take nine bytes each in a form."""
MAX_FORM_FIELDS = 500
SOMETHING_WRONG = "The form is incomplete or contains invalid values."
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; media-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "Cache-Control": "no-store",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}


@cache
def _environment(language: str) -> Environment:
    made = Environment(
        loader=PackageLoader("deepfake_service.web", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=["jinja2.ext.i18n"],
    )
    made.install_gettext_translations(  # type: ignore[attr-defined]
        translations(language), newstyle=True
    )
    made.filters["moment"] = moment
    made.filters["utc"] = utc
    made.filters["day"] = lambda at: utc(at)[:10]
    made.filters["bytes"] = in_bytes
    return made


def moment(at: str | datetime | None) -> str:
    """A time for people, to the minute: in UTC, and in their own zone where scripts run."""
    if at is None:
        return "–"
    stated = at if isinstance(at, str) else at.isoformat()
    return Markup('<time datetime="{}">{}</time>').format(stated, utc(at))


def utc(at: str | datetime | None) -> str:
    """A time in UTC, to the minute, as plain text."""
    if at is None:
        return "–"
    stated = datetime.fromisoformat(at) if isinstance(at, str) else at
    return stated.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")


def in_bytes(count: int) -> str:
    """A size for people."""
    size = float(count)
    for unit in ("B", "KiB", "MiB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} GiB"


def page(
    request: Request,
    template: str,
    caller: Caller | None = None,
    *,
    status: int = 200,
    **values: Any,
) -> HTMLResponse:
    """A page from a template and values, all of which are text to it."""
    language = language_of(request)
    token = request.cookies.get(COOKIE, "")
    content = (
        _environment(language)
        .get_template(template)
        .render(
            language=language,
            words=words(language),
            caller=caller,
            may_submit=caller is not None and caller.role in MAY_SUBMIT,
            may_review=caller is not None and caller.role in MAY_REVIEW,
            is_admin=caller is not None and caller.role is Role.ADMIN,
            csrf=csrf_of(token) if token else "",
            path=request.url.path,
            here=quote(_address(request), safe="/"),
            issuer=app_state(request).settings.issuer,
            **values,
        )
    )
    return HTMLResponse(content, status_code=status, headers=HEADERS)


def _address(request: Request) -> str:
    """The address of the page, with what it was asked for by."""
    query = request.url.query if request.method == "GET" else ""
    return f"{request.url.path}?{query}" if query else request.url.path


def safe(svg: str) -> Markup:
    """An SVG that we drew ourselves, with all its texts escaped."""
    return Markup(svg)  # noqa: S704


def back(path: str) -> RedirectResponse:
    """Go on to a page of ours after something was changed."""
    return RedirectResponse(path, status_code=303, headers=HEADERS)


async def form(request: Request, *, signed: bool = True) -> dict[str, str]:
    """The fields of a form of ours, with the token of whoever is ``signed`` in.

    Raises:
        CrossSiteRequest: it does not come from our own page. RequestTooLarge: it is no form.
    """
    body = bytearray()
    async for chunk in request.stream():
        body.extend(chunk)
        if len(body) > MAX_FORM_BYTES:
            raise RequestTooLarge(f"A form has at most {MAX_FORM_BYTES} bytes.")
    try:
        fields = parse_qsl(
            body.decode("utf-8", errors="replace"),
            keep_blank_values=True,
            max_num_fields=MAX_FORM_FIELDS,
        )
    except ValueError as error:
        raise RequestTooLarge(f"A form has at most {MAX_FORM_FIELDS} fields.") from error
    given: dict[str, list[str]] = {}
    for name, value in fields:
        # Browsers send the line breaks of a text as two characters each.
        given.setdefault(name, []).append(value.replace("\r\n", "\n").strip())
    # Fields of one name, as of check boxes, come as lines.
    found = {name: "\n".join(values) for name, values in given.items()}
    brought = found.pop("csrf", None)
    if signed:
        check_csrf(request, brought)
    else:
        check_site(request)
    return found


async def call(what: Callable[[], Any]) -> Any:
    """Do something that waits, in a thread."""
    return await anyio.to_thread.run_sync(what)


class PageRoute(APIRoute):
    """A route whose errors are pages, and that asks to sign in where nobody has."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handler = super().get_route_handler()

        async def handled(request: Request) -> Response:
            try:
                return await handler(request)
            except NotAuthenticated:
                wanted = request.url.path if request.method == "GET" else "/"
                return back(f"/sign-in?next={quote(wanted, safe='/')}")
            except (ServiceError, RequestValidationError) as error:
                known = error if isinstance(error, ServiceError) else InvalidRequest()
                return await _as_page(request, known)

        return handled


async def _as_page(request: Request, error: ServiceError) -> Response:
    problem = problem_of(error)
    try:
        caller = await run_in_threadpool(browser_caller, request)
    except ServiceError:
        caller = None
    say = translations(language_of(request)).gettext
    return page(
        request,
        "error.html",
        caller,
        status=problem.status,
        title=say(problem.title),
        detail=say(SOMETHING_WRONG if error.errors else problem.detail),
        wrong=[(e.field, say(e.detail)) for e in error.errors],
    )
