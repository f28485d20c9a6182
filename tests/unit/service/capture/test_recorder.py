"""What is fetched and recorded of servers that send odd things, byte for byte, through the gate.

The fetcher runs in this process, which is quicker; confined, it does in ``test_links.py``.
"""

from __future__ import annotations

import gzip
import io
import json
import socket
import ssl
import zlib
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import brotli
import pytest

from deepfake_models.sandbox import child
from deepfake_service.capture import fetcher
from deepfake_service.capture.archives import body_of, read_file
from deepfake_service.capture.fetcher import fetch_task
from deepfake_service.capture.findings import Findings
from deepfake_service.capture.gate import Gate
from deepfake_service.evidence.bundle.warc import HEAD_END, Budget, records
from deepfake_service.platform.clock import utc_now
from deepfake_service.platform.networks import CallbackHosts
from tests.support import archives
from tests.support.fake_platform import Answer, FakePlatform, Handler, resolving, shows, status
from tests.support.fake_posts import page_with, says_bytes

pytest.importorskip("yt_dlp", reason="the extra capture-link is not installed")

TEXT = f"<title>Here</title><p>{'words ' * 60}</p>"
HTML = TEXT.encode()


@pytest.fixture
def platform(platform_folder: Path) -> Iterator[FakePlatform]:
    """Return a platform without TLS: its certificate holds for no international name."""
    made = FakePlatform(platform_folder, with_tls=False)
    with resolving({}):
        yield made
    made.close()


class Fetched:
    """What came of one link: what was said of it, its file, and what the gate saw."""

    def __init__(self, url: str) -> None:
        theirs, ours = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        argument = {"url": url, "max_bytes": 8 << 20, "authorities": ""}
        with pytest.MonkeyPatch.context() as patch, theirs:
            patch.setattr(child, "_gate", [theirs])
            patch.setattr(fetcher, "_tls", [ssl.create_default_context()])
            patch.setitem(fetcher._tools, "yt-dlp", "of the test")
            with Gate(ours, utc_now, CallbackHosts.of("127.0.0.1")) as gate:
                content, said = _ended(fetch_task(io.BytesIO(), json.dumps(argument).encode()))
        self.said: dict[str, Any] = json.loads(said)
        self.file = io.BytesIO(content)
        self.hosts = [line["host"] for line in gate.log]
        self.answers = []
        """Address, head and body of each."""
        for record in records(self.file, Budget()):
            if record.kind == "response":
                head, _, body = _parted(b"".join(record.block()))
                self.answers.append((record.uri, head, body))

    @property
    def read(self) -> Findings:
        """Return what a reader finds in the file."""
        return read_file(self.file, 0)[0]


def _ended(task: Generator[bytes, None, bytes]) -> tuple[bytes, bytes]:
    """Return what a task yields, joined, and what it returns."""
    content = b""
    while True:
        try:
            content += next(task)
        except StopIteration as end:
            return content, end.value


def _parted(block: bytes) -> tuple[bytes, bytes, bytes]:
    """Return the head of an answer, its end and its body."""
    end = HEAD_END.search(block)
    assert end is not None
    return block[: end.start()], end[0], block[end.end() :]


def raw(content: bytes) -> Answer:
    """Send these bytes, and hang up."""

    def answer(handler: Handler) -> None:
        handler.close_connection = True
        handler.wfile.write(content)

    return answer


def coded(coding: str, body: bytes) -> bytes:
    head = f"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Encoding: {coding}\r\n\r\n"
    return head.encode() + body


FOUND = b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: "
CHUNKED = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nTransfer-Encoding: chunked\r\n\r\n"
PLAIN = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: %d\r\n\r\n" % len(HTML) + HTML
)
WHOLE = {
    "with a length": PLAIN,
    "to the end": b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n" + HTML,
    "HTTP/1.0": PLAIN.replace(b"HTTP/1.1", b"HTTP/1.0"),
    "without a reason": PLAIN.replace(b"200 OK", b"200"),
    "gzip": coded("gzip", gzip.compress(HTML)),
    "deflate": coded("deflate", zlib.compress(HTML)),
    "brotli": coded("br", brotli.compress(HTML)),
    "gzip and more": coded("gzip", gzip.compress(HTML) + b"more that is none"),
    "lines without a carriage return": PLAIN.replace(b"\r\n", b"\n"),
    "both ends of lines": PLAIN.replace(b"\r\nContent-Type", b"\nContent-Type").replace(
        b"\r\n\r\n", b"\n\r\n"
    ),
    "chunks": CHUNKED
    + b"9;a=b\r\n%s\r\n%x\r\n%s\r\n" % (HTML[:9], len(HTML) - 9, HTML[9:])
    + b"0\r\nTrailer: x\r\n\r\n",
    "more than its length": PLAIN + b"HTTP/1.1 200 OK\r\n\r\n",
}  # fmt: skip


