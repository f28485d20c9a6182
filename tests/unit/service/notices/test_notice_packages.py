"""Packages of notices: what they contain, and what bounds their downloads."""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import os
import threading
import tracemalloc
import zipfile
from typing import Any

import pytest
from fastapi import Request
from sqlalchemy import select

from deepfake_service.http.admission import BUDGET, HEAVY
from deepfake_service.http.auth import check_still_authenticated
from deepfake_service.notices.kinds import KINDS
from deepfake_service.notices.package import package_of
from deepfake_service.platform.db import AuditEntry
from deepfake_service.platform.enums import Role
from tests.support import exhibits
from tests.support.jobs import examined, headers
from tests.support.notices import GOOD, confirmed, drafted
from tests.unit.service.conftest import Service, Starter


def audited(service: Service) -> list[str]:
    """Return the actions of the audit log."""
    with service.database.read() as session:
        return [str(action) for action in session.scalars(select(AuditEntry.action))]


async def test_the_package_of_a_notice_has_what_its_contents_say(service: Service) -> None:
    notice = await drafted(service)
    pdf = (await service.client.get(f"/v1/notices/{notice['id']}/notice.pdf")).content
    del service.client.headers["Authorization"]
    await service.sign_in(Role.PIPELINE)
    package = await service.client.get(f"/notices/{notice['id']}/package.zip")
    with zipfile.ZipFile(io.BytesIO(package.content)) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    contents = json.loads(files.pop("contents.json"))
    assert files["notice.pdf"] == pdf
    assert files["notice.txt"].decode() == notice["text"]
    assert contents["files"] == {n: hashlib.sha256(c).hexdigest() for n, c in files.items()}
    assert [e["job"] for e in contents["evidence"]] == [b["job"] for b in notice["basis"]]


async def test_a_notice_lists_the_reports_that_its_package_has(service: Service) -> None:
    expired = await drafted(service, language="ko")
    job = await examined(
        service, exhibits.video(), source_url="https://example.org/2", platform="Example"
    )
    decision = {"decision": "body_generated", "reason": "The clothes are not hers."}
    for method, what, given in (("POST", "reviews", decision), ("GET", "evidence", None)):
        answer = await service.client.request(
            method, f"/v1/jobs/{job['id']}/{what}", json=given,
            headers=headers(service, Role.ANALYST),
        )  # fmt: skip
        assert answer.is_success, answer.text
    path = f"/v1/cases/{job['case_id']}"
    seen = (await service.client.get(f"{path}/occurrences")).json()["occurrences"][0]["id"]
    content = {
        "kind": "kr-d4u", "language": "ko", "occurrence_ids": [seen], "fields": GOOD["kr-d4u"],
        "reports": "all",
    }  # fmt: skip
    kept = (await service.client.post(f"{path}/notices", json=content)).json()
    del service.client.headers["Authorization"]
    await service.sign_in(Role.PIPELINE)

    async def check(notice: dict[str, Any], reports: int) -> list[bytes]:
        package = await service.client.get(f"/notices/{notice['id']}/package.zip")
        with zipfile.ZipFile(io.BytesIO(package.content)) as archive:
            enclosed = [n for n in archive.namelist() if n.startswith("reports/")]
            found = [archive.read(name) for name in enclosed]
        assert len(found) == reports
        for said in ("첨부 보고서 참조", "얼굴 조작 여부 분석 보고서 1부"):
            assert (said in notice["text"]) == bool(reports)
        return found

    issued = await service.client.get(f"/v1/jobs/{job['id']}/report.pdf")
    assert await check(kept, 1) != [issued.content]  # a copy without the reasons
    reasons = {**content, "review_reasons": True}
    pipeline = headers(service, Role.PIPELINE)
    answer = await service.client.post(f"{path}/notices", json=reasons, headers=pipeline)
    assert await check(answer.json(), 1) == [issued.content]
    await check(expired, 0)
    flagged = await service.client.put(f"{path}/minor", headers=headers(service, Role.ANALYST))
    assert flagged.is_success
    of_minor = await service.client.post(
        f"{path}/notices", json=content, headers=headers(service, Role.PIPELINE)
    )
    assert of_minor.status_code == 201, of_minor.text
    assert KINDS["kr-d4u"].if_minor.of("ko") in of_minor.json()["text"]
    await check(of_minor.json(), 1)  # of the edition without faces, which the flag made


