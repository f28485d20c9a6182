"""Pictures of pages of a fake platform, taken by Chromium in its enclosure."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import anyio.to_thread
import pytest
from PIL import Image

from deepfake_models.errors import DecoderFailed
from deepfake_models.sandbox.decoder import ProcessDecoder
from deepfake_service.capture import browser as browsing
from deepfake_service.capture import gate as gates
from deepfake_service.capture.browser import USUAL_PATH, PageBrowser
from deepfake_service.capture.captures import UNPICTURED
from deepfake_service.capture.gate import Connection, Gate
from deepfake_service.capture.readers import CaptureReaders
from deepfake_service.capture.shapes import MissingPicture, PagePicture
from deepfake_service.capture.warc import Budget, records
from deepfake_service.evidence.bundle import zip_format as bag
from deepfake_service.evidence.bundle.capture_format import CAPTURE
from deepfake_service.platform.clock import utc_now
from deepfake_service.platform.enums import Role
from deepfake_service.platform.errors import SettingsError
from deepfake_service.platform.networks import CallbackHosts
from tests.support import archives
from tests.support.captures import fetches_of, work
from tests.support.fake_platform import FakePlatform, redirect, resolving, shows
from tests.support.fake_posts import page_with, says_bytes
from tests.support.jobs import headers
from tests.support.stand_ins import do_due

PROGRAM = Path(USUAL_PATH)
pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.skipif(not PROGRAM.exists(), reason="Chromium's headless shell is not installed"),
]
Taken = tuple[PagePicture | MissingPicture, Image.Image | None, Gate]
GREEN, RED = (0, 128, 0), (255, 0, 0)
SAYS_GREEN = "<body><script>document.body.style.background='green'</script>"


@pytest.fixture(autouse=True, scope="module")
def unhurried() -> Iterator[None]:
    """Give a loaded machine time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(browsing, "SECONDS", 500.0)
        patch.setattr(browsing, "START_S", 300.0)
        patch.setattr(gates, "MAX_SECONDS", 900.0)
        yield


@pytest.fixture(scope="module")
def decoder() -> Iterator[ProcessDecoder]:
    made = ProcessDecoder(workers=1)
    yield made
    made.close()


@pytest.fixture(scope="module")
def browser(decoder: ProcessDecoder) -> PageBrowser:
    made = PageBrowser(PROGRAM, decoder)
    about, _ = made.take("data:,", lambda control: Gate(control, utc_now))
    if about.reason == "not_enclosed":
        pytest.skip(about.detail)
    return made


def take(browser: PageBrowser, platform: FakePlatform, url: str) -> Taken:
    """Take a picture as the worker does; return what is said of it, the picture and the gate."""
    opened = []

    def open_gate(control: socket.socket) -> Gate:
        opened.append(Gate(control, utc_now, CallbackHosts.of("127.0.0.1")))
        return opened[0]

    about, record = browser.take(url, open_gate, platform.authority)
    assert (about.reason is None) == bool(record)
    assert about.reason is None or about.reason in UNPICTURED
    if not record:
        return about, None, opened[0]
    read = next(records(BytesIO(record), Budget()))
    assert (read.kind, read.uri) == ("resource", f"urn:fullPage:{url}")
    assert read.fields["warc-date"] == about.taken_at
    picture = Image.open(BytesIO(b"".join(read.block())))
    assert picture.size == (about.width, about.height)
    return about, picture.convert("RGB"), opened[0]


def hosts(gate: Gate) -> dict[str, str]:
    return {line.host: line.address or line.refused for line in gate.log}


def test_a_page_is_pictured_as_a_whole_with_what_its_scripts_add(
    browser: PageBrowser, platform: FakePlatform
) -> None:
    content = BytesIO()
    Image.new("RGB", (100, 100), RED).save(content, "PNG")
    platform.says("/late.png", says_bytes(content.getvalue(), "image/png"))
    url = platform.says(
        "/p",
        shows(
            f"{SAYS_GREEN}<div style='height:5000px'></div>"
            "<img src='/late.png' loading='lazy' width='1280' height='100'>"
        ),
    )
    begin = platform.says("/s", redirect("/p"))
    about, picture, gate = take(browser, platform, begin)
    assert picture is not None, about
    assert about.browser.startswith("HeadlessChrome/")
    assert "Headless" not in about.user_agent
    assert (about.url, about.is_cut, about.width) == (url, False, 1280)
    assert about.height in range(5100, 5140)
    assert picture.getpixel((600, 2500)) == GREEN
    assert picture.getpixel((600, 5050)) == RED, "what loads when it is seen is there"
    assert hosts(gate) == {"video.example": "127.0.0.1"}, "the browser calls nobody else"
    assert sum(line.received for line in gate.log) > 1000


