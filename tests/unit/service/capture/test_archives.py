"""What is read of captured files, what is refused, and what is only stated. All are hostile."""

from __future__ import annotations

import base64
import contextlib
import gzip
import hashlib
import io
import json
import os
import random
import zipfile
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import brotli
import pytest

from deepfake_models.sandbox.protocol import MAX_PIECE_BYTES
from deepfake_service.capture import warc
from deepfake_service.capture.archives import body_of, read_file
from deepfake_service.capture.findings import CapturedImage, Findings, Integrity
from deepfake_service.capture.readers import CaptureReaders
from deepfake_service.capture.warc import Refused, zstd
from tests.support import archives

pytest.importorskip("warcio", reason="warcio writes the WARC files of these tests")
# warcio leaves temporary files open.
pytestmark = pytest.mark.filterwarnings(
    "ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"
)


def read(content: bytes) -> tuple[Findings, bytes]:
    """Read a file as the confined process does."""
    return read_file(io.BytesIO(content), 1)


def refused(content: bytes) -> Refused:
    with pytest.raises(Refused) as caught:
        read(content)
    return caught.value


def kept(text: bytes) -> list[tuple[str, bytes]]:
    """Return the kinds and blocks of the records of a text part, read by warcio."""
    from warcio.archiveiterator import ArchiveIterator

    return [
        (record.rec_type, record.raw_stream.read())
        for record in ArchiveIterator(io.BytesIO(text), no_record_parse=True)
    ]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("2026-03-01T09:59:59Z", "2026-03-01T10:00:00.5Z"),
        ("2026-03-01T19:00:00+09:00", "2026-03-01T05:00:01-05:00"),
        ("2026-03-01T10:00:00", "0001-01-01T00:00:00+14:00"),
    ],
)
def test_a_picture_belongs_to_the_page_that_was_begun_last(first: str, second: str) -> None:
    """Whatever the zone and the precision of the times."""
    pages = [
        {"url": "https://example.org/2", "title": "2", "ts": second},
        {"url": "https://example.org/1", "title": "1", "ts": first},
    ]
    found, _ = read(archives.wacz(archives.page().content(), pages=pages))
    assert {m.page for m in found.media} == {1}


@pytest.mark.parametrize("within", ["\x0b", "\x0c", "\x85", "\u2028"])
def test_fields_end_at_line_ends_alone(within: str) -> None:
    address = f"http://x.example/{within}WARC-Type: resource"
    head = f"WARC-Type: response\r\nWARC-Target-URI: {address}\nContent-Length: 0\r\n\r\n"
    (record,) = warc.records(io.BytesIO(b"WARC/1.1\r\n" + head.encode()), warc.Budget())
    assert (record.kind, record.uri) == ("response", address)


@pytest.mark.parametrize("kind", ["wacz", "warc", "plain warc", "mhtml"])
def test_a_page_with_its_picture_and_its_video_is_found(kind: str) -> None:
    content = {
        "wacz": lambda: archives.wacz(archives.page().content()),
        "warc": lambda: archives.page().content(),
        "plain warc": lambda: archives.page(gzip=False).content(),
        "mhtml": archives.mhtml,
    }[kind]()
    found, text = read(content)
    assert found.kind == kind.rpartition(" ")[2]
    (page,) = found.pages
    assert page.url == archives.PAGE
    assert page.title == "A post"
    wanted = [archives.picture()] + ([archives.video()] if kind != "mhtml" else [])
    assert [m.sha256 for m in found.media] == [hashlib.sha256(w).hexdigest() for w in wanted]
    assert {m.page for m in found.media} == {0}
    for medium, expected in zip(found.media, wanted, strict=True):
        assert b"".join(body_of(io.BytesIO(content), medium)) == expected
    assert archives.HTML in b"".join(block for _, block in kept(text))


def test_the_text_part_has_no_imagery_and_no_credentials() -> None:
    page = archives.page().response("https://example.org/2", archives.INLINE, "text/html")
    found, text = read(page.content())
    blocks = kept(text)
    plain = b"".join(block for _, block in blocks)
    assert b"secret" not in plain
    assert b"Set-Cookie: **" in plain
    assert archives.picture()[:200] not in plain
    assert b"AAAA" not in plain
    assert b"data:,cut" in plain
    assert found.counts["inline_imagery"] == 1
    assert found.counts["requests_left_out"] == 1
    assert [kind for kind, _ in blocks].count("request") == 0
    # What is not kept is stated: the head of its answer with the digest of its content.
    assert [kind for kind, _ in blocks].count("revisit") == 4


