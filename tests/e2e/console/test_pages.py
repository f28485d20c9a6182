"""From a dropped video to a sent notice; then every page is accessible, translated and fits."""

from __future__ import annotations

import io
import re
import zipfile
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from tests.support import footage
from tests.support.console import NEEDS_CHROMIUM, SERIOUS, choose_early, signed_in
from tests.support.footage import clip
from tests.support.servers import ADMIN_KEY, Site

ONLY_VIOLATIONS = {"resultTypes": ["violations"]}
"""All rules run, but axe-core does not describe every element that obeys them."""

pytestmark = NEEDS_CHROMIUM


def leave_checks_to_the_service(page: Page) -> None:
    """Let the browser send the form without what its fields require."""
    page.locator("form.card").evaluate("form => { form.noValidate = true }")


def test_from_a_dropped_video_to_a_sent_notice(
    site: Site, browser: Browser, key: str, tmp_path: Path
) -> None:
    page = signed_in(browser, site, key, accept_downloads=True, timezone_id="Asia/Seoul")
    page.click("nav a[href='/submit']")
    video, other = tmp_path / "한 영상.mp4", tmp_path / "<img src=x onerror=alert(1)>.png"
    video.write_bytes(clip(4))
    other.write_bytes(footage.picture(footage.grace_hopper(), "PNG"))
    many = []
    for n in range(6):  # with the others, more than a browser opens connections
        many.append(tmp_path / f"{n}.png")
        small = footage.resized(footage.astronaut(), 256 + n, 256)
        many[-1].write_bytes(footage.picture(small, "PNG"))
    page.set_input_files("#files", [video, other, *many])
    page.fill("#case_reference", "R-2026-7")
    page.fill("#source_url", "https://example.org/watch")
    page.fill("#note", "신고자가 보낸 링크")
    page.click("#send")
    expect(page.locator("#uploads li")).to_have_count(8)
    queue = page.context.new_page()
    queue.goto("/?tab=all&q=R-2026-7")
    done = page.locator("#uploads li[data-state=succeeded]")
    expect(done).to_have_count(8)
    # Rows of what ended while the page was open can be selected and have their pictures.
    expect(queue.locator(".queue input[name=job]")).to_have_count(8)
    expect(queue.locator(".queue .thumb img").first).to_be_attached()
    queue.close()
    done.filter(has_text="한 영상").get_by_role("link").click()
    expect(page.locator("section.answer h1")).to_be_visible()
    expect(page.locator(".meaning .rate").first).to_contain_text("인물·출처")

    expect(page.locator("main")).to_contain_text("신고자가 보낸 링크")
    face = page.locator("img.face").first
    face.scroll_into_view_if_needed()
    assert "blur" in face.evaluate("e => getComputedStyle(e).filter")
    page.check("#unveil")
    assert "blur(0px)" in face.evaluate("e => getComputedStyle(e).filter")
    assert face.evaluate("e => e.complete && e.naturalWidth") > 100
    page.check("#grey")
    assert "grayscale" in face.evaluate("e => getComputedStyle(e).filter")
    page.uncheck("#unveil")
    expect(page.locator("#pictures ~ .hint").last).to_contain_text(
        "값을 높인 부분은 표시하지 않습니다"
    )

    player = page.locator("video")
    page.locator(".seek").first.click()
    expect(player).to_be_in_viewport()
    assert "blur(18px)" in player.evaluate("e => getComputedStyle(e).filter")
    page.get_by_role("tab", name="시간에 따른 변화").click()
    expect(page.locator(".timeline .cursor")).to_be_visible()
    page.locator("#timeline circle").last.click()
    expect(page.locator("#readout")).to_contain_text("인물")
    expect(page.locator("#at")).not_to_contain_text("0.00 / ")
    expect(player).to_be_in_viewport()

    page.check("input[name=decision][value=confirmed]")
    page.fill("#reason", "턱 경계가 어긋남")
    page.get_by_role("button", name="결론 저장").click()
    expect(page.locator("section.answer")).to_contain_text("턱 경계가 어긋남")

    page.get_by_role("tab", name="증거와 통지").click()
    with page.expect_download() as download:
        page.get_by_role("link", name="증거 파일(ZIP)").click()
    download.value.save_as(tmp_path / "e.zip")
    site.command("keys", "signing", "publish", "--out", str(tmp_path / "keys"))
    output = site.command("verify", str(tmp_path / "e.zip"), "--pinned", str(tmp_path / "keys"))
    assert "reviewed: confirmed" in output

    # What to do next leads there, too.
    page.locator("#tab-papers").get_by_role("link", name="유통신고·삭제요청").click()
    expect(page.locator("#occurrences")).to_contain_text("화면 캡처 없음")
    leave_checks_to_the_service(page)
    page.get_by_role("button", name="통지 작성").click()
    expect(page.get_by_role("alert")).to_contain_text("신고·요청인")
    expect(page.get_by_role("alert")).to_contain_text("화면 캡처")
    case = re.search(r"/cases/(\w+)/", page.url)
    assert case
    shot = tmp_path / "capture.png"
    shot.write_bytes(footage.picture(footage.resized(footage.astronaut(), 64, 64), "PNG"))
    page.fill("#f-statement", "캡처를 추가해도 적은 내용은 남습니다. 삭제를 요청합니다.")
    page.locator(".capture input[type=file]").first.set_input_files(shot)
    expect(page.locator(".capture").first).to_contain_text("저장")
    expect(page.locator("#f-statement")).to_have_value(re.compile("적은 내용은 남습니다"))
    expect(page.locator("input[name=occurrences]:checked")).to_have_count(1)
    page.select_option("#reports", "all")
    for name, value in {
        "reporter_name": "김신고",
        "reporter_phone": "02-123-4567",
        "reporter_email": "kim@example.org",
        "statement": "동의 없이 얼굴이 합성된 영상입니다. 삭제를 요청합니다.",
        "signed_on": "2026-01-02",
    }.items():
        page.fill(f"#f-{name}", value)
    leave_checks_to_the_service(page)
    # Without a signature; the form keeps its content.
    page.get_by_role("button", name="통지 작성").click()
    expect(page.get_by_role("alert")).to_contain_text("서명")
    expect(page.locator("#f-statement")).to_have_value(re.compile("동의 없이"))
    page.fill("#f-signature", "김신고")
    page.get_by_role("button", name="통지 작성").click()
    expect(page.locator("pre.notice")).to_contain_text("허위영상물")
    expect(page.locator("pre.notice")).to_contain_text("흐리게 처리함")
    page.get_by_role("link", name="수정").click()
    expect(page.locator("#f-statement")).to_have_value(re.compile("동의 없이"))
    page.fill("#f-reporter_phone", "02-765-4321")
    expect(page.locator("#f-signature")).to_have_value("")  # belongs to the notice that was signed
    page.fill("#f-signature", "김신고")
    page.select_option("#reports", "all")
    page.get_by_role("button", name="통지 작성").click()
    expect(page.locator("pre.notice")).to_contain_text("02-765-4321")
    package = page.request.get(f"{page.url.partition('?')[0]}/package.zip").body()
    with zipfile.ZipFile(io.BytesIO(package)) as archive:  # with the report that it refers to
        folders = sorted(name.partition("/")[0] for name in archive.namelist())
        assert folders == ["contents.json", "notice.pdf", "notice.txt", "reports", "screenshots"]
        (report,) = (n for n in archive.namelist() if n.startswith("reports/"))
        assert archive.read(report).startswith(b"%PDF")
    page.goto(f"/cases/{case[1]}")  # the notice that it replaces is withdrawn
    either = re.compile(r"^\s*(초안\(미발송\)|철회됨)\s*$")
    states = page.locator("td:nth-child(4)", has_text=either)
    assert sorted(states.all_inner_texts()) == ["철회됨", "초안(미발송)"]
    page.get_by_role("row", name="초안(미발송)").get_by_role("link").click()
    # The form asks for local time.
    expect(page.locator("label[for=sent_at]")).not_to_contain_text("UTC")
    now = datetime.now(timezone(timedelta(hours=9)))
    page.fill("#sent_at", now.strftime("%Y-%m-%dT%H:%M"))
    page.get_by_role("button", name="발송 완료로 표시").click()
    expect(page.locator("main")).to_contain_text("기한")
    expect(page.locator("main")).to_contain_text(now.strftime("%Y-%m-%d %H:%M KST"))
    page.fill("#receipt", "접수 2026-1")
    page.locator("form:has(#receipt) button").click()
    expect(page.locator("main")).to_contain_text("접수 2026-1")
    page.select_option("#outcome", "temporarily_blocked")
    page.locator("form:has(#outcome) button").click()
    expect(page.locator("main")).to_contain_text("임시 차단됨(심의 중)")
    page.context.close()


