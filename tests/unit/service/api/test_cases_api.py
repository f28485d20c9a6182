"""What ``/v1/cases`` answers: cases, their occurrences and originals, and pictures of a case."""

from __future__ import annotations

import unicodedata
from datetime import UTC, datetime, timedelta

import pyrage

from deepfake_service.platform.db import Case, Notice, new_id
from deepfake_service.platform.enums import Role
from deepfake_service.platform.storage import seal_json
from deepfake_service.retention.due import GRACE
from tests.support.jobs import VIDEO, all_entries, blobs, finish, headers, post_video, sweep
from tests.support.servers import files_containing
from tests.unit.service.conftest import Service


async def test_cases_of_one_reference_are_one_but_not_across_accounts(service: Service) -> None:
    first = (await post_video(service, b"a" * 99, case_reference="R-1")).json()
    second = (await post_video(service, b"b" * 99, case_reference="R-1")).json()
    third = (await post_video(service, b"c" * 99)).json()
    assert first["case_id"] == second["case_id"] != third["case_id"]
    theirs = await service.client.post(
        "/v1/videos", files={"file": ("v", b"d" * 99)}, data={"case_reference": "R-1"},
        headers=headers(service, Role.ANALYST),
    )  # fmt: skip
    assert theirs.json()["case_id"] != first["case_id"]


IN_PARTS = unicodedata.normalize("NFD", "사건 7")
"""A reference as macOS often writes it: each syllable as its letters."""


WRITTEN: list[str] = [" 사건 7", "사건 7\u3000", IN_PARTS, f"  {IN_PARTS} "]


async def test_a_reference_that_looks_the_same_is_of_the_same_case(service: Service) -> None:
    """The console, which looks for references without such spaces, found no case of theirs."""
    for written in WRITTEN:
        job = (await post_video(service, b"a" * 99, case_reference="사건 7")).json()
        again = (await post_video(service, b"a" * 99, case_reference=written)).json()
        assert again["id"] == job["id"]
        opened = await service.client.post("/v1/cases", json={"case_reference": written})
        assert (opened.status_code, opened.json()["id"]) == (200, job["case_id"])
        assert opened.json()["case_reference"] == "사건 7"
        for path, items in (("/v1/cases", "cases"), ("/v1/jobs", "jobs")):
            found = (await service.client.get(path, params={"case_reference": written})).json()
            assert len(found[items]) == 1


async def test_a_blank_reference_is_none(service: Service) -> None:
    job = (await post_video(service, case_reference="  ")).json()
    case = (await service.client.get(f"/v1/cases/{job['case_id']}")).json()
    assert case["case_reference"] is None
    picture = {"files": ("a", b"still 1 120")}
    fields = {"case_reference": " "}
    scored = await service.client.post("/v1/frames", files=picture, data=fields)
    assert scored.json()["errors"][0]["field"] == "case_reference"


async def test_an_original_is_exported_to_its_recipient_alone(service: Service) -> None:
    job = (await post_video(service)).json()
    case = (await service.client.get(f"/v1/cases/{job['case_id']}")).json()
    path = f"/v1/cases/{case['id']}/media/{case['occurrences'][0]['media_id']}/export"
    authority = pyrage.x25519.Identity.generate()
    wanted = {"recipient": str(authority.to_public())}
    assert (await service.client.post(path, json=wanted)).status_code == 403
    service.client.headers.update(headers(service, Role.ANALYST))
    answer = await service.client.post(path, json=wanted)
    assert answer.status_code == 200
    assert pyrage.decrypt(answer.content, [authority]) == VIDEO
    assert not list((service.app.state.shared.settings.data_dir / "exports").glob("*"))
    wrong = await service.client.post(path, json={"recipient": "age1nonsense"})
    assert wrong.status_code == 422
    assert wrong.json()["errors"][0]["field"] == "recipient"
    finish(service, job["id"], datetime.now(UTC) - timedelta(seconds=1))
    sweep(service)
    service.clock.advance(GRACE)
    sweep(service)
    gone = await service.client.post(path, json={"recipient": str(authority.to_public())})
    assert gone.status_code == 404


async def test_pictures_of_a_case_are_kept_as_jobs_and_others_are_not(service: Service) -> None:
    plain = await service.post(b"still 1 120")
    assert plain.json()["frames"][0]["job_id"] is None
    assert not blobs(service)
    files = [("files", (f"{n}.jpg", f"still 1 {120 + n}".encode())) for n in range(2)]
    fields = {"case_reference": "R-1", "source_url": "https://example.org/1"}
    answer = await service.client.post("/v1/frames", files=files, data=fields)
    assert answer.status_code == 200
    ids = [f["job_id"] for f in answer.json()["frames"]]
    assert len(set(ids)) == 2
    assert all(f["verdict"] for f in answer.json()["frames"])
    jobs = [(await service.client.get(f"/v1/jobs/{i}")).json() for i in ids]
    assert [j["kind"] for j in jobs] == ["frame", "frame"]
    assert jobs[0]["case_id"] == jobs[1]["case_id"]
    case = (await service.client.get(f"/v1/cases/{jobs[0]['case_id']}")).json()
    assert [o["source_url"] for o in case["occurrences"]] == ["https://example.org/1"] * 2
    lost = await service.client.post(
        "/v1/frames", files=files, data={"source_url": "https://example.org/1"}
    )
    assert lost.status_code == 422
    assert lost.json()["errors"][0]["field"] == "case_reference"


PNG = b"\x89PNG\r\n\x1a\n" + bytes(100)


