"""Who is calling: the key in ``Authorization: Bearer KEY``."""

from __future__ import annotations

from typing import Annotated

import structlog
from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from deepfake_service.accounts import MAY_SUBMIT, StoredKey, authenticate, authorize
from deepfake_service.api.state import services
from deepfake_service.errors import NotAuthenticated

_bearer = HTTPBearer(auto_error=False, scheme_name="key", description="A key of this service.")


async def current_key(
    request: Request,
    credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)],
) -> StoredKey:
    """The caller's key.

    Raises:
        NotAuthenticated: there is none, or not a valid one.
    """
    if credentials is None:
        raise NotAuthenticated
    key = authenticate(services(request).keys, credentials.credentials)
    structlog.contextvars.bind_contextvars(key_id=key.id)
    return key


async def submitter(key: Annotated[StoredKey, Depends(current_key)]) -> StoredKey:
    """The caller's key, which may submit media.

    Raises:
        Forbidden: it may not.
    """
    authorize(key, MAY_SUBMIT)
    return key