def test_the_text_part_is_a_file_that_others_accept() -> None:
    fastwarc = pytest.importorskip("fastwarc.warc", reason="reads digests independently")
    _, text = read(archives.page().content())
    records = fastwarc.ArchiveIterator(io.BytesIO(text), parse_http=False)
    intact = [record.verify_block_digest() for record in records]
    assert intact == [True] * len(kept(text))
    assert len(intact) == 4


def test_what_is_a_picture_decides_its_content_not_its_server() -> None:
    page = (
        archives.Warc()
        .response(archives.PAGE, archives.HTML, "text/html")
        .response("https://example.org/lies", archives.picture(), "text/html")
        .response("https://example.org/photo.jpg", archives.HTML * 200, "image/jpeg")
        .response("https://example.org/v.mp4", archives.HTML, "video/mp4")
    )
    found, text = read(page.content())
    (medium,) = found.media
    assert medium.mime == "image/jpeg"
    assert medium.url == "https://example.org/lies"
    assert found.counts["mislabelled"] == 3
    assert archives.picture()[:200] not in b"".join(block for _, block in kept(text))


def test_a_record_that_is_labelled_a_picture_and_is_none_is_stated() -> None:
    warc = (
        archives.page()
        .response("https://example.org/1.jpg", b"no picture", "image/jpeg")
        .resource("https://example.org/2.png", bytes(9000), "image/png")
        .response("https://example.org/none.png", b"", "image/png", status="404 Not Found")
        .response("https://example.org/favicon.ico", b"\0\0\1\0icon", "image/x-icon")
        .response("https://example.org/sign.svg", b"<svg/>", "image/svg+xml")
        .response("https://example.org/1.ts", bytes(9000), "video/mp2t")
        # Hosts label segments of videos as pictures: each would be a fault beside the whole.
        .response("https://example.org/2.ts", (b"G" + bytes(187)) * 50, "image/png")
    )
    found, _ = read(warc.content())
    assert [(note.code, note.detail) for note in found.notes] == [
        (
            "body",
            f"https://example.org/{name}: labelled as a picture, but its content is not one "
            f"that can be read (image/{kind})",
        )
        for name, kind in (("1.jpg", "jpeg"), ("2.png", "png"))
    ]
    assert found.counts["mislabelled"] == 2
    assert len(found.media) == 2
    assert "mislabelled" not in read(archives.page().content())[0].counts
    picture = base64.encodebytes(archives.picture())
    part, _ = read(archives.mhtml().replace(picture, base64.encodebytes(b"no picture")))
    assert [note.code for note in part.notes] == ["body"]
    assert part.media == []


def test_codings_of_a_body_are_removed_and_their_faults_are_stated() -> None:
    packed = gzip.compress(archives.picture())
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(c), c) for c in (packed[:1000], packed[1000:]))
    page = (
        archives.Warc()
        .response(
            archives.PICTURE,
            chunks + b"0\r\n\r\n",
            "image/jpeg",
            headers=[("Transfer-Encoding", "chunked"), ("Content-Encoding", "gzip")],
        )
        .response(
            "https://example.org/endless",
            b"fffffffff\r\n" + b"x" * 9000,
            "image/png",
            headers=[("Transfer-Encoding", "chunked")],
        )
    )
    content = page.content()
    found, _ = read(content)
    (medium,) = found.media
    assert b"".join(body_of(io.BytesIO(content), medium)) == archives.picture()
    (note,) = found.notes
    assert note.code == "body"
    assert "cut short" in note.detail


def test_a_body_in_chunks_is_taken_out_whole_wherever_its_head_ends() -> None:
    chunked = b"%x\r\n%s\r\n0\r\n\r\n" % (len(archives.picture()), archives.picture())

    def page(padding: int) -> bytes:
        headers = [("Transfer-Encoding", "chunked"), ("X-Padding", "x" * (63_000 + padding))]
        return (
            archives.Warc(gzip=False)
            .response(archives.PICTURE, chunked, "image/jpeg", headers=headers)
            .content()
        )

    begin = page(0).index(b"WARC/1.1", 1)
    end = page(0).index(b"\r\n\r\n", page(0).index(b"HTTP/1.1 200")) + 4
    content = page(warc.PIECE - (end - begin))  # the head ends where the first piece does
    (medium,) = read(content)[0].media
    assert b"".join(body_of(io.BytesIO(content), medium)) == archives.picture()


PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "deflate": zlib.compress,
    "br": partial(brotli.compress, quality=5),
    "zstd": zstd.compress,
}


@pytest.mark.parametrize("coding", PACKERS)
def test_what_is_packed_is_found_in_the_confined_process(
    coding: str, readers: CaptureReaders
) -> None:
    pack, packed = PACKERS[coding], [("Content-Encoding", coding.upper())]
    large = b"<!doctype html><title>Words</title>" + b"words " * 200_000
    content = (
        archives.Warc()
        .response(archives.PAGE, pack(large), "text/html", headers=packed)
        .response(archives.PICTURE, pack(archives.picture()), "image/jpeg", headers=packed)
        .response(archives.VIDEO, pack(archives.video())[:-9], "video/mp4", headers=packed)
        .response("https://example.org/4", b"not packed", "text/plain", headers=packed)
        .content()
    )
    found, text = readers.read(io.BytesIO(content), 1)
    assert found.pages[0].title == "Words"
    assert found.media[0].sha256 == hashlib.sha256(archives.picture()).hexdigest()
    taken = b"".join(readers.body(io.BytesIO(content), found.media[0]))
    assert taken == archives.picture()
    assert [note.code for note in found.notes][-1] == "body"
    assert "not intact" in found.notes[-1].detail
    assert found.integrity.digests == "verified"
    assert len(text) < 20_000


@pytest.mark.parametrize("coding", PACKERS)
def test_a_packed_body_unpacks_to_no_more_than_is_read(coding: str) -> None:
    bomb = PACKERS[coding](bytes(64 << 20))
    budget = warc.Budget(8 << 20)
    sizes = (len(plain) for plain in warc.decoded(coding, [bomb[:100], bomb[100:]], budget))
    unpacked: list[int] = []
    with pytest.raises(warc.Refused, match="unpacks to more"):
        unpacked.extend(sizes)
    assert max(unpacked) <= 4 * warc.PIECE  # not at once, whatever the library is given


def test_a_zstandard_window_larger_than_browsers_take_is_a_fault() -> None:
    options = {zstd.CompressionParameter.window_log: 27}
    packed = zstd.ZstdCompressor(options=options).compress(os.urandom(1000) * 20_000)
    with pytest.raises(warc.Damaged):
        list(warc.decoded("zstd", [packed], warc.Budget()))


@pytest.mark.parametrize("written", ["sha1 in hex", "sha1", "sha256"])
def test_digests_are_compared_however_they_are_written(written: str) -> None:
    body = b"words of a log"
    stated = {
        "sha1 in hex": f"sha1:{hashlib.sha1(body).hexdigest()}",
        "sha1": f"sha1:{base64.b32encode(hashlib.sha1(body).digest()).decode()}",
        "sha256": f"sha256:{hashlib.sha256(body).hexdigest()}",
    }[written]
    wrong = stated[:-1] + ("7" if stated[-1] != "7" else "6")
    for digest, expected in ((stated, "verified"), (wrong, "mismatch")):
        # As wget writes it: the digest of the block alone.
        fields = {"WARC-Target-URI": "urn:log", "WARC-Block-Digest": digest}
        head = warc.head_of("resource", {**fields, "Content-Type": "text/plain"}, len(body))
        assert read(head + body + b"\r\n\r\n")[0].integrity.digests == expected


def listing_nothing(**more: Any) -> dict[str, bytes]:
    """Return the list of a WACZ without files, and its digest file, with ``more`` in it."""
    digest = {"hash": f"sha256:{hashlib.sha256(b'{}').hexdigest()}", **more}
    return {"datapackage.json": b"{}", "datapackage-digest.json": json.dumps(digest).encode()}


@pytest.mark.parametrize("in_wacz", [True, False])
def test_records_without_a_digest_are_not_verified_by_those_of_others(in_wacz: bool) -> None:
    content = archives.page(gzip=False).content()
    lines = content.split(b"\r\n")
    stated = [n for n, line in enumerate(lines) if line.startswith((b"WARC-B", b"WARC-Pay"))]
    # Each record has one of its block and one of its content: either will do.
    for removed, expected in ((1, "verified"), (2, "partly"), (len(stated), "none")):
        gone = set(stated[-removed:])
        without = b"\r\n".join(line for n, line in enumerate(lines) if n not in gone)
        if in_wacz:
            without = archives.wacz(without, change=listing_nothing())
        found, _ = read(without)
        assert found.integrity.digests == expected
    assert found.counts["without_digest"] == 4