def test_a_screenshot_that_is_chosen_while_the_form_of_a_notice_loads_is_saved(
    site: Site, browser: Browser, key: str, job: dict[str, Any], tmp_path: Path
) -> None:
    shot = tmp_path / "early.png"
    shot.write_bytes(footage.picture(footage.resized(footage.astronaut(), 64, 64), "PNG"))
    with site.client as client:
        client.post(
            f"/v1/cases/{job['case_id']}/occurrences",
            files={"source_url": (None, "https://example.org/early")},
        ).raise_for_status()
    page = signed_in(browser, site, key)
    form = f"/cases/{job['case_id']}/notices/kr-tba-22-5"
    lacking = "[data-source_url='https://example.org/early'] input"
    choose_early(page, form, "notice.js", lacking, shot)
    post = page.locator(".post", has_text="example.org/early")
    expect(post).to_contain_text("저장")
    expect(post.locator("input[name=occurrences]")).to_be_checked()
    page.context.close()


def test_a_refused_post_is_explained_in_the_language_of_the_page(
    site: Site, browser: Browser, key: str, job: dict[str, Any], tmp_path: Path
) -> None:
    (tmp_path / "capture.png").write_bytes(b"no picture")
    for locale, url, picture, empty, time in (
        (
            "ko-KR",
            "게시물 URL: http:// 또는 https://로 시작하는",
            "WebP 사진을 제출하십시오",
            "비어 있습니다",
            "캡처 일시 (KST): 2026-01-31 21:00과 같은",
        ),
        (
            "en-GB",
            "URL of the post: send a URL that",
            "send a PNG, JPEG or WebP",
            "occurrence is empty",
            "Captured at (KST): send a time",
        ),
    ):
        page = signed_in(browser, site, key, locale=locale, timezone_id="Asia/Seoul")
        page.goto(f"/cases/{job['case_id']}")
        page.locator("details:has(#occurrence) > summary").click()
        form = page.locator("#occurrence")
        form.locator("button").click()
        expect(page.locator("#occurrence-problem")).to_contain_text(empty)
        form.locator("#source_url").fill("ftp://example.org/1")
        form.locator("button").click()
        expect(page.locator("#occurrence-problem")).to_contain_text(url)
        form.locator("#source_url").fill("")
        form.locator("#screenshot").set_input_files(tmp_path / "capture.png")
        form.locator("button").click()
        expect(page.locator("#occurrence-problem")).to_contain_text(picture)
        form.locator("#screenshot").set_input_files([])
        form.locator("#captured_at").fill("yesterday")
        form.locator("button").click()
        expect(page.locator("#occurrence-problem")).to_contain_text(time)
        # A time without a zone is in the reader's, which the label names.
        form.locator("#source_url").fill(f"https://example.org/{locale}")
        form.locator("#captured_at").fill("2026. 1. 31. 오후 9:05")
        form.locator("button").click()
        post = page.locator("#seen ~ ul li", has_text=f"example.org/{locale}")
        expect(post).to_contain_text("2026-01-31 21:05 KST")
        page.context.close()


