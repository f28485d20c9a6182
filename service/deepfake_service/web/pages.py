"""What all pages share: rendering, security headers, forms, and errors as pages."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache, partial
from typing import Annotated, TypeVar
from urllib.parse import quote

from fastapi import Depends, Path, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from jinja2 import Environment, PackageLoader, StrictUndefined
from jinja2.filters import do_filesizeformat
from markupsafe import Markup
from pydantic import TypeAdapter, ValidationError
from starlette.responses import HTMLResponse, RedirectResponse
from starlette.routing import Match

from deepfake_models.decision.fitness import unfit
from deepfake_service.accounts.accounts import MAY_AUDIT, MAY_HOLD, MAY_REVIEW, MAY_SUBMIT, Caller
from deepfake_service.evidence.report.summary import not_for_use
from deepfake_service.http.admission import HEAVY
from deepfake_service.http.auth import (
    admits,
    browser_caller,
    check_csrf,
    check_site,
    csrf_of,
    session_token,
)
from deepfake_service.http.dependencies import RequestContext
from deepfake_service.http.multipart import urlencoded_fields
from deepfake_service.http.problems import (
    BodyRefused,
    answer_http_error,
    invalid_fields,
    note_failure,
    preferred_language,
    problem_of,
)
from deepfake_service.notices.kinds import KINDS
from deepfake_service.platform.enums import TAKEN_DOWN, Role
from deepfake_service.platform.errors import (
    FieldError,
    InvalidRequest,
    NotAuthenticated,
    NotFound,
    RequestTooLarge,
    ServiceError,
)
from deepfake_service.platform.findings import CLEARED, DECIDED, MANIPULATED, Decision
from deepfake_service.platform.texts.formatting import to_the_second
from deepfake_service.platform.texts.i18n import LANGUAGES, translations, words

T = TypeVar("T")

LANGUAGE_COOKIE = "language"
DECISIONS = dict(zip("cgru", Decision, strict=True))
"""The decisions, by the keys that choose them."""
MAX_FORM_FIELDS = 500
"""A notice is about at most 200 posts, each of which is a field of its form."""
Id = Annotated[str, Path(max_length=26)]
Cursor = Annotated[str | None, Query(max_length=200)]
"""Where a page of a list begins: ``next`` of the page before."""
INVALID_FORM = "The form is incomplete or contains invalid values."
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; media-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}


def language_of(request: Request) -> str:
    """Return ``ko`` or ``en``: by the switch's cookie, else by ``Accept-Language``, of which others
    lead to English. Korean if there is neither."""
    chosen = request.cookies.get(LANGUAGE_COOKIE)
    if chosen in LANGUAGES:
        return chosen
    if "accept-language" not in request.headers:
        return LANGUAGES[0]
    return preferred_language(request) or "en"


@cache
def _environment(language: str) -> Environment:
    environment = Environment(
        loader=PackageLoader("deepfake_service.web", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=["jinja2.ext.i18n"],
    )
    environment.install_gettext_translations(  # type: ignore[attr-defined]
        translations(language), newstyle=True
    )
    environment.globals |= {
        "DECISIONS": DECISIONS, "MANIPULATED": MANIPULATED, "CLEARED": CLEARED, "DECIDED": DECIDED,
        "TAKEN_DOWN": TAKEN_DOWN, "notice_words": words(language, "notice", polite=True),
    }  # fmt: skip
    environment.globals["kind_name"] = lambda kind: KINDS[kind].name.of(language)
    environment.filters |= {
        "moment": moment, "instant": instant, "utc": utc, "day": lambda at: utc(at)[:10],
        "last_day": last_day, "bytes": partial(do_filesizeformat, binary=True),
        "seconds_since": seconds_since,
    }  # fmt: skip
    return environment


def moment(at: str | datetime | None) -> str:
    """Return a ``<time>`` element in UTC, which a script converts to the reader's time zone."""
    if at is None:
        return "–"
    machine_readable = at if isinstance(at, str) else at.isoformat()
    return Markup('<time datetime="{}">{}</time>').format(machine_readable, utc(at))


def instant(at: str | None, marks: str = "data-seconds") -> str:
    """Return a ``<time>`` element as ``moment`` does, to the second."""
    if at is None:
        return "–"
    shown = to_the_second(at, "en")
    return Markup('<time datetime="{}" {}>{}</time>').format(at, Markup(marks), shown)  # noqa: S704


def evidence_time(at: str | None) -> str:
    """Return a time that evidence states in UTC as well, which the script leaves in brackets."""
    return instant(at, "data-seconds data-utc")


