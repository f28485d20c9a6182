"""What ``/v1/videos`` accepts and refuses."""

from __future__ import annotations

from urllib.parse import quote

from sqlalchemy import select

from deepfake_service.evidence.chain_of_custody import contradictions
from deepfake_service.platform.db import Account, Job
from deepfake_service.platform.enums import Role
from tests.support.answers import check_problem
from tests.support.jobs import VIDEO, blobs, headers, post_video, submit
from tests.unit.service.conftest import Service

END = b"\r\n--b--\r\n"


async def test_a_video_is_sealed_and_queued(service: Service) -> None:
    answer = await post_video(
        service, case_reference="R-1", platform="X", captured_at="2026-01-02T03:04:05+09:00"
    )
    assert answer.status_code == 202
    job = answer.json()
    assert answer.headers["location"] == f"/v1/jobs/{job['id']}"
    assert (job["state"], job["size"], job["result"]) == ("queued", len(VIDEO), None)
    (blob,) = blobs(service)
    assert VIDEO[:64] not in blob.read_bytes()
    case = (await service.client.get(f"/v1/cases/{job['case_id']}")).json()
    (seen,) = case["occurrences"]
    assert (seen["platform"], seen["captured_at"]) == ("X", "2026-01-01T18:04:05+00:00")
    assert case["case_reference"] == "R-1"


WRONG: list[tuple[dict[str, str], str]] = [
    *(({"frames": none}, "frames") for none in (
        "0", "2001", "00001", "000000001" + "0" * 5000, "9" * 5000, "-1", "1.5", "٣", "many")),
    ({"priority": "urgent"}, "priority"),
    ({"retention": "for ever"}, "retention"),
    ({"captured_at": "yesterday"}, "captured_at"),
    ({"captured_at": "2026-01-02T03:04:05"}, "captured_at"),
    ({"captured_at": "9999-12-31T23:59:59Z"}, "captured_at"),
    ({"source_url": "javascript:alert(1)"}, "source_url"),
    ({"source_url": "https://"}, "source_url"),
    ({"callback_url": "ftp://example.org"}, "callback_url"),
    ({"case_reference": "x" * 201}, "case_reference"),
    ({"case_reference": "a\u202eb"}, "case_reference"),
    ({"case_reference": "2026-\ufffd\ufffd-17"}, "case_reference"),
    ({"platform": "x" * 9000}, "platform"),
    ({"unknown": "1"}, "unknown"),
]  # fmt: skip


async def test_a_wrong_field_is_named_and_nothing_is_kept(service: Service) -> None:
    for fields, named in WRONG:
        answer = await post_video(service, **fields)
        assert answer.status_code == 422, fields
        assert [e["field"] for e in answer.json()["errors"]] == [named]
        assert not blobs(service)
        assert (await service.client.get("/v1/jobs")).json()["jobs"] == []


async def test_bodies_that_are_none_are_refused(service: Service) -> None:
    post = service.client.post
    none = await post("/v1/videos", files={"priority": (None, "live")})
    assert none.json()["errors"][0]["field"] == "file"
    text = await post("/v1/videos", files={"file": (None, "text")})
    assert text.status_code == 422
    two = await post("/v1/videos", files=[("file", ("a", VIDEO)), ("file", ("b", VIDEO))])
    assert two.status_code == 422
    for kind in ("text/html", "application/json", "video/mp4"):
        refused = await post("/v1/videos", content=b"x", headers={"Content-Type": kind})
        assert refused.status_code == 415
    zipped = {"Content-Type": "multipart/form-data; boundary=b", "Content-Encoding": "gzip"}
    assert (await post("/v1/videos", content=b"x", headers=zipped)).status_code == 415
    torn = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\nhalf'
    broken = {"Content-Type": "multipart/form-data; boundary=b"}
    assert (await post("/v1/videos", content=torn, headers=broken)).status_code == 400
    assert not blobs(service)


async def test_fields_in_the_query_are_refused(service: Service) -> None:
    answer = await service.client.post("/v1/videos?priority=low", files={"file": ("a", VIDEO)})
    assert answer.json()["errors"][0]["field"] == "priority"
    assert not blobs(service)


async def test_an_empty_file_is_refused(service: Service) -> None:
    answer = await service.client.post("/v1/videos", files={"file": ("secret-name.mp4", b"")})
    assert answer.status_code == 422
    (problem,) = answer.json()["errors"]
    assert (problem["field"], "empty" in problem["detail"]) == ("file", True)
    assert not blobs(service)
    assert (await service.client.get("/v1/jobs")).json()["jobs"] == []


async def test_a_field_given_twice_is_refused(service: Service) -> None:
    parts = [("file", ("v", VIDEO)), ("platform", (None, "a")), ("platform", (None, "b"))]
    answer = await service.client.post("/v1/videos", files=parts)
    assert answer.json()["errors"] == [{"field": "platform", "detail": "sent twice; send it once"}]
    early = await post_video(service, captured_at="0001-01-01T00:00:00+01:00")
    assert early.json()["errors"][0]["field"] == "captured_at"
    assert not blobs(service)


