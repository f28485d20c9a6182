"""What is fetched and recorded of servers that send odd things, byte for byte, through the gate.

The client runs in this process, which is quicker, and beside no yt-dlp; enclosed, both do in
``test_links.py``.
"""

from __future__ import annotations

import gzip
import io
import socket
import ssl
import zlib
from collections.abc import Iterator
from pathlib import Path

import brotli
import pytest

from deepfake_models.sandbox.enclosure import lead_out
from deepfake_service.capture.archives import body_of, read_file
from deepfake_service.capture.findings import Findings
from deepfake_service.capture.gate import Gate
from deepfake_service.capture.link_fetch import LinkFetch, Post, Track, YtDlp
from deepfake_service.capture.page_client import PageClient
from deepfake_service.capture.warc import HEAD_END, Budget, records
from deepfake_service.platform.clock import utc_now
from deepfake_service.platform.networks import CallbackHosts
from tests.support import archives
from tests.support.fake_platform import (
    Answer,
    FakePlatform,
    Handler,
    garbage,
    huge_headers,
    redirect,
    reset,
    resolving,
    shows,
    status,
)
from tests.support.fake_posts import says_bytes

TEXT = f"<title>Here</title><p>{'words ' * 60}</p>"
HTML = TEXT.encode()


@pytest.fixture
def platform(platform_folder: Path) -> Iterator[FakePlatform]:
    """Return a platform without TLS: its certificate holds for no international name."""
    made = FakePlatform(platform_folder, with_tls=False)
    with resolving({}):
        yield made
    made.close()


