"""Captures exported as WACZ, read by programs of others."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import zipfile
from typing import Any

import pyrage
import pytest
from sqlalchemy import select

from deepfake_service.audit.log import Action
from deepfake_service.capture.readers import CaptureReaders, IndexRow
from deepfake_service.capture.replay import replayable
from deepfake_service.cases.cases import media_key
from deepfake_service.evidence.bundle import zip_format as bag
from deepfake_service.evidence.bundle.capture_format import CAPTURE
from deepfake_service.evidence.bundle.warc import written
from deepfake_service.platform.db import AuditEntry, Case, Media
from deepfake_service.platform.db.enums import Role
from deepfake_service.platform.storage import context_of
from deepfake_service.platform.storage.envelope import seal
from tests.support import archives
from tests.support.captures import get, hand_in, work
from tests.support.jobs import headers
from tests.unit.service.conftest import Service

pytest.importorskip("warcio", reason="warcio writes and reads the WARC files of these tests")
# warcio leaves temporary files open.
pytestmark = pytest.mark.filterwarnings(
    "ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"
)
AUTHORITY = pyrage.x25519.Identity.generate()
STYLE = "https://cdn.example.org/style.css"


async def captured(
    service: Service, readers: CaptureReaders, content: bytes | None, **form: Any
) -> dict[str, Any]:
    answer = await hand_in(service, content, **form)
    assert answer.status_code == 202, answer.text
    await work(service, readers)
    return dict((await get(service, answer.headers["Location"])).json())


async def export(service: Service, capture_id: str, role: Role = Role.ANALYST) -> Any:
    return await service.client.post(
        f"/v1/captures/{capture_id}/export",
        json={"recipient": str(AUTHORITY.to_public())},
        headers=headers(service, role),
    )


async def exported(service: Service, capture_id: str) -> bytes:
    answer = await export(service, capture_id)
    assert answer.status_code == 200, answer.text
    return bytes(pyrage.decrypt(answer.content, [AUTHORITY]))


def with_inline_picture() -> bytes:
    """Return a page whose HTML was packed, and has a picture in it, which the text part cuts."""
    html = gzip.compress(archives.HTML.replace(b"words", b"words " + archives.INLINE))
    return (
        archives.Warc()
        .response(archives.PAGE, html, "text/html", headers=[("Content-Encoding", "gzip")])
        .response(STYLE, b"body { color: black }", "text/css")
        .response(archives.PICTURE, archives.picture(), "image/jpeg")
        .response(archives.VIDEO, archives.video(), "video/mp4")
        .content()
    )


async def test_a_capture_is_exported_as_wacz_that_others_read(
    service: Service, readers: CaptureReaders
) -> None:
    from warcio.archiveiterator import ArchiveIterator

    shown = await captured(service, readers, with_inline_picture())
    content = await exported(service, shown["id"])
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert archive.testzip() is None
        files = {name: archive.read(name) for name in archive.namelist()}
        assert {each.compress_type for each in archive.infolist()} == {zipfile.ZIP_STORED}
    package = json.loads(files["datapackage.json"])
    assert package["wacz_version"] == "1.1.1"
    assert package["mainPageUrl"] == archives.PAGE
    listed = {each["path"]: each for each in package["resources"]}
    assert set(files) - set(listed) == {"datapackage.json", "datapackage-digest.json"}
    for name, each in listed.items():
        assert each["hash"] == f"sha256:{hashlib.sha256(files[name]).hexdigest()}"
        assert each["bytes"] == len(files[name])
    digest = json.loads(files["datapackage-digest.json"])["hash"]
    assert digest == f"sha256:{hashlib.sha256(files['datapackage.json']).hexdigest()}"
    signed = files["evidence/capture.zip"]
    assert hashlib.sha256(signed).hexdigest() == shown["sha256"]
    assert json.loads(bag.member(signed, CAPTURE))["id"] == shown["id"]
    lines = files["indexes/index.cdx"].decode().splitlines()
    assert lines == sorted(lines)
    found = {}
    for line in lines:
        about = json.loads(line.split(" ", 2)[2])
        warc = files[f"archive/{about['filename']}"]
        piece = warc[int(about["offset"]) :][: int(about["length"])]
        record = next(ArchiveIterator(io.BytesIO(piece), check_digests="raise"))
        assert record.rec_headers.get_header("WARC-Target-URI") == about["url"]
        found[about["url"]] = (about["mime"], record.content_stream().read())
    assert found[archives.PICTURE] == ("image/jpeg", archives.picture())
    assert found[archives.VIDEO] == ("video/mp4", archives.video())
    assert found[STYLE][1].startswith(b"body {")
    mime, html = found[archives.PAGE]
    assert mime == "text/html"
    assert html == archives.HTML.replace(b"words", b'words <img src="data:,cut">')


async def test_fastwarc_finds_every_digest_right(service: Service, readers: CaptureReaders) -> None:
    fastwarc = pytest.importorskip("fastwarc")
    shown = await captured(service, readers, archives.wacz(archives.page().content()))
    content = await exported(service, shown["id"])
    checked = 0
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        for name in ("archive/page.warc.gz", "archive/media.warc"):
            stream = io.BytesIO(archive.read(name))
            for record in fastwarc.ArchiveIterator(stream, parse_http=False):
                assert record.verify_block_digest(), record.headers
                checked += 1
    assert checked >= 3


async def test_it_comes_in_again_and_says_the_same(
    service: Service, readers: CaptureReaders
) -> None:
    shown = await captured(service, readers, archives.wacz(archives.page().content()))
    content = await exported(service, shown["id"])
    again = await captured(service, readers, content, case_reference="again")
    assert again["files"][0]["integrity"] == {
        "digests": "verified", "signed_by": None,
    }  # fmt: skip
    assert again["pages"] == shown["pages"]
    assert {m["sha256"] for m in again["media"]} == {m["sha256"] for m in shown["media"]}
    assert again["missing"] == shown["missing"]


async def test_screenshots_are_exported_under_the_address_of_the_post(
    service: Service, readers: CaptureReaders
) -> None:
    shown = await captured(
        service, readers, None, screenshots=(archives.picture(),), full_page="true",
        source_url=archives.PAGE,
    )  # fmt: skip
    content = await exported(service, shown["id"])
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        index = archive.read("indexes/index.cdx").decode()
        assert archive.read("archive/media.warc").count(archives.picture()) == 1
    assert f"urn:fullPage:{archives.PAGE}" in index


async def test_it_is_audited_and_withheld_as_media_are(
    service: Service, readers: CaptureReaders
) -> None:
    shown = await captured(service, readers, archives.wacz(archives.page().content()))
    (file,) = shown["files"]
    await exported(service, shown["id"])
    with service.database.read() as session:
        entries = select(AuditEntry.subject).where(AuditEntry.action == Action.MEDIA_EXPORTED)
        assert list(session.scalars(entries)) == [file["media_id"]]
    assert (await export(service, shown["id"], Role.AUDITOR)).status_code == 403
    other = await service.client.post(
        f"/v1/captures/{shown['id']}/export",
        json={"recipient": "age1nonsense"},
        headers=headers(service, Role.ANALYST),
    )
    assert other.status_code == 422
    flagged = await service.client.put(
        f"/v1/cases/{shown['case_id']}/minor", headers=headers(service, Role.ANALYST)
    )
    assert flagged.is_success, flagged.text
    assert (await export(service, shown["id"])).status_code == 403
    assert (await export(service, shown["id"], Role.ADMIN)).status_code == 200


@pytest.mark.parametrize("date", ["2026-01-01T00:00:00Z", "2026-01-01T00:00:00" + "0" * 80])
def test_an_answer_without_a_status_does_not_keep_a_capture_from_being_indexed(date: str) -> None:
    fields = {"WARC-Target-URI": "https://a.example/", "WARC-Date": date}
    record = written("response", fields, b"HTTP/1.1 odd\r\nContent-Type: text/html\r\n\r\nx")
    rows, _ = replayable(io.BytesIO(record))
    assert [IndexRow.model_validate(row).status for row in rows] == ["000"]


async def test_files_that_are_lost_or_altered_are_told_and_not_exported(
    service: Service, readers: CaptureReaders
) -> None:
    shown = await captured(service, readers, archives.wacz(archives.page().content()))
    other = await captured(
        service, readers, archives.page(gzip=False).content(), case_reference="other"
    )
    (file,), (beside,) = shown["files"], other["files"]
    with service.database.write() as session:
        medium = session.get_one(Media, file["media_id"])
        another = session.get_one(Media, beside["media_id"])
        vault = service.app.state.shared.services.captures._vault
        case_key = vault.case_key(session.get_one(Case, medium.case_id))
        other_key = vault.case_key(session.get_one(Case, another.case_id))
        medium.blob = another.blob
        own_key = media_key(another, other_key)
        medium.wrapped_key = seal(case_key, own_key, context_of("media-key", medium.id))
    altered = await export(service, shown["id"])
    assert altered.status_code == 409
    assert altered.json()["type"].endswith("record_altered")
    vault.blobs.delete(another.blob)
    missing = await export(service, shown["id"])
    assert missing.status_code == 404, missing.text
    with service.database.read() as session:
        entries = select(AuditEntry.subject).where(AuditEntry.action == Action.MEDIA_EXPORTED)
        assert list(session.scalars(entries)) == []
