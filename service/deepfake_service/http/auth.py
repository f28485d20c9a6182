"""Who is calling, and what their role permits.

A caller is known by a key in ``Authorization: Bearer KEY``, or by the cookie of a browser that
signed in with one. The dependencies of this module are the only place where routes check roles.
"""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import AsyncIterator, Callable, Generator, Iterable, Iterator
from dataclasses import dataclass
from typing import Annotated, TypeVar
from urllib.parse import urlsplit

import structlog
from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from starlette.requests import HTTPConnection

from deepfake_service.accounts.accounts import (
    MAY_AUDIT,
    MAY_HOLD,
    MAY_REVIEW,
    MAY_SUBMIT,
    Caller,
    authorize,
)
from deepfake_service.http.admission import HEAVY, SCORING
from deepfake_service.http.dependencies import RequestContext, app_state
from deepfake_service.platform.enums import Role
from deepfake_service.platform.errors import Code, Forbidden, KeyRejected, NotAuthenticated

T = TypeVar("T")

CHECKED_EVERY_S = 2.0
"""How long an answer that is being sent goes on after the end of its reader's key or session."""
COOKIE = "session"
"""The session's cookie over plain HTTP."""
TLS_COOKIE = "__Host-session"
"""The session's cookie over TLS. Browsers accept this prefix only over TLS and from the very host
(RFC 6265bis), so that neither a neighbouring host nor a network attacker can set the cookie."""
CSRF_HEADER = "X-CSRF-Token"
SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
"""Methods that change nothing (RFC 9110, section 9.2.1)."""

_bearer = HTTPBearer(auto_error=False, scheme_name="key", description="A key of this service.")


def csrf_of(token: str) -> str:
    """Return the CSRF token that belongs to the session cookie ``token``. Pages of other sites can
    make a browser send the cookie but cannot read it, so they cannot derive this token."""
    return hmac.new(token.encode(), b"csrf", hashlib.sha256).hexdigest()


def uses_tls(request: HTTPConnection) -> bool:
    """Return whether browsers reach the console over TLS, so cookies can be marked ``Secure``."""
    public = app_state(request).settings.public_url or str(request.url)
    return public.startswith("https://")


def session_cookie(request: HTTPConnection) -> str:
    """Return the name of the cookie that holds the session."""
    return TLS_COOKIE if uses_tls(request) else COOKIE


def session_token(request: HTTPConnection) -> str:
    """Return the token in the session cookie; empty if there is none."""
    return request.cookies.get(session_cookie(request), "")


def check_site(request: Request, *, required: bool = False) -> None:
    """Raise ``Forbidden`` if the browser says that another site caused the request.

    Browsers say so in ``Sec-Fetch-Site``, which they only send to trustworthy origins, and in
    ``Origin``, which they send with every POST. With ``required``, a request with neither header is
    refused as well.
    """
    site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin")
    if site not in (None, "same-origin", "none"):
        raise Forbidden(code=Code.CROSS_SITE_REQUEST)
    # Schemes are not compared: a proxy may speak TLS with the browser and HTTP with the service.
    named = (app_state(request).settings.public_url or "", f"//{request.headers.get('host', '')}")
    if origin is not None and _authority(origin) not in {*map(_authority, named)} - {""}:
        raise Forbidden(code=Code.CROSS_SITE_REQUEST)
    if required and site is None and origin is None:
        raise Forbidden(code=Code.CROSS_SITE_REQUEST)


def _authority(url: str) -> str:
    """Return host and port of a URL, without a default port; empty if it has none ("null")."""
    try:
        authority = urlsplit(url).netloc.lower()
    except ValueError:
        return ""
    return authority.removesuffix(":443").removesuffix(":80")


def check_csrf(request: Request, token: str | None) -> None:
    """Raise ``Forbidden`` unless ``token`` is the CSRF token of the browser's session."""
    check_site(request)
    expected = csrf_of(session_token(request))
    if not hmac.compare_digest(expected.encode(), (token or "").encode()):
        raise Forbidden(code=Code.CROSS_SITE_REQUEST)


def browser_caller(request: Request) -> Caller:
    """Return the caller who signed in with the browser that sent ``request``.

    Reads the database: call it in a thread. ``NotAuthenticated`` if the browser has no session, or
    its key no longer works.
    """
    token = session_token(request)
    if not token:
        raise NotAuthenticated
    return app_state(request).accounts.signed_in(token)


