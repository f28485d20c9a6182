"""What the API's description promises, and that requests which it does not describe are refused."""

from __future__ import annotations

from typing import Any

import pytest

# ``conftest.Service``; conftest modules cannot be imported.
Service = Any


@pytest.mark.parametrize(
    ("path", "name", "detail"),
    [
        ("/v1/jobs?case_reference_=X", "case_reference_", "unknown query parameter; expected one"),
        ("/v1/cases?stat=queued&limit=1", "stat", "unknown query parameter; expected one of"),
        ("/v1/jobs?state=queued&state=failed", "state", "sent twice; send it once"),
        ("/v1/jobs/x?lang=ko", "lang", "unknown query parameter; there are none here"),
        ("/v1/revocations?since=1", "since", "unknown query parameter; there are none here"),
    ],
)
async def test_a_query_parameter_that_is_not_described_is_refused(
    service: Service, path: str, name: str, detail: str
) -> None:
    answer = await service.client.get(path)
    assert answer.status_code == 422
    (error,) = answer.json()["errors"]
    assert error["field"] == name
    assert error["detail"].startswith(detail)


async def test_an_unknown_parameter_deletes_nothing(service: Service) -> None:
    opened = (await service.client.post("/v1/cases", json={"case_reference": "A-1"})).json()
    address = f"/v1/cases/{opened['id']}"
    assert (await service.client.delete(f"{address}?dry_run=1")).status_code == 422
    assert (await service.client.get(address)).status_code == 200
    assert (await service.client.delete(address)).status_code == 204