def paths(job: dict[str, Any]) -> list[str]:
    return [
        "/", "/submit", f"/items/{job['id']}", f"/cases/{job['case_id']}",
        f"/cases/{job['case_id']}/notices/us-take-it-down", "/notices?part=overdue",
        "/help", "/admin",
        f"/cases/{job['case_id']}/notices/kr-tba-22-5", "/admin/organisation", "/account",
        "/notices", "/audit", "/items/nothing", "/admin/model-card",
        f"/reviews?job={job['id']}",
    ]  # fmt: skip


def serious_violations(page: Page) -> list[tuple[str, list[Any]]]:
    return [
        (v["id"], [n["target"] for n in v["nodes"]])
        for v in Axe().run(page, options=ONLY_VIOLATIONS).response["violations"]
        if v["impact"] in SERIOUS
    ]


VISIBLE_TEXT = """() => {
  const body = document.body.cloneNode(true);
  // What users, machines and statutes wrote in another language stays as it is.
  const foreign = "bdi, code, kbd, pre, script, noscript, time, [lang=en], .free, .hash";
  for (const element of body.querySelectorAll(foreign)) element.remove();
  const labels = [...body.querySelectorAll("[aria-label], [alt], [title]")]
    .flatMap((e) => ["aria-label", "alt", "title"].map((name) => e.getAttribute(name) || ""));
  return [body.textContent, ...labels].join(" ");
}"""
ENGLISH = re.compile(r"[A-Za-z]{2,}")
DIGEST = re.compile(r"\b(?=\w*[0-9])\w{8,}")
FILE_NAMES = re.compile(r"<img src=x onerror=alert\(1\)>|\S*\.(?:png|mp4)\b")
"""Names that tests gave to files; labels of the queue repeat them."""
NOT_TRANSLATED = frozenset(
    {
        # Formats, units and names.
        "API", "AUC", "CLIP", "CSV", "DOWN", "DSA", "DU", "ELA", "EU",
        "HTTP", "ID", "IT", "JPEG", "KiB",
        "MTCNN", "MiB", "GiB", "ONNX", "PDF", "PNG", "Act", "TAKE", "URL", "US", "UTC", "VIDEO",
        "WebP", "XMP", "ZIP", "px", "SHA", "GMT", "age", "deepfake", "submit", "DMCA", "PA",
        "PDQ", "bicubic", "log", "json", "hashes", "onnxruntime", "numpy", "pillow", "python",
        "av", "machine", "service", "AVI", "AVIF", "GIF", "HEIC", "MKV", "MOV", "MP", "WebM",
        "MB", "MHTML", "WACZ", "WARC",
        # Tools that capture pages: ArchiveWeb.page, Browsertrix and auto-archiver.
        "ArchiveWeb", "page", "Browsertrix", "auto", "archiver",
        # A version under development.
        "dev",
        # Subdivisions of the law, and the English term of the Act beside its Korean translation.
        "ii", "iii", "iv", "ETS", "digital", "forgery",
        # The account that DEEPFAKE_ADMIN_KEY creates.
        "environment",
        # The names of the media's container and codec, and of the model bundle.
        "mp", "video", "research", "only", "small",
    }
)  # fmt: skip