def test_the_digests_of_a_wacz_are_compared() -> None:
    content = archives.wacz(archives.page().content())
    assert read(content)[0].integrity.digests == "verified"
    other = archives.page().response("https://example.org/3", b"added", "text/plain")
    forged = archives.wacz(
        archives.page().content(), change={"archive/data.warc.gz": other.content()}
    )
    found, _ = read(forged)
    assert found.integrity.digests == "mismatch"
    assert found.notes[0].code == "file_digest"
    assert "archive/data.warc.gz" in found.notes[0].detail
    listed = archives.wacz(archives.page().content(), change=listing_nothing())
    assert read(listed)[0].integrity.digests == "verified"  # of the records alone
    assert "lists no files" in read(listed)[0].notes[0].detail


def test_the_digests_of_records_are_compared() -> None:
    content = archives.page(gzip=False).content()
    assert read(content)[0].integrity.digests == "verified"
    changed, _ = read(content.replace(b"words", b"wordz"))
    assert changed.integrity == Integrity(digests="mismatch")
    assert {note.code for note in changed.notes} == {"digest"}


def sign(digest: str) -> dict[str, str]:
    return {"hash": digest, "signature": "AAAA", "publicKey": "AAAA"}


def test_what_is_added_to_a_signed_wacz_is_not_read_and_nothing_hides_that() -> None:
    forged = archives.Warc().response(archives.PICTURE, archives.picture(), "image/jpeg")
    added = {
        "archive/z.warc.gz": forged.content(),
        "pages/extraPages.jsonl": b'{"url": "https://social.example/her", "title": "Forged"}',
    }
    noise = archives.Warc().response(archives.PAGE, archives.HTML, "text/html")
    for number in range(60):  # each is a fault
        noise.response(f"https://example.org/{number}.jpg", b"x%d" % number, "image/jpeg")
    found, _ = read(archives.wacz(noise.content(), signed=sign, change=added))
    assert found.integrity.digests == "verified"
    assert [page.url for page in found.pages] == [archives.PAGE]
    assert found.media == []
    assert [note.code for note in found.notes] == ["unlisted", *["body"] * 50]
    assert found.notes[0].detail == (
        "2 entries are not read, as datapackage.json does not list them: archive/z.warc.gz, "
        "pages/extraPages.jsonl"
    )


@pytest.mark.parametrize("listed", [b'{"resources": []}', b"x"])
def test_a_signed_list_that_is_emptied_or_broken_is_a_mismatch(listed: bytes) -> None:
    """Nothing tells what was added then, and all of it is read."""
    forged = archives.Warc().response(archives.PICTURE, archives.picture(), "image/jpeg")
    change = {"datapackage.json": listed, "archive/z.warc.gz": forged.content()}
    found, _ = read(archives.wacz(archives.page().content(), signed=sign, change=change))
    assert found.integrity.digests == "mismatch"
    assert {note.code for note in found.notes} == {"unlisted", "file_digest"}
    assert "datapackage.json, signedData" in found.notes[-1].detail
    signed = listing_nothing(signedData=sign(f"sha256:{hashlib.sha256(b'{}').hexdigest()}"))
    found, _ = read(archives.wacz(archives.page().content(), change=signed))
    assert found.integrity.digests == "verified"  # of the records
    assert "lists no files" in found.notes[0].detail


def test_who_signed_a_wacz_is_told_as_its_claim() -> None:
    """Whatever the signature is: no key or certificate of a file can be trusted offline."""
    warcs = archives.page().content()

    def signed(**said: Any) -> Findings:
        return read(archives.wacz(warcs, signed=lambda digest: {"hash": digest, **said}))[0]

    by_key = signed(publicKey="AAAA", signature="no signature").integrity
    assert by_key == Integrity(
        digests="verified", signed_by=f"SHA256:{hashlib.sha256(b'AAAA').hexdigest()}"
    )
    by_domain = signed(domain="archive.example", domainCert="no certificate").integrity
    assert by_domain == Integrity(digests="verified", signed_by="archive.example")
    of_another = signed(publicKey="AAAA", hash="sha256:" + "0" * 64)
    assert of_another.integrity.digests == "mismatch"
    assert "signedData" in of_another.notes[0].detail
    assert signed().integrity.signed_by == "?"
    assert read(archives.wacz(warcs))[0].integrity.signed_by is None


