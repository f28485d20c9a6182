"""Captures of the real service: by the command, and while its process is killed."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from deepfake_service.capture.browser import USUAL_PATH
from deepfake_service.capture.captures import UNPICTURED
from tests.support import archives
from tests.support.fake_platform import FakePlatform, Handler, shows
from tests.support.fake_posts import page_with, says_bytes
from tests.support.programs import held_jobs, near_platform
from tests.support.servers import ADMIN_KEY, WAIT_S, Site, wait_until

pytest.importorskip("warcio", reason="warcio writes the WARC files of these tests")
pytestmark = [
    pytest.mark.server,
    # warcio leaves temporary files open.
    pytest.mark.filterwarnings(
        "ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"
    ),
]


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with Site(tmp_path) as private:
        yield private


def imported(site: Site, path: Path, *words: str, expected: int = 0) -> str:
    return site.command(
        "capture", "import", str(path), "--url", site.url, "--key", ADMIN_KEY, *words,
        expected=expected,
    )  # fmt: skip


def test_an_archive_from_the_command_to_its_items_and_its_verification(
    site: Site, tmp_path: Path
) -> None:
    site.serve()
    archive, shot = tmp_path / "page.wacz", tmp_path / "page.png"
    archive.write_bytes(archives.wacz(archives.page().content()))
    shot.write_bytes(archives.picture() + b"\0")
    said = imported(site, archive, "--case-reference", "A", "--examine")
    assert "1 pages, 2 pictures and videos; digests verified" in said
    assert "below the minimum of the Berkeley Protocol; missing: full page capture" in said
    said = imported(site, archive, "--case-reference", "B", "--screenshot", str(shot), "--json")
    shown = json.loads(next(line for line in said.splitlines() if line.startswith("{")))
    assert shown["missing"] == []
    with site.client as client:
        (capture,) = client.get("/v1/captures", params={"case_id": shown["case_id"]}).json()[
            "captures"
        ]
        bundle = client.get(f"/v1/captures/{capture['id']}/bundle").content
        keys = client.get("/.well-known/jwks.json").content
    (tmp_path / "capture.zip").write_bytes(bundle)
    (tmp_path / "jwks.json").write_bytes(keys)
    verified = site.command(
        "verify", str(tmp_path / "capture.zip"), "--public-key", str(tmp_path / "jwks.json")
    )
    assert "The capture agrees with the statement" in verified
    assert "verified: intact, and signed by a trusted key" in verified
    (tmp_path / "broken.wacz").write_bytes(b"PK\x03\x04 no archive")
    said = imported(site, tmp_path / "broken.wacz", expected=1)
    assert "refused (damaged)" in said


def test_a_file_that_is_too_large_is_not_sent(site: Site, tmp_path: Path) -> None:
    with (tmp_path / "large.wacz").open("wb") as file:
        file.truncate(10 << 30)  # without taking space
    site.serve("--no-worker")
    said = imported(site, tmp_path / "large.wacz", expected=1)
    # The service says it in other words, after the file was sent.
    assert "has 10737418240 bytes. The service takes at most 4294967296." in said


def test_a_killed_service_leaves_one_capture_and_no_half_blob(tmp_path: Path) -> None:
    """It is killed when the signed record was written, and the database does not know of it."""
    video = archives.video() + bytes(1 << 20)
    content = archives.wacz(
        archives.page().response("https://cdn.example.org/long.mp4", video, "video/mp4").content()
    )
    with Site(tmp_path, program=held_jobs.__name__) as site:
        service = site.serve()
        site.hold()
        with site.client as client:
            answer = client.post("/v1/captures", files={"file": ("page.wacz", content)})
        assert answer.status_code == 202, answer.text
        capture_id = answer.json()["id"]
        wait_until(lambda: len(site.blobs()) == 2, explain=lambda: service.log)
        with site.client as client:
            assert client.get(f"/v1/captures/{capture_id}").json()["state"] == "received"
        service.kill()
        site.release()
        again = site.serve()
        with site.client as client:

            def read() -> bool:
                state = client.get(f"/v1/captures/{capture_id}").json()["state"]
                return bool(state != "received")

            wait_until(read, lambda: again.log)
            shown = client.get(f"/v1/captures/{capture_id}").json()
            listed = client.get("/v1/captures", params={"case_id": shown["case_id"]}).json()
        assert shown["state"] == "captured", shown
        assert len(shown["media"]) == 3
        assert [each["id"] for each in listed["captures"]] == [capture_id]
        site.delete_orphans()
        assert len(site.blobs()) == 2


@pytest.fixture
def platform(tmp_path: Path) -> Iterator[FakePlatform]:
    folder = tmp_path / "platform"
    folder.mkdir()
    made = FakePlatform(folder)
    yield made
    made.close()


@pytest.fixture
def near(tmp_path: Path, platform: FakePlatform) -> Iterator[Site]:
    pytest.importorskip("yt_dlp", reason="the extra capture-link is not installed")
    authority = str(tmp_path / "platform" / "authority.pem")
    settings = {"DEEPFAKE_CAPTURE_LINKS": "true", near_platform.AUTHORITY: authority}
    program = near_platform.__name__
    with Site(tmp_path, settings, program=program) as private:
        yield private


def test_links_from_the_command_to_what_can_be_done(
    near: Site, platform: FakePlatform, tmp_path: Path
) -> None:
    near.serve()
    platform.says("/v.mp4", says_bytes(archives.video(), "video/mp4"))
    there = platform.says("/p/1", page_with("/v.mp4"))
    gone = platform.url("/p/2")
    table, results = tmp_path / "links.csv", tmp_path / "results.csv"
    table.write_text(f"번호,링크,비고\n1,{there},검색으로 발견\n2,{gone},\n", encoding="cp949")
    said = near.command(
        "capture", "links", "--from", str(table), "--to", str(results), "--case-reference", "L",
        "--url", near.url, "--key", ADMIN_KEY, expected=1,
    )  # fmt: skip
    assert f"{there}: captured; 1 pictures and videos" in said
    assert f"{gone}: gone; 0 pictures and videos" in said
    assert "The post is gone." in said
    lines = results.read_text(encoding="utf-8-sig").splitlines()
    assert lines[0] == "url,end,media,next_step,capture"
    assert [line.split(",")[1:3] for line in lines[1:]] == [["captured", "1"], ["gone", "0"]]
    again = near.command("capture", there, "--url", near.url, "--key", ADMIN_KEY, "--no-examine")
    assert "captured" in again


@pytest.mark.browser
@pytest.mark.skipif(
    not Path(USUAL_PATH).exists(), reason="Chromium's headless shell is not installed"
)
def test_a_worker_with_a_browser_takes_pictures_of_pages(
    tmp_path: Path, platform: FakePlatform
) -> None:
    pytest.importorskip("yt_dlp", reason="the extra capture-link is not installed")
    settings = {
        "DEEPFAKE_CAPTURE_LINKS": "true",
        "DEEPFAKE_CAPTURE_BROWSER": USUAL_PATH,
        near_platform.AUTHORITY: str(tmp_path / "platform" / "authority.pem"),
    }
    url = platform.says("/p", shows(f"<p>{'words ' * 60}</p>"))
    with Site(tmp_path, settings, program=near_platform.__name__) as private:
        private.serve()
        said = private.command(
            "capture", "links", url, "--json", "--url", private.url, "--key", ADMIN_KEY, expected=1
        )
    shown = json.loads(said)
    if shown["no_picture"] == UNPICTURED["not_enclosed"]:
        pytest.skip(shown["no_picture"])
    assert (shown["reason"], shown["missing"], shown["no_picture"]) == ("no_media", [], None)
    assert [each["role"] for each in shown["media"]] == ["full_page_capture"]


def test_a_worker_that_is_killed_while_it_fetches_leaves_one_capture(
    near: Site, platform: FakePlatform
) -> None:
    asked = threading.Event()

    def hangs_once(handler: Handler) -> None:
        if asked.is_set():
            says_bytes(archives.video(), "video/mp4")(handler)
            return
        handler.head(200, {"Content-Type": "video/mp4", "Content-Length": "50000000"})
        handler.wfile.write(archives.video() + bytes(1 << 20))
        asked.set()
        handler.server.closing.wait(WAIT_S)  # type: ignore[attr-defined]

    service = near.serve()
    url = platform.says("/v.mp4", hangs_once)
    with near.client as client:
        content = {"urls": [{"url": url}], "examine": False}
        (link,) = client.post("/v1/links", json=content).json()["links"]
    assert asked.wait(WAIT_S), service.log
    service.kill()
    again = near.serve()
    with near.client as client:

        def ended() -> bool:
            state = client.get(f"/v1/captures/{link['id']}").json()["state"]
            return state not in ("queued", "received")

        wait_until(ended, lambda: again.log)
        shown = client.get(f"/v1/captures/{link['id']}").json()
        listed = client.get("/v1/captures", params={"case_id": shown["case_id"]}).json()
    assert (shown["state"], shown["reason"], len(shown["media"])) == ("captured", None, 1)
    assert [each["id"] for each in listed["captures"]] == [link["id"]]
    # What the first try had begun to write is encrypted under a key that nobody has, has no row,
    # and is deleted by the hourly sweep, as that of a broken upload is.
    near.delete_orphans()
    assert len(near.blobs()) == 2, "the file and the signed record, and nothing of the first try"
    assert near.files_containing(archives.video()[5000:5100]) == []