@pytest.mark.parametrize("sent", WHOLE)
def test_an_answer_is_recorded_as_it_was_sent(platform: FakePlatform, sent: str) -> None:
    content = WHOLE[sent]
    fetched = Fetched(platform.says("/page", raw(content)))
    assert fetched.said["reason"] == "no_media", fetched.said
    recorded = b"".join(_parted(content)[:2]) + fetched.answers[0][2]
    assert content.startswith(recorded)
    left = content.removeprefix(recorded)
    assert not left or sent == "more than its length"
    assert fetched.read.integrity.digests == "verified", fetched.read.notes
    assert fetched.read.pages[0].title == "Here"


@pytest.mark.parametrize("title", ["404", "404 - Anna | Video", "Log in"])
def test_a_post_whose_title_says_that_it_is_gone_is_fetched(
    platform: FakePlatform, title: str
) -> None:
    video = archives.video()
    platform.says("/v.mp4", says_bytes(video, "video/mp4"))
    own = "<link rel='canonical' href='https://video.example/p/98765'>"
    page = f"{own}<title>{title}</title><h1>{title}</h1><video src='/v.mp4'></video>"
    fetched = Fetched(platform.says("/p/98765", shows(page)))
    assert (fetched.said["reason"], fetched.said["media"]) == (None, 1), fetched.said
    (medium,) = fetched.read.media
    assert b"".join(body_of(fetched.file, medium)) == video


def test_an_interim_answer_is_not_taken_for_the_answer(platform: FakePlatform) -> None:
    content = b"HTTP/1.1 100 Continue\r\nA: b\r\n\r\n" + PLAIN
    fetched = Fetched(platform.says("/page", raw(content)))
    assert fetched.answers[0][1].startswith(b"HTTP/1.1 200 OK"), fetched.answers
    assert fetched.read.pages[0].title == "Here"


def test_a_picture_of_a_server_without_carriage_returns_can_be_taken_out(
    platform: FakePlatform,
) -> None:
    picture = archives.picture()
    content = b"HTTP/1.1 200 OK\nContent-Type: image/jpeg\n\n" + picture
    fetched = Fetched(platform.says("/i.jpg", raw(content)))
    (medium,) = fetched.read.media
    assert b"".join(body_of(fetched.file, medium)) == picture


@pytest.mark.parametrize(
    "content",
    [
        PLAIN[:-20],
        CHUNKED + b"fff\r\n" + HTML,
        coded("gzip", gzip.compress(HTML * 9)[:-30]),
    ],
)  # fmt: skip
def test_what_ends_early_is_recorded_as_far_as_it_came(
    platform: FakePlatform, content: bytes
) -> None:
    fetched = Fetched(platform.says("/page", raw(content)))
    assert fetched.said["reason"] in ("no_media", "unreachable"), fetched.said
    head, _, body = _parted(content)
    assert fetched.answers[0][1:] == (head, body)


