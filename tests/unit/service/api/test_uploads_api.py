"""Uploads by tus: in parts, over broken connections, and what is left of them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import timedelta
from email.utils import parsedate_to_datetime
from typing import Any

import httpx
import pytest
from sqlalchemy import select

from deepfake_service.examination import uploads
from deepfake_service.platform.db import AuditEntry
from deepfake_service.platform.disk_space import MIN_FREE_BYTES, DiskSpace
from deepfake_service.platform.enums import Role
from deepfake_service.platform.storage.vault import LONGEST_UPLOAD
from deepfake_service.retention.orphans import COMMITTED_WITHIN, delete_orphans
from tests.support.answers import check_problem
from tests.support.jobs import VIDEO, blobs, headers, post_video
from tests.unit.service.conftest import Service, Starter

PART = 10_000
TUS = {"Tus-Resumable": "1.0.0"}


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "PART_BYTES", PART)


async def begin(service: Service, length: int = len(VIDEO), **options: Any) -> str:
    """Begin an upload and return its address."""
    sent = {**TUS, "Upload-Length": str(length), **options.pop("headers", {})}
    answer = await service.client.post("/v1/uploads", headers=sent, **options)
    assert answer.status_code == 201, answer.text
    return answer.headers["location"]


async def send(
    service: Service, address: str, body: bytes, offset: int, **sent: str
) -> httpx.Response:
    kind = {"Content-Type": "application/offset+octet-stream", "Upload-Offset": str(offset)}
    return await service.client.patch(address, content=body, headers={**TUS, **kind, **sent})


def actions(service: Service) -> list[str]:
    """Return what the audit log has of uploads and submissions."""
    with service.database.read() as session:
        logged = session.scalars(select(AuditEntry.action).order_by(AuditEntry.number)).all()
    return [a for a in logged if a.startswith(("upload.", "media.submitted"))]


async def offset_of(service: Service, address: str) -> int:
    answer = await service.client.head(address, headers=TUS)
    assert answer.status_code == 200
    assert (answer.headers.get("content-length"), "content-type" in answer.headers) == ("0", False)
    return int(answer.headers["upload-offset"])


async def break_off(service: Service, address: str, pieces: Sequence[bytes], offset: int) -> None:
    """Send ``pieces``, and close the connection before the body has ended."""
    left = list(pieces)

    async def receive() -> dict[str, Any]:
        if left:
            return {"type": "http.request", "body": left.pop(0), "more_body": True}
        return {"type": "http.disconnect"}

    async def answer(_: object) -> None:
        pass

    sent = {
        **service.client.headers,
        **TUS,
        "content-type": "application/offset+octet-stream",
        "upload-offset": str(offset),
    }
    scope = {
        "type": "http", "http_version": "1.1", "method": "PATCH", "scheme": "http",
        "path": address, "raw_path": address.encode(), "query_string": b"", "root_path": "",
        "headers": [(k.lower().encode(), v.encode()) for k, v in sent.items()],
        "client": ("127.0.0.1", 1), "server": ("service", 80),
    }  # fmt: skip
    await service.app(scope, receive, answer)


async def test_an_upload_in_one_piece_becomes_the_job_that_a_video_becomes(
    service: Service,
) -> None:
    address = await begin(service)
    answer = await send(service, address, VIDEO, 0)
    assert (answer.status_code, answer.headers["upload-offset"]) == (204, str(len(VIDEO)))
    fields = {"case_reference": "R-1", "frames": 7, "file_name": "C:\\secret\\clip.mp4"}
    submitted = await service.client.post(f"{address}/job", json=fields)
    assert submitted.status_code == 202, submitted.text
    job = submitted.json()
    assert submitted.headers["location"] == f"/v1/jobs/{job['id']}"
    assert (job["state"], job["size"]) == ("queued", len(VIDEO))
    assert len(blobs(service)) == 1
    # The same as a video, down to the one job of equal submissions.
    again = await post_video(service, case_reference="R-1", frames="7")
    assert (again.status_code, again.json()["id"]) == (200, job["id"])
    assert again.json()["sha256"] == job["sha256"]
    caller = service.accounts.authenticate(service.keys[Role.PIPELINE])
    queries = service.app.state.shared.services.queries
    assert [item.name for item in queries.items_of(caller, [job["id"]])] == ["clip.mp4"]
    # A lost answer is had by asking again.
    repeated = await service.client.post(f"{address}/job", json=fields)
    assert (repeated.status_code, repeated.json()["id"]) == (200, job["id"])
    assert await offset_of(service, address) == len(VIDEO)
    assert actions(service) == ["upload.created", "media.submitted"]


async def test_a_repeated_submission_of_an_upload_loses_neither_its_case_nor_its_url(
    service: Service,
) -> None:
    """The bytes are gone with the first job: another case cannot have them, and must not be told
    that it has."""
    address = await begin(service)
    await send(service, address, VIDEO, 0)
    fields: dict[str, Any] = {"case_reference": "R-1"}
    job = (await service.client.post(f"{address}/job", json=fields)).json()
    seen = {**fields, "source_url": "https://example.org/post/2"}
    again = await service.client.post(f"{address}/job", json=seen)
    assert (again.status_code, again.json()["id"]) == (200, job["id"])
    listed = await service.client.get(f"/v1/cases/{job['case_id']}/occurrences")
    assert seen["source_url"] in [o["source_url"] for o in listed.json()["occurrences"]]
    for other in ({"case_reference": "R-2"}, {}, {**fields, "frames": 7}):
        answer = await service.client.post(f"{address}/job", json=other)
        check_problem(answer, 410, "upload_expired")
    assert (await service.client.delete(f"/v1/jobs/{job['id']}")).status_code == 204
    assert (await service.client.head(address, headers=TUS)).status_code == 404


@pytest.mark.parametrize("piece", [1_000, 7_777, 100_000])
async def test_a_broken_connection_costs_nothing_that_arrived(service: Service, piece: int) -> None:
    for cut in (0, 1, PART - 1, PART, PART + 1, 2 * PART, 3 * PART + 17, len(VIDEO) - 1):
        address = await begin(service)
        pieces = [VIDEO[:cut][at : at + piece] for at in range(0, cut, piece)]
        await break_off(service, address, pieces, 0)
        assert await offset_of(service, address) == cut
        assert (await send(service, address, VIDEO[cut:], cut)).status_code == 204
        job = (await service.client.post(f"{address}/job", json={})).json()
        assert job["sha256"] == (await post_video(service)).json()["sha256"], cut


async def test_nothing_of_an_upload_can_be_read_from_the_disk(service: Service) -> None:
    """Its key is in its address only, which is neither in the database nor in a log."""
    address = await begin(service)
    await send(service, address, VIDEO, 0)
    parts = blobs(service)
    assert len(parts) == -(-len(VIDEO) // PART)
    folder = service.app.state.shared.settings.data_dir
    token = address.rpartition("/")[2]
    for path in (p for p in folder.rglob("*") if p.is_file()):
        stored = path.read_bytes()
        assert VIDEO[1_000:1_064] not in stored
        assert token.encode() not in stored


@pytest.mark.parametrize("offset", [0, PART - 1, 2 * PART, len(VIDEO)])
async def test_another_offset_is_refused_and_the_right_one_named(
    service: Service, offset: int
) -> None:
    address = await begin(service)
    await send(service, address, VIDEO[:PART], 0)
    answer = await send(service, address, b"x", offset)
    problem = check_problem(answer, 409, "upload_conflict")
    assert f"at offset {PART}" in problem["detail"]


async def test_of_two_requests_at_one_offset_one_is_kept(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first connection may still be open when its client goes on over another one."""
    address = await begin(service)
    services = service.app.state.shared.services
    find = services.uploads.find
    caller = service.accounts.authenticate(service.keys[Role.PIPELINE])
    stale = find(caller, address.rpartition("/")[2])
    await send(service, address, VIDEO[:PART], 0)
    with monkeypatch.context() as patch:
        patch.setattr(services.uploads, "find", lambda *_: stale)
        answer = await send(service, address, b"other bytes", 0)
    check_problem(answer, 409, "upload_conflict")
    assert len(blobs(service)) == 1
    await send(service, address, VIDEO[PART:], PART)
    job = (await service.client.post(f"{address}/job", json={})).json()
    assert job["sha256"] == (await post_video(service)).json()["sha256"]


