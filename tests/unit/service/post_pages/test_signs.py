"""What one answer of a platform says: each sign of removal, and what only looks like one."""

from __future__ import annotations

import contextlib
import html
import socket
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from deepfake_service.platform.enums import LookResult
from deepfake_service.platform.pages import Page, Pages
from deepfake_service.post_pages.reading import PageReaders, ShownPage, read_page
from deepfake_service.post_pages.signs import (
    DATA_NAMES,
    MARKS,
    Observation,
    PostMemory,
    PostVisit,
    judge,
)
from tests.support.fake_platform import (
    Answer,
    FakePlatform,
    Handler,
    post,
    redirect,
    reset,
    resolving,
    shows,
    status,
)
from tests.support.looking import looker_of

NOW = datetime(2026, 11, 29, tzinfo=UTC)
POST = "/v/123456"


PAGE = (
    "<title>A post</title><meta property='og:url' content='https://video.example/v/123456'>"
    "<meta property='og:video' content='/v.mp4'><video></video>"
)
"""Of a post that is there, whatever status it is sent with."""


def judged(
    url: str,
    page: Page,
    memory: PostMemory | None = None,
    at: datetime = NOW,
    never: ShownPage | None = None,
) -> Observation:
    shown = read_page(page.last.text, DATA_NAMES) if page.last else None
    return judge(PostVisit(url, page, shown, memory or PostMemory(), at, lambda: never))


def look(platform: FakePlatform, pages: Pages, answer: Answer) -> tuple[str, bool]:
    sight, _ = looker_of(pages).look_first(platform.says(POST, answer), NOW)
    return str(sight.result), sight.strong


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (post(), ("up", True)),
        (shows("<title>A post</title><p>some words</p>"), ("up", False)),
        (status(404), ("gone", True)),
        (status(410), ("gone", True)),
        (lambda handler: handler.page(PAGE, 404), ("unknown", False)),
        (shows("<title>Page not found | Video</title>"), ("unknown", False)),
        (shows("<h1>삭제된 게시물입니다</h1>"), ("unknown", False)),
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
    looker = looker_of(pages)
    known = PostMemory(own=True, never="Video")
    sight, _ = looker.look(url, NOW, known, looker.page_that_never_was)
    assert (sight.result, sight.strong) == (LookResult.GONE, False)
    assert look(platform, pages, post()) == ("up", True)


def test_a_site_that_leads_everybody_to_its_front_page_removes_no_post(
    platform: FakePlatform, pages: Pages
) -> None:
    platform.says("/", shows("<title>Club</title><p>Log in to see what members post</p>"))
    platform.others = redirect("/")
    looker, url = looker_of(pages), platform.url(POST)
    found, _ = looker.look_first(url, NOW)
    assert (found.result, found.strong) == (LookResult.UNKNOWN, False)
    known = PostMemory(own=True, never="Club")
    seen, _ = looker.look(url, NOW, known, looker.page_that_never_was)
    assert (seen.result, seen.strong) == (LookResult.GONE, False)


@pytest.mark.parametrize(
    "never",
    [status(404, "<title>404</title>"), shows("<title>No such post</title>"), redirect("/")],
    ids=["404", "page", "front page"],
)
@pytest.mark.parametrize("by", ["page", "front page"])
def test_what_begins_to_stand_before_a_whole_site_removes_no_post(
    platform: FakePlatform, pages: Pages, never: Handler, by: str
) -> None:
    """A wall for cookies, a pause for works, or a shell for scripts."""
    platform.says("/", shows("<title>Club</title><p>What members post</p>"))
    platform.others = never
    looker, url = looker_of(pages), platform.says(POST, post())
    found, _ = looker.look_first(url, NOW)
    assert found.result is LookResult.UP
    wall = shows("<title>We will be back</title><p>Works are under way</p>")
    platform.says("/", wall)
    platform.others = wall if by == "page" else redirect("/")
    platform.says(POST, platform.others)
    seen, _ = looker.look(url, NOW, found.memory, looker.page_that_never_was)
    assert (seen.result, seen.strong) == (LookResult.UNKNOWN, False)


