"""The page on which files are submitted: what it checks first, and what it shows afterwards."""

from __future__ import annotations

import re
from datetime import timedelta
from importlib.resources import files
from typing import Any

import pytest
from pydantic import ValidationError
from sqlalchemy import func, select

from deepfake_service.accounts.read_audit import WINDOW
from deepfake_service.http.submission_form import PictureForm
from deepfake_service.platform.db import AuditEntry, Case, Job
from deepfake_service.platform.enums import Role
from deepfake_service.platform.storage import open_json, seal_json
from deepfake_service.web.submit import MAX_JOBS, MAX_ROWS
from tests.support import exhibits, footage
from tests.support.answers import browse
from tests.support.jobs import examined, headers, post_video
from tests.unit.service.conftest import Service

MOST_SCRIPT_BYTES = 96_500


async def token_of(service: Service, role: Role = Role.ANALYST, language: str = "ko") -> str:
    """Sign in and return the CSRF token of pages."""
    return (await browse(service, role, language))["csrf"]


async def check(service: Service, token: str, *rows: dict[str, Any]) -> Any:
    answer = await service.client.post(
        "/submit/check", json=list(rows), headers={"X-CSRF-Token": token}
    )
    return answer.json()["rows"] if answer.status_code == 200 else answer.status_code


async def listed(service: Service, *ids: str, known: tuple[str, ...] = ()) -> dict[str, str]:
    """Return the rows of jobs as the page gets them, by id, in order."""
    query = [("job", i) for i in ids] + [("known", i) for i in known]
    answer = await service.client.get("/submit/jobs", params=query)
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    rows = answer.text.split('<li id="job-')[1:]
    return {row.partition('"')[0]: row for row in rows}


@pytest.mark.parametrize(
    ("language", "expected"),
    [
        ("ko", ["200자까지 쓸 수 있습니다", "http:// 또는 https://로 시작하는 URL을 입력하십시오"]),
        ("en", ["at most 200 characters are allowed",
                "enter a URL that begins with http:// or https://"]),
    ],
)  # fmt: skip
async def test_wrong_cells_are_named_in_the_readers_language(
    service: Service, language: str, expected: list[str]
) -> None:
    token = await token_of(service, language=language)
    good = {"case_reference": "C-1", "captured_at": "2026-01-31 21:00+09:00", "platform": ""}
    found = await check(service, token, good, {"platform": "x" * 201, "source_url": "t.me/1"})
    assert found[0] == []
    assert {e["field"]: e["detail"] for e in found[1]} == dict(
        zip(("platform", "source_url"), expected, strict=True)
    )


@pytest.mark.parametrize(
    "row",
    [
        {"captured_at": "2026-01-31 21:00"}, {"captured_at": "yesterday"},
        {"captured_at": "2226-01-31T21:00Z"},
        {"note": "two\nlines"}, {"note": "n" * 2001}, {"source_url": "ftp://x"},
        {"source_url": "https://" + "x" * 5000}, {"account": "a\u202eb"}, {"colour": "red"},
        {"case_reference": "R", "source_url": "https://example.org/1", "note": "seen"},
    ],
)  # fmt: skip
async def test_the_page_and_the_api_have_the_same_rules(
    service: Service, row: dict[str, str]
) -> None:
    (found,) = await check(service, await token_of(service), row)
    try:
        PictureForm.model_validate(row)
        expected = []
    except ValidationError as error:
        expected = [problem["loc"][0] for problem in error.errors()]
    assert [e["field"] for e in found] == expected
    assert all("{" not in e["detail"] for e in found)


async def test_priority_and_frames_are_checked_as_well(service: Service) -> None:
    token = await token_of(service)
    good, *bad = await check(
        service, token,
        {"priority": "live", "frames": "32"}, {"frames": "0"}, {"frames": "2001"},
        {"frames": "many"}, {"priority": "urgent"},
    )  # fmt: skip
    assert good == []
    assert [row[0]["field"] for row in bad] == ["frames", "frames", "frames", "priority"]
    details = ["1 이상이어야 합니다", "2000 이하여야 합니다", "정수여야 합니다"]
    assert [row[0]["detail"] for row in bad[:3]] == details


