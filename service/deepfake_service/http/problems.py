"""Errors over HTTP: each domain error's status and code, as RFC 9457 problem details."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from babel.core import negotiate_locale
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection, Request
from starlette.responses import Response

from deepfake_service.platform import errors
from deepfake_service.platform.errors import (
    FieldError,
    InvalidRequest,
    MalformedRequest,
    ServiceError,
    TooManyRequests,
)
from deepfake_service.platform.logs import describe, logger
from deepfake_service.platform.texts.fields import ONE_OF, field_error_of
from deepfake_service.platform.texts.i18n import LANGUAGES, translations

MEDIA_TYPE = "application/problem+json"
TYPE_PREFIX = "urn:deepfake-service:problem:"
RETRY_AFTER_S = 2
"""Seconds after which clients of a busy service should try again: the time of some batches."""
SPACE_RETRY_S = 60
"""The same while the disk is nearly full: a client sends its whole file again."""
MAX_LANGUAGES = 500
"""Characters of the header `Accept-Language` that are read."""
REQUEST_ID_KEY = "request_id"
"""Key of the request's id in the state of an ASGI scope."""

_INTERNAL = (500, "internal_error")
_STATUS: dict[int, tuple[type[ServiceError], ...]] = {
    400: (errors.MalformedRequest,),
    401: (errors.NotAuthenticated,),
    403: (
        errors.Forbidden, errors.SecondFactorRequired, errors.CodeRejected,
        errors.CrossSiteRequest, errors.ImageryWithheld,
    ),
    404: (errors.NotFound, errors.AccountUnknown, errors.EditionUnknown, errors.KeyUnknown),
    408: (errors.UploadTimeout,),
    409: (
        errors.AccountExists, errors.BeingDeleted, errors.CaseHeld, errors.EvidenceMissing,
        errors.EvidenceTooLarge, errors.LastAdministrator,
        errors.LinksNotOpened, errors.LooksSwitchedOff, errors.NoticeRefused,
        errors.NotReviewable, errors.NotWatched,
        errors.RecordAltered, errors.ReviewMissing,
        errors.TooManyCallbacks, errors.TooManyOccurrences, errors.TooManyReviews,
        errors.UploadConflict,
    ),
    410: (errors.InvitationInvalid, errors.UploadExpired),
    412: (errors.UnsupportedTus,),
    413: (errors.RequestTooLarge,),
    415: (errors.UnsupportedContentType,),
    422: (errors.InvalidRequest, errors.CallbackRefused, errors.InvalidCheckpoint),
    429: (
        errors.TooManyRequests, errors.TooManyAtOnce, errors.TooManyFailedSignIns,
        errors.TooManyCodes,
    ),
    # nginx's unregistered status: no client reads it, but dashboards can tell a client that left
    # from a fault of the service.
    499: (errors.ClientGone,),
    503: (
        errors.CallbackUnresolved, errors.DatabaseDamaged, errors.DatabaseUnavailable,
        errors.DiskFull, errors.EvidenceBusy, errors.KeyUnreadable, errors.NotReady,
        errors.Overloaded, errors.StorageUnavailable,
    ),
}  # fmt: skip
"""Errors that clients are told about. A class that is not here has the entry of its parent."""
_LISTED = {
    kind: (status, re.sub(r"(?<!^)(?=[A-Z])", "_", kind.__name__).lower())
    for status, kinds in _STATUS.items()
    for kind in kinds
}


def status_and_code(kind: type[Exception]) -> tuple[int, str]:
    """Return the HTTP status of an error, and its stable code, which is the name of the class."""
    return next((_LISTED[c] for c in kind.__mro__ if c in _LISTED), _INTERNAL)


_CODE_OF_STATUS = {
    400: "bad_request",
    401: "unauthorized",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    406: "not_acceptable",
    408: "upload_timeout",
    409: "conflict",
    410: "gone",
    413: "request_too_large",
    415: "unsupported_media_type",
    422: "invalid_request",
    429: "too_many_requests",
    500: "internal_error",
    503: "service_unavailable",
}
"""Stable code of each bare HTTP status. The phrases of Python's ``HTTPStatus`` change: those of 413
and 422 did in 3.13."""
_STATUS_DETAIL = {
    404: "There is nothing at this address.",
    405: "This address does not support this method.",
}
_log = logger("deepfake_service.platform.errors")


def code_of(status: int) -> str:
    """Return the code of a bare HTTP status."""
    return _CODE_OF_STATUS.get(status, "error")


def title_of(code: str) -> str:
    """Return the kind of error in a few words."""
    return code.replace("_", " ").capitalize()


@dataclass(frozen=True, slots=True)
class Problem:
    """An RFC 9457 problem."""

    status: int
    code: str
    detail: str
    errors: tuple[FieldError, ...] = ()
    headers: dict[str, str] = field(default_factory=dict)
    kind: type[ServiceError] | None = None
    """The error; its default message is translated where ``detail`` is not."""

    @property
    def title(self) -> str:
        """The kind of error in a few words."""
        return title_of(self.code)

    def told(self, language: str) -> tuple[str, str]:
        """Return the title and the detail in ``en``, or in ``ko`` as far as there are
        translations."""
        say, detail = translations(language).gettext, self.detail
        if language != "en" and say(detail) == detail and self.kind is not None:
            detail = self.kind().message
        return say(self.title), say(detail)

    def body(self, instance: str, language: str = "en") -> dict[str, Any]:
        """Return the JSON members; ``errors`` is present only where fields are invalid.

        Args:
            instance: the id of the request, as in its log line.
            language: ``en``, or ``ko`` as far as there are translations.
        """
        title, detail = self.told(language)
        members: dict[str, Any] = {
            "type": TYPE_PREFIX + self.code,
            "title": title,
            "status": self.status,
            "detail": detail,
            "instance": instance,
        }
        if self.errors:
            members["errors"] = [{"field": e.field, "detail": e.detail} for e in self.errors]
        if language != "en":
            say = translations(language).gettext
            for told, error in zip(members.get("errors", ()), self.errors, strict=True):
                told["detail"] = error.translated(say)
        return members


