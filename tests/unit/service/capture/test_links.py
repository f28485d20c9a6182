"""Links on a fake platform, from the request to the signed record, with the confined child."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import signal
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import anyio.to_thread
import pytest
from sqlalchemy import select

from deepfake_models.errors import SandboxIncomplete
from deepfake_service.capture import gate as gates
from deepfake_service.capture.fetches import AT_ONCE, try_link
from deepfake_service.capture.links import ENDS
from deepfake_service.capture.programs import Running
from deepfake_service.capture.readers import CaptureReaders
from deepfake_service.capture.registries import Registries
from deepfake_service.cases.cases import open_post
from deepfake_service.evidence.bundle.steps import ExitCode
from deepfake_service.evidence.bundle.trust_store import Trust
from deepfake_service.evidence.bundle.verification import verify
from deepfake_service.platform.claims import MAX_ATTEMPTS
from deepfake_service.platform.db import AuditEntry, Capture, Case, Media, Occurrence
from deepfake_service.platform.disk_space import MIN_FREE_BYTES, SHORT, DiskSpace
from deepfake_service.platform.enums import Role
from deepfake_service.platform.networks import CallbackHosts
from deepfake_service.platform.pages import Pages
from tests.support import archives
from tests.support.captures import bundle_of, captured, fetches_of, queue, record_of, work
from tests.support.fake_platform import (
    Answer,
    FakePlatform,
    bomb,
    endless,
    huge_headers,
    inflatable,
    redirect,
    resolving,
    shows,
    status,
)
from tests.support.fake_posts import (
    page_with,
    says_bytes,
    says_chunks,
)
from tests.support.fake_registries import registers
from tests.support.jobs import blobs, headers
from tests.support.servers import children, statements
from tests.support.stand_ins import do_due
from tests.unit.service.conftest import Service

pytest.importorskip("yt_dlp", reason="the extra capture-link is not installed")
pytestmark = pytest.mark.slow
PRIVATE = ["10.1.2.3", "127.0.0.2", "169.254.169.254", "::1", "100.64.0.1", "::ffff:10.0.0.1"]


@pytest.fixture
async def service(start: Callable[..., Any]) -> AsyncIterator[Service]:
    async with start(capture_links=True) as started:
        yield started


async def test_a_link_becomes_the_same_signed_record_as_a_file(
    service: Service, readers: CaptureReaders, platform: FakePlatform
) -> None:
    video = archives.video()
    platform.says("/v.mp4", says_bytes(video, "video/mp4"))
    platform.says("/p/1", page_with("/v.mp4", "Her video"))
    url = platform.says("/s", redirect("/p/1", 301))
    (shown,) = await captured(service, readers, platform, url)
    assert (shown["state"], shown["reason"]) == ("captured", None), shown
    assert shown["source_url"] == url
    (medium,) = shown["media"]
    assert medium["sha256"] == hashlib.sha256(video).hexdigest()
    assert medium["url"] == platform.url("/v.mp4")
    assert medium["job_id"] is not None, "it was to be examined"
    assert shown["missing"] == ["full_page_capture"]
    assert shown["files"][0]["integrity"]["digests"] == "verified", shown["notes"]
    assert shown["software"][0].startswith("yt-dlp ")
    content = await bundle_of(service, shown)
    keys = service.app.state.shared.services.evidence_store.keys
    verified = verify(content, Trust(tuple(keys.published()), (), None))
    assert verified.exit_code is ExitCode.VERIFIED, verified.steps
    assert video[5000:5200] not in content
    document, text = await record_of(service, shown)
    assert document["method"] == "by link"
    fetch = document["fetch"]
    assert (fetch["end"], fetch["from"], fetch["signed_in"]) == ("captured", "KR", False)
    assert fetch["tools"]["yt-dlp"]
    assert fetch["confinement"] == {"missing": []}
    assert {each["host"] for each in fetch["connections"]} == {"video.example"}
    assert all(each["address"] == "127.0.0.1" for each in fetch["connections"])
    assert sum(each["received"] for each in fetch["connections"]) > len(video)
    for there in (b"Her video", b"HTTP/1.1 301", b"('warc-ip-address', '127.0.0.1')", b"tls/1.3"):
        assert there in text
    with service.database.read() as session:
        of_capture = select(AuditEntry.action).where(AuditEntry.subject == shown["id"])
        assert list(session.scalars(of_capture))[:2] == ["capture.submitted", "capture.ended"]
        post = session.scalars(select(Occurrence)).one()
        case = session.get_one(Case, shown["case_id"])
        key = service.app.state.shared.services.vault.case_key(case)
        sighting = open_post(key, post)
    assert sighting.source_url == url
    assert sighting.captured_at == fetch["began_at"]
    assert sighting.tool.startswith("yt-dlp")
    assert sighting.claimed == ["note"]  # the title
    assert sighting.capture == shown["id"]


async def test_whose_the_host_is_stands_in_the_signed_record(
    service: Service,
    readers: CaptureReaders,
    platform: FakePlatform,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    registers(platform, monkeypatch)
    asked = Registries(Pages(allowed=CallbackHosts.of("127.0.0.1"), tls=platform.tls()))
    platform.says("/p/1", shows(f"<p>{'words ' * 60}</p>"))
    url = platform.url("/s", "other.example")
    platform.says("/s", redirect(platform.url("/p/1")))
    (shown,) = await captured(service, readers, platform, url, registries=asked)
    # Loopback is in no registry of addresses; the host is that of the page, not of the link.
    assert (shown["operator"]["host"], shown["operator"]["network"]) == ("video.example", None)
    assert shown["operator"]["domain"]["abuse"] == ["abuse@names.example"]
    document, _ = await record_of(service, shown)
    assert document["fetch"]["operator"] == shown["operator"]
    assert platform.asked["/rdap/domain/video.example"] == 1
    assert not any("/p/1" in path and path.startswith("/rdap/") for path in platform.asked)


async def test_bodies_in_chunks_and_pictures_of_posts_are_recorded(
    service: Service, readers: CaptureReaders, platform: FakePlatform
) -> None:
    platform.says("/i.jpg", says_chunks(archives.picture(), "image/jpeg"))
    url = platform.says(
        "/picture", shows(f"<meta property='og:image' content='/i.jpg'><p>{'words ' * 60}</p>")
    )
    direct = platform.url("/i.jpg")
    for shown in await captured(service, readers, platform, url, direct, examine=False):
        assert (shown["state"], shown["reason"]) == ("captured", None), shown
        (medium,) = shown["media"]
        assert medium["sha256"] == hashlib.sha256(archives.picture()).hexdigest()
        assert not medium["chosen"]
        assert shown["counts"].get("wrong_digests") is None


LONG = f"<p>{'words ' * 60}</p>"
ENDING: dict[str, tuple[Answer, str]] = {
    "/gone": (status(404), "gone"),
    "/private": (redirect("http://10.1.2.3/"), "refused_address"),
    "/shell": (shows("<div id='app'></div><script src='/app.js'></script>"), "shell"),
    "/head": (huge_headers, "unreachable"),
}
"""Those of every other answer are in ``test_page_client``."""


async def test_each_end_is_a_state_with_what_a_person_can_do(
    service: Service, readers: CaptureReaders, platform: FakePlatform
) -> None:
    urls = [platform.says(path, answer) for path, (answer, _) in ENDING.items()]
    found = await captured(service, readers, platform, *urls)
    for shown, (_, expected) in zip(found, ENDING.values(), strict=True):
        assert (shown["reason"], shown["media"]) == (expected, []), shown
        assert shown["detail"] == ENDS[expected]
        assert shown["state"] == ("captured" if shown["files"] else "refused"), shown
    assert found[0]["kept"], "a page that is gone is a finding, and is recorded"
    assert sum(bool(shown["files"]) for shown in found) == 3


@pytest.mark.parametrize("answers", [["127.0.0.1", "10.1.2.3"], PRIVATE])
async def test_a_name_with_a_private_address_is_not_connected_to(
    service: Service,
    readers: CaptureReaders,
    platform: FakePlatform,
    answers: list[str],
) -> None:
    url = platform.says("/v", page_with("/v.mp4")).replace("video.example", "inner.example")
    with resolving({"inner.example": answers}):
        (shown,) = await captured(service, readers, platform, url)
    assert (shown["state"], shown["reason"]) == ("refused", "refused_address")
    assert shown["files"] == []
    assert platform.asked["/v"] == 0


async def test_a_name_that_changes_its_answer_is_asked_for_once_a_connection(
    service: Service, readers: CaptureReaders, platform: FakePlatform
) -> None:
    """The second answer, private, must never be connected to."""
    platform.says("/v.mp4", says_bytes(archives.video(), "video/mp4"))
    url = platform.says("/p/3", page_with("/v.mp4"))
    with resolving({}) as asked:
        (shown,) = await captured(service, readers, platform, url)
    document, _ = await record_of(service, shown)
    assert asked["video.example"] == len(document["fetch"]["connections"])


async def test_what_is_too_large_ends(
    service: Service,
    readers: CaptureReaders,
    platform: FakePlatform,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(gates, "MAX_BYTES", {"received": 8 << 20, "sent": 8 << 20})
    platform.says("/big.mp4", says_bytes(archives.video() + bytes(9 << 20), "video/mp4"))
    urls = [platform.says("/big", page_with("/big.mp4")), platform.says("/endless", endless)]
    big, more = await captured(service, readers, platform, *urls)
    assert [each["reason"] for each in (big, more)] == ["too_large", "too_large"]
    assert big["media"] == [], "half a video is none"
    for shown in (big, more):
        document, _ = await record_of(service, shown)
        assert sum(c["received"] for c in document["fetch"]["connections"]) < 10 << 20


async def test_a_site_that_is_silent_ends(
    service: Service,
    readers: CaptureReaders,
    platform: FakePlatform,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def silent(handler: Any) -> None:
        handler.head(200, {"Content-Type": "text/html"})
        handler.server.closing.wait(60.0)

    monkeypatch.setattr(gates, "MAX_SECONDS", 4.0)
    (shown,) = await captured(service, readers, platform, platform.says("/quiet", silent))
    assert shown["reason"] == "too_slow"


async def test_a_bomb_takes_the_memory_of_the_child_only(
    service: Service,
    readers: CaptureReaders,
    platform: FakePlatform,
) -> None:
    inflatable()  # which takes longer to make than a busy machine would be waited for
    (shown,) = await captured(service, readers, platform, platform.says("/bomb", bomb))
    assert shown["reason"] in ("no_media", "too_large", "failed")
    assert shown["media"] == []


@pytest.mark.parametrize(
    "given",
    [
        [b"not a WARC", b'{"reason": null}'],
        [b"WARC/1.1\r\nWARC-Type: response\r\nContent-Length: 99999999\r\n\r\n", b"{}"],
        [b"", b"not JSON"],
        [b"x" * 1000, b'{"reason": "<script>"}'],
        [b"x" * 1000, b'{"reason": null, "post": {"title": 7}}'],
        [b"x" * 1000, json.dumps({"reason": None, "post": {"a": "b" * 9999}}).encode()],
    ],
)
async def test_nothing_that_a_child_says_is_believed(
    service: Service,
    readers: CaptureReaders,
    platform: FakePlatform,
    monkeypatch: pytest.MonkeyPatch,
    given: list[bytes],
) -> None:
    monkeypatch.setattr(Running, "ask", lambda *_: given[1])
    monkeypatch.setattr(Running, "rest", lambda *_: iter(given[:1]))
    answer = await queue(service, platform.url("/p"))
    await anyio.to_thread.run_sync(do_due, fetches_of(service, platform))
    monkeypatch.undo()
    await work(service, readers)
    (link,) = answer.json()["links"]
    shown = await service.client.get(
        f"/v1/captures/{link['id']}", headers=headers(service, Role.ANALYST)
    )
    assert shown.json()["state"] == "refused", shown.text
    assert not list(blobs(service))


async def test_links_wait_for_room_on_the_disk(
    service: Service,
    readers: CaptureReaders,
    platform: FakePlatform,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    platform.says("/v.mp4", says_bytes(archives.video(), "video/mp4"))
    answer = await queue(service, platform.says("/p/1", page_with("/v.mp4", "A video")))
    there = f"/v1/captures/{answer.json()['links'][0]['id']}"
    fetches = fetches_of(service, platform)
    little = MIN_FREE_BYTES + (1 << 20)
    monkeypatch.setattr(DiskSpace, "free_bytes", lambda _: little)
    for _ in range(MAX_ATTEMPTS + 1):
        await anyio.to_thread.run_sync(do_due, fetches)
    shown = await service.client.get(there, headers=headers(service, Role.ANALYST))
    assert (shown.json()["state"], shown.json()["waits"]) == ("queued", SHORT)
    assert not blobs(service)
    monkeypatch.undo()
    await anyio.to_thread.run_sync(do_due, fetches)
    await work(service, readers)
    shown = await service.client.get(there, headers=headers(service, Role.ANALYST))
    assert (shown.json()["state"], shown.json()["waits"]) == ("captured", None), shown.text


async def test_a_machine_that_refuses_the_enclosure_opens_no_link(
    service: Service, platform: FakePlatform, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused = b'{"reason": "not_enclosed", "detail": "the kernel or the container refuses a mount"}'
    answer = await queue(service, platform.url("/p/1"))
    monkeypatch.setattr(Running, "ask", lambda *_: refused)
    fetches = fetches_of(service, platform)
    for _ in range(MAX_ATTEMPTS + 1):
        with pytest.raises(SandboxIncomplete, match="refuses a mount"):
            await anyio.to_thread.run_sync(do_due, fetches)
    shown = await service.client.get(
        f"/v1/captures/{answer.json()['links'][0]['id']}", headers=headers(service, Role.ANALYST)
    )
    assert shown.json()["state"] == "queued"
    assert platform.asked.total() == 0


def test_the_yt_dlp_that_an_operator_puts_on_the_path_counts_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "yt-dlp"
    program.write_text("#!/bin/sh\necho 9999.12.31 && exec cat /etc/hostname\n")
    program.chmod(0o755)
    before, *_ = try_link(None)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    after, *_ = try_link(None)
    assert before.tools["yt-dlp"] < after.tools["yt-dlp"] == "9999.12.31", "and no file is there"
    program.write_text("#!/nowhere/python\n")
    assert try_link(None)[0].tools["yt-dlp"] == "", "deepfake check says that it does not run"


def fetchers() -> list[int]:
    """Return the processes that fetch a link for this one: outside the enclosure, and within."""
    found, parents = [], [os.getpid()]
    while parents:
        for pid in children(parents.pop()):
            with contextlib.suppress(OSError):  # it has ended
                if b"capture.fetcher" in Path(f"/proc/{pid}/cmdline").read_bytes():
                    found.append(pid)
                    parents.append(pid)
    return found


@pytest.mark.parametrize("victim", [0, 1])
async def test_a_process_that_is_killed_leaves_one_capture_and_no_file(
    service: Service, platform: FakePlatform, victim: int
) -> None:
    held, count = threading.Event(), [0]

    def hangs_once(handler: Any) -> None:
        count[0] += 1
        if count[0] > 1:
            says_bytes(archives.video(), "video/mp4")(handler)
            return
        handler.head(200, {"Content-Type": "video/mp4", "Content-Length": "50000000"})
        handler.wfile.write(archives.video())
        held.set()
        handler.server.closing.wait(60.0)

    answer = await queue(service, platform.says("/v.mp4", hangs_once), examine=False)
    fetches = fetches_of(service, platform)
    thread = threading.Thread(target=do_due, args=[fetches])
    thread.start()
    assert await anyio.to_thread.run_sync(held.wait, 60.0)
    os.kill(fetchers()[victim], signal.SIGKILL)
    await anyio.to_thread.run_sync(thread.join, 120.0)
    assert not thread.is_alive()
    assert fetchers() == []
    assert count[0] == 2
    with service.database.read() as session:
        (capture,) = session.scalars(select(Capture)).all()
        (media,) = session.scalars(select(Media)).all()
    assert (capture.id, capture.state) == (answer.json()["links"][0]["id"], "received")
    assert [f"media/{path.name}" for path in blobs(service)] == [media.blob]


async def test_500_links_are_queued_in_one_transaction_with_few_statements(
    service: Service,
) -> None:
    """How long that takes, ``make soak`` says."""
    with statements(service.database.engine) as seen:
        answer = await queue(service, *(f"https://video.example/p/{n}" for n in range(500)))
    assert answer.status_code == 202, answer.text
    assert len({link["id"] for link in answer.json()["links"]}) == 500
    assert len(seen) < 50
    again = await queue(service, "https://video.example/p/7", "https://video.example/p/new")
    assert [link["created"] for link in again.json()["links"]] == [False, True]


async def test_links_that_wait_are_cancelled_together(
    service: Service, platform: FakePlatform
) -> None:
    analyst, cancelled = headers(service, Role.ANALYST), []

    def cancels(handler: Any) -> None:
        """Cancel in the middle of the first fetch."""
        caller = service.accounts.authenticate(service.keys[Role.ANALYST])
        cancelled.append(service.app.state.shared.services.links.cancel(caller, case_id).cancelled)
        says_bytes(archives.video(), "video/mp4")(handler)

    platform.others = cancels  # whichever is opened first
    urls = [platform.url(f"/{n}.mp4") for n in range(30)]
    case_id = (await queue(service, *urls)).json()["case_id"]
    await anyio.to_thread.run_sync(do_due, fetches_of(service, platform))
    assert sum(cancelled) == 30
    assert platform.asked.total() == len(cancelled) <= AT_ONCE
    assert blobs(service) == [], "nothing is kept of what was being opened"
    shown = (await service.client.get(f"/v1/captures?case_id={case_id}", headers=analyst)).json()
    assert {(c["state"], c["reason"], c["detail"]) for c in shown["captures"]} == {
        ("refused", "cancelled", ENDS["cancelled"])
    }
    hook = "https://8.8.8.8/hook"
    (link,) = (await queue(service, urls[1], callback_url=hook)).json()["links"]
    assert link["created"], "it can be asked for again"
    asked = await queue(service, urls[1], callback_url="https://10.0.0.1/")
    assert asked.status_code == 422
    place = f"/v1/links?case_id={case_id}"
    assert (await service.client.delete(place, headers=analyst)).json() == {"cancelled": 1}
    assert (await service.client.delete(place, headers=analyst)).json() == {"cancelled": 0}
    ended = await service.client.get(f"/v1/captures/{link['id']}", headers=analyst)
    assert [each["state"] for each in ended.json()["webhooks"]] == ["due"]
    auditor = headers(service, Role.AUDITOR)
    assert (await service.client.delete(place, headers=auditor)).status_code == 403


@pytest.mark.parametrize(
    ("content", "field"),
    [
        ({"urls": []}, "urls"),
        ({"urls": [{"url": "ftp://video.example"}]}, "urls.0.url"),
        ({"urls": [{"url": "https://a.example"}, {"url": "javascript:x"}]}, "urls.1.url"),
        ({"urls": [{"url": "https://a.example"}] * 501}, "urls"),
        ({"urls": ["https://a.example"]}, "urls.0"),
        ({"urls": [{"url": "https://a.example"}], "more": 1}, "more"),
    ],
)
async def test_wrong_links_are_named(service: Service, content: Any, field: str) -> None:
    answer = await service.client.post(
        "/v1/links", json=content, headers=headers(service, Role.ANALYST)
    )
    assert answer.status_code == 422, answer.text
    assert answer.json()["errors"][0]["field"] == field, answer.text


async def test_links_of_a_case_that_may_show_a_minor_are_not_opened(
    service: Service, readers: CaptureReaders, platform: FakePlatform
) -> None:
    url = platform.says("/p/9", page_with("/v.mp4"))
    answer = await queue(service, url)
    case_id = answer.json()["case_id"]
    with service.database.write() as session:
        session.get_one(Case, case_id).minor_at = service.clock()
    await anyio.to_thread.run_sync(do_due, fetches_of(service, platform))
    with service.database.read() as session:
        (capture,) = session.scalars(select(Capture)).all()
    assert (capture.state, capture.reason) == ("refused", "minor")
    assert platform.asked["/p/9"] == 0
    again = await queue(service, url, case_reference=None, case_id=case_id)
    assert again.status_code == 422
    assert "hotline" in again.text


async def test_what_comes_after_a_case_was_flagged_is_not_kept(
    service: Service, platform: FakePlatform
) -> None:
    def flags(handler: Any) -> None:
        with service.database.write() as session:
            for case in session.scalars(select(Case)):
                case.minor_at = service.clock()
        says_bytes(archives.picture(), "image/jpeg")(handler)

    await queue(service, platform.says("/flagging", flags))
    await anyio.to_thread.run_sync(do_due, fetches_of(service, platform))
    with service.database.read() as session:
        (capture,) = session.scalars(select(Capture)).all()
        assert session.scalars(select(Media)).all() == []
    assert (capture.state, capture.reason) == ("refused", "minor")
    assert platform.asked["/flagging"] == 1
    assert blobs(service) == []


async def test_accounts_take_turns(service: Service, platform: FakePlatform) -> None:
    await queue(service, *(f"https://video.example/{n}" for n in range(5)))
    other = await queue(service, "https://video.example/other", role=Role.ADMIN)
    fetches = fetches_of(service, platform)
    first, second = fetches._claim(2, set())
    assert first != other.json()["links"][0]["id"]
    assert second == other.json()["links"][0]["id"]


async def test_no_link_is_opened_unless_it_is_switched_on(start: Callable[..., Any]) -> None:
    async with start() as service:
        answer = await queue(service, "https://video.example/p/1")
        assert answer.status_code == 409
        assert answer.json()["detail"].startswith("This service opens no links.")
