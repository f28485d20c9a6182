"""Domain errors of the service, and their form over HTTP: RFC 9457 problem details.

Nothing here knows a web framework: an error becomes a status, headers and a body of plain data.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from deepfake_models.errors import DeepfakeError

MEDIA_TYPE = "application/problem+json"
TYPE_PREFIX = "urn:deepfake-service:problem:"
RETRY_AFTER_S = 2
"""What an overloaded service asks its clients to wait: some batches take about as long."""


@dataclass(frozen=True, slots=True)
class FieldError:
    """One thing wrong with a request: where, and what. Never repeats the value sent."""

    field: str
    detail: str


class ServiceError(DeepfakeError):
    """The service could not do what was asked."""

    status = 500
    code = "internal_error"

    def __init__(self, message: str | None = None, *, errors: Sequence[FieldError] = ()) -> None:
        super().__init__(message)
        self.errors = tuple(errors)


class MalformedRequest(ServiceError):
    """The request's body is not what its content type says."""

    status = 400
    code = "malformed_request"


class NotAuthenticated(ServiceError):
    """A valid key is needed: send it as "Authorization: Bearer KEY"."""

    status = 401
    code = "not_authenticated"


class Forbidden(ServiceError):
    """This key's role does not allow this."""

    status = 403
    code = "forbidden"


class CrossSiteRequest(ServiceError):
    """The request does not come from one of this service's own pages. Load the page again."""

    status = 403
    code = "cross_site_request"


class UploadTimeout(ServiceError):
    """The request's body did not arrive in time."""

    status = 408
    code = "upload_timeout"


class EvidenceMissing(ServiceError):
    """There is no evidence of this job."""

    status = 409
    code = "evidence_missing"


class EvidenceBusy(ServiceError):
    """Others are making evidence of this job at this moment. Send the request again later."""

    status = 503
    code = "evidence_busy"


class EvidenceTooLarge(EvidenceMissing):
    """More faces were examined than an evidence bundle holds: submit it with fewer frames."""

    code = "evidence_too_large"


class ImageryWithheld(ServiceError):
    """Pictures of this case are withheld, because somebody in it may be a minor."""

    status = 403
    code = "imagery_withheld"


class NotReviewable(ServiceError):
    """This cannot be reviewed."""

    status = 409
    code = "not_reviewable"


class KeyUnreadable(ServiceError):
    """A key or certificate file cannot be read."""

    status = 503
    code = "key_unreadable"


class NoticeRefused(ServiceError):
    """There is no finding that this notice could rest on."""

    status = 409
    code = "notice_refused"


class RequestTooLarge(ServiceError):
    """The request exceeds a limit on its size."""

    status = 413
    code = "request_too_large"


class UnsupportedContentType(ServiceError):
    """The request's content type is not one that is accepted here."""

    status = 415
    code = "unsupported_content_type"


class TooManyRequests(ServiceError):
    """This account sends more requests than it may. Send this one again later."""

    status = 429
    code = "too_many_requests"

    def __init__(self, retry_after_s: int = 60) -> None:
        super().__init__()
        self.retry_after_s = retry_after_s


class InvalidRequest(ServiceError):
    """A field of the request is missing or wrong."""

    status = 422
    code = "invalid_request"


class ClientGone(ServiceError):
    """The client closed the connection before it was answered."""

    # Not registered; nginx's, so that dashboards tell it from a fault of ours. Nobody reads it.
    status = 499
    code = "client_closed_request"


class Overloaded(ServiceError):
    """The service is busy. Send the request again later."""

    status = 503
    code = "overloaded"


class NotReady(ServiceError):
    """The service is starting or stopping."""

    status = 503
    code = "not_ready"


class ClassificationFailed(ServiceError):
    """A face could not be classified: a fault of the service, so no score is given."""


class SettingsError(ServiceError):
    """A setting has a value that cannot be."""


class DataDirError(ServiceError):
    """The data directory cannot be read or written."""


class AccountExists(ServiceError):
    """An account has this name already."""

    status = 409
    code = "account_exists"