def problem_of(error: Exception) -> Problem:
    """Return the problem that describes ``error`` to a client.

    Clients see the message of a ``ServiceError`` below 500, or of one that asks them to come back
    later. The text of any other error may contain submitted data and is replaced.
    """
    status, code = status_and_code(type(error))
    if isinstance(error, ServiceError) and (status < 500 or status == 503):
        headers = {}
        if status == 401:
            # RFC 6750, section 3.1: no error code for a request without a key.
            sent = isinstance(error, errors.KeyRejected)
            headers["WWW-Authenticate"] = 'Bearer error="invalid_token"' if sent else "Bearer"
        if status == 503:
            is_full = isinstance(error, errors.DiskFull)
            headers["Retry-After"] = str(SPACE_RETRY_S if is_full else RETRY_AFTER_S)
        if status == 412:
            headers["Tus-Version"] = "1.0.0"
        if isinstance(error, TooManyRequests):
            headers["Retry-After"] = str(error.retry_after_s)
        listed = next(kind for kind in type(error).__mro__ if kind in _LISTED)
        return Problem(status, code, error.message, error.errors, headers, listed)
    status, code = _INTERNAL
    detail = "The service failed. Its log has the details under the id of this request."
    return Problem(status, code, detail)


def problem_of_status(status: int, headers: dict[str, str] | None = None) -> Problem:
    """Return the problem for a bare HTTP status, such as the framework's own 404 or 405."""
    if status >= 500 and status != 503:
        return problem_of(ServiceError())
    code = code_of(status)
    detail = _STATUS_DETAIL.get(status, f"{title_of(code)}.")
    return Problem(status, code, detail, (), headers or {})


class BodyRefused(HTTPException):
    """An error about a body that FastAPI reads: it passes on no other kind of exception."""

    def __init__(self, error: ServiceError) -> None:
        super().__init__(status_and_code(type(error))[0])
        self.error = error


def preferred_language(request: HTTPConnection) -> str | None:
    """Return ``ko`` or ``en`` by `Accept-Language`; ``None`` if it names neither."""
    accepted = request.headers.get("accept-language", "")[:MAX_LANGUAGES]
    preferred = [part.partition(";")[0].strip() for part in accepted.split(",")]
    return negotiate_locale(preferred, LANGUAGES, sep="-")


def response_of(problem: Problem, request: HTTPConnection) -> Response:
    """Return the HTTP response for ``problem``: in English, unless its reader prefers Korean."""
    instance = str(request.scope["state"][REQUEST_ID_KEY])
    language = preferred_language(request) or "en"
    return Response(
        json.dumps(problem.body(instance, language), ensure_ascii=False),
        status_code=problem.status,
        headers={**problem.headers, "Content-Language": language},
        media_type=MEDIA_TYPE,
    )


def install(app: FastAPI) -> None:
    """Answer every error of ``app``, the framework's own included, with a problem."""
    app.add_exception_handler(ServiceError, _service_error)
    app.add_exception_handler(HTTPException, answer_http_error)
    app.add_exception_handler(RequestValidationError, _validation_error)


def note_failure(error: Exception, problem: Problem) -> None:
    """Log why a request failed, if that is a fault of the installation: clients are not told."""
    if problem.status == 500:
        _log.error("request_failed", failure=describe(error))
    elif problem.status == 503 and error.__cause__ is not None:  # raised from what a store said
        _log.warning("request_not_served", problem=problem.detail, failure=describe(error))


async def _service_error(request: Request, error: Exception) -> Response:
    problem = problem_of(error)
    note_failure(error, problem)
    return response_of(problem, request)


async def answer_http_error(request: Request, error: Exception) -> Response:
    """Return the problem for an error of the framework."""
    assert isinstance(error, HTTPException)
    if isinstance(error, BodyRefused):
        return await _service_error(request, error.error)
    problem = problem_of_status(error.status_code, dict(error.headers or {}))
    return response_of(problem, request)


async def _validation_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    if any(e["type"] == "json_invalid" for e in error.errors()):
        unreadable = MalformedRequest("The body is not valid JSON.")
        return response_of(problem_of(unreadable), request)
    invalid: dict[str, FieldError] = {}
    for each in error.errors():
        told = field_error_of(_field_of(each["loc"]), each)
        known = invalid.setdefault(told.field, told)
        # A parameter that two dependencies share is checked twice, and one with alternatives has an
        # error of each.
        if known.template == told.template == ONE_OF:
            both = f"{known.values['expected']}, {told.values['expected']}".split(", ")
            values = {"expected": ", ".join(dict.fromkeys(both))}
            invalid[told.field] = FieldError(told.field, ONE_OF.format_map(values), ONE_OF, values)
    return response_of(problem_of(InvalidRequest.of_fields(*invalid.values())), request)


def invalid_fields(error: ValidationError) -> list[FieldError]:
    """Return what is wrong with each field of a form."""
    found = error.errors(include_url=False, include_input=False)
    return [field_error_of(str(each["loc"][0])[:64], each) for each in found]


def _field_of(location: Sequence[str | int]) -> str:
    """Return the name of a field as it was sent. Of a parameter with alternatives, Pydantic also
    names the alternative."""
    place, *names = location
    if place != "body":
        names = names[:1]
    return ".".join(map(str, names)) or str(place)