async def test_an_upload_belongs_to_its_account(service: Service) -> None:
    address = await begin(service)
    await send(service, address, VIDEO[:PART], 0)
    for other in (headers(service, Role.ANALYST), headers(service, Role.ADMIN)):
        assert (await service.client.head(address, headers={**TUS, **other})).status_code == 404
        assert (await send(service, address, b"x", PART, **other)).status_code == 404
        job = await service.client.post(f"{address}/job", json={}, headers=other)
        check_problem(job, 404, "not_found")
        gone = await service.client.delete(address, headers={**TUS, **other})
        check_problem(gone, 404, "not_found")
    auditor = {**TUS, "Upload-Length": "5", **headers(service, Role.AUDITOR)}
    check_problem(await service.client.post("/v1/uploads", headers=auditor), 403, "forbidden")
    nobody = httpx.AsyncClient(transport=service.client._transport, base_url="http://service")
    assert (await nobody.head(address, headers=TUS)).status_code == 401
    assert await offset_of(service, address) == PART


TOKENS: list[str] = ["x", "x" * 43, "é" * 43, "A" * 64, "..%2f..", "=" * 43]


async def test_an_invented_address_leads_nowhere(service: Service) -> None:
    for token in TOKENS:
        answer = await service.client.head(f"/v1/uploads/{token}", headers=TUS)
        assert answer.status_code == 404