def test_a_post_is_gone_where_the_page_of_what_never_was_is_what_it_was(
    platform: FakePlatform, pages: Pages
) -> None:
    platform.others = shows("<title>No such post</title><p>Look for others</p>")
    looker, url = looker_of(pages), platform.says(POST, post())
    found, _ = looker.look_first(url, NOW)
    platform.says(POST, platform.others)
    seen, _ = looker.look(url, NOW, found.memory, looker.page_that_never_was)
    assert (seen.result, seen.strong) == (LookResult.GONE, False)


def test_a_name_that_is_gone_counts_after_a_day_only(platform: FakePlatform, pages: Pages) -> None:
    url = platform.url(POST)
    with resolving({"video.example": socket.gaierror(socket.EAI_NONAME, "none")}):
        memory = PostMemory()
        sights: list[Observation] = []
        for hours in (0, 12, 24):
            sight = judged(url, pages.get(url), memory, NOW + timedelta(hours=hours))
            memory = sight.memory
            sights.append(sight)
    assert [(s.result, s.strong) for s in sights] == [
        (LookResult.UNREACHABLE, False), (LookResult.UNREACHABLE, False), (LookResult.GONE, False),
    ]  # fmt: skip
    with resolving({"video.example": socket.gaierror(socket.EAI_AGAIN, "later")}):
        sight = judged(url, pages.get(url), memory)
    assert sight.result is LookResult.UNREACHABLE  # a name server that is down proves nothing


def test_other_content_at_the_same_address_is_noticed(platform: FakePlatform, pages: Pages) -> None:
    url = platform.says(POST, post("First", path="/v/123456?one"))
    first = judged(url, pages.get(url))
    assert (first.result, first.strong) == (LookResult.UP, True)
    platform.says(POST, post("Second", path="/v/123456?two"))
    assert judged(url, pages.get(url), first.memory).result is LookResult.CHANGED
    platform.says(POST, post("A new title", path="/v/123456?one"))
    assert judged(url, pages.get(url), first.memory).result is LookResult.UP


@pytest.mark.parametrize("mark", [m for m in MARKS if m.site], ids=lambda m: f"{m.site} {m.result}")
def test_each_mark_of_a_platform_is_found_at_its_place_only(mark: Any, pages: Pages) -> None:
    text = mark.texts[0]
    page = {
        "class": f"<title>t</title><div class='box {text}'>a</div>",
        "data": f'<title>t</title><script>x = {{{mark.after}: {{"a": "{text}"}}}}</script>',
        "text": f"<title>t</title><p>{text}.</p>",
    }[mark.place]
    elsewhere = f"<title>t</title><a href='{text}'>a</a><script>y = '{text}'</script>"
    for body, is_found in ((page, True), (elsewhere, False)):
        answer = _answer(f"https://www.{mark.site}/watch/abcdef", body)
        sight = judged(answer.answers[0].url, answer)
        assert (sight.result is mark.result) is is_found
        if is_found:
            assert sight.strong is (mark.place != "text")


def _seen_at(url: str, body: str, never: str | None = None, code: int = 200) -> Observation:
    """Return what a page says, beside that of an address that never was."""
    served = read_page(never, DATA_NAMES) if never is not None and code == 200 else None
    return judged(url, _answer(url, body), never=served)


PORNHUB = "https://www.pornhub.com/view_video.php?viewkey=ph5abc123"
YOUTUBE = "https://www.youtube.com/watch?v=abcdefghijk"
VK = "https://vk.com/video-1_456239017"
FORUM = "https://forum.example/t/98765"
CLASS = '<div class="removed">'


