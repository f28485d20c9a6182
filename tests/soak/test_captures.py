"""Captures of the real service at their limits: many links, gigabytes, and beside other work.

What is measured runs against a yardstick in the same run: quote ratios. Processor time tells what
a busy machine does not let the clock tell.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

import pyrage
import pytest

from deepfake_service.capture.warc import head_of
from tests.support import archives, databases, footage
from tests.support.answers import csrf_of
from tests.support.fake_platform import Answer, FakePlatform, Handler
from tests.support.fake_posts import page_with
from tests.support.footage import clip
from tests.support.programs import near_platform
from tests.support.servers import ADMIN_KEY, Site, Watch, wait_until

pytestmark = pytest.mark.server
MIB = 1024**2
SIZE = int(os.environ.get("SOAK_WACZ_MIB", "2200")) * MIB
"""Of the videos in a page. A ZIP of more than 2 GiB has another form (ZIP64)."""
LINKS = 500
ROUNDS = 4
TICK = os.sysconf("SC_CLK_TCK")


def processor_s(pid: int) -> float:
    """Return the processor time of a process and of those of its children that have ended."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / TICK


def say(text: str) -> None:
    sys.stderr.write(f"\n{text}")


@pytest.fixture(params=["sqlite", "postgresql"])
def settings(request: pytest.FixtureRequest) -> Iterator[dict[str, str]]:
    if request.param == "sqlite":
        yield {}
        return
    if databases.binaries() is None:
        pytest.skip("PostgreSQL is not installed")
    with databases.running() as server:
        key = "a2tra2tra2tra2tra2tra2tra2tra2tra2tra2tra2s="
        yield {"DEEPFAKE_DATABASE_URL": server.new_database(), "DEEPFAKE_MASTER_KEY": key}


def test_500_links_are_queued_pasted_and_listed(tmp_path: Path, settings: dict[str, str]) -> None:
    pytest.importorskip("yt_dlp", reason="the extra capture-link is not installed")
    with Site(tmp_path, {"DEEPFAKE_CAPTURE_LINKS": "true", **settings}) as site:
        pid = site.serve("--no-worker").popen.pid

        def timed(what: str, request: Callable[[], Any]) -> tuple[Any, float]:
            began, used = time.monotonic(), processor_s(pid)
            answer = request()
            took = processor_s(pid) - used
            say(f"{what}: {took:.2f} s of a core, {time.monotonic() - began:.2f} s here")
            return answer, took

        def queued(client: Any, count: int) -> Any:
            urls = [{"url": f"https://video.example/{count}/{n}"} for n in range(count)]
            content = {"case_reference": str(count), "urls": urls}
            return client.post("/v1/links", json=content)

        with site.client as client, site.browser() as browser:
            queued(client, 1)
            _, most = timed("50 requests of a link", lambda: [queued(client, 1) for _ in range(50)])
            most *= 3
            answer, took = timed(f"{LINKS} links", lambda: queued(client, LINKS))
            assert len(answer.json()["links"]) == LINKS
            assert took < most
            browser.post("/sign-in", data={"key": ADMIN_KEY})
            form = {
                "links": "\n".join(f"https://video.example/p/{n}?a=1,2" for n in range(LINKS)),
                "case_reference": "pasted",
                "csrf": csrf_of(browser.get("/submit").text),
            }
            answer, took = timed("pasted", lambda: browser.post("/links", data=form))
            assert answer.status_code == 303
            assert took < most
            place = urlsplit(answer.headers["location"]).path
            page, took = timed("page", lambda: browser.get(place))
            assert page.status_code == 200
            assert took < most
            table, took = timed("table", lambda: browser.get(f"{place}/captures.csv"))
            assert table.text.count("https://video.example/p/") == LINKS
            assert took < most


class _Hashed:
    """A member of a ZIP that is written and digested."""

    def __init__(self, member: IO[bytes]) -> None:
        self._member, self.sha256 = member, hashlib.sha256()

    def write(self, piece: bytes) -> None:
        self._member.write(piece)
        self.sha256.update(piece)


