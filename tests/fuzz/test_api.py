"""Generate requests from the service's OpenAPI document, in every role and without a key: no 500,
answers as documented, and none to a role that may not have it.

The suite runs a few requests with fixed seeds; ``make fuzz`` generates many more.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.specs.openapi.checks import ignored_auth

from deepfake_service.platform.enums import Role
from tests.support.answers import authenticates, roles_of, routes_of
from tests.support.servers import ADMIN_KEY, Site
from tests.support.stand_ins import unstarted_app

pytestmark = pytest.mark.server

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "2"))
"""Requests generated for each operation, for a role that it admits."""
REFUSED_EXAMPLES = max(1, EXAMPLES // 4)
"""Requests generated for each operation, for a role that it does not admit."""

WITHOUT_KEY = "without a key"
CALLERS = (WITHOUT_KEY, *Role)
UNREAD = {400, 412, 413, 415, 422}
"""Statuses of a request that cannot be read, whoever sends it."""


@schemathesis.serializer("application/zip", "application/offset+octet-stream")
def _raw(_: Any, value: Any) -> bytes:
    """Return a body that has no structure as bytes."""
    return value if isinstance(value, bytes) else str(value).encode()


EXCLUDED = [
    # Pydantic accepts "1" and 1.0 for 1, where the document says integer.
    schemathesis.checks.negative_data_rejection,
    # A generated id or URL is well formed, but refers to nothing.
    schemathesis.checks.positive_data_acceptance,
    # Wrong keys are sent so often that they get 429. Each route is called without a key as well.
    ignored_auth,
]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    unlimited = "9999/second"
    opened = Site(
        tmp_path_factory.mktemp("fuzz"),
        {
            "DEEPFAKE_SUBMISSIONS_PER_ACCOUNT": unlimited,
            "DEEPFAKE_READS_PER_ACCOUNT": unlimited,
        },
    )
    opened.serve()
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def keys(site: Site) -> dict[str, str]:
    """A key of each role but the administrator's, which the tests have."""
    others = [role for role in Role if role is not Role.ADMIN]
    return {Role.ADMIN: ADMIN_KEY, **{role: site.create_key(role, role) for role in others}}


@pytest.fixture(scope="module")
def admitted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, frozenset[Role]]:
    """The roles that each route admits; of public ones all, as they admit those without a key."""
    app = unstarted_app(tmp_path_factory.mktemp("routes") / "var")
    return {
        name: frozenset.intersection(frozenset(Role), *roles_of(dependant))
        for name, dependant in routes_of(app)
        if authenticates(dependant)
    }


@pytest.fixture(scope="module")
def operations(site: Site) -> list[Any]:
    """The operations of the service's description, for all callers: reading it takes a second."""
    schema = schemathesis.openapi.from_url(f"{site.url}/openapi.json")
    found = [result.ok() for result in schema.get_all_operations()]
    assert found
    return found


@pytest.mark.parametrize("caller", CALLERS)
def test_generated_requests_are_answered_as_documented(
    operations: list[Any], keys: dict[str, str], admitted: dict[str, frozenset[Role]], caller: str
) -> None:
    key = keys.get(caller)
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    for operation in operations:
        roles = admitted.get(f"{operation.method.upper()} {operation.path}")
        send_generated(operation, headers, is_admitted=roles is None or caller in roles)


def send_generated(operation: Any, headers: dict[str, str], *, is_admitted: bool) -> None:
    """Send generated requests of an operation, and check each answer."""
    refusal = 403 if headers else 401

    @given(case=operation.as_strategy())
    @settings(
        max_examples=EXAMPLES if is_admitted else REFUSED_EXAMPLES,
        derandomize="FUZZ_EXAMPLES" not in os.environ,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    def answered(case: Any) -> None:
        case.headers.pop("Authorization", None)  # it could not be told from the caller's
        answer = case.call_and_validate(headers=headers, timeout=60, excluded_checks=EXCLUDED)
        assert answer.status_code < 500 or answer.status_code == 503
        assert is_admitted or answer.status_code in UNREAD | {refusal}

    answered()


def test_the_service_is_still_ready(site: Site) -> None:
    with site.client as client:
        assert client.get("/readyz").status_code == 200
