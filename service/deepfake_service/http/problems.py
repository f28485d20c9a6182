"""Errors over HTTP: each domain error's status and code, as RFC 9457 problem details."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from babel.core import negotiate_locale
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from pydantic import TypeAdapter, ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection, Request
from starlette.responses import Response
from starlette.routing import Match

from deepfake_service.platform import errors
from deepfake_service.platform.logs import describe, logger
from deepfake_service.platform.texts.fields import (
    LEAVE_OUT,
    ONE_OF,
    field_error_of,
    unknown_field,
)
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
_STATUS: dict[int, tuple[type[errors.ServiceError], ...]] = {
    400: (errors.MalformedRequest,),
    401: (errors.NotAuthenticated,),
    403: (errors.Forbidden, errors.CodeRejected),
    404: (errors.NotFound,),
    405: (errors.MethodNotAllowed,),
    408: (errors.UploadTimeout,),
    409: (errors.Conflict, errors.EvidenceMissing, errors.RecordAltered),
    410: (errors.Gone,),
    412: (errors.UnsupportedTus,),
    413: (errors.RequestTooLarge,),
    415: (errors.UnsupportedContentType,),
    422: (errors.InvalidRequest,),
    429: (errors.TooManyRequests,),
    # nginx's unregistered status: no client reads it, but dashboards can tell a client that left
    # from a fault of the service.
    499: (errors.ClientGone,),
    503: (
        errors.DatabaseDamaged, errors.DatabaseUnavailable,
        errors.KeyUnreadable, errors.Overloaded, errors.StorageUnavailable,
    ),
}  # fmt: skip
"""Errors that clients are told about. A class that is not here has the entry of its parent."""
_LISTED = {
    kind: (status, re.sub(r"(?<!^)(?=[A-Z])", "_", kind.__name__).lower())
    for status, kinds in _STATUS.items()
    for kind in kinds
}


def status_and_code(error: Exception) -> tuple[int, str]:
    """Return the HTTP status of an error, and its stable code, which is its own or else the name of
    the class."""
    status, code = next((_LISTED[c] for c in type(error).__mro__ if c in _LISTED), _INTERNAL)
    own = error.code if isinstance(error, errors.ServiceError) else None
    return status, own.name.lower() if own else code


_log = logger("deepfake_service.platform.errors")


@dataclass(frozen=True, slots=True)
class Problem:
    """An RFC 9457 problem: an error as clients are told about it."""

    status: int
    code: str
    error: errors.ServiceError
    headers: dict[str, str]

    def told(self, language: str) -> tuple[str, str]:
        """Return the title and the detail in ``en``, or in ``ko`` as far as there are
        translations: of a detail without one, the default message of its kind is told."""
        say, detail = translations(language).gettext, self.error.message
        if language != "en" and say(detail) == detail:
            kinds, code = type(self.error).__mro__, self.error.code
            of_class = next((kind().message for kind in kinds if kind in _LISTED), detail)
            detail = code.value if code else of_class
        return say(self.code.replace("_", " ").capitalize()), say(detail)

    def body(self, instance: str, language: str = "en") -> dict[str, object]:
        """Return the JSON members, with the id of the request as ``instance``; ``errors`` is
        present only where fields are invalid."""
        title, detail = self.told(language)
        members: dict[str, object] = {
            "type": TYPE_PREFIX + self.code,
            "title": title,
            "status": self.status,
            "detail": detail,
            "instance": instance,
        }
        if self.error.errors:
            say = translations(language).gettext
            members["errors"] = [
                {"field": e.field, "detail": e.detail if language == "en" else e.translated(say)}
                for e in self.error.errors
            ]
        return members


def problem_of(error: Exception) -> Problem:
    """Return the problem that describes ``error`` to a client.

    Clients see the message of a ``ServiceError`` below 500, or of one that asks them to come back
    later. The text of any other error may contain submitted data and is replaced.
    """
    status, code = status_and_code(error)
    if isinstance(error, errors.ServiceError) and (status < 500 or status == 503):
        headers = {}
        if status == 401:
            # RFC 6750, section 3.1: no error code for a request without a key.
            sent = isinstance(error, errors.KeyRejected)
            headers["WWW-Authenticate"] = 'Bearer error="invalid_token"' if sent else "Bearer"
        if status == 503:
            is_full = error.code is errors.Code.DISK_FULL
            headers["Retry-After"] = str(SPACE_RETRY_S if is_full else RETRY_AFTER_S)
        if isinstance(error, errors.MethodNotAllowed):
            headers["Allow"] = error.allow
        if status == 412:
            headers["Tus-Version"] = "1.0.0"
        if isinstance(error, errors.TooManyRequests):
            headers["Retry-After"] = str(error.retry_after_s)
        return Problem(status, code, error, headers)
    hidden = "The service failed. Its log has the details under the id of this request."
    return Problem(*_INTERNAL, errors.ServiceError(hidden), {})


class BodyRefused(HTTPException):
    """An error about a body that FastAPI reads: it passes on no other kind of exception."""

    def __init__(self, error: errors.ServiceError) -> None:
        super().__init__(status_and_code(error)[0])
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
    app.add_exception_handler(errors.ServiceError, _service_error)
    app.add_exception_handler(HTTPException, answer_http_error)
    app.add_exception_handler(RequestValidationError, _validation_error)


def note_failure(error: Exception, problem: Problem) -> None:
    """Log why a request failed, if that is a fault of the installation: clients are not told."""
    if problem.status == 500:
        _log.error("request_failed", failure=describe(error))
    elif problem.status == 503 and error.__cause__ is not None:  # raised from what a store said
        _log.warning("request_not_served", problem=problem.error.message, failure=describe(error))


async def _service_error(request: Request, error: Exception) -> Response:
    problem = problem_of(error)
    note_failure(error, problem)
    return response_of(problem, request)


async def answer_http_error(request: Request, error: Exception) -> Response:
    """Return the problem for an error of the framework."""
    assert isinstance(error, HTTPException)
    own: errors.ServiceError = errors.ServiceError()
    if isinstance(error, BodyRefused):
        own = error.error
    elif error.status_code == 400:  # from FastAPI, where the client left before the end of a body
        own = errors.ClientGone()
    elif error.status_code == 404:
        own = errors.NotFound("There is nothing at this address.")
    elif error.status_code == 405:
        # Starlette names the methods of the first route at the address only.
        routes = [r for r in request.app.routes if r.matches(request.scope)[0] is not Match.NONE]
        own = errors.MethodNotAllowed(set[str]().union(*(route.methods for route in routes)))
    return await _service_error(request, own)


def read_json(raw: bytes) -> object:
    """Return what the body of a request says in JSON; ``MalformedRequest`` if it is none, and
    ``InvalidRequest`` if a field is there twice: readers differ in which of the two they take."""
    try:
        return json.loads(raw, object_pairs_hook=_each_once)
    except UnicodeDecodeError as error:
        where = f"is not UTF-8, as JSON has to be: see byte {error.start}."
    except json.JSONDecodeError as error:
        where = f"is not valid JSON: see character {error.pos}, from 0."
    except (RecursionError, ValueError):
        where = "is not valid JSON, nested too deeply, or has a huge number."
    raise errors.MalformedRequest(f"The body {where}")


def _each_once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    twice = [name for name, count in Counter(name for name, _ in pairs).items() if count > 1]
    if twice:
        raise errors.invalid_field(twice[0][:64], "sent twice; send it once")
    return dict(pairs)


async def _validation_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    if isinstance(error.body, bytes):  # which FastAPI passes on if the content type is not JSON
        refused = errors.UnsupportedContentType(
            "Send JSON, with the Content-Type application/json."
        )
        return await _service_error(request, refused)
    invalid: dict[str, errors.FieldError] = {}
    body = request.scope["route"].body_field
    for each in error.errors():
        told = field_error_of(_field_of(each["loc"]), each)
        if told.detail == LEAVE_OUT and len(each["loc"]) == 2 and body is not None:
            fields = TypeAdapter(body.field_info.annotation).json_schema()["properties"]
            told = unknown_field(told.field, fields)
        known = invalid.setdefault(told.field, told)
        # A parameter that two dependencies share is checked twice, and one with alternatives has an
        # error of each.
        if known.template == told.template == ONE_OF:
            both = f"{known.values['expected']}, {told.values['expected']}".split(", ")
            values = {"expected": ", ".join(dict.fromkeys(both))}
            invalid[told.field] = errors.FieldError(
                told.field, ONE_OF.format_map(values), ONE_OF, values
            )
    return response_of(problem_of(errors.InvalidRequest.of_fields(*invalid.values())), request)


def invalid_fields(error: ValidationError) -> list[errors.FieldError]:
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
