"""Generate requests from the service's OpenAPI document: no 500, and answers as documented.

The suite runs a few requests with fixed seeds; ``make fuzz`` generates many more.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings

from tests.support.servekit import ADMIN_KEY, Site

pytestmark = pytest.mark.server

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "4"))
"""Requests generated for each operation."""


@schemathesis.serializer("application/zip")
def _raw(_: Any, value: Any) -> bytes:
    """Return a body that has no structure as bytes."""
    return value if isinstance(value, bytes) else str(value).encode()


EXCLUDED = [
    # Pydantic accepts "1" and 1.0 for 1, where the document says integer.
    schemathesis.checks.negative_data_rejection,
    # A generated id or URL is well formed, but refers to nothing.
    schemathesis.checks.positive_data_acceptance,
]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    opened = Site(
        tmp_path_factory.mktemp("fuzz"),
        {
            "DEEPFAKE_SUBMISSIONS_PER_ACCOUNT": "9999/second",
            "DEEPFAKE_FAILED_SIGN_INS_PER_ADDRESS": "9999/second",
        },
    )
    opened.serve()
    yield opened
    opened.close()


def test_generated_requests_are_answered_as_documented(site: Site) -> None:
    schema = schemathesis.openapi.from_url(f"{site.url}/openapi.json")
    operations = [result.ok() for result in schema.get_all_operations()]
    assert operations
    for operation in operations:

        @given(case=operation.as_strategy())
        @settings(
            max_examples=EXAMPLES,
            derandomize="FUZZ_EXAMPLES" not in os.environ,
            database=None,
            suppress_health_check=list(HealthCheck),
        )
        def answered(case: Any) -> None:
            case.call_and_validate(
                headers={"Authorization": f"Bearer {ADMIN_KEY}"},
                timeout=60,
                excluded_checks=EXCLUDED,
            )

        answered()


def test_the_service_is_still_ready(site: Site) -> None:
    with site.client as client:
        assert client.get("/readyz").status_code == 200
