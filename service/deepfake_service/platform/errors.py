"""Domain errors of the service. The docstring of an error class is its default message.

Nothing here knows HTTP: ``http/problems.py`` holds the status of each error.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

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


class ServiceError(DeepfakeError):
    """The service could not do what was asked."""

    def __init__(self, message: str | None = None, *, errors: Sequence[FieldError] = ()) -> None:
        super().__init__(message)
        self.errors = tuple(errors)


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


class UploadConflict(ServiceError):
    """The upload is at another offset. Read it with HEAD, and continue from there."""


class UploadExpired(ServiceError):
    """The upload was not completed within a day and was deleted. Begin another one."""


class UnsupportedTus(ServiceError):
    """This service speaks tus 1.0.0 only. Send "Tus-Resumable: 1.0.0"."""


class CallbackRefused(ServiceError):
    """The callback URL is not allowed."""


class CallbackUnresolved(CallbackRefused):
    """The host of the callback URL cannot be looked up now. Try again later."""


# -- callers --------------------------------------------------------------------------------------


class NotAuthenticated(ServiceError):
    """A valid key is needed: send it as "Authorization: Bearer KEY"."""


class KeyRejected(NotAuthenticated):
    """The key is not valid: it may be mistyped, expired or revoked, or its account disabled."""


class SecondFactorRequired(ServiceError):
    """Keys of an account with a second factor only sign in to the console. Use a system account."""


class CodeRejected(ServiceError):
    """The code is wrong or was already used. Enter the code that your authenticator shows now."""

    def __init__(self, *, key_id: str = "") -> None:
        super().__init__()
        self.key_id = key_id


class InvitationInvalid(ServiceError):
    """This invitation expired, was used, or was replaced. Ask your administrator for a new one."""


class Forbidden(ServiceError):
    """The role of this account does not permit this action. Ask an administrator."""


class CrossSiteRequest(ServiceError):
    """The page belongs to another site or an earlier session. Go back, reload it and try again."""


class NotFound(ServiceError):
    """Not found, or not visible to this account."""


class AccountExists(ServiceError):
    """An account with this name already exists."""


class AccountUnknown(ServiceError):
    """There is no account with this name."""


class KeyUnknown(ServiceError):
    """There is no key with this id."""


class LastAdministrator(ServiceError):
    """No other administrator has a valid key. Create a key for one first."""


# -- load and availability ------------------------------------------------------------------------


class TooManyRequests(ServiceError):
    """This account exceeds its rate limit. Try again later."""

    def __init__(self, retry_after_s: int = 60, message: str | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class TooManyAtOnce(TooManyRequests):
    """This account has reached its limit of concurrent requests. Try again when one has ended."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(5, message)


class TooManyFailedSignIns(TooManyRequests):
    """Too many sign-ins from this address have failed. Try again later."""


class TooManyCodes(TooManyRequests):
    """Too many codes for this account were wrong. Try again later, or ask an administrator."""


class Overloaded(ServiceError):
    """The service is busy. Try again later."""


class NotReady(ServiceError):
    """The service is starting or stopping. Try again later."""


class DiskFull(ServiceError):
    """The disk of the service is nearly full. An operator must free space before you try again."""


class DatabaseUnavailable(ServiceError):
    """The database is not responding. Try again later."""

    reason: str | None = None
    """The reason the server gave for refusing the connection, such as a wrong password. It names
    hosts and users, so that it is for operators only."""


# -- cases ----------------------------------------------------------------------------------------


class CaseHeld(ServiceError):
    """This case is under a legal hold. Lift the hold before you delete anything in it."""


class BeingDeleted(ServiceError):
    """Something in this case is being deleted. Set the legal hold once the deletion is complete."""


class TooManyOccurrences(ServiceError):
    """This file already has as many posts as evidence can list. Record others in another case."""


class TooManyCallbacks(ServiceError):
    """This job already has five callback URLs. Send the request without one and ask for the job."""


class TooManyReviews(ServiceError):
    """This account has reached the maximum number of decisions on this examination."""


class NotReviewable(ServiceError):
    """This examination cannot be reviewed."""


class NoticeRefused(ServiceError):
    """No confirmed finding supports this notice."""


class ReviewMissing(NoticeRefused):
    """No person has reviewed the file yet. A notice rests on a finding: review the file first."""


class LooksSwitchedOff(ServiceError):
    """This service sends no requests to platforms. Look yourself, and record what you saw."""


class LinksNotOpened(ServiceError):
    """This service opens no links. Capture the page with another tool, and hand in the file."""


class NotWatched(ServiceError):
    """The service looks at posts of sent notices that have a URL, unless they may show a minor."""


class ImageryWithheld(ServiceError):
    """The pictures of this case are withheld, because a person shown may be a minor."""


# -- evidence -------------------------------------------------------------------------------------


class EvidenceMissing(ServiceError):
    """This examination has no evidence."""


class EvidenceTooLarge(ServiceError):
    """The job examined more faces than an evidence bundle holds. Submit it with fewer frames."""


class EditionUnknown(ServiceError):
    """This service has issued no evidence with this SHA-256."""


class EvidenceBusy(ServiceError):
    """The evidence is being created. Try again later."""


class KeyUnreadable(ServiceError):
    """A key or certificate file cannot be read."""


class AuditBroken(ServiceError):
    """The audit log was altered."""


class RecordAltered(ServiceError):
    """A record was altered outside this service and is not used. Ask an administrator."""


class RowUnknown(ServiceError):
    """There is no such row."""


class InvalidCheckpoint(ServiceError):
    """The checkpoint of the audit log cannot be used."""


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


class StoreMissing(StorageUnavailable):
    """The bucket or folder of file storage is missing. Create it, or mount what it is on."""


class DecryptionFailed(ServiceError):
    """Stored data cannot be decrypted: the key is wrong, or the data were altered."""