async def test_an_upload_expires_after_a_day(service: Service) -> None:
    address = await begin(service)
    answer = await send(service, address, VIDEO[:PART], 0)
    expires = parsedate_to_datetime(answer.headers["upload-expires"])
    assert abs(expires - service.clock() - uploads.KEPT_FOR) < timedelta(seconds=5)
    forget = service.app.state.shared.services.uploads.forget_expired
    service.clock.advance(uploads.KEPT_FOR - timedelta(seconds=5))
    forget()
    assert await offset_of(service, address) == PART
    service.clock.advance(timedelta(seconds=6))
    for _ in range(2):  # before and after the sweep
        check_problem(await send(service, address, b"x", PART), 410, "upload_expired")
        job = await service.client.post(f"{address}/job", json={})
        check_problem(job, 410, "upload_expired")
        forget()
    assert not blobs(service)
    assert actions(service) == ["upload.created", "upload.deleted"]
    service.clock.advance(uploads.REMEMBERED_FOR)
    forget()
    assert (await service.client.head(address, headers=TUS)).status_code == 404


async def test_an_upload_can_be_deleted(service: Service) -> None:
    address = await begin(service)
    await send(service, address, VIDEO[:PART], 0)
    assert (await service.client.delete(address, headers=TUS)).status_code == 204
    assert not blobs(service)
    assert (await service.client.head(address, headers=TUS)).status_code == 404
    assert actions(service)[-1] == "upload.deleted"


async def test_too_much_is_refused(start: Starter) -> None:
    async with start(max_video_bytes=100_000) as service:
        large = await service.client.post("/v1/uploads", headers={**TUS, "Upload-Length": "100001"})
        check_problem(large, 413, "request_too_large")
        address = await begin(service, PART)
        more = await send(service, address, bytes(PART + 1), 0)
        check_problem(more, 413, "request_too_large")
        assert await offset_of(service, address) == 0

        async def unannounced() -> Any:
            for _ in range(4):
                yield bytes(PART // 2)

        kind = {"Content-Type": "application/offset+octet-stream", "Upload-Offset": "0"}
        more = await service.client.patch(address, content=unannounced(), headers={**TUS, **kind})
        check_problem(more, 413, "request_too_large")
        assert await offset_of(service, address) <= PART


async def test_the_number_of_uploads_and_parts_is_bounded(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploads, "OPEN_PER_ACCOUNT", 2)
    monkeypatch.setattr(uploads, "MAX_PARTS", 3)
    address = await begin(service)
    for at in range(3):
        await send(service, address, b"x", at)
    check_problem(await send(service, address, b"x", 3), 413, "request_too_large")
    await begin(service)
    sent = {**TUS, "Upload-Length": "5"}
    refused = await service.client.post("/v1/uploads", headers=sent)
    problem = check_problem(refused, 429, "too_many_at_once")
    assert problem["detail"].endswith("Submit or delete one first.")
    other = await service.client.post(
        "/v1/uploads", headers={**sent, **headers(service, Role.ANALYST)}
    )
    assert other.status_code == 201
    assert (await service.client.delete(address, headers=TUS)).status_code == 204
    await begin(service)


async def test_an_upload_needs_space_for_itself_and_for_what_it_becomes(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = await begin(service)
    monkeypatch.setattr(DiskSpace, "free_bytes", lambda _: MIN_FREE_BYTES + 2 * len(VIDEO) - 1)
    sent = {**TUS, "Upload-Length": str(len(VIDEO))}
    refused = await service.client.post("/v1/uploads", headers=sent)
    check_problem(refused, 503, "disk_full")
    await send(service, address, VIDEO, 0)
    monkeypatch.setattr(DiskSpace, "free_bytes", lambda _: MIN_FREE_BYTES + 5)
    check_problem(await service.client.post(f"{address}/job", json={}), 503, "disk_full")
    monkeypatch.undo()
    assert (await service.client.post(f"{address}/job", json={})).status_code == 202


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"frames": 0}, "frames"),
    ({"frames": True}, "frames"),
    ({"callback_content": "verdict"}, "callback_content"),
    ({"unknown": "1"}, "unknown"),
]