ATTEMPTS = """<link rel=dns-prefetch href='//prefetched.example'><script>
const said = (text) => document.body.append(text);
const wanted = [];
const peer = new RTCPeerConnection({iceServers: [{urls: 'stun:stun.example:3478'},
  {urls: 'stun:127.0.0.1:3478'},
  {urls: 'turn:turn.example:3478?transport=tcp', username: 'a', credential: 'b'}]});
peer.createDataChannel('x');
let reached = 0;
peer.onicecandidate = (event) => { reached += event.candidate !== null; };
wanted.push(peer.createOffer().then((offer) => peer.setLocalDescription(offer)));
for (const url of ['http://10.1.2.3/', 'http://127.0.0.1:1/', 'http://localhost/', 'http://[::1]/',
                   'file:///etc/hostname', 'http://rebound.example/', 'ftp://video.example/'])
  wanted.push(fetch(url, {mode: 'no-cors'}).then(() => { reached += 1; }, () => {}));
const socket = new WebSocket('ws://127.0.0.2:9/');
wanted.push(new Promise((done) => { socket.onerror = done; }));
if (self.WebTransport)
  wanted.push(new WebTransport('https://video.example:4433/').ready.then(() => { reached += 1; },
    () => {}));
Promise.all(wanted).then(() => {
  document.body.style.background = reached ? 'red' : 'green';
  fetch('/done');
});
</script><img src='/held.png'><iframe src='file:///etc/hostname'></iframe><img src='file:///etc/hostname'>"""


@pytest.mark.parametrize("with_tls", [True, False])
def test_a_page_reaches_nothing_but_through_the_gate(
    browser: PageBrowser, platform: FakePlatform, tmp_path: Path, with_tls: bool
) -> None:
    """With TLS the page may use QUIC; without, it may ask for addresses without TLS."""
    plain = FakePlatform(tmp_path, with_tls=False)
    there = platform if with_tls else plain
    done = threading.Event()

    def held(handler: Any) -> None:
        """Let the page load until it has tried everything."""
        done.wait(300.0)
        handler.page("", 404)

    def is_done(handler: Any) -> None:
        done.set()
        handler.page("")

    there.says("/held.png", held)
    there.says("/done", is_done)
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stun,
        resolving({"rebound.example": ["127.0.0.1", "169.254.169.254"]}) as asked,
    ):
        stun.bind(("127.0.0.1", 0))
        stun.settimeout(0.0)
        port = stun.getsockname()[1]
        page = shows(ATTEMPTS.replace("127.0.0.1:3478", f"127.0.0.1:{port}"))
        about, picture, gate = take(browser, platform, there.says("/p", page))
        with pytest.raises(BlockingIOError):
            stun.recv(1)
    plain.close()
    assert picture is not None, about
    assert picture.getpixel((1270, 890)) == GREEN, "one of the attempts reached something"
    reached = {host for host, where in hosts(gate).items() if where == "127.0.0.1"}
    assert reached == {"video.example"}
    assert hosts(gate)["10.1.2.3"] == "not public"
    if not with_tls:
        assert hosts(gate)["rebound.example"] == "not public"
    assert "stun.example" not in asked
    # Over TCP, a TURN server is asked for as any other host is, if there is time for it.
    assert hosts(gate).get("turn.example", "unreachable") == "unreachable"
    assert asked["prefetched.example"] == 0


@pytest.mark.parametrize("to", ["http://169.254.169.254/latest", "file:///etc/hostname"])
def test_a_redirect_that_leads_out_of_the_web_has_no_picture(
    browser: PageBrowser, platform: FakePlatform, to: str
) -> None:
    about, picture, gate = take(browser, platform, platform.says("/s", redirect(to)))
    assert (about.reason, picture) == ("unreachable", None)
    assert all(where in ("not public", "no_such_name") for where in list(hosts(gate).values())[1:])


def test_a_file_has_no_picture_even_if_the_browser_has_it(
    browser: PageBrowser, platform: FakePlatform
) -> None:
    page = shows(f"<script>location = 'file:///etc/fonts/fonts.conf'</script>{SAYS_GREEN}")
    about, picture, _ = take(browser, platform, platform.says("/p", page))
    assert picture is not None, about
    assert picture.getpixel((600, 800)) == GREEN, "the page is still there"


