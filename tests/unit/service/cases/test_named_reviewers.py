"""People whom the submitter of a flagged case, or who flagged it, lets review it."""

from __future__ import annotations

import json
import re
from typing import Any

from deepfake_service.evidence.bundle.builder import VERDICT
from deepfake_service.evidence.bundle.zip_format import member
from deepfake_service.evidence.report.reading import Reading
from deepfake_service.evidence.report.summary import summary_of
from deepfake_service.platform.enums import Role
from deepfake_service.platform.texts.i18n import words
from tests.support import exhibits
from tests.support.answers import browse
from tests.support.jobs import all_entries, examined, headers, submit
from tests.support.notices import GOOD
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


async def test_report_and_notice_say_from_whom_the_pictures_were_withheld(service: Service) -> None:
    job = await examined(service, exhibits.video(), source_url="https://example.org/1")
    case, item = f"/v1/cases/{job['case_id']}", f"/v1/jobs/{job['id']}"
    second, first = colleague(service, "second"), headers(service, Role.ANALYST)
    decision = {"decision": "confirmed", "reason": "Compared."}
    await service.client.get(f"{item}/faces/1.png", headers=first)  # before the flag
    await service.client.put(f"{case}/minor", headers=first)
    await service.client.put(f"{case}/reviewers", json={"accounts": ["second"]}, headers=first)
    for by in (first, second):
        answer = await service.client.post(f"{item}/reviews", json=decision, headers=by)
        assert answer.status_code == 201, answer.text
    evidence = await service.client.get(f"{item}/evidence", headers=first)
    document = json.loads(member(evidence.content, VERDICT))
    assert [r["pictures_withheld"] for r in document["reviews"]] == [False, True]
    lines = summary_of(Reading(exhibits.stated(document), words("en")))["concluded"]["lines"]
    told = [n for n, line in enumerate(lines) if "were withheld from this reviewer" in line]
    assert [lines[n - 1].split(": ")[1].split(" ")[0] for n in told] == ["second"]
    (post,) = (await service.client.get(f"{case}/occurrences", headers=first)).json()["occurrences"]
    content = {
        "kind": "eu-dsa-16", "occurrence_ids": [post["id"]], "fields": GOOD["eu-dsa-16"],
    }  # fmt: skip
    notice = (await service.client.post(f"{case}/notices", json=content, headers=first)).json()
    assert (notice["basis"][0]["reviewers"], notice["basis"][0]["without_pictures"]) == (2, 1)
    assert "The pictures were withheld from 1 of the reviewers" in notice["text"]