async def with_screenshots(service: Service, count: int, size: int) -> dict[str, Any]:
    """Create a notice about so many posts, each with a screenshot of ``size`` bytes, and sign in to
    the console."""
    case_id, _ = await confirmed(service)
    seen = []
    for number in range(count):
        picture = b"\x89PNG\r\n\x1a\n" + os.urandom(size)
        answer = await service.client.post(
            f"/v1/cases/{case_id}/occurrences",
            data={"source_url": f"https://example.org/{number}", "platform": "Example"},
            files={"screenshot": ("s.png", picture, "image/png")},
        )
        seen.append(answer.json()["id"])
    content = {
        "kind": "kr-d4u", "language": "en", "occurrence_ids": seen, "fields": GOOD["kr-d4u"],
    }  # fmt: skip
    made: dict[str, Any] = (
        await service.client.post(f"/v1/cases/{case_id}/notices", json=content)
    ).json()
    await service.client.get(f"/v1/notices/{made['id']}/notice.pdf")
    del service.client.headers["Authorization"]
    await service.sign_in(Role.PIPELINE)
    return made


async def test_a_package_holds_one_screenshot_at_a_time(service: Service) -> None:
    size, count = 2 * 1024 * 1024, 12
    notice = await with_screenshots(service, count, size)
    services = service.app.state.shared.services
    caller = service.accounts.authenticate(service.keys[Role.PIPELINE])
    lengths, out = [], io.BytesIO()
    tracemalloc.start()
    try:
        pieces = package_of(
            services.notice_desk, services.cases, services.evidence_store, caller, notice["id"]
        )
        for piece in pieces:
            lengths.append(len(piece))
            out.write(hashlib.sha256(piece).digest())
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert sum(length > size for length in lengths) == count
    assert peak < 6 * size
    package = await service.client.get(f"/notices/{notice['id']}/package.zip")
    with zipfile.ZipFile(io.BytesIO(package.content)) as archive:
        assert archive.testzip() is None
        contents = json.loads(archive.read("contents.json"))["files"]
        assert sum(name.startswith("screenshots/") for name in contents) == count
        for name, digest in contents.items():
            assert hashlib.sha256(archive.read(name)).hexdigest() == digest
    reads = [e for e in audited(service) if e == "screenshot.read"]
    assert len(reads) == 2 * count


async def test_an_account_downloads_few_packages_at_the_same_time(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    notice = await with_screenshots(service, 1, 10)
    begun, go_on = threading.Semaphore(0), threading.Event()

    def held(request: Request) -> None:
        begun.release()
        assert go_on.wait(60)
        check_still_authenticated(request)

    monkeypatch.setattr("deepfake_service.http.auth.CHECKED_EVERY_S", 0.0)
    monkeypatch.setattr("deepfake_service.http.auth.check_still_authenticated", held)
    path, most = f"/notices/{notice['id']}/package.zip", BUDGET // HEAVY
    downloads = [asyncio.create_task(service.client.get(path)) for _ in range(most)]
    for _ in downloads:
        assert await asyncio.to_thread(begun.acquire, timeout=60)
    refused = await service.client.get(path, headers={"Accept-Language": "en"})
    assert (refused.status_code, refused.headers["retry-after"]) == (429, "5")
    assert "limit of concurrent requests" in refused.text
    go_on.set()
    assert [(await task).status_code for task in downloads] == [200] * most
    assert (await service.client.get(path)).status_code == 200


async def test_a_package_is_cut_off_when_its_reader_signs_out(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    notice = await with_screenshots(service, 1, 10)
    pieces = []

    def second(request: Request) -> None:
        pieces.append(1)
        if len(pieces) == 2:
            service.accounts.sign_out(service.client.cookies["session"])
        check_still_authenticated(request)

    monkeypatch.setattr("deepfake_service.http.auth.CHECKED_EVERY_S", 0.0)
    monkeypatch.setattr("deepfake_service.http.auth.check_still_authenticated", second)
    with pytest.raises(AssertionError):  # of the transport: the answer has no end
        await service.client.get(f"/notices/{notice['id']}/package.zip")
    assert len(pieces) == 2


async def test_packages_count_as_reads(start: Starter) -> None:
    async with start(reads_per_account="5/minute") as service:
        await service.sign_in(Role.PIPELINE)
        statuses = [
            (await service.client.get("/notices/x/package.zip")).status_code for _ in range(7)
        ]
        assert statuses == [404] * 5 + [429] * 2