def api_caller(
    request: Request,
    credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)],
) -> Caller:
    """Return the caller of an API route, as ``browser_caller`` does: ``NotAuthenticated`` if the
    request has no valid key and no valid session, ``Forbidden`` if a browser's request would
    change something and has no CSRF token."""
    if credentials is not None:
        state = app_state(request)
        request.state.key = credentials.credentials
        try:
            return state.accounts.authenticate(credentials.credentials)
        except NotAuthenticated as error:
            state.failed_sign_ins.record(request, credentials.credentials)
            # One text for every reason: which keys exist is no business of those who have
            # none. A client is only told whether it sent one.
            raise KeyRejected from error
    caller = browser_caller(request)
    if request.method not in SAFE:
        check_csrf(request, request.headers.get(CSRF_HEADER))
    return caller


def check_still_authenticated(request: Request) -> None:
    """Check a request that is still being answered: its key may have been revoked since.

    Reads the database: call it in a thread. ``NotAuthenticated`` if its key, its session or its
    account is no longer valid.
    """
    if key := getattr(request.state, "key", None):
        app_state(request).accounts.authenticate(key)
    else:
        browser_caller(request)


def while_authenticated(request: Request, pieces: Iterable[T]) -> Iterator[T]:
    """Yield the pieces of an answer as long as its reader's key or session is valid, which is asked
    every ``CHECKED_EVERY_S``. Otherwise the answer is cut off, so that no client takes it for
    whole.

    Reads the database: iterate it in a thread.
    """
    checked_at = time.monotonic()
    try:
        for piece in pieces:
            # Asked after a piece was read: what happened after the end of a key is not told.
            if (now := time.monotonic()) - checked_at >= CHECKED_EVERY_S:
                check_still_authenticated(request)
                checked_at = now
            yield piece
    finally:
        if isinstance(pieces, Generator):
            pieces.close()  # what it holds is freed now, not with the traceback of an error


@dataclass(frozen=True)
class Call(RequestContext):
    """A request of an account that was admitted."""

    caller: Caller


def admits(
    roles: frozenset[Role],
    *,
    in_browser: bool = False,
    submits: bool = False,
    cost: int = 0,
    made: Callable[[Request, Caller], RequestContext] = Call,
) -> object:
    """Return a dependency that gives the call of a route.

    Args:
        roles: who is admitted; others get ``Forbidden``.
        in_browser: whether the session of a browser tells the caller, not the key.
        submits: whether the request counts against the rate of submissions, or against that of all
            others (else ``TooManyRequests``).
        cost: counts against the account's budget of concurrent requests until the request is
            answered (else ``TooManyRequests``).
        made: makes the call, or that of a page.

    It has the attribute ``roles``, so that the roles of a route can be listed.
    """
    authenticated = Depends(browser_caller if in_browser else api_caller)

    async def admitted(
        request: Request, caller: Caller = authenticated
    ) -> AsyncIterator[RequestContext]:
        # The database is read in a thread, which has a copy of the log's context.
        structlog.contextvars.bind_contextvars(key_id=caller.key_id)
        authorize(caller, roles)
        call = made(request, caller)
        state = call.state
        (state.submission_rate if submits else state.read_rate).hit(caller.account_id)
        with state.budget.enter(caller.account_id, cost):
            yield call

    admitted.roles = roles  # type: ignore[attr-defined]
    return Depends(admitted)


# All of them count against a rate of the account.
Reader = Annotated[Call, admits(MAY_SUBMIT)]
"""Reads jobs and cases. Auditors see neither media nor scores."""
Submitter = Annotated[Call, admits(MAY_SUBMIT, submits=True, cost=SCORING)]
"""Submits media that are held in memory."""
Uploader = Annotated[Call, admits(MAY_SUBMIT, submits=True, cost=1)]
"""Submits a video."""
Verifier = Annotated[Call, admits(MAY_SUBMIT | MAY_AUDIT, submits=True, cost=SCORING)]
"""Verifies evidence."""
Follower = Annotated[Call, admits(MAY_SUBMIT, cost=1)]
"""Follows a job."""
DocumentReader = Annotated[Call, admits(MAY_SUBMIT, cost=HEAVY)]
"""Reads documents that may have to be made and signed first."""
Keeper = Annotated[Call, admits(MAY_HOLD)]
"""Sets and lifts legal holds."""
Exporter = Annotated[Call, admits(MAY_HOLD, cost=HEAVY)]
"""Exports originals."""
Reviewer = Annotated[Call, admits(MAY_REVIEW)]
"""Reviews examinations and flags possible minors."""
Auditor = Annotated[Call, admits(MAY_AUDIT)]
"""Reads the audit log."""
Administrator = Annotated[Call, admits(frozenset({Role.ADMIN}))]
"""Changes what concerns the whole installation."""
