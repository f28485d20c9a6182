"""Fetching pages of hostile servers: each ends in a state, in time, memory and traffic."""

from __future__ import annotations

import resource
import socket
from datetime import UTC, datetime
from typing import Any

import pytest

from deepfake_service.platform import pages as module
from deepfake_service.platform.networks import CallbackHosts
from deepfake_service.platform.pages import MAX_BODY_BYTES, Failure, Pages
from tests.support.fake_platform import (
    Answer,
    FakePlatform,
    bomb,
    crumbs,
    endless,
    garbage,
    heavy,
    hints,
    huge_headers,
    inflatable,
    post,
    redirect,
    reset,
    resolving,
    shows,
    slow,
    slow_head,
)
from tests.support.looking import looker_of


@pytest.mark.parametrize(
    "address",
    ["10.1.2.3", "192.168.0.1", "169.254.169.254", "127.0.0.1", "::1", "fd00::1", "0.0.0.0",
     "100.64.0.1", "::ffff:10.0.0.1", "64:ff9b::a00:1"],
)  # fmt: skip
def test_nothing_is_sent_to_addresses_that_are_not_public(
    platform: FakePlatform, address: str
) -> None:
    with resolving({"inner.example": address}):
        page = Pages(tls=platform.tls()).get(f"https://inner.example:{platform.port}/")
        assert page.failure is Failure.REFUSED_ADDRESS
        mixed = Pages(tls=platform.tls())
        with resolving({"inner.example": ["93.184.216.34", address]}):
            assert mixed.get("https://inner.example/").failure is Failure.REFUSED_ADDRESS
    assert not platform.asked


@pytest.mark.parametrize(
    "location",
    ["http://10.0.0.1/", "http://169.254.169.254/latest/meta-data", "http://[::1]/",
     "http://localhost./", "http://2130706433/", "http://0x7f.1/", "file:///etc/passwd",
     "ftp://video.example/", "data:text/html,x", "https://inner.example/", "http://user:a@video.example/",
     "https://video.example:22/", "http://[", "javascript:0"],
)  # fmt: skip
def test_redirects_are_checked_as_the_first_address_is(
    platform: FakePlatform, location: str
) -> None:
    url = platform.says("/v/1", redirect(location))
    only = CallbackHosts(names=frozenset({"video.example"}))
    if "video.example:22" in location:
        only = CallbackHosts.of("203.0.113.7")
        with resolving({"video.example": "127.0.0.1"}):
            assert Pages(allowed=only, tls=platform.tls()).get(url).failure
        return
    with resolving({"inner.example": "10.0.0.1", "localhost.": "127.0.0.1"}):
        page = Pages(allowed=only, tls=platform.tls()).get(url)
    assert page.failure is not None
    assert page.last is None
    assert [a.status for a in page.answers] in ([302], [])  # a client may not even read it


@pytest.mark.parametrize(
    ("answer", "failure"),
    [(huge_headers, Failure.MALFORMED), (garbage, Failure.MALFORMED), (reset, Failure.RESET)],
)
def test_what_is_no_answer_is_named(
    platform: FakePlatform, pages: Pages, answer: Answer, failure: Failure
) -> None:
    assert pages.get(platform.says("/v/1", answer)).failure is failure


def test_an_endless_page_is_cut_off(platform: FakePlatform, pages: Pages) -> None:
    page = pages.get(platform.says("/v/1", endless))
    assert page.last is not None
    assert page.last.is_cut
    assert page.last.body_bytes == MAX_BODY_BYTES
    assert platform.sent_bytes < 2 * 1024 * 1024


def test_one_look_takes_at_most_two_mebibytes(platform: FakePlatform, pages: Pages) -> None:
    for number in range(1, 4):
        platform.says(f"/v/{number}", heavy(f"/v/{number + 1}"))
    platform.others = endless
    _, page = looker_of(pages).look_first(platform.url("/v/1"), datetime.now(UTC))
    assert [answer.status for answer in page.answers] == [302, 302, 302, 200]
    assert platform.sent_bytes < 2 * 1024 * 1024


