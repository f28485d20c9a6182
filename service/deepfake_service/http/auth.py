"""Who is calling: the key in ``Authorization: Bearer KEY``, or a browser signed in with one."""

from __future__ import annotations

import hashlib
import hmac
from typing import Annotated

import anyio.to_thread
import structlog
from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from deepfake_service.errors import CrossSiteRequest, NotAuthenticated
from deepfake_service.http.dependencies import app_state
from deepfake_service.security.accounts import MAY_HOLD, MAY_SUBMIT, Caller, authorize

COOKIE = "session"
CSRF_HEADER = "X-CSRF-Token"
SAFE = frozenset({"GET", "HEAD", "OPTIONS"})

_bearer = HTTPBearer(auto_error=False, scheme_name="key", description="A key of this service.")


def csrf_of(token: str) -> str:
    """What requests that change something must bring along with a session's cookie.

    Made from the cookie, which pages of other sites cannot read, though they make browsers send it.
    """
    return hmac.new(token.encode(), b"csrf", hashlib.sha256).hexdigest()


def check_site(request: Request) -> None:
    """Raise ``CrossSiteRequest`` where the browser says that another site makes it ask."""
    if request.headers.get("sec-fetch-site") not in (None, "same-origin", "none"):
        raise CrossSiteRequest


def check_csrf(request: Request, brought: str | None) -> None:
    """Raise ``CrossSiteRequest`` unless a request of a browser's comes from our own pages."""
    check_site(request)
    expected = csrf_of(request.cookies.get(COOKIE, ""))
    if not hmac.compare_digest(expected.encode(), (brought or "").encode()):
        raise CrossSiteRequest


async def browser(request: Request) -> Caller:
    """Who signed in in the browser that asks.

    Raises:
        NotAuthenticated: nobody did, or their key no longer works.
    """
    token = request.cookies.get(COOKIE)
    if not token:
        raise NotAuthenticated
    caller = await anyio.to_thread.run_sync(app_state(request).accounts.signed_in, token)
    structlog.contextvars.bind_contextvars(key_id=caller.key_id)
    return caller


async def current_caller(
    request: Request,
    credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)],
) -> Caller:
    """Who is calling.

    Raises:
        NotAuthenticated: there is no key, or not a valid one. CrossSiteRequest: a browser's request
        that changes something does not come from our own pages.
    """
    if credentials is None:
        caller = await browser(request)
        if request.method not in SAFE:
            check_csrf(request, request.headers.get(CSRF_HEADER))
        return caller
    authenticate = app_state(request).accounts.authenticate
    caller = await anyio.to_thread.run_sync(authenticate, credentials.credentials)
    structlog.contextvars.bind_contextvars(key_id=caller.key_id)
    return caller


async def submitter(request: Request, caller: Annotated[Caller, Depends(current_caller)]) -> Caller:
    """The caller, who may submit media, and this now.

    Raises:
        Forbidden: they may not. TooManyRequests: not now.
    """
    authorize(caller, MAY_SUBMIT)
    app_state(request).submission_rate.hit(caller.account_id)
    return caller


async def reader(caller: Annotated[Caller, Depends(current_caller)]) -> Caller:
    """The caller, who may read jobs.

    Raises:
        Forbidden: an auditor, who sees neither media nor scores.
    """
    authorize(caller, MAY_SUBMIT)
    return caller


async def reader_of_pages(caller: Annotated[Caller, Depends(browser)]) -> Caller:
    """Who signed in in the browser, and may read jobs.

    Raises:
        Forbidden: they may not.
    """
    authorize(caller, MAY_SUBMIT)
    return caller


async def keeper(caller: Annotated[Caller, Depends(current_caller)]) -> Caller:
    """The caller, who may set holds and export originals.

    Raises:
        Forbidden: they may not.
    """
    authorize(caller, MAY_HOLD)
    return caller


Reader = Annotated[Caller, Depends(reader)]
Keeper = Annotated[Caller, Depends(keeper)]