STAYS: dict[str, str] = {
    "dialogs, windows and a download": "<a href='data:application/octet-stream,x' download='x' "
    "id='a'></a><script>alert(1); confirm(2); prompt(3); onbeforeunload = () => 'stay';"
    "for (let i = 0; i < 50; i++) open('/'); document.getElementById('a').click()</script>",
    "functions of its own": "<script>window.setTimeout = window.Promise = document.querySelector"
    " = window.scrollTo = () => { throw 1 }</script>",
    "refused memory": "<script>try { for (const a = [];;) a.push(new Uint8Array(1 << 28).fill(1)) }"
    " catch (error) {}</script>",
}


@pytest.mark.parametrize("name", STAYS)
def test_a_page_that_is_in_the_way_is_pictured(
    browser: PageBrowser, platform: FakePlatform, name: str
) -> None:
    url = platform.says("/p", shows(STAYS[name] + SAYS_GREEN))
    about, picture, _ = take(browser, platform, url)
    assert picture is not None, about
    assert picture.getpixel((600, 800)) == GREEN


def test_a_page_without_an_end_is_cut(browser: PageBrowser, platform: FakePlatform) -> None:
    body = """<script>setInterval(() => { for (let i = 0; i < 99; i++) document.body.append(
      Object.assign(document.createElement('p'), {textContent: 'more'})) }, 5)</script>"""
    tall = f"<div style='height:20000px'></div>{body}"
    about, _, _ = take(browser, platform, platform.says("/p", shows(SAYS_GREEN + tall)))
    assert (about.reason, about.is_cut, about.height) == (None, True, 16_000)


