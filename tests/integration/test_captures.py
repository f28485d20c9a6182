"""Captures of the real service: by the command, and while its process is killed."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from deepfake_service.platform.db import Capture
from deepfake_service.platform.db.enums import CaptureState
from tests.support import archives
from tests.support.servers import ADMIN_KEY, Site, wait_until

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
    with Site(tmp_path, migrated=True) as private:
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
    assert "1 pages, 2 pictures and videos; digests verified, signature not signed" in said
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


def test_a_killed_service_leaves_one_capture_and_no_half_blob(site: Site, tmp_path: Path) -> None:
    """It is killed while it reads an archive that takes seconds to read."""
    service = site.serve()
    video = archives.video() + random.Random(0).randbytes(100 << 20)
    content = archives.wacz(
        archives.page().response("https://cdn.example.org/long.mp4", video, "video/mp4").content()
    )
    del video
    with site.client as client:
        answer = client.post("/v1/captures", files={"file": ("page.wacz", content)})
        assert answer.status_code == 202, answer.text
        capture_id = answer.json()["id"]

    def claimed() -> bool:
        with site.database() as database, database.read() as session:
            row = session.get_one(Capture, capture_id)
            assert row.state == CaptureState.RECEIVED, "it was read before it could be killed"
            return row.worker is not None

    wait_until(claimed, 30.0, lambda: service.log, 0.02)
    service.kill()
    again = site.serve()
    with site.client as client:

        def read() -> bool:
            state = client.get(f"/v1/captures/{capture_id}").json()["state"]
            return bool(state != "received")

        wait_until(read, 90.0, lambda: again.log)
        shown = client.get(f"/v1/captures/{capture_id}").json()
        listed = client.get("/v1/captures", params={"case_id": shown["case_id"]}).json()
    assert shown["state"] == "captured", shown
    assert len(shown["media"]) == 3
    assert [each["id"] for each in listed["captures"]] == [capture_id]
    assert len(site.blobs()) == 2
