"""Who is calling: the key in ``Authorization: Bearer KEY``."""

from __future__ import annotations

from typing import Annotated

import anyio.to_thread
import structlog
from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from deepfake_service.accounts import MAY_SUBMIT, Caller, authorize
from deepfake_service.api.state import services
from deepfake_service.errors import NotAuthenticated

_bearer = HTTPBearer(auto_error=False, scheme_name="key", description="A key of this service.")


async def current_caller(
    request: Request,
    credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)],
) -> Caller:
    """Who is calling.

    Raises:
        NotAuthenticated: there is no key, or not a valid one.
    """
    if credentials is None:
        raise NotAuthenticated
    authenticate = services(request).accounts.authenticate
    caller = await anyio.to_thread.run_sync(authenticate, credentials.credentials)
    structlog.contextvars.bind_contextvars(key_id=caller.key_id)
    return caller


async def submitter(request: Request, caller: Annotated[Caller, Depends(current_caller)]) -> Caller:
    """The caller, who may submit media, and this now.

    Raises:
        Forbidden: they may not. TooManyRequests: not now.
    """
    authorize(caller, MAY_SUBMIT)
    services(request).submissions.hit(caller.account_id)
    return caller