class NoVideos(YtDlp):
    """Finds no video on any page."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def fetch(self, url: str) -> tuple[bool, list[Post], list[Track]]:
        self.asked.append(url)
        return False, [], []


class Fetched:
    """What came of one link: why there is no medium, its file, and what the gate saw."""

    def __init__(self, url: str) -> None:
        theirs, ours = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        listener = socket.create_server(("127.0.0.1", 0))
        with theirs, Gate(ours, utc_now, CallbackHosts.of("127.0.0.1")) as gate:
            lead_out(listener, theirs)
            client = PageClient(listener.getsockname()[1], ssl.create_default_context())
            self.videos = NoVideos()
            fetch = LinkFetch(client, self.videos, url)
            self.reason = fetch.run()
        self.host = fetch.host
        self.file = io.BytesIO(b"".join(fetch.records("of the test")))
        self.hosts = [line.host for line in gate.log]
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
    assert fetched.reason == "no_media", fetched.answers
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
    own = "<link rel='canonical' href='https://video.example/p/98765'>"
    page = f"{own}<title>{title}</title><h1>{title}</h1><video src='/v.mp4'></video>"
    url = platform.says("/p/98765", shows(page))
    fetched = Fetched(url)
    assert (fetched.reason, fetched.videos.asked) == ("no_media", [url])


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
    assert fetched.reason in ("no_media", "unreachable"), fetched.answers
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
    assert fetched.reason == "no_media", fetched.answers
    assert fetched.hosts[-1] == fetched.host == host
    assert (
        fetched.answers[1 if way == "redirect" else 0][0].partition(str(platform.port))[2] == path
    )


def test_a_redirect_whose_bytes_are_no_utf_8_is_followed(platform: FakePlatform) -> None:
    location = "/한글".encode("euc-kr")
    platform.says("/%C7%D1%B1%DB", shows(TEXT))
    fetched = Fetched(platform.says("/from", raw(FOUND + location + b"\r\n\r\n")))
    assert fetched.reason == "no_media", fetched.answers
    assert platform.asked["/%C7%D1%B1%DB"] >= 1


@pytest.mark.parametrize("host", ["..", "a..example", "ho%2Fst.example", "\u2100.example", "[::g]"])
def test_a_host_that_is_none_is_said_to_be_none(platform: FakePlatform, host: str) -> None:
    direct = Fetched(f"http://{host}/")
    assert (direct.reason, direct.hosts) == ("no_such_name", [])
    led = Fetched(platform.says("/from", raw(FOUND + b"http://%s/\r\n\r\n" % host.encode())))
    assert led.reason in ("no_such_name", "unreachable"), led.answers
    assert led.hosts == ["video.example"]


@pytest.mark.parametrize("code", [429, 503])
def test_a_server_that_says_when_to_come_again_has_answered(
    platform: FakePlatform, code: int
) -> None:
    url = platform.says("/page", status(code, TEXT, Retry_After="1"))
    fetched = Fetched(url)
    assert fetched.reason == ("challenged" if code == 429 else "unreachable")
    assert platform.asked["/page"] == 1
    assert [body for _, _, body in fetched.answers] == [HTML]


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (status(404), "gone"),
        (status(410), "gone"),
        (status(451), "geo_blocked"),
        (redirect("http://warning.or.kr/i.html"), "geo_blocked"),
        (status(401), "login_required"),
        (redirect("/login?next=/p"), "login_required"),
        (redirect("/age-gate?next=/p"), "age_gate"),
        (status(403), "challenged"),
        (status(429), "challenged"),
        (status(403, cf_mitigated="challenge"), "challenged"),
        (status(503), "unreachable"),
        (reset, "unreachable"),
        (garbage, "unreachable"),
        (huge_headers, "unreachable"),
        (redirect("file:///etc/passwd"), "unreachable"),
        (redirect("/p"), "unreachable"),
        (redirect("http://10.1.2.3/"), "refused_address"),
        (redirect("http://169.254.169.254/latest"), "refused_address"),
        (redirect("http://[::ffff:10.0.0.1]/"), "refused_address"),
        (redirect("https://nobody.invalid/"), "no_such_name"),
        (redirect("https://stra%C3%9Fe.invalid/"), "no_such_name"),
        (redirect("https://[::g]/"), "no_such_name"),
        (shows(TEXT), "no_media"),
        (shows("<div id='app'></div><script src='/app.js'></script>"), "shell"),
    ],
)  # fmt: skip
def test_what_a_site_answers_has_its_end(
    platform: FakePlatform, answer: Answer, reason: str
) -> None:
    platform.says("/login?next=/p", shows("<title>Log in</title><form>Log in</form>"))
    platform.says("/age-gate?next=/p", shows("<h1>Are you old enough?</h1>"))
    with resolving({"warning.or.kr": "127.0.0.1"}):
        assert Fetched(platform.says("/p", answer)).reason == reason


def test_an_odd_address_on_a_page_loses_nothing_else(platform: FakePlatform) -> None:
    platform.says("/p/i.jpg", says_bytes(archives.picture(), "image/jpeg"))
    images = "".join(f"<meta property='{name}' content='{url}'>" for name, url in (
        ("og:image", "http://[odd"), ("twitter:image", "i.jpg"),
    ))  # fmt: skip
    fetched = Fetched(platform.says("/p/1", shows(f"{images}{TEXT}")))
    assert (fetched.reason, fetched.host) == (None, "video.example")
    assert fetched.answers[-1][0].endswith("/p/i.jpg")
    video = "<video src='http://[odd/v.mp4'></video>"
    fetched = Fetched(platform.says("/p/2", shows(f"{images}{video}{TEXT}")))
    assert fetched.reason == "no_media", "the picture does not hide that a video did not come"
    assert fetched.answers[-1][0].endswith("/p/i.jpg")


def test_cookies_of_a_redirect_are_sent_back_to_its_site_alone(platform: FakePlatform) -> None:
    def leads(handler: Handler) -> None:
        handler.page("", 302, Location="/page", Set_Cookie="seen=1; Path=/")

    platform.says(
        "/page",
        shows(
            f"<meta property='og:image' content='{platform.url('/i.jpg', 'other.example')}'>{TEXT}"
        ),
    )
    Fetched(platform.says("/from", leads))
    assert [each.get("Cookie") for each in platform.headers] == [None, "seen=1", None]
