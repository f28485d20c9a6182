from __future__ import annotations

import re

import pytest

from deepfake_models.errors import BundleError
from deepfake_service.http.problems import (
    problem_of,
    status_and_code,
)
from deepfake_service.platform import errors
from deepfake_service.platform.errors import ServiceError
from tests.support.documents import DOCS, text_of

CLASSES = {
    **dict.fromkeys(("ACCOUNT_UNKNOWN", "EDITION_UNKNOWN", "KEY_UNKNOWN"), errors.NotFound),
    **dict.fromkeys(("INVITATION_INVALID", "MEDIA_DELETED", "UPLOAD_EXPIRED"), errors.Gone),
    **dict.fromkeys(
        ("TOO_MANY_AT_ONCE", "TOO_MANY_CODES", "TOO_MANY_FAILED_SIGN_INS"), errors.TooManyRequests
    ),
    **dict.fromkeys(
        ("CROSS_SITE_REQUEST", "IMAGERY_WITHHELD", "SECOND_FACTOR_REQUIRED"), errors.Forbidden
    ),
    "CALLBACK_REFUSED": errors.InvalidRequest,
    **dict.fromkeys(
        ("CALLBACK_UNRESOLVED", "DISK_FULL", "EVIDENCE_BUSY", "NOT_READY"), errors.Overloaded
    ),
    "EVIDENCE_TOO_LARGE": errors.EvidenceMissing,
}
"""The class of an error with a code of its own, if it is not ``Conflict``."""


def _errors() -> list[ServiceError]:
    kinds = [
        c for c in vars(errors).values() if isinstance(c, type) and issubclass(c, ServiceError)
    ]
    assert len(kinds) > 10
    coded = [CLASSES.get(code.name, errors.Conflict)(code=code) for code in errors.Code]
    return [kind() for kind in kinds if kind not in (errors.Conflict, errors.Gone)] + coded


def _name(error: ServiceError) -> str:
    return status_and_code(error)[1] if error.code else type(error).__name__


@pytest.mark.parametrize("error", _errors(), ids=_name)
def test_every_error_has_a_sentence_a_status_and_a_code(error: ServiceError) -> None:
    status, code = status_and_code(error)
    problem = problem_of(error)
    assert error.message.endswith((".", '"'))
    assert problem.status == status
    assert problem.code == code
    body = problem.body("request-1")
    assert list(body) == ["type", "title", "status", "detail", "instance"]
    assert body["type"] == f"urn:deepfake-service:problem:{code}"
    assert body["instance"] == "request-1"


@pytest.mark.parametrize("error", [e for e in _errors() if status_and_code(e)[0] != 500], ids=_name)
def test_every_error_that_clients_see_is_told_in_korean_too(error: ServiceError) -> None:
    english, korean = problem_of(error).body("r"), problem_of(error).body("r", "ko")
    assert re.search("[가-힣]", korean["detail"])
    assert re.search("[가-힣]", korean["title"])
    same = ("type", "status", "instance")
    assert [korean[name] for name in same] == [english[name] for name in same]


def test_a_detail_without_a_translation_is_told_as_its_kind() -> None:
    special = problem_of(errors.RequestTooLarge("A video may have at most 12 bytes."))
    general = problem_of(errors.RequestTooLarge())
    assert special.body("r", "ko") == general.body("r", "ko")
    assert special.body("r")["detail"] == "A video may have at most 12 bytes."
    named = errors.NotFound("There is no account named 'x'.", code=errors.Code.ACCOUNT_UNKNOWN)
    kind = errors.NotFound(code=errors.Code.ACCOUNT_UNKNOWN)
    assert problem_of(named).body("r", "ko") == problem_of(kind).body("r", "ko")


def test_an_error_without_an_entry_has_that_of_its_parent() -> None:
    class Frozen(errors.RecordAltered):
        """This record is frozen."""

    assert problem_of(Frozen()).status == problem_of(errors.RecordAltered()).status == 409


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("/home/x/secret.jpg"),
        KeyError("secret.jpg"),
        BundleError("secret.jpg: altered"),
        errors.DatabaseError("secret.jpg"),
    ],
)
def test_what_went_wrong_inside_is_not_told(error: Exception) -> None:
    problem = problem_of(error)
    assert problem.status == 500
    assert "secret" not in str(problem.body("r"))


NOT_OF_THE_API = {
    "account_exists", "account_unknown", "client_gone", "code_rejected", "edition_unknown",
    "invitation_invalid", "key_unknown", "last_administrator", "too_many_codes",
}  # fmt: skip
"""Errors of the console and of the command line, and one that no client receives."""


def test_the_page_on_errors_lists_every_code_with_its_status() -> None:
    rows = re.findall(r"^\| (\d{3}) \| (`.+?`) \|", text_of(DOCS / "errors.md"), re.MULTILINE)
    listed = {(int(status), code) for status, codes in rows for code in re.findall(r"\w+", codes)}
    own = {status_and_code(error) for error in _errors()}
    assert listed == {each for each in own if each[1] not in NOT_OF_THE_API}
