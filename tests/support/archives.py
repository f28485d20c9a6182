"""Captures for tests: WARC files that warcio writes, and WACZ and MHTML files around them."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import zipfile
from collections.abc import Sequence
from functools import cache
from typing import Any

from tests.support import footage

PAGE = "https://example.org/post/1"
PICTURE = "https://cdn.example.org/face.jpg"
VIDEO = "https://cdn.example.org/clip.mp4"
AT = "2026-03-01T10:00:00Z"
HTML = b"<!doctype html><html><head><title>A post</title></head><body>words</body></html>"
INLINE = b'<img src="data:image/png;base64,' + b"A" * 4000 + b'">'


@cache
def picture() -> bytes:
    return footage.picture(footage.astronaut())


@cache
def icon() -> bytes:
    return footage.picture(footage.resized(footage.astronaut(), 16, 16))


@cache
def video() -> bytes:
    return footage.short_clip()


class Warc:
    """A WARC file, written by warcio."""

    def __init__(self, *, gzip: bool = True) -> None:
        from warcio.warcwriter import WARCWriter

        self.file = io.BytesIO()
        self.writer = WARCWriter(self.file, gzip=gzip, warc_version="1.1")
        info = {"software": "Page Recorder 1.0", "format": "WARC File Format 1.1"}
        self.writer.write_record(self.writer.create_warcinfo_record("data.warc", info))

    def response(
        self,
        url: str,
        body: bytes,
        mime: str,
        *,
        status: str = "200 OK",
        headers: Sequence[tuple[str, str]] = (),
        fields: dict[str, str] | None = None,
    ) -> Warc:
        from warcio.statusandheaders import StatusAndHeaders

        head = StatusAndHeaders(status, [("Content-Type", mime), *headers], protocol="HTTP/1.1")
        dated = {"WARC-Date": AT, **(fields or {})}
        record = self.writer.create_warc_record(
            url, "response", io.BytesIO(body), http_headers=head, warc_headers_dict=dated
        )
        self.writer.write_record(record)
        return self

    def resource(self, url: str, body: bytes, mime: str) -> Warc:
        record = self.writer.create_warc_record(
            url,
            "resource",
            io.BytesIO(body),
            warc_content_type=mime,
            warc_headers_dict={"WARC-Date": AT},
        )
        self.writer.write_record(record)
        return self

    def request(self, url: str) -> Warc:
        from warcio.statusandheaders import StatusAndHeaders

        head = StatusAndHeaders(
            "GET / HTTP/1.1", [("Cookie", "session=secret")], is_http_request=True
        )
        record = self.writer.create_warc_record(url, "request", http_headers=head)
        self.writer.write_record(record)
        return self

    def content(self) -> bytes:
        return self.file.getvalue()


def page(**options: bool) -> Warc:
    """Return a page with a picture and a video, behind a login."""
    return (
        Warc(**options)
        .request(PAGE)
        .response(PAGE, HTML, "text/html", headers=[("Set-Cookie", "session=secret; Path=/")])
        .response(PICTURE, picture(), "image/jpeg")
        .response(VIDEO, video(), "video/mp4")
        .response("https://example.org/icon.png", icon(), "image/png")
    )


def wacz(
    warc: bytes,
    *,
    change: dict[str, bytes] | None = None,
    signed: Any = None,
    pages: Sequence[dict[str, str]] = ({"url": PAGE, "title": "A post", "ts": AT},),
) -> bytes:
    """Return a WACZ 1.1.1; ``change`` replaces files after their digests were listed."""
    lines = [json.dumps({"format": "json-pages-1.0", "id": "pages"}), *map(json.dumps, pages)]
    files = {"archive/data.warc.gz": warc, "pages/pages.jsonl": "\n".join(lines).encode()}
    package = {
        "profile": "data-package",
        "wacz_version": "1.1.1",
        "software": "Page Recorder 1.0",
        "resources": [
            {"name": name.rpartition("/")[2], "path": name, "hash": f"sha256:{_hex(content)}"}
            for name, content in files.items()
        ],
    }
    files["datapackage.json"] = json.dumps(package).encode()
    digest = f"sha256:{_hex(files['datapackage.json'])}"
    listed: dict[str, Any] = {"path": "datapackage.json", "hash": digest}
    if signed is not None:
        listed["signedData"] = signed(digest)
    files["datapackage-digest.json"] = json.dumps(listed).encode()
    return zipped({**files, **(change or {})})


def zipped(files: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", compression) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return out.getvalue()


def mhtml() -> bytes:
    """Return what Chromium saves of a page."""
    parts = [
        ("text/html", PAGE, HTML),
        ("image/jpeg", PICTURE, picture()),
    ]
    body = b"".join(
        b"------b\r\nContent-Type: %s\r\nContent-Transfer-Encoding: base64\r\n"
        b"Content-Location: %s\r\n\r\n%s\r\n"
        % (mime.encode(), url.encode(), base64.encodebytes(content))
        for mime, url, content in parts
    )
    return (
        b"From: <Saved by Blink>\r\nSnapshot-Content-Location: " + PAGE.encode() + b"\r\n"
        b"Subject: A post\r\nDate: Sun, 1 Mar 2026 10:00:00 +0000\r\nMIME-Version: 1.0\r\n"
        b'Content-Type: multipart/related; type="text/html"; boundary="----b"\r\n\r\n'
        + body
        + b"------b--\r\n"
    )


def _hex(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