async def test_a_case_is_opened_once_and_listed(service: Service) -> None:
    post = service.client.post
    first = await post("/v1/cases", json={"case_reference": "R-1"})
    again = await post("/v1/cases", json={"case_reference": "R-1"})
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json()["id"] == again.json()["id"]
    assert (await post_video(service, case_reference="R-1")).json()["case_id"] == first.json()["id"]
    await post("/v1/cases", json={})
    page = (await service.client.get("/v1/cases?limit=1")).json()
    assert [c["case_reference"] for c in page["cases"]] == [None]
    rest = (await service.client.get("/v1/cases", params={"cursor": page["next"]})).json()
    assert [c["case_reference"] for c in rest["cases"]] == ["R-1"]
    assert rest["next"] is None
    for wrong in ({"case_reference": "x" * 201}, {"case_reference": "a\x00"}, {"other": 1}):
        assert (await post("/v1/cases", json=wrong)).status_code == 422


async def test_occurrences_are_added_with_a_screenshot(service: Service) -> None:
    job = (await post_video(service, source_url="https://example.org/1")).json()
    path = f"/v1/cases/{job['case_id']}/occurrences"
    added = await service.client.post(
        path,
        data={"source_url": "https://example.org/2", "tool": "crawler 3"},
        files={"screenshot": ("s.png", PNG)},
    )
    assert added.status_code == 201
    first, second = (await service.client.get(f"/v1/cases/{job['case_id']}")).json()["occurrences"]
    assert added.json() == second
    assert (first["screenshot"], second["screenshot"]) == (False, True)
    assert second["tool"] == "crawler 3"
    shot = await service.client.get(f"{path}/{second['id']}/screenshot")
    assert shot.content == PNG
    assert shot.headers["content-type"] == "image/png"
    assert shot.headers["content-disposition"].startswith("attachment")
    assert not files_containing(service.app.state.shared.settings.data_dir, PNG)
    assert (await service.client.get(f"{path}/{first['id']}/screenshot")).status_code == 404
    theirs = {"headers": headers(service, Role.AUDITOR)}
    assert (
        await service.client.get(f"{path}/{second['id']}/screenshot", **theirs)
    ).status_code == 403
    for fields, files in (
        ({}, {"screenshot": ("s.html", b"<script>")}),
        ({"media_id": "another"}, {"screenshot": ("s.png", PNG)}),
        ({"frames": "3"}, {"screenshot": ("s.png", PNG)}),
    ):
        refused = await service.client.post(path, data=fields, files=files)
        assert refused.status_code == 422
    assert (await service.client.delete(f"/v1/cases/{job['case_id']}")).status_code == 204
    assert not blobs(service)


async def test_a_screenshot_completes_the_record_of_its_post(service: Service) -> None:
    post = {
        "source_url": "https://example.org/1",
        "note": "seen",
        "captured_at": "2026-01-02T00:00:00Z",
    }
    job = (await post_video(service, case_reference="R", **post)).json()
    path = f"/v1/cases/{job['case_id']}/occurrences"
    shot, another = {"screenshot": ("s.png", PNG)}, {"screenshot": ("s.png", PNG + b"2")}
    for _ in range(2):  # a repeated request changes nothing
        added = await service.client.post(path, data=post, files=shot)
        assert added.status_code == 200
        (seen,) = (await service.client.get(path)).json()["occurrences"]
        assert added.json() == seen
        assert (seen["screenshot"], seen["note"], seen["case_reference"]) == (True, "seen", "R")
        assert seen["captured_at"] == "2026-01-02T00:00:00+00:00"
    assert (await service.client.get(f"{path}/{seen['id']}/screenshot")).content == PNG
    await post_video(service, case_reference="R", **post)  # is not a second post either
    assert len((await service.client.get(path)).json()["occurrences"]) == 1
    # Another screenshot of the post is a record of its own: what was recorded stays.
    assert (await service.client.post(path, data=post, files=another)).status_code == 201
    assert (await service.client.post(path, data=post, files=another)).status_code == 200
    assert len(blobs(service)) == 3
    log = [(e.subject, e.detail) for e in all_entries(service) if e.action == "screenshot.added"]
    assert log == [(job["case_id"], seen["id"])]


async def test_the_same_bytes_in_a_case_with_notices_mark_them(service: Service) -> None:
    first = (await post_video(service, VIDEO + b"3", case_reference="A")).json()
    analyst = headers(service, Role.ANALYST)
    second = await service.client.post(
        "/v1/videos", files={"file": ("v", VIDEO)}, data={"case_reference": "B"}, headers=analyst
    )
    services = service.app.state.shared.services
    with service.database.write() as session:
        case = session.get_one(Case, first["case_id"])
        notice = Notice(
            id=(notice_id := new_id()),
            case_id=case.id,
            account_id=case.account_id,
            kind="eu-dsa-16",
            language="en",
            state="drafted",
            created_at=datetime.now(UTC),
        )
        key = services.vault.case_key(case)
        seal_json(key, notice, {"receipt": None, "basis": []})
        session.add(notice)
    caller = service.accounts.authenticate(service.keys[Role.ANALYST])
    services.reviews.flag_minor(caller, second.json()["case_id"], enabled=True)
    with service.database.read() as session:
        assert session.get_one(Notice, notice_id).withdraw_at is None
    await post_video(service, VIDEO, case_reference="A")
    with service.database.read() as session:
        assert session.get_one(Case, first["case_id"]).minor_at is not None
        assert session.get_one(Notice, notice_id).withdraw_at is not None