def write_wacz(path: Path) -> list[str]:
    """Write a page with two videos of half of ``SIZE`` each as WACZ; return their digests."""
    noise, start = os.urandom(MIB), clip(frames=2)
    digests = []

    def pieces(number: int) -> Iterator[bytes]:
        yield start
        for at in range(len(start), SIZE // 2, MIB):
            piece = b"%16d%16d" % (number, at) + noise[32:]
            yield piece[: SIZE // 2 - at]

    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        with archive.open("archive/data.warc", "w", force_zip64=True) as member:
            warc = _Hashed(member)
            dated = {"WARC-Date": archives.AT}
            about = {**dated, "WARC-Target-URI": archives.PAGE, "Content-Type": "text/html"}
            warc.write(head_of("resource", about, len(archives.HTML)) + archives.HTML + b"\r\n\r\n")
            for number in range(2):
                url = f"https://cdn.example.org/{number}.mp4"
                about = {**dated, "WARC-Target-URI": url, "Content-Type": "video/mp4"}
                warc.write(head_of("resource", about, SIZE // 2))
                digest = hashlib.sha256()
                for piece in pieces(number):
                    warc.write(piece)
                    digest.update(piece)
                warc.write(b"\r\n\r\n")
                digests.append(digest.hexdigest())
        listed = {"path": "archive/data.warc", "hash": f"sha256:{warc.sha256.hexdigest()}"}
        archive.writestr("datapackage.json", json.dumps({"resources": [listed]}))
    return digests


def handed_in(url: str, path: Path) -> dict[str, Any]:
    """Send a file as a capture, and return the answer."""
    address = urlsplit(url)
    head = b'--b\r\nContent-Disposition: form-data; name="file"; filename="page.wacz"\r\n\r\n'
    end = b"\r\n--b--\r\n"

    def body() -> Iterator[bytes]:
        yield head
        with path.open("rb") as file:
            yield from iter(lambda: file.read(MIB), b"")
        yield end

    connection = HTTPConnection(str(address.hostname), address.port, timeout=3600)
    with contextlib.closing(connection):
        size = len(head) + path.stat().st_size + len(end)
        connection.request(
            "POST", "/v1/captures", body=body(),
            headers={"Authorization": f"Bearer {ADMIN_KEY}", "Content-Length": str(size),
                     "Content-Type": "multipart/form-data; boundary=b"},
        )  # fmt: skip
        answer = connection.getresponse()
        shown: dict[str, Any] = json.loads(answer.read())
        assert answer.status == 202, shown
        return shown


def test_more_than_two_gibibytes_come_in_and_go_out(tmp_path: Path) -> None:
    page, out = tmp_path / "page.wacz", tmp_path / "out"
    digests = write_wacz(page)
    authority = pyrage.x25519.Identity.generate()

    @contextlib.contextmanager
    def timed(what: str, processor: Callable[[], float]) -> Iterator[None]:
        began, used = time.monotonic(), processor()
        yield
        took, used = time.monotonic() - began, processor() - used
        rates = f"{SIZE / MIB / took:.0f} MiB/s here, {SIZE / MIB / used:.0f} per s of a core"
        say(f"{what}: {rates}")

    def of_programs() -> float:
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        return used.ru_utime + used.ru_stime

    with timed("sha256sum", of_programs):
        subprocess.run(["sha256sum", page], check=True, stdout=subprocess.DEVNULL)
    with timed("cp", of_programs):
        subprocess.run(["cp", page, out], check=True)
    with Site(tmp_path) as site:
        pid = site.serve().popen.pid
        with Watch(pid) as watch, site.client as client:
            with timed("handed in", lambda: processor_s(pid)):
                shown = handed_in(site.url, page)
            page.unlink()
            place = f"/v1/captures/{shown['id']}"
            with timed("read", lambda: processor_s(pid)):
                wait_until(
                    lambda: client.get(place).json()["state"] != "received",
                    every_s=1,
                    within_s=3600,
                )
            shown = client.get(place).json()
            assert shown["state"] == "captured", shown
            assert shown["files"][0]["integrity"]["digests"] == "verified"
            assert [medium["sha256"] for medium in shown["media"]] == digests
            asked = {"recipient": str(authority.to_public())}
            medium = f"/v1/cases/{shown['case_id']}/media/{shown['files'][0]['media_id']}"
            with (
                timed("exported", lambda: processor_s(pid)),
                client.stream("POST", f"{medium}/export", json=asked, timeout=3600) as answer,
                out.open("wb") as file,
            ):
                assert answer.status_code == 200
                for piece in answer.iter_raw(MIB):
                    file.write(piece)
    say(f"peaks: {watch.peak // MIB} MiB, of a child {watch.peak_of_child // MIB} MiB")
    shutil.rmtree(tmp_path / "var")
    with out.open("rb") as sealed, page.open("wb") as opened:
        pyrage.decrypt_io(sealed, opened, [authority])
    with page.open("rb") as again:
        digest = hashlib.file_digest(again, "sha256").hexdigest()
    assert digest == shown["files"][0]["sha256"]
    assert watch.peak < 400 * MIB
    assert watch.peak_of_child < 400 * MIB


def paced(content: bytes, seconds: float, flying: list[int]) -> Answer:
    """Return an answer that takes so long to send, and counts itself in ``flying`` meanwhile."""
    pieces = [content[at : at + 256 * 1024] for at in range(0, len(content), 256 * 1024)]

    def answer(handler: Handler) -> None:
        handler.head(200, {"Content-Type": "video/mp4", "Content-Length": str(len(content))})
        flying.append(1)
        try:
            for piece in pieces:
                handler.wfile.write(piece)
                time.sleep(seconds / len(pieces))
        finally:
            flying.pop()

    return answer


def test_links_in_flight_slow_neither_uploads_nor_pictures(tmp_path: Path) -> None:
    pytest.importorskip("yt_dlp", reason="the extra capture-link is not installed")
    (tmp_path / "platform").mkdir()
    platform = FakePlatform(tmp_path / "platform")
    flying: list[int] = []
    video = clip(frames=2) + os.urandom(90_000_000)
    for number in range(2):
        platform.says(f"/v/{number}.mp4", paced(video, 15.0, flying))
        platform.says(f"/p/{number}", page_with(f"/v/{number}.mp4"))
    settings = {
        "DEEPFAKE_CAPTURE_LINKS": "true",
        near_platform.AUTHORITY: str(tmp_path / "platform" / "authority.pem"),
    }
    picture, counted = footage.picture(footage.astronaut()), iter(range(10**6))
    took: dict[str, dict[bool, list[float]]] = {
        what: {False: [], True: []} for what in ("uploads", "pictures")
    }
    with Site(tmp_path, settings, program=near_platform.__name__) as site:
        pid = site.serve().popen.pid

        def measure(*, beside: bool) -> None:
            with site.client as client:
                began = time.monotonic()
                answer = client.post("/v1/frames", files={"files": ("p.jpg", picture)})
                assert answer.status_code == 200, answer.text
                took["pictures"][beside].append(time.monotonic() - began)
                began = time.monotonic()
                job = site.submit(clip(next(counted) % 200, frames=16))
                site.wait(job["id"])
                took["uploads"][beside].append(time.monotonic() - began)

        measure(beside=False)
        for latencies in took.values():
            latencies[False].clear()
        with Watch(pid) as watch, site.client as client:
            for number in range(ROUNDS):
                for _ in range(4):
                    measure(beside=False)
                urls = [{"url": platform.url(f"/p/{n}")} for n in range(2)]
                content = {"case_reference": str(number), "urls": urls, "examine": False}
                case_id = client.post("/v1/links", json=content).json()["case_id"]
                wait_until(lambda: len(flying) == 2)
                for _ in range(4):
                    measure(beside=bool(flying))

                def done(case_id: str = case_id) -> bool:
                    listed = client.get("/v1/captures", params={"case_id": case_id}).json()
                    return {each["state"] for each in listed["captures"]} == {"captured"}

                wait_until(done, within_s=600)
    platform.close()
    assert threading.active_count() < 20
    say(f"peaks: {watch.peak // MIB} MiB, of a child {watch.peak_of_child // MIB} MiB")
    for what, latencies in took.items():
        alone, beside = (statistics.median(latencies[key]) for key in (False, True))
        say(f"{what}: {beside:.2f} s beside two links, {alone:.2f} s alone: {beside / alone:.2f}")
        assert beside < 3 * alone
    assert watch.peak_of_child < 700 * MIB