def test_a_page_that_takes_memory_without_end_is_ended(
    browser: PageBrowser, platform: FakePlatform, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(browsing, "MEMORY_BYTES", 300 << 20)
    body = """<script>const kept = []; setInterval(() => {
      const canvas = document.createElement('canvas'); canvas.width = canvas.height = 4000;
      canvas.getContext('2d').fillRect(0, 0, 4000, 4000); document.body.append(canvas);
      kept.push(canvas, new Uint8Array(1 << 24).fill(1)) }, 1)</script>"""
    about, picture, _ = take(browser, platform, platform.says("/p", shows(body)))
    assert (about.reason, picture) == ("memory", None)


def test_a_page_that_takes_too_long_is_ended(
    browser: PageBrowser, platform: FakePlatform, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(browsing, "SECONDS", 6.0)
    url = platform.says("/p", shows("<script>for (;;);</script>"))
    about, _, _ = take(browser, platform, url)
    assert about.reason == "too_slow"


def test_what_a_browser_receives_counts_with_what_came_before(
    browser: PageBrowser, platform: FakePlatform, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gates, "MAX_BYTES", {"received": 4 << 20, "sent": 8 << 20})
    before, control = socket.socketpair()
    with control, Gate(before, utc_now, CallbackHosts.of("127.0.0.1")) as gate:
        gate.log.append(Connection(1, "before", received=3 << 20))
        # A script, which is read to its end; a picture is given up once it cannot be decoded.
        platform.says("/big.js", says_bytes(b" " * (9 << 20), "text/javascript"))
        url = platform.says("/p", shows("<script src='/big.js'></script>"))
        about, _ = browser.take(url, gate.another, platform.authority)
    assert about.limit == "bytes"
    assert 4 << 20 < sum(line.received for line in gate.log) < 5 << 20
    assert len(gate.log) > 1


def test_a_name_with_a_private_address_and_a_bad_certificate_have_no_picture(
    browser: PageBrowser, platform: FakePlatform, tmp_path: Path
) -> None:
    url = platform.says("/p", shows(SAYS_GREEN))
    with resolving({"inner.example": ["127.0.0.1", "10.1.2.3"]}):
        about, _, gate = take(browser, platform, url.replace("video", "inner"))
    assert (about.reason, hosts(gate)["inner.example"]) == ("unreachable", "not public")
    other = FakePlatform(tmp_path)
    about, _, gate = take(browser, platform, other.says("/p", shows(SAYS_GREEN)))
    other.close()
    assert (about.reason, other.asked["/p"]) == ("unreachable", 0)


def test_a_program_that_is_no_browser_gives_no_picture(
    decoder: ProcessDecoder, browser: PageBrowser, platform: FakePlatform
) -> None:
    about, _, _ = take(PageBrowser(Path("/bin/true"), decoder), platform, platform.url("/"))
    assert about.reason == "failed"
    assert browser._size(b"\x89PNG\r\n\x1a\n" + bytes(5000)) is None
    for path in ("/usr/bin/chromium-headless-shell", "/nowhere"):
        with pytest.raises(SettingsError, match="headless shell"):
            PageBrowser(Path(path), decoder)


def test_a_link_to_the_browser_will_do(
    decoder: ProcessDecoder, browser: PageBrowser, platform: FakePlatform, tmp_path: Path
) -> None:
    link = tmp_path / "browser"
    link.symlink_to(PROGRAM)
    url = platform.says("/p", shows(SAYS_GREEN))
    about, _, _ = take(PageBrowser(link, decoder), platform, url)
    assert (about.reason, about.limit) == (None, None)


def test_a_worker_that_stops_ends_its_browser(
    decoder: ProcessDecoder, browser: PageBrowser, platform: FakePlatform
) -> None:
    asked = threading.Event()

    def hangs(handler: Any) -> None:
        asked.set()
        handler.server.closing.wait(300.0)

    own, failed = PageBrowser(PROGRAM, decoder), []

    def taking() -> None:
        try:
            take(own, platform, platform.says("/p", hangs))
        except DecoderFailed as error:
            failed.append(error)

    thread = threading.Thread(target=taking)
    thread.start()
    assert asked.wait(300.0)
    own.close()
    thread.join(300.0)
    assert failed


async def captured(
    start: Callable[..., Any], platform: FakePlatform, browser: PageBrowser, *urls: str
) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Do what a worker's chores do with links; return each capture, and its ``capture.json``."""
    pytest.importorskip("whoisit", reason="the extra capture-link is not installed")
    readers = CaptureReaders(require=False)
    found = []
    try:
        async with start(capture_links=True) as service:
            analyst = headers(service, Role.ANALYST)
            fetches = fetches_of(service, platform, browser=browser)
            asked = {"case_reference": "R", "urls": [{"url": url} for url in urls]}
            answer = await service.client.post("/v1/links", json=asked, headers=analyst)
            await anyio.to_thread.run_sync(do_due, fetches)
            await work(service, readers)
            for link in answer.json()["links"]:
                there = f"/v1/captures/{link['id']}"
                shown = await service.client.get(there, headers=analyst)
                bundle = await service.client.get(f"{there}/bundle", headers=analyst)
                member = bag.member(bundle.content, CAPTURE) if bundle.is_success else b"{}"
                found.append((shown.json(), json.loads(member)))
    finally:
        readers.close()
    return found


async def test_a_captured_link_has_the_minimum_with_a_picture(
    start: Callable[..., Any], platform: FakePlatform, browser: PageBrowser
) -> None:
    video = archives.video()
    platform.says("/v.mp4", says_bytes(video, "video/mp4"))
    post = platform.says("/p/1", page_with("/v.mp4", "Her video"))
    shell = platform.says("/app", shows(f"<div id='app'></div>{SAYS_GREEN}"))
    private = platform.says("/s", redirect("http://10.1.2.3/"))
    found = await captured(start, platform, browser, post, shell, private)
    for (shown, document), reason in zip(found[:2], (None, "shell"), strict=True):
        assert (shown["state"], shown["reason"]) == ("captured", reason)
        assert (shown["missing"], shown["no_picture"]) == ([], None)
        (picture,) = [each for each in shown["media"] if each["role"] == "full_page_capture"]
        assert picture["url"] == f"urn:fullPage:{shown['source_url']}"
        assert picture["page"] == 0
        assert not picture["chosen"], "it is examined if a person wants it"
        taken = document["fetch"]["picture"]
        assert taken["taken_at"] == picture["at"]
        number = taken["first_connection"]
        assert document["fetch"]["connections"][number - 1]["host"] == "video.example"
        assert shown["files"][0]["integrity"]["digests"] == "verified"
    assert [m["chosen"] for m in found[0][0]["media"] if m["role"] == "medium"] == [True]
    assert found[2][0]["reason"] == "refused_address", "no browser is sent there"


async def test_a_capture_without_a_picture_says_why(
    start: Callable[..., Any],
    platform: FakePlatform,
    decoder: ProcessDecoder,
    browser: PageBrowser,
) -> None:
    none = PageBrowser(Path("/bin/true"), decoder)
    url = platform.says("/p/1", shows("<p>words</p>" * 99))
    ((shown, document),) = await captured(start, platform, none, url)
    assert (shown["state"], shown["missing"]) == ("captured", ["full_page_capture"])
    assert shown["no_picture"] == UNPICTURED["failed"]
    assert document["fetch"]["picture"]["reason"] == "failed"