@pytest.mark.parametrize(
    ("url", "title", "body"),
    [
        (PORNHUB, "A", '<p>nice class="removed" lol</p>'),
        (PORNHUB, "A", f"<p>nice {html.escape(CLASS, quote=False)} lol</p>"),
        (PORNHUB, "A", """<img alt="class='removed'"><i title='a=" <b id="noVideo"> '></i>"""),
        (PORNHUB, "A", f"<p title=it's>a ' {html.escape(CLASS, quote=False)} ' b</p>"),
        (PORNHUB, "\u0130stanbul", f"<script>t = '{CLASS}'</script><!-- {CLASS} -->"),
        (PORNHUB, "A", f"<!-- <script> --><style>{CLASS}</style>"),
        ("https://xhamster.com/videos/a-12345", "A", 'class="videoClosed"'),
        (VK, "A", "<p>lol: Video has been deleted</p>"),
        (YOUTUBE, '"playabilityStatus": ["Video unavailable"]', ""),
        (YOUTUBE, "Video unavailable", """<script>x = {"playabilityStatus": {"status": "OK"},
         "videoDetails": {"title": "Video unavailable", "by": "Private video"}};</script>"""),
        (FORUM, "404", ""),
        (FORUM, "404 - Anna | Forum", ""),
        (FORUM, "Page not found - Forum", ""),
        (FORUM, "Login - how I got it", ""),
        (FORUM, "Just a moment... - Anna | Forum", ""),
        (FORUM, "Just a moment...", ""),
    ],
)  # fmt: skip
def test_what_users_write_on_a_page_removes_no_post(url: str, title: str, body: str) -> None:
    own = f'<link rel="canonical" href="{url}"><meta property="og:video" content="https://v/1.mp4">'
    page = f"<title>{title}</title>{own}<h1>{title}</h1><video></video>{body}"
    sight = _seen_at(url, page)
    assert sight.result in (LookResult.UP, LookResult.UNKNOWN), sight.signals
    is_said = url in (FORUM, VK) or title == "Video unavailable"
    assert (sight.result is LookResult.UNKNOWN) is is_said, sight.signals
    assert sight.text == ""


@pytest.mark.parametrize(
    ("url", "itself", "shows_post"),
    [
        (f"{YOUTUBE}1&list=PLabcdefghijklmnop&index=12", f"{YOUTUBE}1", True),
        (f"{YOUTUBE}1&pp=ygUIabcdefghijk", f"{YOUTUBE}1", True),
        ("https://www.youtube.com/shorts/abcdefghij1?feature=share", f"{YOUTUBE}1", False),
        ("https://www.youtube.com/shorts/abcdefghijk1?feature=share", f"{YOUTUBE}1", True),
        ("https://youtu.be/abcdefghijk1?si=abcdefghijklmnop", f"{YOUTUBE}1", True),
        ("https://www.tiktok.com/@u/video/7300000000000000000?is_from_webapp=1&web_id=73999",
         "https://www.tiktok.com/@u/video/7300000000000000000", True),
        ("https://x.example/p/ABCDEFG?igsh=MzRlODBiNWFlZA==", "https://x.example/p/ABCDEFG/", True),
        ("https://f.example/bbs/board.php?bo_table=free&amp;wr_id=123",
         "https://f.example/bbs/board.php?bo_table=free&amp;wr_id=123", True),
        ("https://f.example/bbs/board.php?bo_table=free&amp;wr_id=123",
         "https://f.example/bbs/board.php?bo_table=free", False),
        ("https://f.example/bbs/board.php?bo_table=humor&amp;wr_id=123",
         "https://f.example/bbs/board.php?bo_table=humor", False),
        (f"{YOUTUBE}1", "https://www.youtube.com/watch?v=abcdefghijk2", False),
        ("https://f.example/t/987", "https://f.example/t/98765", False),
        ("https://f.example/t/987", "https://[", False),
    ],
)  # fmt: skip
def test_a_page_is_the_post_if_it_names_it_whatever_the_link_carries(
    url: str, itself: str, shows_post: bool
) -> None:
    for named in (f"<link rel='canonical' href='{itself}'>",
                  f"<meta property='og:url' content='{itself}'>"):  # fmt: skip
        for title in ("A", "Access denied"):
            page = f"<title>{title} - X</title>{named}<meta property='og:image' content='/i.jpg'>"
            sight = _seen_at(html.unescape(url), page)
            found = "up" if title == "A" else "unknown" if shows_post else "challenged"
            assert sight.result == found, sight.signals
            assert title != "A" or sight.strong is shows_post