REFUSED: list[tuple[str, str, str]] = [
    (
        "https://hooks.example:25/",
        "The callback URL must use port 443 or 80.",
        "must use port 443 or 80",
    ),
    *(
        (
            url,
            "The host of the callback URL must resolve to public addresses only.",
            "its host must resolve to public addresses only",
        )
        for url in (
            "https://10.0.0.1/",
            "http://127.0.0.1/",
            "http://localhost/",
            "http://169.254.169.254/latest/meta-data",
        )
    ),
]


async def test_a_callback_that_is_refused_is_named_in_a_sentence(service: Service) -> None:
    for url, sentence, detail in REFUSED:
        answer = await post_video(service, callback_url=url)
        problem = answer.json()
        assert (answer.status_code, problem["detail"]) == (422, sentence)
        assert problem["type"] == "urn:deepfake-service:problem:callback_refused"
        assert problem["errors"] == [{"field": "callback_url", "detail": detail}]
        assert not blobs(service)
        assert (await service.client.get("/v1/jobs")).json()["jobs"] == []


async def test_every_wrong_field_is_named(service: Service) -> None:
    answer = await post_video(service, frames="0", priority="urgent", captured_at="yesterday")
    assert answer.status_code == 422
    assert {e["field"] for e in answer.json()["errors"]} == {"frames", "priority", "captured_at"}
    assert not blobs(service)


REFERENCES: list[str] = ["2026-가-17", "2026-나-17", "2026-다-17"]


async def test_text_that_is_not_utf8_is_refused_and_names_its_field(service: Service) -> None:
    """Three references in CP949, which would become one if what is unreadable were replaced."""
    for reference in REFERENCES:
        head = b"--b\r\nContent-Disposition: form-data; name="
        as_file = head + f'"file"; filename="{reference}.mp4"\r\n\r\n'.encode("cp949") + VIDEO
        as_text = head + f'"case_reference"\r\n\r\n{reference}\r\n'.encode("cp949")
        video = head + b'"file"; filename="a.mp4"\r\n\r\n' + VIDEO
        query = f"case_reference={quote(reference, encoding='cp949')}"
        form = {"Content-Type": "multipart/form-data; boundary=b"}
        client = service.client
        for answer, where in (
            (await client.post("/v1/videos", content=as_file + END, headers=form),
             'The file name in the field "file"'),
            (await client.post("/v1/videos", content=as_text + video + END, headers=form),
             'The field "case_reference"'),
            (await client.get(f"/v1/cases?{query}"), 'The field "case_reference"'),
        ):  # fmt: skip
            problem = check_problem(answer, 400, "malformed_request")
            assert problem["detail"] == f"{where} is not UTF-8."
            assert problem["errors"][0]["field"] in where
        assert not blobs(service)
        assert (await client.get("/v1/cases")).json()["cases"] == []


async def test_a_kept_file_is_examined_again_with_more_frames_in_its_case(
    service: Service,
) -> None:
    job = await submit(service)
    path = f"/v1/jobs/{job['id']}/examinations"
    admin = headers(service, Role.ADMIN)
    answer = await service.client.post(path, json={"frames": 600}, headers=admin)
    assert answer.status_code == 202, answer.text
    again = answer.json()
    assert (again["frames"], again["case_id"]) == (600, job["case_id"])
    assert again["id"] != job["id"]
    assert again["sha256"] == job["sha256"]
    repeated = await service.client.post(path, json={"frames": 600})
    assert (repeated.status_code, repeated.json()["id"]) == (200, again["id"])
    with service.database.read() as session:
        jobs = [session.get_one(Job, key["id"]) for key in (job, again)]
        assert jobs[0].account_id == jobs[1].account_id
        assert jobs[0].media_id != jobs[1].media_id
    assert not list(contradictions(service.database))  # though another account asked for it
    listed = await service.client.get("/v1/jobs")
    assert {each["id"] for each in listed.json()["jobs"]} == {job["id"], again["id"]}
    for field, wrong in (("frames", {"frames": 0}), ("around_s", {"frames": 600, "around_s": 0.5})):
        refused = await service.client.post(path, json=wrong)  # a moment needs the first result
        assert refused.json()["errors"][0]["field"] == field
    await service.client.delete(f"/v1/jobs/{job['id']}")
    assert (await service.client.post(path, json={"frames": 601})).status_code == 404
    assert (await service.client.get(f"/v1/jobs/{again['id']}")).status_code == 200
    with service.database.write() as session:
        kept = session.get_one(Job, again["id"])
        others = select(Account.id).where(Account.id != kept.account_id)
        kept.account_id = session.scalars(others).first()
    assert list(contradictions(service.database)) == [again["id"]]