class AccountUnknown(ServiceError):
    """There is no such account."""

    status = 404
    code = "account_unknown"


class KeyUnknown(ServiceError):
    """There is no such key."""

    status = 404
    code = "key_unknown"


class AuditBroken(ServiceError):
    """The audit log was altered."""


class InvalidCheckpoint(ServiceError):
    """The checkpoint of the audit log cannot be used."""

    status = 422
    code = "invalid_checkpoint"


class DatabaseError(ServiceError):
    """The database cannot be used."""


class DatabaseUnavailable(ServiceError):
    """The database does not answer. Send the request again later."""

    status = 503
    code = "database_unavailable"


class StorageError(ServiceError):
    """The blob store cannot be used."""


class StorageUnavailable(StorageError):
    """The blob store does not answer, or is full. Send the request again later."""

    status = 503
    code = "storage_unavailable"


class CallbackRefused(ServiceError):
    """The callback's address is refused."""

    status = 422
    code = "callback_refused"


class NotFound(ServiceError):
    """There is nothing of this kind with this id that this account may see."""

    status = 404
    code = "not_found"


class IdempotencyConflict(ServiceError):
    """This Idempotency-Key was used before, for another request."""

    status = 409
    code = "idempotency_conflict"


class CaseHeld(ServiceError):
    """A legal hold is set on this case: nothing of it is deleted until it is lifted."""

    status = 409
    code = "case_held"


class CaseShredded(ServiceError):
    """This case was deleted: nothing of it can be read any more."""

    status = 410
    code = "case_shredded"


class DecryptionFailed(ServiceError):
    """What is stored does not decrypt: its key is another one, or its bytes were altered."""


@dataclass(frozen=True, slots=True)
class Problem:
    """An RFC 9457 problem. ``instance`` is the request's id, also in its log line."""

    status: int
    code: str
    title: str
    detail: str
    errors: tuple[FieldError, ...] = ()
    headers: dict[str, str] = field(default_factory=dict)

    def body(self, instance: str) -> dict[str, Any]:
        """The members that every error of this service has, ``errors`` where fields are wrong."""
        members: dict[str, Any] = {
            "type": TYPE_PREFIX + self.code,
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
            "instance": instance,
        }
        if self.errors:
            members["errors"] = [{"field": e.field, "detail": e.detail} for e in self.errors]
        return members


def problem_of(error: Exception) -> Problem:
    """The problem that tells a client of ``error``.

    Only the message of a ``ServiceError`` below 500, or of one that asks to come back later, is
    for clients. Anything else may hold what was submitted and is answered without its text.
    """
    if isinstance(error, ServiceError) and (error.status < 500 or error.status == 503):
        headers = {}
        if isinstance(error, NotAuthenticated):
            headers["WWW-Authenticate"] = "Bearer"
        if error.status == 503:
            headers["Retry-After"] = str(RETRY_AFTER_S)
        if isinstance(error, TooManyRequests):
            headers["Retry-After"] = str(error.retry_after_s)
        return Problem(
            error.status, error.code, _title(error.code), error.message, error.errors, headers
        )
    return Problem(
        500,
        ServiceError.code,
        _title(ServiceError.code),
        "The service failed. The request's id is in its log.",
    )


def problem_of_status(status: int, headers: dict[str, str] | None = None) -> Problem:
    """The problem for a bare HTTP status, such as a framework's 404 or 405."""
    if status >= 500 and status != 503:
        return problem_of(ServiceError())
    try:
        phrase = HTTPStatus(status).phrase
    except ValueError:
        phrase = "Error"
    code = phrase.lower().replace(" ", "_").replace("-", "_")
    detail = _STATUS_DETAIL.get(status, phrase + ".")
    return Problem(status, code, phrase, detail, (), headers or {})


_STATUS_DETAIL = {
    404: "There is nothing at this address.",
    405: "This address does not answer this method.",
}


def _title(code: str) -> str:
    return code.replace("_", " ").capitalize()