@pytest.mark.parametrize("answer", [slow, slow_head, hints, crumbs])
def test_a_page_that_does_not_end_is_left_at_the_deadline(
    platform: FakePlatform, pages: Pages, monkeypatch: pytest.MonkeyPatch, answer: Answer
) -> None:
    monkeypatch.setattr(module, "DEADLINE_S", 1.0)
    assert pages.get(platform.says("/v/1", answer)).failure is Failure.TIMEOUT


def test_a_bomb_is_not_inflated(platform: FakePlatform, pages: Pages) -> None:
    assert len(inflatable()) < MAX_BODY_BYTES  # made before the clock of the request runs
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    url = platform.says("/v/1", bomb)
    page = pages.get(url)
    assert page.last is not None
    assert len(page.last.text) <= module.MAX_TEXT_BYTES
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000


def test_redirects_end(platform: FakePlatform, pages: Pages) -> None:
    url = platform.says("/v/1", redirect("/v/1"))
    page = pages.get(url)
    assert page.failure is Failure.REDIRECTS
    assert platform.asked["/v/1"] == module.MAX_HOPS


def test_a_name_is_looked_up_once_for_each_connection(platform: FakePlatform, pages: Pages) -> None:
    with resolving({}) as asked:
        assert pages.get(platform.says("/v/1", post())).last
    assert asked["video.example"] == 1


def test_certificates_are_verified(platform: FakePlatform) -> None:
    stranger = Pages(allowed=CallbackHosts.of("127.0.0.1"))
    assert stranger.get(platform.says("/v/1", post())).failure is Failure.TLS
    other = Pages(allowed=CallbackHosts.of("127.0.0.1"), tls=platform.tls())
    with resolving({"wrong.test": "127.0.0.1"}):
        assert other.get(platform.url("/v/1", "wrong.test")).failure is Failure.TLS
    assert not platform.asked


def test_nothing_of_the_user_is_sent_along(platform: FakePlatform, pages: Pages) -> None:
    platform.says("/b", post())
    pages.get(platform.says("/a", lambda h: h.page("", 302, Location="/b", Set_Cookie="a=1")))
    assert len(platform.headers) == 2
    for headers in platform.headers:
        assert {n.lower() for n in headers} == {
            "host", "user-agent", "accept", "accept-language", "accept-encoding", "connection",
        }  # fmt: skip


@pytest.mark.parametrize(
    ("failure", "expected"),
    [
        (socket.gaierror(socket.EAI_NONAME, "none"), Failure.NO_SUCH_NAME),
        (socket.gaierror(socket.EAI_AGAIN, "later"), Failure.NAME_SERVER),
        (TimeoutError(), Failure.NAME_SERVER),
    ],
)
def test_names_that_do_not_resolve(pages: Pages, failure: Any, expected: Failure) -> None:
    with resolving({"video.example": failure}):
        assert pages.get("https://video.example/").failure is expected


def test_korean_pages_in_old_encodings_are_read(platform: FakePlatform, pages: Pages) -> None:
    def answer(handler: Any) -> None:
        content = "<meta charset='euc-kr'><title>삭제된 게시물입니다</title>".encode("cp949")
        handler.head(200, {"Content-Type": "text/html", "Content-Length": str(len(content))})
        handler.wfile.write(content)

    page = pages.get(platform.says("/v/1", answer))
    assert page.last is not None
    assert "삭제된 게시물입니다" in page.last.text


def test_pictures_are_not_read_as_text(platform: FakePlatform, pages: Pages) -> None:
    def answer(handler: Any) -> None:
        handler.head(200, {"Content-Type": "image/jpeg", "Content-Length": "3"})
        handler.wfile.write(b"abc")

    page = pages.get(platform.says("/v/1", answer))
    assert page.last is not None
    assert page.last.text == ""
    assert pages.get(platform.says("/v/2", shows("abc"))).last.text == "abc"  # type: ignore[union-attr]