def english_words(page: Page) -> set[str]:
    """Return the words of a page that a reader of Korean should not see."""
    text = DIGEST.sub("", FILE_NAMES.sub("", page.evaluate(VISIBLE_TEXT)))
    return set(ENGLISH.findall(text)) - NOT_TRANSLATED


LEAVE_OUT_ROWS_ALIKE = """() => {
  const build = (node) => node.nodeType !== Node.ELEMENT_NODE
    ? String(node.textContent.trim() === "")
    : [node.tagName, ...[...node.attributes].map((a) => `${a.name}=${a.value}`), "(",
       ...[...node.childNodes].map(build), ")"].join(" ");
  let left_out = 0;
  for (const body of document.querySelectorAll(".scroll tbody")) {
    const seen = new Set();
    for (const row of [...body.rows]) {
      const built = build(row);
      if (seen.has(built)) { row.remove(); left_out += row.cells.length; }
      seen.add(built);
    }
  }
  return left_out;
}"""
"""Remove from each table the rows that are built as an earlier one, with other text, for an audit
of six thousand elements takes ten seconds."""
UNDER_ITS_BOX = """() => [...document.querySelectorAll('.choice')].filter((label) => {
  const text = document.createRange(), box = label.querySelector('input').getBoundingClientRect();
  text.selectNodeContents(label);
  return [...text.getClientRects()].some((line) => line.top > box.bottom && line.left < box.right);
}).length"""
HIDDEN_TABS = """() => [...document.querySelectorAll(".tabs")]
  .filter((tabs) => tabs.scrollWidth > tabs.clientWidth).length"""


@pytest.mark.parametrize(
    ("language", "audited", "other"),
    [("ko-KR", (1200, "light"), (360, "dark")), ("en-US", (360, "dark"), (1200, "dark"))],
)
def test_pages_are_accessible_translated_and_fit(
    site: Site, browser: Browser, job: dict[str, Any], language: str,
    audited: tuple[int, Any], other: tuple[int, Any],
) -> None:  # fmt: skip
    """In the first of two widths and schemes, axe audits the pages too, which takes most of the
    time. No script asks for the width, so that a page need not be loaded again in the second."""
    page = signed_in(browser, site, ADMIN_KEY, locale=language)
    show(page, *audited)
    left: dict[str, set[str]] = {}
    for path in [*paths(job), "/?tab=all"]:
        page.goto(path)
        assert page.title() != "owned"
        assert page.evaluate("document.documentElement.lang") == language[:2]
        # Users wrote the labels in the rows of all items.
        if language == "ko-KR" and path in paths(job) and (words := english_words(page)):
            left[path] = words
        for width, scheme in (other, audited):
            show(page, width, scheme)
            overflow = page.evaluate("document.documentElement.scrollWidth - innerWidth")
            assert overflow <= 0, (path, width, overflow)
            assert page.evaluate(HIDDEN_TABS) == 0, (path, width)
            assert page.evaluate(UNDER_ITS_BOX) == 0, (path, width)
        if path == "/admin/model-card":
            assert page.evaluate(LEAVE_OUT_ROWS_ALIKE) > 100
        assert not serious_violations(page), path
    page.context.close()
    assert not left, left


def show(page: Page, width: int, scheme: Any) -> None:
    """Show a page in a window of this width, in a light or a dark scheme."""
    page.set_viewport_size({"width": width, "height": 800})
    page.emulate_media(color_scheme=scheme)


def test_further_korean_pages_contain_no_english(
    site: Site, browser: Browser, job: dict[str, Any]
) -> None:
    page = signed_in(browser, site, ADMIN_KEY)
    left: dict[str, set[str]] = {}
    kinds = ("eu-dsa-16", "kr-d4u", "budapest-29")
    forms = [f"/cases/{job['case_id']}/notices/{kind}" for kind in kinds]
    for path in [*forms, "/?state=queued", "/?days=0&cursor=x", "/cases/none"]:
        page.goto(path)
        if words := english_words(page):
            left[path] = words
    page.context.close()
    assert not left, left