@pytest.mark.parametrize(
    ("url", "page", "expected"),
    [
        # A platform's own mark counts, whatever else the page says of itself.
        (PORNHUB, f"<meta property='og:url' content='{PORNHUB}'><video></video>"
         f"<p>\u0130</p><DIV data-a='>' CLASS='x removed'>", ("gone", True)),
        (YOUTUBE, """<script>var y = ["playabilityStatus"], x = {"playabilityStatus":
         {"status": "ERROR", "reason": "Video unavailable"}};</script>""", ("gone", True)),
        (VK, "<title>VK</title><p>Video has been deleted</p>", ("gone", False)),
        (FORUM, "<title>404 - Page not found | Forum</title>", ("gone", False)),
        (FORUM, "<title>Video unavailable · Forum</title>", ("gone", False)),
        (FORUM, "<title>Log in | Forum</title>", ("restricted", False)),
        # A page that names itself and has a logo may be either.
        (FORUM, f"<title>404 | Forum</title><link rel='canonical' href='{FORUM}'>"
         "<meta property='og:image' content='/logo.png'>", ("unknown", False)),
    ],
)  # fmt: skip
def test_what_the_platform_writes_does(url: str, page: str, expected: tuple[str, bool]) -> None:
    sight = _seen_at(url, page, page)
    assert (str(sight.result), sight.strong) == expected, sight.signals


@pytest.mark.parametrize("within", [
    "<script>x = {json}{meta}</script>", '<script type="a/ld+json">{json}{meta}</script >',
    "<!-- {meta}{script} -->", "<meta name='description' content='{script}'>",
    '<p title="{meta}">', "<title>{meta}</title>", "<textarea>{meta}{script}</textarea>",
    "<p data-a='<!--' data-b='<script>'>", "<i title='<title>404</title><h1>404</h1>'></i>",
])  # fmt: skip
def test_what_users_write_is_no_tag_and_no_script(within: str) -> None:
    meta = "<meta property='og:url' content='x'><link rel='canonical' href='x'>"
    script = '<script>"playabilityStatus": {"reason": "Private video"}</script>'
    said = within.format(meta=meta, script=script, json='{"a": 1}')
    page = f"{said}<title>A - Video</title><link rel='canonical' href='{YOUTUBE}'><video></video>"
    for after in ("", '<script>x = {"playabilityStatus": {"status": "OK"}}</script>'):
        sight = _seen_at(YOUTUBE, page + after)
        assert (sight.result, sight.strong) == (LookResult.UP, True), sight.signals


@pytest.mark.parametrize(("title", "result"), [
    ("Page not found | Clips | watch everything", "unknown"), ("Not found: Forum", "unknown"),
    ("Log in \u2022 Forum", "unknown"), ("Error 404 (Not Found)!!1", "unknown"),
    ("404 - Anna | Forum", "unknown"), ("404 ways to tie a knot", "up"), ("Logins", "up"),
    ("How to fix: page not found | Clips | all", "up"),
])  # fmt: skip
def test_a_longer_title_that_begins_with_a_mark_finds_no_post(title: str, result: str) -> None:
    own = f"<link rel='canonical' href='{FORUM}'><meta property='og:image' content='/logo.png'>"
    memory = PostMemory("A", "/a.jpg")
    for body in (title, f"{title}</title>{own}<title>", f"A</title><h1>{title}</h1>"):
        page = _answer(FORUM, f"<title>{body}</title>")
        assert judged(FORUM, page).result == result
    page = _answer(FORUM, f"<title>{title}</title>{own}")
    changed = judged(FORUM, page, memory).result
    assert changed == ("unknown" if result == "unknown" else "changed")
    moved = replace(page.last, url=f"{FORUM}1", status=301)
    page = replace(page, answers=(moved, replace(page.last, url="https://forum.example/oops")))
    moved_result = judged(FORUM, page).result
    assert moved_result == ("unknown" if result == "unknown" else "moved")