def test_a_screenshot_of_the_whole_page_is_recognised() -> None:
    page = archives.page().resource(
        f"urn:fullPage:{archives.PAGE}", archives.picture()[:-1], "image/jpeg"
    )
    found, _ = read(page.content())
    assert [m.role for m in found.media] == ["medium", "medium", "full_page_capture"]


def test_a_file_that_was_cut_short_gives_what_precedes_and_says_so() -> None:
    content = archives.page().content()
    found, _ = read(content[:-200])
    assert found.media
    assert found.notes[-1].code == "cut_short"
    assert "gzip member" in found.notes[-1].detail
    middle = read(content[: len(content) // 2])[0]
    assert middle.notes[-1].code == "cut_short"
    assert len(middle.media) < len(found.media) + 1
    assert middle.records < found.records


def bomb() -> bytes:
    """Return a WARC record whose block unpacks to far more than a file may."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    size = 1 << 26
    head = b"WARC/1.1\r\nWARC-Type: resource\r\nWARC-Target-URI: urn:x\r\n"
    head += b"Content-Type: text/plain\r\nContent-Length: %d\r\n\r\n" % size
    return packer.compress(head + bytes(size)) + packer.flush()


@pytest.mark.parametrize(
    ("code", "make"),
    [
        ("unknown_format", lambda: b"no archive at all" * 100),
        ("unknown_format", lambda: archives.zipped({"readme.txt": b"a ZIP"})),
        ("unknown_format", lambda: b""),
        ("damaged", lambda: b"\x1f\x8b" + bytes(200)),
        ("damaged", lambda: b"WARC/1.1\r\nWARC-Type: response\r\n\r\n"),
        ("damaged", lambda: b"WARC/1.1\r\n" + b"x" * 200_000),
        ("damaged", lambda: b"WARC/1.1\r\nContent-Length: -5\r\n\r\n"),
        ("damaged", lambda: archives.wacz(archives.page().content())[:-40]),
        ("damaged", lambda: archives.wacz(b"", change={"../../etc/passwd": b"x"})),
        ("damaged", lambda: archives.wacz(b"", change={"/etc/passwd": b"x"})),
        ("empty", lambda: archives.Warc().content()),
        ("damaged", lambda: archives.page(gzip=False).content()[:900]),
        ("nested", lambda: nested(30)),
        ("too_large", lambda: nested(3000)),
    ],
)
def test_what_cannot_be_read_is_refused_with_its_reason(
    code: str, make: Callable[[], bytes]
) -> None:
    error = refused(make())
    assert error.code == code
    assert error.message


def nested(depth: int) -> bytes:
    heads = b"".join(
        b'MIME-Version: 1.0\r\nContent-Type: multipart/related; boundary="b%d"\r\n\r\n--b%d\r\n'
        % (i, i)
        for i in range(depth)
    )
    return heads + b"Content-Type: text/html\r\n\r\n<p>deep\r\n"


def test_two_entries_of_one_name_are_refused() -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("archive/data.warc.gz", archives.page().content())
        with pytest.warns(UserWarning, match="Duplicate name"):
            archive.writestr("archive/data.warc.gz", archives.Warc().content())
    assert "same name" in refused(out.getvalue()).message


def test_too_many_records_are_refused() -> None:
    one = warc.written("metadata", {"WARC-Target-URI": "urn:x"}, b"x")
    first = archives.page().content()
    assert read(first + one * 1000)[0].records == 1006
    assert "50000 records" in refused(first + one * 100_000).message


def test_a_bomb_is_refused() -> None:
    """It would unpack to more than a file may; here to less, of a smaller budget."""
    packed = bomb()
    assert len(packed) < 1 << 17
    with pytest.raises(Refused) as caught:
        read_file(io.BytesIO(packed), 1, warc.Budget(1 << 24))
    assert caught.value.code == "too_large"
    deflated = archives.zipped({"archive/data.warc": bytes(1 << 26)}, zipfile.ZIP_DEFLATED)
    with pytest.raises(Refused) as caught:
        read_file(io.BytesIO(deflated), 1, warc.Budget(1 << 24))
    assert caught.value.code in ("too_large", "damaged")


def test_changed_bytes_are_refused_or_read_but_never_raise_anything_else() -> None:
    rng, whole = random.Random(1), archives.wacz(archives.page().content())
    for _ in range(150):
        content = bytearray(whole)
        for _ in range(rng.choice((1, 3, 20))):
            content[rng.randrange(len(content))] = rng.randrange(256)
        with contextlib.suppress(Refused):
            read(bytes(content))


def test_a_confined_process_reads_and_takes_out(readers: CaptureReaders) -> None:
    content = archives.wacz(archives.page().content())
    found, text = readers.read(io.BytesIO(content), 1)
    assert found.integrity.digests == "verified"
    assert found.kept == len(kept(text))
    for image, expected in zip(found.media, (archives.picture(), archives.video()), strict=True):
        assert b"".join(readers.body(io.BytesIO(content), image)) == expected


def test_a_confined_process_lacks_nothing_that_is_imported_late(readers: CaptureReaders) -> None:
    signed = archives.wacz(archives.page().content(), signed=sign)
    assert readers.read(io.BytesIO(signed), 1)[0].integrity.signed_by
    titled = archives.mhtml().replace(b"Subject: A post", b"Subject: =?euc-kr?B?sKG6rg==?=")
    found, _ = readers.read(io.BytesIO(titled), 1)
    assert found.pages[0].title == "가벽"
    assert b"".join(readers.body(io.BytesIO(titled), found.media[0])) == archives.picture()


def test_a_confined_process_that_is_given_a_bomb_ends_and_the_next_one_reads(
    readers: CaptureReaders,
) -> None:
    with pytest.raises(Refused):
        readers.read(io.BytesIO(nested(3000)), 1)
    with pytest.raises(Refused) as caught:
        readers.read(io.BytesIO(b"WARC/1.1\r\n" * 50_000), 1)
    assert caught.value.code == "damaged"
    assert readers.read(io.BytesIO(archives.page().content()), 1)[0].kind == "warc"


def test_a_long_video_is_taken_out_in_pieces(readers: CaptureReaders) -> None:
    video = archives.video() + random.Random(0).randbytes(3_000_000)
    content = archives.wacz(archives.Warc().response(archives.VIDEO, video, "video/mp4").content())
    found, _ = readers.read(io.BytesIO(content), 1)
    pieces = list(readers.body(io.BytesIO(content), found.media[0]))
    assert b"".join(pieces) == video
    assert max(map(len, pieces)) <= MAX_PIECE_BYTES
    assert len(pieces) < 6  # each costs messages between two processes
    elsewhere = CapturedImage(**{**found.media[0].model_dump(), "offset": 1})
    with pytest.raises(Refused):
        list(readers.body(io.BytesIO(content), elsewhere))


FOREIGN = Path(os.environ.get("DEEPFAKE_TEST_ARCHIVES", "/nonexistent"))
"""A folder with the test data of webrecorder/warcio and webrecorder/py-wacz."""
EXPECTED = {
    "valid_example_1.wacz": "verified",  # of WACZ 1.0
    "valid_example_2.wacz": "verified",
    "valid_signed_example_1.wacz": "verified",
    "invalid_signed_example_1.wacz": "verified",
    "invalid_example_1.wacz": "unknown_format",
    "bad.arc": "unknown_format",
    "example.warc.gz": "verified",
    "example-iana.warc": "verified",
    "example-resource.warc.gz": "verified",
    "example-bad-non-chunked.warc.gz": "verified",
    "example-wrong-chunks.warc.gz": "mismatch",
    "example-trunc.warc": "mismatch",
    "example-iana.org-chunked.warc": "mismatch",
    "example-digest.warc": "empty",
    "example-space-in-target-uri.warc.gz": "empty",
}


@pytest.mark.skipif(not FOREIGN.is_dir(), reason="DEEPFAKE_TEST_ARCHIVES names no folder")
@pytest.mark.parametrize("name", EXPECTED)
def test_files_that_other_projects_test_their_readers_with(name: str) -> None:
    """From webrecorder/py-wacz and webrecorder/warcio."""
    content = (FOREIGN / name).read_bytes()
    try:
        outcome: str = read(content)[0].integrity.digests
    except Refused as error:
        outcome = error.code
    assert outcome == EXPECTED[name]