@pytest.mark.parametrize(
    ("given", "host", "path"),
    [
        ("http://fa\u00df.example:{}/page", "xn--fa-hia.example", "/page"),  # not fass.example
        ("http://\ud55c\uae00.example:{}/page", "xn--bj0bj06e.example", "/page"),
        ("http://\uff36ideo\u3002example:{}/page", "video.example", "/page"),
        ("http://%ed%95%9c%ea%b8%80.example:{}/page", "xn--bj0bj06e.example", "/page"),
        ("http://\u00e9@video.example:{}/page", "video.example", "/page"),
        ("http://other.example:80\u2044@video.example:{}/page", "video.example", "/page"),
        ("http://video.example:{}\\page#@other.example", "video.example", "/page"),
        ("http://video.example:{}/\uae00?q=\uae00", "video.example", "/%EA%B8%80?q=%EA%B8%80"),
        ("http://video.example:{}/%c7%9f", "video.example", "/%c7%9f"),
        ("http://video.example:{}/a/./../page", "video.example", "/page"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("way", ["link", "redirect"])
def test_the_host_is_the_one_that_a_browser_goes_to(
    platform: FakePlatform, given: str, host: str, path: str, way: str
) -> None:
    url = given.format(platform.port)
    platform.says(path, shows(TEXT))
    if way == "redirect":
        platform.says("/from", raw(FOUND + url.encode() + b"\r\n\r\n"))
    fetched = Fetched(url if way == "link" else platform.url("/from"))
    assert fetched.said["reason"] == "no_media", fetched.said
    assert fetched.hosts[-1] == fetched.said["host"] == host
    assert (
        fetched.answers[1 if way == "redirect" else 0][0].partition(str(platform.port))[2] == path
    )


def test_a_redirect_whose_bytes_are_no_utf_8_is_followed(platform: FakePlatform) -> None:
    location = "/한글".encode("euc-kr")
    platform.says("/%C7%D1%B1%DB", shows(TEXT))
    fetched = Fetched(platform.says("/from", raw(FOUND + location + b"\r\n\r\n")))
    assert fetched.said["reason"] == "no_media", fetched.said
    assert platform.asked["/%C7%D1%B1%DB"] >= 1


@pytest.mark.parametrize("host", ["..", "a..example", "ho%2Fst.example", "\u2100.example", "[::g]"])
def test_a_host_that_is_none_is_said_to_be_none(platform: FakePlatform, host: str) -> None:
    direct = Fetched(f"http://{host}/")
    assert (direct.said["reason"], direct.hosts) == ("no_such_name", [])
    led = Fetched(platform.says("/from", raw(FOUND + b"http://%s/\r\n\r\n" % host.encode())))
    assert led.said["reason"] in ("no_such_name", "unreachable"), led.said
    assert led.hosts == ["video.example"]


def test_a_connection_that_was_closed_meanwhile_is_made_again(platform: FakePlatform) -> None:
    def leads(handler: Handler) -> None:
        handler.page("", 302, Location="/page")
        handler.close_connection = False

    def hangs_up(handler: Handler) -> None:
        handler.close_connection = True
        platform.says("/page", shows(TEXT))

    platform.says("/page", hangs_up)
    fetched = Fetched(platform.says("/from", leads))
    assert fetched.said["reason"] == "no_media", fetched.said
    assert [uri.rpartition("/")[2] for uri, _, _ in fetched.answers[:2]] == ["from", "page"]


@pytest.mark.parametrize("code", [429, 503])
def test_a_server_that_says_when_to_come_again_has_answered(
    platform: FakePlatform, code: int
) -> None:
    url = platform.says("/page", status(code, TEXT, Retry_After="1"))
    fetched = Fetched(url)
    assert fetched.said["reason"] == ("challenged" if code == 429 else "unreachable")
    assert platform.asked["/page"] == 1
    assert [body for _, _, body in fetched.answers] == [HTML]


def test_an_odd_address_on_a_page_loses_nothing_else(platform: FakePlatform) -> None:
    platform.says("/i.jpg", says_bytes(archives.picture(), "image/jpeg"))
    images = "".join(f"<meta property='{name}' content='{url}'>" for name, url in (
        ("og:image", "http://[odd"), ("twitter:image", "/i.jpg"),
    ))  # fmt: skip
    video = "<video src='http://[odd/v.mp4'></video>"
    fetched = Fetched(platform.says("/page", shows(f"{images}{video}{TEXT}")))
    assert fetched.said["reason"] is None, fetched.said
    assert (fetched.said["media"], fetched.said["host"]) == (1, "video.example")
    broken = Fetched(platform.says("/v", page_with("http://a..example/v.mp4")))
    assert broken.said["reason"] in ("no_media", "no_such_name"), broken.said


def test_a_picture_is_that_of_the_page_whatever_was_asked_for_after_it(
    platform: FakePlatform,
) -> None:
    platform.says("/p/i.jpg", says_bytes(archives.picture(), "image/jpeg"))
    platform.says("/cdn/v.mp4", status(404, Content_Type="video/mp4"))
    page = f"<meta property='og:image' content='i.jpg'><video src='/cdn/v.mp4'></video>{TEXT}"
    fetched = Fetched(platform.says("/p/1", shows(page)))
    assert (fetched.said["reason"], fetched.said["media"]) == ("no_media", 1), fetched.said
    assert fetched.answers[-1][0].endswith("/p/i.jpg")