def utc(at: str | datetime | None) -> str:
    """Return a time in UTC, to the minute, as plain text."""
    if at is None:
        return "–"
    time = datetime.fromisoformat(at) if isinstance(at, str) else at
    return time.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")


def last_day(end: datetime) -> str:
    """Return the last day in UTC, a part of it at least, before something ends."""
    return (end.astimezone(UTC) - timedelta(microseconds=1)).date().isoformat()


def seconds_since(at: str, now: datetime) -> int:
    """Return the whole seconds from a time to ``now``; negative if it is in the future."""
    return round((now - datetime.fromisoformat(at)).total_seconds())


@dataclass(frozen=True)
class Guest(RequestContext):
    """A request for a page. ``caller`` is the account that has signed in, if one has."""

    caller: Caller | None = None

    @property
    def language(self) -> str:
        """The reader's language, ``ko`` or ``en``."""
        return language_of(self.request)

    def translate(self, text: str) -> str:
        """Return a text of the console in the reader's language."""
        return translations(self.language).gettext(text)

    @property
    def brand(self) -> str:
        """The name of the organisation once it is stored, or else the issuer, from the database."""
        try:
            name = self.services.sender.organisation().name(self.language)
        except ServiceError:  # while the service starts, and on the page that says what fails
            name = None
        return name or self.state.settings.issuer

    def explained(self, errors: Sequence[FieldError]) -> dict[str, str]:
        """Return what is wrong with fields, by name, in the reader's language."""
        return {e.field: e.translated(self.translate) for e in errors}

    def page(self, template: str, *, status: int = 200, **values: object) -> HTMLResponse:
        """Render a template with ``values``, which are escaped as text."""
        request, role = self.request, self.caller and self.caller.role
        token, engine = session_token(request), self.state.engine
        # Why the model that examines now decides nothing; empty if it does.
        unfitness = unfit(engine.bundle.spec) if engine else ()
        # The answer to a form has no address of its own, and may show what is shown once.
        here = values.pop("here", _address_of(request) if request.method == "GET" else None)
        texts = words(self.language, polite=True)
        content = (
            _environment(self.language)
            .get_template(template)
            .render(
                language=self.language,
                words=texts,
                caller=self.caller,
                may_submit=role in MAY_SUBMIT,
                may_review=role in MAY_REVIEW,
                is_admin=role is Role.ADMIN,
                csrf=csrf_of(token) if token else "",
                path=request.url.path,
                done=request.query_params.get("done"),
                here=here and quote(str(here), safe="/"),
                brand=self.brand,
                not_for_use=not_for_use(unfitness, texts),
                **values,
            )
        )
        return HTMLResponse(content, status_code=status, headers=HEADERS)


class Visit(Guest):
    """A request for a page by somebody who has signed in."""

    caller: Caller


async def _guest(request: Request) -> Guest:
    return Guest(request)


def _visits(roles: frozenset[Role], cost: int = 0) -> object:
    """Return a dependency that gives the visit of an account with one of these roles."""
    return admits(roles, in_browser=True, cost=cost, made=Visit)


Anybody = Annotated[Guest, Depends(_guest)]
SignedIn = Annotated[Visit, _visits(frozenset(Role))]
"""Has signed in, in any role."""
Reader = Annotated[Visit, _visits(MAY_SUBMIT)]
"""Submits media, and reads jobs and cases."""
Downloader = Annotated[Visit, _visits(MAY_SUBMIT, HEAVY)]
"""Downloads packages of notices, or the table of results."""
Reviewer = Annotated[Visit, _visits(MAY_REVIEW)]
"""Reviews examinations and flags possible minors."""
Keeper = Annotated[Visit, _visits(MAY_HOLD)]
"""Sets and lifts legal holds."""
Auditor = Annotated[Visit, _visits(MAY_AUDIT)]
"""Reads the audit log."""
Administrator = Annotated[Visit, _visits(frozenset({Role.ADMIN}))]
"""Administers accounts and keys."""


def safe(markup: str) -> Markup:
    """Mark markup that this program made, and whose texts are escaped, as safe to embed."""
    return Markup(markup)  # noqa: S704


def require_sure(fields: Mapping[str, str]) -> None:
    """Raise ``InvalidRequest`` unless the box of a form that cannot be undone was ticked."""
    if fields.get("sure") != "yes":
        raise InvalidRequest(errors=[FieldError("sure", "tick the box: this cannot be undone")])