def test_a_login_before_a_whole_site_is_one_though_it_names_the_post_and_has_a_logo() -> None:
    own = f"<link rel='canonical' href='{FORUM}'><meta property='og:image' content='/logo.png'>"
    wall = f"<title>Log in - Forum</title>{own}<p>Log in to go on</p>"
    never = "<title>Log in - Forum</title><p>Log in to go on</p>"
    assert _seen_at(FORUM, wall, never).result is LookResult.RESTRICTED
    for other in (None, "<title>Log in - Forum</title><p>no words of it</p>", "<title>A</title>"):
        assert _seen_at(FORUM, wall, other).result is LookResult.UNKNOWN
    assert _seen_at(FORUM, wall, never, 404).result is LookResult.UNKNOWN


def test_a_title_says_that_a_post_is_gone_only_if_the_site_serves_it_for_what_never_was() -> None:
    title = "<title>Page not found - Forum</title>"
    picture = f"{title}<link rel='canonical' href='{FORUM}'><img src='/i.jpg'>"
    page = f"{title}<p>Sorry! {' '.join(map(str, range(30)))}</p>"
    for body in (picture, page):
        assert _seen_at(FORUM, body).result is LookResult.UNKNOWN
        assert _seen_at(FORUM, body, page, 404).result is LookResult.UNKNOWN
        other = "<title>A - Forum</title>"
        sight = _seen_at(FORUM, body, other)
        assert (sight.result, sight.text) == (LookResult.UNKNOWN, "")
    assert _seen_at(FORUM, page, f"{title}<p>no</p>").result is LookResult.GONE


def test_the_text_that_is_kept_is_what_the_page_shows(platform: FakePlatform, pages: Pages) -> None:
    answer = status(404, "<p>Removed: &amp;lt;b&amp;gt; in a &lt;comment&gt; was against the rules")
    sight, _ = looker_of(pages).look_first(platform.says(POST, answer), NOW)
    assert sight.text == "Removed: &lt;b&gt; in a <comment> was against the rules"


def test_a_title_in_the_address_to_which_a_post_redirects_removes_it_not(
    platform: FakePlatform, pages: Pages
) -> None:
    for path in ("/v/123456/404-anna", "/v/login-how-i-got-it/123456"):
        platform.says(path, post(path=path))
        assert look(platform, pages, redirect(path)) == ("unknown", False)


def _answer(url: str, body: str, code: int = 200) -> Any:
    from deepfake_service.platform import pages as fetched

    one = fetched.Answer(url, code, {"content-type": "text/html"}, "203.0.113.1", text=body)
    return fetched.Page((one,))


def test_a_hostile_page_is_read_in_little_time() -> None:
    import time

    units = ("<h1>", "<!--", "<meta ", "<title>", "class='", "<script", "<a href='x'", "&amp",
             """<x " =\"""", "<x '=\"' =\"", "<x =", "<x = ", "a", "<b a", "<b a>",
             "<script a='", "<title a='", "<x a='<x b=\"", "<x a='<!--' ",
             '<script>"playabilityStatus":[', '"playabilityStatus" ')  # fmt: skip
    for unit in units:
        began = time.thread_time()  # whatever else the machine does
        _seen_at("https://youtube.com/v/1", unit * 200_000)
        assert time.thread_time() - began < 5


def test_pages_are_read_in_the_sandbox_and_one_that_breaks_its_reader_tells_nothing() -> None:
    with contextlib.closing(PageReaders(require=False)) as readers:
        for markup in (PAGE, "", "\x00<p>\ufffd", "<!-- a", "<li>" * 100_000):
            assert readers.read(markup, DATA_NAMES) == read_page(markup, DATA_NAMES)
        assert readers.read("<p>" + "<b>" * 3000 + "deep", ()) is not None
    shown = readers.read(PAGE, DATA_NAMES)  # whose processes have ended
    assert shown is None
    answer = _answer(FORUM, PAGE, 404)
    found = judge(PostVisit(FORUM, answer, shown, PostMemory(), NOW, lambda: None))
    assert (found.result, found.strong) == (LookResult.UNKNOWN, False)