async def test_rows_are_checked_for_the_page_only(service: Service) -> None:
    token = await token_of(service)
    assert await check(service, "x" * 64, {}) == 403
    assert await check(service, token, *[{}] * (MAX_ROWS + 1)) == 422
    assert await check(service, token, {"note": ["a"]}) == 422
    await service.sign_in(Role.AUDITOR)
    assert (await service.client.get("/submit/jobs")).status_code == 403
    service.client.cookies.clear()
    answer = await service.client.post("/submit/check", json=[{}])
    assert (answer.status_code, answer.headers["location"]) == (303, "/sign-in?next=/&lost=yes")


@pytest.mark.parametrize(
    ("accepted", "language", "expected"),
    [
        ("ko", "ko", "2026-01-31 21:00과 같은 형식으로 입력하십시오"),
        ("de, ko-KR;q=0.5", "ko", "2026-01-31 21:00과 같은 형식으로 입력하십시오"),
        ("en", "en", "send a time in ISO 8601, for example 2026-01-31T12:00:00Z"),
        ("*", "en", "send a time in ISO 8601, for example 2026-01-31T12:00:00Z"),
        (None, "en", "send a time in ISO 8601, for example 2026-01-31T12:00:00Z"),
    ],
)
async def test_the_api_says_what_is_wrong_in_the_language_of_the_page(
    service: Service, accepted: str | None, language: str, expected: str
) -> None:
    answer = await service.client.post(
        "/v1/videos",
        files={"file": ("a.mp4", b"a video")},
        data={"captured_at": "yesterday"},
        headers=headers(service, Role.ANALYST)
        | ({"Accept-Language": accepted} if accepted else {}),
    )
    told = (answer.status_code, answer.headers["Content-Language"], answer.json()["errors"])
    assert told == (422, language, [{"field": "captured_at", "detail": expected}])


async def test_sent_files_are_listed_by_the_ids_of_their_jobs(service: Service) -> None:
    await token_of(service)
    other = (await post_video(service, b"another account", Role.PIPELINE)).json()["id"]
    sent = []
    for name, reference in (("한 영상.mp4", "R-1"), ("<b>.png", None)):
        answer = await service.client.post(
            "/v1/videos",
            files={"file": (name, name.encode())},
            data={"case_reference": reference} if reference else {},
            headers=headers(service, Role.ANALYST),
        )
        sent.append(answer.json()["id"])
    rows = await listed(service, sent[1], other, sent[0], "nothing", known=(sent[0],))
    assert list(rows) == [sent[1], sent[0]]
    first, second = rows[sent[0]], rows[sent[1]]
    assert "한 영상.mp4" in first
    assert "R-1" in first
    assert "&lt;b&gt;.png" in second
    # What existed before is not offered for cancellation.
    assert ('class="plain cancel"' in first, 'class="plain cancel"' in second) == (False, True)
    assert ("이미 제출된" in first, "이미 제출된" in second) == (True, False)
    too_many = await service.client.get("/submit/jobs", params=[("job", "x")] * (MAX_JOBS + 1))
    assert too_many.status_code == 422


async def test_what_is_under_a_legal_hold_is_not_offered_for_cancellation(
    service: Service,
) -> None:
    job = (await post_video(service, b"held", Role.ADMIN, case_reference="R")).json()
    held = await service.client.put(
        f"/v1/cases/{job['case_id']}/hold", headers=headers(service, Role.ADMIN)
    )
    assert held.status_code == 204
    await token_of(service, Role.ADMIN)
    assert 'class="plain cancel"' not in (await listed(service, job["id"]))[job["id"]]


