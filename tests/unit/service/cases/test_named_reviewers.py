"""People whom the submitter of a flagged case, or who flagged it, lets review it."""

from __future__ import annotations

import re
from typing import Any

from deepfake_service.platform.db.enums import Role
from tests.support.answers import browse
from tests.support.jobs import all_entries, headers, submit
from tests.unit.service.conftest import Service


def colleague(service: Service, name: str, kind: Any = "person") -> dict[str, str]:
    """Create another analyst; return the headers of their requests."""
    service.accounts.create(name, kind, Role.ANALYST)
    return {"Authorization": f"Bearer {service.accounts.create_key(name).text}"}


async def test_named_people_review_a_flagged_case_and_nobody_else_does(service: Service) -> None:
    job = await submit(service, case_reference="R", source_url="https://example.org/1")
    case, path = f"/v1/cases/{job['case_id']}", f"/v1/cases/{job['case_id']}/reviewers"
    second, other = colleague(service, "second"), colleague(service, "other")
    colleague(service, "robot", "system")
    flagger = headers(service, Role.ANALYST)

    async def named(*names: str, by: dict[str, str]) -> int:
        answer = await service.client.put(path, json={"accounts": names}, headers=by)
        return answer.status_code

    async def seen(by: dict[str, str]) -> tuple[int, bool]:
        listed = (await service.client.get("/v1/cases", headers=by)).json()["cases"]
        status = (await service.client.get(case, headers=by)).status_code
        return status, job["case_id"] in {c["id"] for c in listed}

    assert await named("second", by=flagger) == 404  # nothing is restricted yet
    assert (await service.client.put(f"{case}/minor", headers=flagger)).status_code == 204
    assert await seen(second) == (404, False)
    assert await named("second", by=second) == 404
    for wrong, field in (("robot", "accounts.1"), ("nobody", "accounts.1"), (None, "accounts")):
        names = ["second", wrong] if wrong else list("abcdef")
        answer = await service.client.put(path, json={"accounts": names}, headers=flagger)
        (error,) = answer.json()["errors"]
        assert error["field"] == field
        assert ("no person of this name" in error["detail"]) is (wrong is not None)
    assert await named("second", by=headers(service, Role.PIPELINE)) == 204  # who submitted it
    assert await seen(second) == (200, True)
    assert await seen(other) == (404, False)
    assert await named("other", by=second) == 403
    assert await named("second", "other", by=flagger) == 204
    assert await seen(other) == (200, True)
    assert await named(by=headers(service, Role.ADMIN)) == 204
    assert await seen(second) == (404, False)
    assert await named("second", by=flagger) == 204
    assert (await service.client.delete(f"{case}/minor", headers=flagger)).status_code == 204
    assert (await service.client.put(f"{case}/minor", headers=flagger)).status_code == 204
    assert await seen(second) == (404, False)  # a new flag begins with nobody
    log = [e for e in all_entries(service) if e.action == "reviewers.named"]
    assert [len((e.detail or "").split()) for e in log] == [1, 2, 0, 1]


async def test_reviewers_are_named_on_the_page_of_the_case(service: Service) -> None:
    job = await submit(service, case_reference="R", source_url="https://example.org/1")
    colleague(service, "둘째")
    flagger = headers(service, Role.ANALYST)
    await service.client.put(f"/v1/cases/{job['case_id']}/minor", headers=flagger)
    csrf = await browse(service, Role.ANALYST)
    path = f"/cases/{job['case_id']}"
    page = (await service.client.get(path)).text
    assert re.search(r'name="accounts" value="둘째"\s*>', page)
    saved = await service.client.post(f"{path}/reviewers", data={**csrf, "accounts": "둘째"})
    assert saved.status_code == 303
    assert re.search(r'value="둘째"\s+checked', (await service.client.get(path)).text)
