"""Domain errors of the service. The docstring of an error class is its default message.

Nothing here knows HTTP: ``http/problems.py`` holds the status of each error.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

from deepfake_models.errors import DeepfakeError


@dataclass(frozen=True, slots=True)
class FieldError:
    """A field of a request and what is wrong with it. Never repeats the value sent."""

    field: str
    detail: str
    template: str | None = None
    """``detail`` before ``values`` were filled in, as it is translated."""
    values: Mapping[str, str | int] = dataclasses.field(default_factory=dict)

    def translated(self, translate: Callable[[str], str]) -> str:
        """Return what is wrong in another language."""
        if self.template is None:
            return translate(self.detail)
        return translate(self.template).format_map(self.values)


class Code(Enum):
    """What tells errors of one class apart: by its name clients, by its value people."""

    ACCOUNT_EXISTS = "An account with this name already exists."
    ACCOUNT_UNKNOWN = "There is no account with this name."
    BEING_DELETED = "Something in this case is being deleted. Set the hold once that is complete."
    CALLBACK_REFUSED = "The callback URL is not allowed."
    CALLBACK_UNRESOLVED = "The host of the callback URL cannot be looked up now. Try again later."
    CASE_HELD = "This case is under a legal hold. Lift the hold before you delete anything in it."
    CROSS_SITE_REQUEST = (
        "The page belongs to another site or an earlier session. Go back, reload it and try again."
    )
    DISK_FULL = (
        "The disk of the service is nearly full. An operator must free space before you try again."
    )
    EDITION_UNKNOWN = "This service has issued no evidence with this SHA-256."
    EVIDENCE_BUSY = "The evidence is being created. Try again later."
    EVIDENCE_TOO_LARGE = (
        "The job examined more faces than an evidence bundle holds. Submit it with fewer frames."
    )
    IMAGERY_WITHHELD = (
        "The pictures of this case are withheld, because a person shown may be a minor."
    )
    INVITATION_INVALID = "This invitation expired, was used or was replaced. Ask for a new one."
    KEY_UNKNOWN = "There is no key with this id."
    LAST_ADMINISTRATOR = "No other administrator has a valid key. Create a key for one first."
    LINKS_NOT_OPENED = "This service opens no links. Capture the page, and hand in the file."
    LOOKS_SWITCHED_OFF = "This service asks no platforms. Look yourself, and record what you saw."
    MEDIA_DELETED = "The file was deleted at the end of its retention. Submit it again."
    NOTICE_REFUSED = "No confirmed finding supports this notice."
    NOT_READY = "The service is starting or stopping. Try again later."
    NOT_REVIEWABLE = "This examination cannot be reviewed."
    NOT_WATCHED = "Looks are at posts of sent notices with a URL, unless they may show a minor."
    REVIEW_MISSING = "No one has reviewed the file yet. A notice rests on a finding: review it."
    SECOND_FACTOR_REQUIRED = (
        "Keys of an account with a second factor only sign in to the console. Use a system account."
    )
    TOO_MANY_AT_ONCE = "This account is at its limit of concurrent requests. Wait for one to end."
    TOO_MANY_CALLBACKS = "This job has five callback URLs already. Send none, and ask for the job."
    TOO_MANY_CODES = "Too many codes of this account were wrong. Wait, or ask an administrator."
    TOO_MANY_FAILED_SIGN_INS = "Too many sign-ins from this address have failed. Try again later."
    TOO_MANY_OCCURRENCES = "This file has as many posts as evidence can list. Use another case."
    TOO_MANY_REVIEWS = "This account can make no more decisions on this examination."
    UPLOAD_CONFLICT = "The upload is at another offset. Read it with HEAD, and continue from there."
    UPLOAD_EXPIRED = "The upload was not completed within a day and was deleted. Begin another one."


class ServiceError(DeepfakeError):
    """The service could not do what was asked."""

    def __init__(
        self,
        message: str | None = None,
        *,
        code: Code | None = None,
        errors: Sequence[FieldError] = (),
    ) -> None:
        super().__init__(message or (code and code.value))
        self.code = code
        self.errors = tuple(errors)


class Conflict(ServiceError):
    """The state of what the request is about does not permit it."""


class Gone(ServiceError):
    """What the request is about has ended."""


# -- requests -------------------------------------------------------------------------------------


class MalformedRequest(ServiceError):
    """The body of the request does not match its Content-Type."""


class MethodNotAllowed(ServiceError):
    """This address does not support this method."""

    def __init__(self, methods: Iterable[str] = ()) -> None:
        self.allow = ", ".join(sorted(methods))
        super().__init__(f"This address supports {self.allow} only." if methods else None)


class InvalidRequest(ServiceError):
    """A field of the request is missing or invalid."""

    @classmethod
    def of_fields(cls, *errors: FieldError) -> InvalidRequest:
        """Return the error that says what is wrong with the first five fields, and has all."""
        said = (f'The field "{error.field}": {error.detail}.' for error in errors[:5])
        return cls(" ".join(said), errors=errors)


def invalid_field(name: str, detail: str) -> InvalidRequest:
    """Return the error that names a field and says what is wrong with it."""
    return InvalidRequest.of_fields(FieldError(name, detail))


class RequestTooLarge(ServiceError):
    """The request exceeds a size limit."""


class UnsupportedContentType(ServiceError):
    """This endpoint does not accept the Content-Type of the request."""


class UploadTimeout(ServiceError):
    """The body of the request did not arrive in time. Send the request again."""


class ClientGone(ServiceError):
    """The client closed the connection before it received an answer."""


class UnsupportedTus(ServiceError):
    """This service speaks tus 1.0.0 only. Send "Tus-Resumable: 1.0.0"."""


# -- callers --------------------------------------------------------------------------------------


class NotAuthenticated(ServiceError):
    """A valid key is needed: send it as "Authorization: Bearer KEY"."""


class KeyRejected(NotAuthenticated):
    """The key is not valid: it may be mistyped, expired or revoked, or its account disabled."""


class CodeRejected(ServiceError):
    """The code is wrong or was already used. Enter the code that your authenticator shows now."""

    def __init__(self, *, key_id: str = "") -> None:
        super().__init__()
        self.key_id = key_id


class Forbidden(ServiceError):
    """The role of this account does not permit this action. Ask an administrator."""


class NotFound(ServiceError):
    """Not found, or not visible to this account."""


# -- load and availability ------------------------------------------------------------------------


class TooManyRequests(ServiceError):
    """This account exceeds its rate limit. Try again later."""

    def __init__(
        self, message: str | None = None, *, code: Code | None = None, retry_after_s: int = 5
    ) -> None:
        super().__init__(message, code=code)
        self.retry_after_s = retry_after_s


class Overloaded(ServiceError):
    """The service is busy. Try again later."""


class DatabaseUnavailable(ServiceError):
    """The database is not responding. Try again later."""

    reason: str | None = None
    """The reason the server gave for refusing the connection, such as a wrong password. It names
    hosts and users, so that it is for operators only."""


# -- evidence -------------------------------------------------------------------------------------


class EvidenceMissing(ServiceError):
    """This examination has no evidence."""


class KeyUnreadable(ServiceError):
    """A key or certificate file cannot be read."""


class RecordAltered(ServiceError):
    """A record was altered outside this service and is not used. Ask an administrator."""


# -- the installation -----------------------------------------------------------------------------


class SettingsError(ServiceError):
    """A setting has an invalid value."""


class DataDirError(ServiceError):
    """The data directory cannot be read or written."""


class DatabaseError(ServiceError):
    """The database cannot be used."""


class DatabaseDamaged(DatabaseError):
    """The database is damaged. Stop the service and restore a backup."""


class StorageError(ServiceError):
    """The blob store cannot be used."""


class StorageUnavailable(StorageError):
    """File storage is not responding or is full. Try again later."""


class DecryptionFailed(ServiceError):
    """Stored data cannot be decrypted: the key is wrong, or the data were altered."""