async def test_a_wrong_field_is_named_and_the_upload_stays(service: Service) -> None:
    address = await begin(service)
    await send(service, address, VIDEO, 0)
    for fields, named in WRONG:
        answer = await service.client.post(f"{address}/job", json=fields)
        errors = check_problem(answer, 422, "invalid_request")["errors"]
        assert [error["field"] for error in errors] == [named]
    assert (await service.client.post(f"{address}/job", json={})).status_code == 202


async def test_an_incomplete_upload_is_no_video(service: Service) -> None:
    address = await begin(service)
    await send(service, address, VIDEO[:PART], 0)
    answer = await service.client.post(f"{address}/job", json={})
    problem = check_problem(answer, 409, "upload_conflict")
    assert f"{PART} of {len(VIDEO)} bytes" in problem["detail"]
    assert len(blobs(service)) == 1


VERSIONS: list[str | None] = [None, "0.2.2", "2"]


async def test_another_version_of_the_protocol_is_refused(service: Service) -> None:
    for version in VERSIONS:
        sent = {"Upload-Length": "5", **({"Tus-Resumable": version} if version else {})}
        answer = await service.client.post("/v1/uploads", headers=sent)
        check_problem(answer, 412, "unsupported_tus")
        assert answer.headers["tus-version"] == "1.0.0"


NO_LENGTHS: list[str | None] = [None, "", "-1", "1.5", "0", "9" * 5000, "x", "1_0", "+1", "010"]


async def test_an_upload_has_a_length(service: Service) -> None:
    for length in NO_LENGTHS:
        sent = {**TUS, **({"Upload-Length": length} if length is not None else {})}
        answer = await service.client.post("/v1/uploads", headers=sent)
        problem = check_problem(answer, 422, "invalid_request")
        assert problem["errors"][0]["field"] == "Upload-Length"
        assert "pattern" not in problem["detail"]


async def test_a_body_of_another_type_is_refused(service: Service) -> None:
    address = await begin(service)
    answer = await send(service, address, b"x", 0, **{"Content-Type": "video/mp4"})
    check_problem(answer, 415, "unsupported_content_type")


async def test_what_is_supported_can_be_asked(service: Service) -> None:
    answer = await service.client.options("/v1/uploads")
    assert answer.status_code == 204
    assert answer.headers["tus-version"] == "1.0.0"
    assert answer.headers["tus-extension"] == "creation,expiration,termination"
    assert int(answer.headers["tus-max-size"]) > 10**9


async def test_parts_without_a_row_are_orphans(service: Service) -> None:
    address = await begin(service)
    await send(service, address, VIDEO[:PART], 0)
    services = service.app.state.shared.services
    services.vault.blobs.put_bytes("uploads/gone/part", b"sealed")
    service.clock.advance(LONGEST_UPLOAD + COMMITTED_WITHIN + timedelta(seconds=5))
    delete_orphans(services.database, services.vault)
    assert len(blobs(service)) == 1
    assert await offset_of(service, address) == PART


async def test_a_log_names_neither_an_upload_nor_its_key(
    service: Service, capfd: pytest.CaptureFixture[str]
) -> None:
    address = await begin(service)
    await break_off(service, address, [VIDEO[:100]], 0)
    await service.client.post(f"{address}/job", json={"file_name": "secret-name.mp4"})
    written = "".join(capfd.readouterr())
    assert address.rpartition("/")[2] not in written
    assert not re.search("secret-name", written)
