"""What one answer of a platform says: each sign of removal, and what only looks like one."""

from __future__ import annotations

import socket
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from deepfake_service.platform.db.enums import LookResult
from deepfake_service.platform.pages import Pages
from deepfake_service.removal.lane import look_now
from deepfake_service.removal.signals import MARKS, Sight, judge, sibling_of
from tests.support.fake_platform import (
    Answer,
    FakePlatform,
    post,
    redirect,
    reset,
    resolving,
    shows,
    status,
)

NOW = datetime(2026, 11, 29, tzinfo=UTC)
POST = "/v/123456"


def look(platform: FakePlatform, pages: Pages, answer: Answer) -> tuple[str, bool]:
    sight, _ = look_now(pages, platform.says(POST, answer), NOW)
    return str(sight.result), sight.strong


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (post(), ("up", True)),
        (shows("<title>A post</title><p>some words</p>"), ("up", False)),
        (status(404), ("gone", True)),
        (status(410), ("gone", True)),
        (shows("<title>Page not found | Video</title>"), ("gone", False)),
        (shows("<h1>삭제된 게시물입니다</h1>"), ("gone", False)),
        (shows("<title>How to fix: page not found errors</title><p>w</p>"), ("up", False)),
        (shows("<title>x</title><!-- <h1>page not found</h1> -->"), ("up", False)),
        (shows("<title>x</title><p>this video has been removed</p>"), ("up", False)),
        (redirect("/"), ("gone", False)),
        (redirect("/ko"), ("gone", False)),
        (redirect("/search?q=1"), ("gone", False)),
        (redirect("/login?next=/v/123456"), ("restricted", True)),
        (redirect("/age-gate"), ("restricted", True)),
        (redirect("https://warning.or.kr/"), ("blocked_here", True)),
        (redirect("http://www.warning.or.kr/i1.html"), ("blocked_here", True)),
        (status(451, Link="<https://x.example>; rel=blocked-by"), ("blocked_here", True)),
        (reset, ("blocked_here", False)),
        (status(401), ("restricted", True)),
        (status(403), ("restricted", False)),
        (status(403, cf_mitigated="challenge"), ("challenged", True)),
        (status(503, "<title>Just a moment...</title>"), ("challenged", True)),
        (status(404, cf_mitigated="challenge"), ("challenged", True)),
        (status(429, Retry_After="7200"), ("challenged", True)),
        (status(503), ("unreachable", False)),
        (status(500), ("unreachable", False)),
        (shows("<title>Log in</title><form></form>"), ("restricted", False)),
    ],
)  # fmt: skip
def test_each_sign_has_its_result(
    platform: FakePlatform, pages: Pages, answer: Answer, expected: tuple[str, bool]
) -> None:
    for path in ("/", "/ko", "/search?q=1", "/login?next=/v/123456", "/age-gate"):
        platform.says(path, shows("<title>Video</title>"))
    assert look(platform, pages, answer) == expected


def test_a_redirect_to_its_own_address_in_another_form_is_not_a_move(
    platform: FakePlatform, pages: Pages
) -> None:
    platform.says("/v/123456/a-title", post(path=POST))
    assert look(platform, pages, redirect("/v/123456/a-title", 301)) == ("up", True)
    platform.says("/v/999999", post())
    assert look(platform, pages, redirect("/v/999999", 301)) == ("moved", False)
    assert look(platform, pages, redirect("/v/999999", 302)) == ("unknown", False)


def test_a_site_that_answers_everything_alike_tells_nothing_unless_it_once_did(
    platform: FakePlatform, pages: Pages
) -> None:
    shell = shows("<title>Video</title><div id=root></div><p>one moment please</p>")
    platform.others = shell
    assert look(platform, pages, shell) == ("unknown", False)
    url = platform.url(POST)
    sight = judge(
        url, pages.get(url), NOW, {"own": True}, lambda _: pages.get(sibling_of(url) or "")
    )
    assert (sight.result, sight.strong) == (LookResult.GONE, False)
    assert look(platform, pages, post()) == ("up", True)


def test_a_name_that_is_gone_counts_after_a_day_only(platform: FakePlatform, pages: Pages) -> None:
    url = platform.url(POST)
    with resolving({"video.example": socket.gaierror(socket.EAI_NONAME, "none")}):
        known: dict[str, Any] = {}
        sights: list[Sight] = []
        for hours in (0, 12, 24):
            sight = judge(url, pages.get(url), NOW + timedelta(hours=hours), known, lambda _: None)
            known = sight.known
            sights.append(sight)
    assert [(s.result, s.strong) for s in sights] == [
        (LookResult.UNREACHABLE, False), (LookResult.UNREACHABLE, False), (LookResult.GONE, False),
    ]  # fmt: skip
    with resolving({"video.example": socket.gaierror(socket.EAI_AGAIN, "later")}):
        sight = judge(url, pages.get(url), NOW, known, lambda _: None)
    assert sight.result is LookResult.UNREACHABLE  # a name server that is down proves nothing


def test_other_content_at_the_same_address_is_noticed(platform: FakePlatform, pages: Pages) -> None:
    url = platform.says(POST, post("First", path="/v/123456?one"))
    first = judge(url, pages.get(url), NOW, {}, lambda _: None)
    assert (first.result, first.strong) == (LookResult.UP, True)
    platform.says(POST, post("Second", path="/v/123456?two"))
    assert judge(url, pages.get(url), NOW, first.known, lambda _: None).result is LookResult.CHANGED
    platform.says(POST, post("A new title", path="/v/123456?one"))
    assert judge(url, pages.get(url), NOW, first.known, lambda _: None).result is LookResult.UP


@pytest.mark.parametrize("mark", [m for m in MARKS if m.site], ids=lambda m: f"{m.site} {m.result}")
def test_each_mark_of_a_platform_is_found_at_its_place_only(mark: Any, pages: Pages) -> None:
    text = mark.texts[0]
    page = {
        "class": f"<title>t</title><div class='box {text}'>a</div>",
        "data": f"<title>t</title><script>x = {{{mark.after}: {{'a': '{text}'}}}}</script>",
        "text": f"<title>t</title><p>{text}.</p>",
    }[mark.place]
    elsewhere = f"<title>t</title><a href='{text}'>a</a><script>y = '{text}'</script>"
    for body, is_found in ((page, True), (elsewhere, False)):
        answer = _answer(f"https://www.{mark.site}/watch/abcdef", body)
        sight = judge(answer.answers[0].url, answer, NOW, {}, lambda _: None)
        assert (sight.result is mark.result) is is_found
        if is_found:
            assert sight.strong is (mark.place != "text")


def _answer(url: str, body: str) -> Any:
    from deepfake_service.platform import pages as fetched

    one = fetched.Answer(url, 200, {"content-type": "text/html"}, "203.0.113.1", text=body)
    return fetched.Page((one,))


def test_a_hostile_page_is_read_in_little_time() -> None:
    import time

    for unit in ("<h1>", "<!--", "<meta ", "<title>", "class='", "<script", "<a href='x'", "&amp"):
        began = time.thread_time()  # whatever else the machine does
        judge("https://a.example/v/1", _answer("https://a.example/v/1", unit * 200_000), NOW, {},
              lambda _: None)  # fmt: skip
        assert time.thread_time() - began < 5
