"""Captures from the upload to the items that they become, and to the end of their retention."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import random
import re
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import anyio.to_thread
import pyrage
import pytest
import rfc8785
from sqlalchemy import select

from deepfake_service.capture.findings import CapturedImage, Page
from deepfake_service.capture.imports import TO_DO, post_of
from deepfake_service.capture.readers import CaptureReaders
from deepfake_service.capture.shapes import UNREAD, CaptureRecord, CollectorNotes, Content
from deepfake_service.capture.work import in_turn
from deepfake_service.cases.cases import PostDetails
from deepfake_service.evidence.bundle import zip_format as bag
from deepfake_service.evidence.bundle.capture_format import CAPTURE, RECORDS
from deepfake_service.evidence.bundle.steps import ExitCode, Outcome
from deepfake_service.evidence.bundle.trust_store import Trust
from deepfake_service.evidence.bundle.verification import verify
from deepfake_service.examination.webhook_deliveries import release_callbacks
from deepfake_service.platform import webhooks
from deepfake_service.platform.claims import MAX_ATTEMPTS
from deepfake_service.platform.db import (
    AuditEntry,
    Capture,
    Case,
    Job,
    Lease,
    Media,
    Occurrence,
    new_id,
)
from deepfake_service.platform.disk_space import MIN_FREE_BYTES, SHORT, DiskSpace
from deepfake_service.platform.enums import JobState, Role
from deepfake_service.platform.errors import StorageUnavailable
from tests.support import archives
from tests.support.captures import WEEK, fetch, get, hand_in, work, worker
from tests.support.jobs import all_entries, blobs, headers, sweep
from tests.support.stand_ins import Receiver, deliveries_of, do_due
from tests.unit.service.conftest import Service

pytest.importorskip("warcio", reason="warcio writes the WARC files of these tests")
# warcio leaves temporary files open.
pytestmark = pytest.mark.filterwarnings(
    "ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"
)


@pytest.fixture
async def captured(service: Service, readers: CaptureReaders) -> dict[str, Any]:
    """Return a capture that was read, of an archive that is whole."""
    answer = await hand_in(service, archives.wacz(archives.page().content()))
    assert answer.status_code == 202, answer.text
    assert answer.json()["state"] == "received"
    await work(service, readers)
    capture: dict[str, Any] = (await get(service, answer.headers["Location"])).json()
    assert capture["state"] == "captured", capture
    return capture


def trust(service: Service) -> Trust:
    keys = service.app.state.shared.services.evidence_store.keys
    return Trust(tuple(keys.published()), (), None)


async def bundle_of(service: Service, capture: dict[str, Any]) -> bytes:
    answer = await get(service, f"/v1/captures/{capture['id']}/bundle")
    assert answer.status_code == 200, answer.text
    return answer.content


async def test_what_is_found_is_stated_with_what_is_missing(
    service: Service, captured: dict[str, Any]
) -> None:
    assert captured["pages"] == [{"url": archives.PAGE, "title": "A post", "at": archives.AT}]
    assert captured["files"][0]["integrity"] == {
        "digests": "verified", "signed_by": None,
    }  # fmt: skip
    assert captured["missing"] == ["full_page_capture"]
    assert [m["mime"] for m in captured["media"]] == ["image/jpeg", "video/mp4"]
    assert captured["counts"]["small"] == 1
    listed = await get(service, f"/v1/captures?case_id={captured['case_id']}")
    assert [each["id"] for each in listed.json()["captures"]] == [captured["id"]]


async def test_the_end_of_a_capture_and_of_its_jobs_is_told(
    service: Service, readers: CaptureReaders, receiver: Receiver
) -> None:
    receiver.outcome = webhooks.DeliveryOutcome("http_500")
    url, content = "https://hooks.example/c", archives.wacz(archives.page().content())
    for _ in range(2):  # once for each URL
        answer = await hand_in(service, content, examine="all", callback_url=url)
        assert [w["state"] for w in answer.json()["webhooks"]] == ["waiting"]
    sender = deliveries_of(service)
    assert do_due(sender) == 0
    await work(service, readers)
    assert do_due(sender) == 1
    await work(service, readers)
    path = answer.headers["Location"]
    capture = (await get(service, path)).json()
    (webhook,) = capture["webhooks"]
    assert (webhook["state"], webhook["outcome"], webhook["attempts"]) == ("due", "http_500", 1)
    told = {"id": capture["id"], "state": "captured", "case_id": capture["case_id"]}
    with service.database.write() as session:
        for job in session.scalars(select(Job)):
            job.state = JobState.FAILED
            release_callbacks(session, job.id)
    receiver.outcome = webhooks.DeliveryOutcome("http_200", delivered=True)
    assert do_due(sender) == len(capture["media"])
    again = await service.client.post(f"{path}/webhooks", headers=headers(service, Role.ANALYST))
    assert [w["state"] for w in again.json()["webhooks"]] == ["due"], "it waits for a try anyway"
    service.clock.advance(webhooks.BACK_OFF[0])
    assert do_due(sender) == 1
    sent = [json.loads(body) for body in receiver.bodies]
    assert [each["data"] for each in sent if each["type"] == "capture.ended"] == [told, told]
    failed = {each["data"]["id"] for each in sent if each["type"] == "job.failed"}
    assert failed == {medium["job_id"] for medium in capture["media"]}
    await hand_in(service, content, callback_url="https://hooks.example/later")
    assert do_due(sender) == 1, "at once, as it has ended"


async def test_the_bundle_is_verified_and_has_no_imagery(
    service: Service, captured: dict[str, Any]
) -> None:
    content = await bundle_of(service, captured)
    assert hashlib.sha256(content).hexdigest() == captured["sha256"]
    result = verify(content, trust(service))
    assert result.exit_code is ExitCode.VERIFIED, result.steps
    assert result.published().capture == captured["id"]
    assert result.steps[5].title == "The capture agrees with the statement"
    assert "full_page_capture" in result.steps[5].detail
    assert archives.picture()[1000:1200] not in content
    assert archives.video()[1000:1200] not in content
    document = json.loads(bag.member(content, CAPTURE))
    assert "secret-name" not in json.dumps(document)
    for original, expected in (
        (archives.picture(), Outcome.PASS),
        (archives.picture() + b"x", Outcome.FAIL),
    ):
        step = verify(content, trust(service), original=io.BytesIO(original)).steps[-1]
        assert step.outcome is expected
    answer = await service.client.post(
        "/v1/verify", content=content, headers=headers(service, Role.AUDITOR)
    )
    assert answer.json()["result"] == "verified"
    assert answer.json()["steps"][-1]["detail"].startswith("captures are not on such lists")
    assert answer.json()["capture"] == captured["id"]


async def test_the_files_of_a_capture_go_out_as_they_came_in(
    service: Service, readers: CaptureReaders
) -> None:
    """With the signed record, which names their digests, that is all that was captured."""
    authority, sent = pyrage.x25519.Identity.generate(), archives.wacz(archives.page().content())
    path = (await hand_in(service, sent)).headers["Location"]
    await work(service, readers)
    captured = (await get(service, path)).json()
    (file,) = captured["files"]
    answer = await service.client.post(
        f"/v1/cases/{captured['case_id']}/media/{file['media_id']}/export",
        json={"recipient": str(authority.to_public())},
        headers=headers(service, Role.ANALYST),
    )
    assert answer.status_code == 200, answer.text
    assert pyrage.decrypt(answer.content, [authority]) == sent
    document = json.loads(bag.member(await bundle_of(service, captured), CAPTURE))
    assert [each["sha256"] for each in document["files"]] == [hashlib.sha256(sent).hexdigest()]


RECORDED: dict[str, Any] = {
    "id": "C", "case": "K", "method": "by link", "received_at": "2026-03-01T10:00:00.000+00:00",
    "created_at": "2026-03-01T10:01:00.000+00:00", "tools": ["yt-dlp"], "changes": [],
    "collector": {"account": "A", "name": "J. Kim", "role": "analyst"},
    "fetch": {
        "began_at": "2026-03-01T10:00:01.000+00:00", "ended_at": "2026-03-01T10:00:09.000+00:00",
        "from": "KR", "signed_in": False, "end": "captured", "tools": {"yt-dlp": "2026.10.26"},
        "user_agent": "Mozilla/5.0", "post": {"title": "T"}, "confinement": {"missing": []},
        "limits": {"bytes": 100_000_000, "seconds": 300.0, "connections": 400, "reached": None},
        "connections": [{"number": 1, "at": "2026-03-01T10:00:01.000+00:00", "host": "a.example",
                         "port": 443, "answers": ["192.0.2.1"], "address": "192.0.2.1",
                         "refused": None, "sent": 500, "received": 9000}],
        "operator": {"host": "a.example", "address": "192.0.2.1", "network": None, "domain": None},
        "picture": {"reason": "failed", "detail": "", "first_connection": 2, "limit": None},
    },
    "handed_in": {
        "post": {"source_url": "https://a.example/1", "platform": None, "account": None,
                 "captured_at": None, "note": None},
        "title": None, "captured_by": None, "device": None, "reached": None, "full_page": False,
        "examine_all": True,
    },
    "files": [{"number": 1, "kind": "warc", "sha256": "0" * 64, "size": 9000, "records": 2,
               "integrity": {"digests": "verified", "signed_by": None}}],
    "pages": [{"url": "https://a.example/1", "title": "T", "at": "2026-03-01T10:00:02Z"}],
    "media": [{"number": 1, "role": "medium", "mime": "video/mp4", "size": 8000, "sha256": "1" * 64,
               "url": "https://a.example/1.mp4", "at": "2026-03-01T10:00:03Z", "page": 0, "file": 1,
               "member": None, "offset": 700, "skip": 0, "part": None}],
    "minimum": {"berkeley_153": False, "missing": ["full_page_capture"]}, "counts": {"digests": 2},
    "text": {"records": 1}, "notes": [{"code": "body", "detail": "no picture"}],
}  # fmt: skip


@pytest.mark.parametrize(
    ("method", "digest"),
    [
        ("by link", "77cb52a43e4bd9d148399448577f1151da0fa191a3eaa992a63511b99ec61b30"),
        ("imported", "16255561d1d9c3cd4220b1a231fcd5f7d02b9865e42321cab15e1db2f61e4486"),
    ],
)
def test_what_is_signed_of_a_capture_keeps_its_bytes(method: str, digest: str) -> None:
    """The digests are of the documents that were written before these types were."""
    record = {**RECORDED, "method": method}
    if method == "imported":
        del record["fetch"]
    document = CaptureRecord.model_validate(record).document()
    assert hashlib.sha256(rfc8785.dumps(document)).hexdigest() == digest


async def test_every_change_of_one_byte_is_found(
    service: Service, captured: dict[str, Any]
) -> None:
    content, trusted = await bundle_of(service, captured), trust(service)
    rng = random.Random(7)
    for position in sorted(rng.sample(range(len(content)), 300)):
        changed = bytearray(content)
        changed[position] ^= 1 << rng.randrange(8)
        assert verify(bytes(changed), trusted).exit_code is ExitCode.FAILED, position


@pytest.mark.parametrize("change", ["record", "medium", "case", "dropped"])
async def test_what_is_signed_again_by_another_is_not_believed(
    service: Service, captured: dict[str, Any], change: str
) -> None:
    """Even with all manifests made to fit."""
    files = bag.unzipped(await bundle_of(service, captured))
    document = json.loads(files[CAPTURE])
    if change == "record":
        files[RECORDS] = files[RECORDS][:-100]
    elif change == "medium":
        document["media"][0]["sha256"] = "0" * 64
    elif change == "case":
        document["case"] = "other"
    else:
        del files[RECORDS]
    import rfc8785

    files[CAPTURE] = rfc8785.dumps(document)
    payload = {n: c for n, c in files.items() if n.startswith(bag.DATA)}
    files[bag.MANIFEST] = bag.manifest_of(payload)
    del files[bag.TAG_MANIFEST]
    assert verify(bag.sealed(files), trust(service)).exit_code is ExitCode.FAILED


async def test_chosen_pictures_become_items_with_their_post(
    service: Service, captured: dict[str, Any], readers: CaptureReaders
) -> None:
    path = f"/v1/captures/{captured['id']}/examinations"
    answer = await service.client.post(
        path, json={"media": [1]}, headers=headers(service, Role.ANALYST)
    )
    assert answer.status_code == 202, answer.text
    await work(service, readers)
    await work(service, readers)
    (first, second) = (await get(service, f"/v1/captures/{captured['id']}")).json()["media"]
    assert first["job_id"]
    assert second["job_id"] is None
    case = (await get(service, f"/v1/cases/{captured['case_id']}")).json()
    (job,) = case["jobs"]
    assert job["id"] == first["job_id"]
    assert job["sha256"] == first["sha256"]
    (post,) = case["occurrences"]
    assert post["source_url"] == archives.PAGE
    assert (post["platform"], post["account"]) == (None, None)
    assert post["captured_at"].startswith("2026-03-01T10:00:00")
    assert post["note"] == "A post"
    assert post["tool"] == "Page Recorder 1.0"
    assert post["claimed"] == ["source_url", "captured_at", "note", "tool"]
    assert post["capture"] == captured["id"]
    assert post["capture_sha256"] == captured["sha256"]
    for wrong in ({"media": [99]}, {"media": [0]}, {"media": ["x"]}):
        answer = await service.client.post(path, json=wrong, headers=headers(service, Role.ANALYST))
        assert answer.status_code == 422


async def test_a_picture_of_what_is_no_address_becomes_an_item(
    service: Service, readers: CaptureReaders
) -> None:
    record = archives.Warc().response("http://[x/a.jpg", archives.picture(), "image/jpeg")
    answer = await hand_in(service, record.content(), examine="all")
    await work(service, readers)
    (medium,) = (await get(service, answer.headers["Location"])).json()["media"]
    assert medium["job_id"]


async def test_everything_is_examined_if_that_is_asked_for(
    service: Service, readers: CaptureReaders
) -> None:
    answer = await hand_in(
        service,
        archives.page().content(),
        examine="all",
        account="@poster",
        source_url="https://social.example/v/1",
        note="found by search",
    )
    await work(service, readers)
    capture = (await get(service, answer.headers["Location"])).json()
    assert all(medium["job_id"] for medium in capture["media"])
    with service.database.read() as session:
        assert len(session.scalars(select(Job)).all()) == 2
    case = (await get(service, f"/v1/cases/{capture['case_id']}")).json()
    names = ("account", "source_url", "platform", "note")
    stated = ["@poster", "https://social.example/v/1", "social.example", "found by search"]
    assert [[post[name] for name in names] for post in case["occurrences"]] == [stated, stated]
    assert case["occurrences"][0]["claimed"] == ["captured_at", "tool"]


async def test_what_a_file_claims_is_told_from_what_a_person_stated(
    service: Service, readers: CaptureReaders
) -> None:
    """Anybody can make a file that names anybody, at any time."""
    page = {"url": "https://social.example/her", "title": "Her", "ts": "2199-01-01T00:00:00Z"}
    content = archives.wacz(archives.page().content(), pages=[page])
    case_id = (await hand_in(service, content, examine="all")).json()["case_id"]
    await work(service, readers)
    (post, _) = (await get(service, f"/v1/cases/{case_id}")).json()["occurrences"]
    assert (post["source_url"], post["account"], post["platform"]) == (page["url"], None, None)
    assert post["captured_at"].startswith("2026-03-01")  # of the record; the page's is to come
    assert post["claimed"] == ["source_url", "captured_at", "note", "tool"]
    await service.sign_in(Role.ANALYST)
    told = re.compile(
        r"https://social\.example/her</bdi>(?: <button[^>]*>Copy</button>)?"
        r' <span class="hint">\(according to the capture\)</span>'
    )
    for path, count in (("", 3), ("/notices/eu-dsa-16", 2), (f"/posts/{post['id']}", 1)):
        answer = await service.client.get(
            f"/cases/{case_id}{path}", headers={"Accept-Language": "en"}
        )
        assert len(told.findall(answer.text)) == count, path
    table = await service.client.get(f"/cases/{case_id}/captures.csv")
    assert "https://social.example/her (" in table.text


async def test_a_claim_that_a_person_states_is_none_any_more(
    service: Service, readers: CaptureReaders
) -> None:
    """The same claim of another file states nothing, and nobody stated the tool."""
    analyst = headers(service, Role.ANALYST)
    answer = await hand_in(service, archives.wacz(archives.page().content()), examine="all")
    await work(service, readers)
    case_id = answer.json()["case_id"]
    path = f"/v1/cases/{case_id}/occurrences"
    await hand_in(service, archives.page().content(), examine="all")
    await work(service, readers)
    told = ["source_url", "captured_at", "note", "tool"]
    posts = (await get(service, path)).json()["occurrences"]
    assert [post["claimed"] for post in posts] == [told, told]
    await hand_in(service, archives.mhtml(), examine="all", title="A post")  # has the picture only
    await work(service, readers)
    before = {p["id"]: p for p in (await get(service, path)).json()["occurrences"]}
    (post,) = [p for p in before.values() if p["claimed"] != told]
    assert post["claimed"] == ["source_url", "captured_at", "tool"]
    names = ("media_id", "source_url", "captured_at", "note")
    stated = {name: (None, post[name]) for name in names}
    for _ in range(2):  # a repeated request changes nothing
        answer = await service.client.post(path, files=stated, headers=analyst)
        assert (answer.status_code, answer.json()) == (200, {**post, "claimed": ["tool"]})
    after = {p["id"]: p for p in (await get(service, path)).json()["occurrences"]}
    assert after == {**before, post["id"]: {**post, "claimed": ["tool"]}}
    log = [(e.subject, e.detail) for e in all_entries(service) if e.action == "occurrence.stated"]
    assert log == [(case_id, post["id"])] * 2


async def test_the_title_and_the_addresses_of_a_captured_page_are_told_as_claims(
    service: Service, readers: CaptureReaders
) -> None:
    """Except a title that a person stated."""
    await service.sign_in(Role.ANALYST)
    by = ' <span class="hint">(according to the capture)</span>'
    await hand_in(service, archives.wacz(archives.page().content()))
    case_id = (await hand_in(service, archives.mhtml(), title="Mine")).json()["case_id"]
    await work(service, readers)
    answer = await service.client.get(f"/cases/{case_id}", headers={"Accept-Language": "en"})
    for count, text in (
        (1, f'<strong><bdi class="free">A post</bdi></strong>{by}'),
        (1, f'<span class="unseen"> A post{by}</span>'),
        (2, f'<br><bdi class="free">{archives.PAGE}</bdi>{by}'),
        (2, f'<bdi class="free">{archives.PICTURE}</bdi>{by}'),
        (1, '<strong><bdi class="free">Mine</bdi></strong> ·'),
        (1, '<span class="unseen"> Mine</span>'),
    ):
        assert answer.text.count(text) == count, text


@pytest.mark.parametrize("by_link", [True, False])
def test_a_page_names_no_account_and_a_link_has_the_time_of_its_fetch(by_link: bool) -> None:
    at = "2026-03-01T10:00:00.000+00:00"
    image = CapturedImage(
        number=1, role="medium", mime="image/jpeg", sha256="0" * 64, size=9000, file=1, page=0,
        url=archives.PICTURE, at="2199-01-01T00:00:00Z",
    )  # fmt: skip
    page = Page(url="https://social.example/her", title="", at=image.at)
    content = Content(
        handed_in=CollectorNotes(PostDetails(source_url=archives.PAGE)),
        files=[],
        found=UNREAD.model_copy(update={"pages": [page]}),
        fetch=fetch(uploader="@her") if by_link else None,
    )
    post, claimed = post_of(content, image, datetime(2026, 3, 2, tzinfo=UTC))
    expected = PostDetails(archives.PAGE, "example.org", captured_at=at if by_link else None)
    assert (post, claimed) == (expected, ())


def test_what_was_stated_of_one_page_is_not_said_of_another_one_in_the_file() -> None:
    stated = PostDetails(archives.PAGE, "Example", "@poster", "2026-03-01T10:00:00+00:00", "Hers")
    pages = [
        Page(url=url, title="T", at="2026-03-01T09:00:00Z")
        for url in (archives.PAGE, "https://other.example/feed")
    ]
    found = UNREAD.model_copy(update={"pages": pages})
    received = datetime(2026, 3, 2, tzinfo=UTC)

    def seen(page: int | None, source_url: str | None = archives.PAGE) -> tuple[Any, Any]:
        image = CapturedImage(
            number=1, role="medium", mime="image/jpeg", sha256="0" * 64, size=9000, file=1,
            page=page, url=archives.PICTURE, at="",
        )  # fmt: skip
        handed_in = CollectorNotes(replace(stated, source_url=source_url), title="Mine")
        return post_of(Content(handed_in=handed_in, files=[], found=found), image, received)

    own = replace(stated, note="Mine · Hers")
    assert seen(0) == seen(None) == (own, ())
    other = PostDetails(pages[1].url, captured_at="2026-03-01T09:00:00+00:00", note="T")
    assert seen(1) == (other, ("source_url", "captured_at", "note"))
    # A short link is no page of the file: what is said of it may be meant of all of them.
    assert seen(1, "https://t.example/1")[0].account == "@poster"


async def test_screenshots_with_a_form_are_a_capture_of_their_own(
    service: Service, readers: CaptureReaders
) -> None:
    answer = await hand_in(
        service,
        None,
        (archives.picture(), archives.icon()),
        source_url="https://t.example/c/1",
        captured_at="2026-03-01T10:00:00+09:00",
        captured_by="J. Kim",
        device="phone",
        reached="signed in",
        full_page="true",
        examine="all",
    )
    assert answer.status_code == 202, answer.text
    await work(service, readers)
    capture = (await get(service, answer.headers["Location"])).json()
    assert [f["kind"] for f in capture["files"]] == ["picture", "picture"]
    assert capture["missing"] == ["html_source"]
    assert capture["media"][0]["role"] == "full_page_capture"
    assert [m["job_id"] is not None for m in capture["media"]] == [True, True]
    content = await bundle_of(service, capture)
    document = json.loads(bag.member(content, CAPTURE))
    assert document["method"] == "by hand"
    assert document["handed_in"]["captured_by"] == "J. Kim"
    assert document["handed_in"]["reached"] == "signed in"
    assert verify(content, trust(service)).exit_code is ExitCode.VERIFIED


async def test_a_screenshot_beside_an_archive_completes_it(
    service: Service, readers: CaptureReaders
) -> None:
    shot = archives.picture() + b"\0"
    answer = await hand_in(
        service, archives.wacz(archives.page().content()), (shot,), full_page="true"
    )
    await work(service, readers)
    capture = (await get(service, answer.headers["Location"])).json()
    assert capture["missing"] == []
    assert capture["media"][-1]["role"] == "full_page_capture"


async def test_the_same_file_is_one_capture_of_a_case(service: Service) -> None:
    content = archives.page().content()
    first = await hand_in(service, content)
    again = await hand_in(service, content)
    assert (first.status_code, again.status_code) == (202, 200)
    assert first.json()["id"] == again.json()["id"]
    other = await hand_in(service, content, case_reference="S")
    assert other.json()["id"] != first.json()["id"]
    assert len(blobs(service)) == 2
    # Of another post, or to be examined as a whole, it is not what was signed before.
    for said in ({"source_url": "https://example.org/2"}, {"examine": "all"}):
        answers = [await hand_in(service, content, **said) for _ in range(2)]
        assert [answer.status_code for answer in answers] == [202, 200]
        assert answers[0].json()["id"] == answers[1].json()["id"] != first.json()["id"]


async def test_a_file_that_was_deleted_can_be_handed_in_again(
    service: Service, readers: CaptureReaders
) -> None:
    """As the answer says that it should be, if something in it is to be examined."""
    content = archives.wacz(archives.page().content())
    first = await hand_in(service, content)
    await work(service, readers)
    for days in (8, 2):
        service.clock.advance(timedelta(days=days))
        sweep(service)
    again = await hand_in(service, content)
    assert (again.status_code, again.json()["files"][0]["kept"]) == (202, True)
    assert again.json()["id"] != first.json()["id"]
    assert (await hand_in(service, content)).json()["id"] == again.json()["id"]


async def test_a_file_that_cannot_be_read_is_refused_and_deleted(
    service: Service, readers: CaptureReaders
) -> None:
    answer = await hand_in(service, archives.zipped({"archive/x.warc": b"", "../x": b""}))
    await work(service, readers)
    capture = (await get(service, answer.headers["Location"])).json()
    assert (capture["state"], capture["reason"]) == ("refused", "damaged")
    assert capture["detail"]
    assert blobs(service) == []
    answer = await get(service, f"/v1/captures/{capture['id']}/bundle")
    assert answer.status_code == 409


async def test_requests_that_are_wrong_name_the_field(service: Service) -> None:
    nothing = await hand_in(service)
    assert nothing.status_code in (415, 422)
    text = await hand_in(service, None, (b"no picture",))
    assert text.json()["errors"][0]["field"] == "screenshots[0]"
    twice = await hand_in(service, archives.mhtml(), case_id="01kb0zq9v7m3x8t2e4r6y1w5cd")
    assert twice.json()["errors"][0]["field"] == "case_id"
    unknown = await hand_in(
        service, archives.mhtml(), case_reference="", case_id="01kb0zq9v7m3x8t2e4r6y1w5cd"
    )
    assert unknown.status_code == 404
    assert blobs(service) == []


async def test_nobody_else_sees_a_capture(service: Service, captured: dict[str, Any]) -> None:
    for path in (f"/v1/captures/{captured['id']}", f"/v1/captures/{captured['id']}/bundle"):
        assert (await get(service, path, Role.PIPELINE)).status_code == 404
        assert (await get(service, path, Role.AUDITOR)).status_code == 403
        assert (await get(service, path, Role.ADMIN)).status_code == 200


async def test_imports_and_readings_are_audited(service: Service, captured: dict[str, Any]) -> None:
    await bundle_of(service, captured)
    with service.database.read() as session:
        entries = session.scalars(
            select(AuditEntry).where(AuditEntry.subject == captured["id"])
        ).all()
    actions = [entry.action for entry in entries]
    assert actions[0] == "capture.submitted"
    assert actions.count("capture.ended") == 1
    assert entries[-1].detail == "bundle"
    assert next(e for e in entries if e.action == "capture.ended").detail == captured["sha256"]


async def test_files_expire_as_media_do_and_the_bundle_as_evidence_does(
    service: Service, captured: dict[str, Any]
) -> None:
    assert len(blobs(service)) == 2
    service.clock.advance(WEEK - timedelta(hours=1))
    sweep(service)
    service.clock.advance(timedelta(days=2))
    sweep(service)
    after = (await get(service, f"/v1/captures/{captured['id']}")).json()
    assert not after["files"][0]["kept"]
    assert after["kept"]
    assert len(blobs(service)) == 1
    answer = await service.client.post(
        f"/v1/captures/{captured['id']}/examinations",
        json={},
        headers=headers(service, Role.ANALYST),
    )
    assert answer.status_code == 422
    assert "deleted" in answer.json()["detail"]
    service.clock.advance(timedelta(days=1094))
    sweep(service)
    service.clock.advance(timedelta(days=2))
    sweep(service)
    assert blobs(service) == []
    assert not (await get(service, f"/v1/captures/{captured['id']}")).json()["kept"]


async def test_a_legal_hold_keeps_everything(service: Service, captured: dict[str, Any]) -> None:
    path = f"/v1/cases/{captured['case_id']}/hold"
    await service.client.put(path, headers=headers(service, Role.ANALYST))
    for _ in range(3):
        service.clock.advance(timedelta(days=1200))
        sweep(service)
    assert len(blobs(service)) == 2


async def test_a_deleted_case_leaves_nothing(service: Service, captured: dict[str, Any]) -> None:
    answer = await service.client.delete(
        f"/v1/cases/{captured['case_id']}", headers=headers(service, Role.ANALYST)
    )
    assert answer.status_code == 204
    assert blobs(service) == []
    with service.database.read() as session:
        for table in (Capture, Media, Occurrence):
            assert session.scalars(select(table)).all() == []


async def test_a_worker_that_died_leaves_one_capture_and_no_half_blob(
    service: Service, readers: CaptureReaders
) -> None:
    answer = await hand_in(service, archives.page().content())
    capture_id = answer.json()["id"]
    dead = worker(service, readers, "worker-0")
    assert [taken.id for taken in dead._claims.take(in_turn(TO_DO))] == [capture_id]
    half = f"cases/{answer.json()['case_id']}/capture-{new_id()}"
    dead._vault.blobs.put_bytes(half, b"half a bundle")
    with service.database.write() as session:
        lease = Lease(executor_id="worker-0", expires_at=service.clock() + timedelta(seconds=9))
        session.add(lease)
    await work(service, readers)  # the other one may be alive
    assert (await get(service, answer.headers["Location"])).json()["state"] == "received"
    service.clock.advance(timedelta(seconds=10))
    await work(service, readers)
    capture = (await get(service, answer.headers["Location"])).json()
    assert capture["state"] == "captured"
    assert len(blobs(service)) == 3
    service.clock.advance(timedelta(hours=3))
    sweep(service)
    assert len(blobs(service)) == 2
    content = await bundle_of(service, capture)
    assert verify(content, trust(service)).exit_code is ExitCode.VERIFIED


async def test_a_worker_that_was_taken_for_dead_replaces_no_signed_bundle(
    service: Service, readers: CaptureReaders, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = await hand_in(service, archives.page().content())
    slow, other = worker(service, readers, "slow"), worker(service, readers, "other")
    sign = slow._evidence.sign_capture

    def signs_slowly(*given: Any) -> bytes:
        monkeypatch.undo()
        bundle = sign(*given)
        service.clock.advance(timedelta(minutes=30))  # its lease has ended
        do_due(other)
        return bundle

    monkeypatch.setattr(slow._evidence, "sign_capture", signs_slowly)
    await anyio.to_thread.run_sync(do_due, slow)
    capture = (await get(service, answer.headers["Location"])).json()
    content = await bundle_of(service, capture)
    assert hashlib.sha256(content).hexdigest() == capture["sha256"]
    assert len(blobs(service)) == 2
    with service.database.read() as session:
        ended = select(AuditEntry.detail).where(AuditEntry.action == "capture.ended")
        assert session.scalars(ended).all() == [capture["sha256"]]


async def test_a_bundle_that_is_another_one_than_was_recorded_is_not_given(
    service: Service, captured: dict[str, Any]
) -> None:
    content = await bundle_of(service, captured)
    with service.database.read() as session:
        capture = session.get_one(Capture, captured["id"])
        case = session.get_one(Case, capture.case_id)
        vault = service.app.state.shared.services.vault
        vault.write(capture.blob, vault.case_key(case), content + b"x")
    answer = await get(service, f"/v1/captures/{captured['id']}/bundle")
    assert answer.status_code == 409
    assert answer.json()["type"].endswith(":record_altered")


async def test_a_store_that_does_not_answer_refuses_nothing(
    service: Service, readers: CaptureReaders, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = await hand_in(service, archives.page().content())
    with monkeypatch.context() as patch:

        def fails(*_: Any) -> None:
            raise StorageUnavailable

        patch.setattr("deepfake_service.platform.storage.vault.Vault.write", fails)
        for _ in range(5):
            with contextlib.suppress(StorageUnavailable):
                await work(service, readers)
    await work(service, readers)
    assert (await get(service, answer.headers["Location"])).json()["state"] == "captured"


@pytest.mark.parametrize("at_first", [None, 10**18])
async def test_media_wait_for_room_on_the_disk(
    service: Service,
    readers: CaptureReaders,
    log_lines: Callable[[], list[dict[str, Any]]],
    monkeypatch: pytest.MonkeyPatch,
    at_first: int | None,
) -> None:
    """A small archive may unpack to gigabytes. Room may also be taken while one is stored."""
    running = worker(service, readers)
    links = [
        (await hand_in(service, archives.page().content(), examine="all")).headers["Location"],
        (await hand_in(service, archives.mhtml())).headers["Location"],
    ]
    before = set(blobs(service))
    little = MIN_FREE_BYTES + 100
    for _ in range(MAX_ATTEMPTS + 1):
        free = iter([at_first or little])
        now = 0 if at_first else little
        monkeypatch.setattr(DiskSpace, "free_bytes", lambda _, free=free, now=now: next(free, now))
        await work(service, readers)
    before_these = len(log_lines())
    for _ in range(2):
        await anyio.to_thread.run_sync(do_due, running)
    logged = [line["event"] for line in log_lines()[before_these:]]
    assert logged.count("capture_waits_for_disk_space") == 1
    shown, other = [(await get(service, link)).json() for link in links]
    assert (shown["state"], other["state"]) == ("captured", "captured")
    assert (shown["waits"], other["waits"]) == (SHORT, None)
    assert {(m["chosen"], m["job_id"], m["failure"]) for m in shown["media"]} == {
        (True, None, None)
    }
    assert all(path.name.startswith("capture-") for path in set(blobs(service)) - before)
    # Now there is room. Two whose media fit one by one must not fill it together.
    monkeypatch.setattr(DiskSpace, "free_bytes", lambda _: 10**18)
    with service.database.write() as session:
        ends_at = service.clock() + timedelta(hours=1)
        session.add(Lease(executor_id="worker-2", expires_at=ends_at))
        session.get_one(Capture, other["id"]).worker = "worker-2"
    await anyio.to_thread.run_sync(do_due, running)
    shown = (await get(service, links[0])).json()
    assert not any(medium["job_id"] for medium in shown["media"])
    with service.database.write() as session:
        session.get_one(Capture, other["id"]).worker = None
    await anyio.to_thread.run_sync(do_due, running)
    shown = (await get(service, links[0])).json()
    assert all(medium["job_id"] for medium in shown["media"])
    assert shown["waits"] is None


async def test_a_capture_that_kills_its_workers_is_given_up(
    service: Service, readers: CaptureReaders
) -> None:
    answer = await hand_in(service, archives.page().content())
    for number in range(3):
        assert worker(service, readers, f"dead-{number}")._claims.take(in_turn(TO_DO))
    await work(service, readers)
    capture = (await get(service, answer.headers["Location"])).json()
    assert (capture["state"], capture["reason"]) == ("refused", "failed")
