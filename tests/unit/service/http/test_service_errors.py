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


def _kinds() -> list[type[ServiceError]]:
    found = [
        c for c in vars(errors).values() if isinstance(c, type) and issubclass(c, ServiceError)
    ]
    assert len(found) > 10
    return found


@pytest.mark.parametrize("kind", _kinds())
def test_every_error_has_a_sentence_a_status_and_a_code(kind: type[ServiceError]) -> None:
    status, code = status_and_code(kind)
    problem = problem_of(kind())
    assert kind().message.endswith((".", '"'))
    assert problem.status == status
    assert problem.code == code
    body = problem.body("request-1")
    assert list(body) == ["type", "title", "status", "detail", "instance"]
    assert body["type"] == f"urn:deepfake-service:problem:{code}"
    assert body["instance"] == "request-1"


@pytest.mark.parametrize("kind", [k for k in _kinds() if status_and_code(k)[0] != 500])
def test_every_error_that_clients_see_is_told_in_korean_too(kind: type[ServiceError]) -> None:
    english, korean = problem_of(kind()).body("r"), problem_of(kind()).body("r", "ko")
    assert re.search("[가-힣]", korean["detail"])
    assert re.search("[가-힣]", korean["title"])
    same = ("type", "status", "instance")
    assert [korean[name] for name in same] == [english[name] for name in same]


def test_a_detail_without_a_translation_is_told_as_its_kind() -> None:
    special = problem_of(errors.RequestTooLarge("A video may have at most 12 bytes."))
    general = problem_of(errors.RequestTooLarge())
    assert special.body("r", "ko") == general.body("r", "ko")
    assert special.body("r")["detail"] == "A video may have at most 12 bytes."


def test_an_error_without_an_entry_has_that_of_its_parent() -> None:
    class CaseFrozen(errors.CaseHeld):
        """This case is frozen."""

    assert problem_of(CaseFrozen()).status == problem_of(errors.CaseHeld()).status == 409


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
    errors.AccountExists, errors.AccountUnknown, errors.ClientGone, errors.CodeRejected,
    errors.EditionUnknown, errors.InvalidCheckpoint, errors.InvitationInvalid, errors.KeyUnknown,
    errors.LastAdministrator, errors.TooManyCodes,
}  # fmt: skip
"""Errors of the console and of the command line, and one that no client receives."""


def test_the_page_on_errors_lists_every_code_with_its_status() -> None:
    rows = re.findall(r"^\| (\d{3}) \| (`.+?`) \|", text_of(DOCS / "errors.md"), re.MULTILINE)
    listed = {(int(status), code) for status, codes in rows for code in re.findall(r"\w+", codes)}
    own = {status_and_code(kind) for kind in _kinds() if kind not in NOT_OF_THE_API}
    assert listed == own