def redirect(path: str, done: str | None = None, *, part: str | None = None) -> RedirectResponse:
    """Redirect to a page, or the element ``part`` in it, which says what was ``done``."""
    path = f"{path}?done={done}" if done else path
    path = f"{path}#{part}" if part else path
    return RedirectResponse(path, status_code=303, headers=HEADERS)


async def _read_form(request: Request) -> dict[str, str]:
    """Read the URL-encoded fields of a form. Values of fields with the same name become lines."""
    try:
        fields = urlencoded_fields(await request.body(), MAX_FORM_FIELDS)
    except ValueError as error:
        raise RequestTooLarge(f"A form has at most {MAX_FORM_FIELDS} fields.") from error
    values: dict[str, list[str]] = {}
    for name, value in fields:
        # Browsers send line breaks of a text area as CR LF (HTML, form submission).
        values.setdefault(name, []).append(value.replace("\r\n", "\n").strip())
    return {name: "\n".join(lines) for name, lines in values.items()}


async def _checked_form(request: Request) -> dict[str, str]:
    fields = await _read_form(request)
    check_csrf(request, fields.pop("csrf", None))
    return fields


async def _public_form(request: Request) -> dict[str, str]:
    fields = await _read_form(request)
    check_site(request, required=True)
    return fields


Form = Annotated[dict[str, str], Depends(_checked_form)]
"""The fields of a form sent by a page of the signed-in user; others get ``Forbidden``."""
PublicForm = Annotated[dict[str, str], Depends(_public_form)]
"""The fields of a form that needs no session, sent from this site."""


def checked_input(kind: type[T], /, **values: object) -> T:
    """Return what a form says, checked as a request to the API is."""
    try:
        return TypeAdapter(kind).validate_python(values)
    except ValidationError as error:
        raise InvalidRequest(errors=invalid_fields(error)) from error


class PageRoute(APIRoute):
    """A route that renders errors as pages and redirects to sign-in if there is no session."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[object, object, Response]]:
        handler = super().get_route_handler()

        async def handle(request: Request) -> Response:
            try:
                urlencoded_fields(request.scope["query_string"])  # refuses what is not UTF-8
                return await handler(request)
            except NotAuthenticated:
                return _to_sign_in(request)
            except BodyRefused as refused:
                return await _error_page(request, refused.error)
            except (ServiceError, RequestValidationError) as error:
                shown = error if isinstance(error, ServiceError) else InvalidRequest()
                return await _error_page(request, shown)

        return handle


def _to_sign_in(request: Request) -> Response:
    """Redirect to the sign-in page, which leads back to the page that was asked for, or whose form
    was sent."""
    if request.method == "GET":
        return redirect(sign_in_for(_address_of(request)))
    page = "/" + "".join(request.headers.get("referer", "").split("/", 3)[3:])
    scope = {**request.scope, "method": "GET", "path": page.partition("?")[0]}
    # The answer to a form, which is shown again with what is wrong, is at an address for forms.
    is_page = any(route.matches(scope)[0] is Match.FULL for route in request.app.routes)
    return redirect(sign_in_for(page if is_page else "/") + "&lost=yes")


def sign_in_for(page: str) -> str:
    """Return the address of the sign-in page that leads to a page of this service."""
    return f"/sign-in?next={quote(page, safe='/')}"


def _address_of(request: Request) -> str:
    """Return the path of a page with its query."""
    path, query = request.url.path, request.url.query
    return f"{path}?{query}" if query else path


async def answer_unknown_address(request: Request, error: Exception) -> Response:
    """Return a page to a browser that asks for an address which does not exist, and a problem to
    other clients."""
    if "text/html" in request.headers.get("accept", "") and not request.url.path.startswith("/v1/"):
        return await _error_page(request, NotFound())
    return await answer_http_error(request, error)


async def _error_page(request: Request, error: ServiceError) -> Response:
    problem = problem_of(error)
    note_failure(error, problem)
    guest = await run_in_threadpool(recognised, request)
    title, detail = problem.told(guest.language)
    response = await run_in_threadpool(
        guest.page,
        "error.html",
        status=problem.status,
        title=title,
        detail=guest.translate(INVALID_FORM) if error.errors else detail,
        invalid=guest.explained(error.errors).items(),
    )
    response.headers.update(problem.headers)
    return response


def recognised(request: Request) -> Guest:
    """Return who asks for a page that needs no session, with the account if there is one. Reads the
    database: call it in a thread."""
    try:
        return Guest(request, browser_caller(request))
    except ServiceError:
        return Guest(request)