async def test_verdicts_and_reasons_of_sent_files_are_shown(service: Service) -> None:
    broken = await examined(service, b"no video at all", role=Role.ANALYST)
    whole = await examined(service, exhibits.video(), role=Role.ANALYST, case_reference="R")
    await token_of(service)
    rows = await listed(service, broken["id"], whole["id"])
    assert "읽을 수 없는 파일" in rows[broken["id"]]
    assert "디코딩할 수 없" in rows[broken["id"]]
    with service.database.read() as session:
        verdict = session.get_one(Job, whole["id"]).verdict
    assert f'class="verdict {verdict}"' in rows[whole["id"]]
    assert not any("data-waits" in row or "<progress" in row for row in rows.values())
    await service.client.delete(f"/v1/jobs/{whole['id']}", headers=headers(service, Role.ANALYST))
    assert list(await listed(service, broken["id"], whole["id"])) == [broken["id"]]


async def test_a_reason_that_a_newer_worker_stored_is_shown_by_its_code(service: Service) -> None:
    job = await examined(service, b"no video at all" * 9)
    reason = {"code": "of_the_future", "detail": "not known here"}
    with service.database.write() as session:
        row = session.get_one(Job, job["id"])
        key = service.app.state.shared.services.vault.case_key(session.get_one(Case, row.case_id))
        seal_json(key, row, {**open_json(key, row), "reasons": [reason]})
    await token_of(service, Role.PIPELINE, "en")
    row_shown = (await listed(service, job["id"]))[job["id"]]
    assert "of_the_future" in row_shown
    assert "unreadable file" not in row_shown


async def test_who_sent_a_file_beyond_the_limits_is_told_to_send_a_smaller_copy(
    service: Service,
) -> None:
    job = await examined(service, footage.huge_png(30_000))
    await token_of(service, Role.PIPELINE)
    item = (await service.client.get(f"/items/{job['id']}")).text
    assert "가로·세로 픽셀 수가 검사 한도를 넘습니다" in item
    assert "길이나 크기를 줄인 사본을 다시 제출하고" in item
    assert "다시 내려받거나" not in item


async def test_reading_names_is_audited_once_a_window(service: Service) -> None:
    def readings() -> int:
        entries = select(func.count()).where(AuditEntry.action == "result.read")
        with service.database.read() as session:
            return session.scalar(entries) or 0

    job = (await post_video(service, b"one", Role.ANALYST)).json()["id"]
    await token_of(service)
    await listed(service, "nothing")
    assert readings() == 0
    for _ in range(3):
        await listed(service, job)
    assert readings() == 1
    service.clock.advance(WINDOW + timedelta(seconds=1))
    await token_of(service)
    await listed(service, job)
    assert readings() == 2


def script(name: str) -> str:
    return (files("deepfake_service.web") / "static" / name).read_text(encoding="utf-8")


def test_tables_on_the_page_have_the_columns_of_the_api() -> None:
    found = re.search(r"COLUMNS = \[([^\]]+)\]", script("delimited.js"))
    assert found
    assert set(re.findall(r'"(\w+)"', found[1])) == {"file", *PictureForm.model_fields}
    assert found[1].startswith('"file"')


@pytest.mark.parametrize(("language", "first"), [("ko", "게시한 계정"), ("en", "Posted by")])
async def test_columns_are_named_in_both_languages(
    service: Service, language: str, first: str
) -> None:
    await token_of(service, language=language)
    page = (await service.client.get("/submit", headers={"Accept-Language": language})).text
    heads = re.findall(r'data-column="(\w+)" data-names="([^"]+)"', page)
    assert {name for name, _ in heads} == {"file", *PictureForm.model_fields}
    names = dict(heads)["account"].split("|")
    assert names[0].startswith(first)
    assert set(names) == {"게시한 계정", "Posted by (account)"}
    assert "DEEPFAKE_CAPTURE_LINKS" not in page  # which is for administrators
    await token_of(service, Role.ADMIN, language)
    assert "DEEPFAKE_CAPTURE_LINKS=true" in (await service.client.get("/submit")).text


def test_scripts_are_served_and_stay_small() -> None:
    folder = files("deepfake_service.web") / "static"
    scripts = [entry for entry in folder.iterdir() if entry.name.endswith(".js")]
    assert sum(len(entry.read_bytes()) for entry in scripts) < MOST_SCRIPT_BYTES
