"""The console in a real browser, from an uploaded video to a notice that was sent."""

from __future__ import annotations

import contextlib
import csv
import io
import re
import shutil
import zipfile
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import httpx
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, Route, expect, sync_playwright

from deepfake_service.cli.manifest import InvalidManifest, read_manifest
from tests.support import mediakit
from tests.support.mediakit import clip
from tests.support.servekit import ADMIN_KEY, Site

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
EVIL = "<script>document.title='owned'</script>" + "가" * 60
WORSE = EVIL + "\u202egnp.exe\u0000" + "나" * 3000
"""Allowed in a note; references and names of platforms must be printable."""
SERIOUS = {"serious", "critical"}
ONLY_VIOLATIONS = {"resultTypes": ["violations"]}
"""All rules run, but axe-core does not describe every element that obeys them."""

SHORT = 12
"""Frames of a video in which a face is seen long enough to be judged."""

pytestmark = [
    pytest.mark.browser,
    pytest.mark.server,
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed"),
]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with Site(tmp_path_factory.mktemp("console"), {"DEEPFAKE_ISSUER": "대응센터"}) as running:
        running.serve()
        yield running


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(
            executable_path=CHROMIUM,
            args=["--no-sandbox", "--disable-background-networking", "--disable-sync"],
        )
        yield launched
        launched.close()


@pytest.fixture(scope="module")
def key(site: Site) -> str:
    """Return an analyst's key."""
    return site.create_key("김분석", "analyst")


@pytest.fixture(scope="module")
def job(site: Site) -> dict[str, Any]:
    """Return the job of a video with a hostile case reference and a screenshot of its page."""
    with site.client as client:
        answer = client.post(
            "/v1/videos",
            files={"file": (EVIL, clip(2, SHORT))},
            data={"case_reference": EVIL, "source_url": "https://example.org/1", "platform": EVIL},
        )
        assert answer.status_code == 202, answer.text
        done = site.wait(answer.json()["id"])
        note = {"decision": "confirmed", "reason": WORSE}
        client.post(f"/v1/jobs/{done['id']}/reviews", json=note).raise_for_status()
        shot = mediakit.picture(mediakit.resized(mediakit.astronaut(), 64, 64), "PNG")
        client.post(
            f"/v1/cases/{done['case_id']}/occurrences",
            files={"screenshot": ("s.png", shot)},
            data={"source_url": "https://example.org/2"},
        ).raise_for_status()
    return done


expect.set_options(timeout=20_000)  # a loaded machine is slow, not wrong


def assert_static_file(request: Any) -> None:
    if "/static/" in request.url:
        assert request.response().status == 200, request.url


def signed_in(browser: Browser, site: Site, key: str, **options: Any) -> Page:
    """Return a page on which the owner of ``key`` has signed in."""
    context = browser.new_context(**{"locale": "ko-KR", **options}, base_url=site.url)
    page = context.new_page()
    page.set_default_timeout(60_000)
    page.on("pageerror", lambda error: pytest.fail(f"a script failed: {error}"))
    page.on("requestfinished", assert_static_file)
    page.goto("/")
    assert "/sign-in" in page.url
    page.fill("#key", key)
    page.press("#key", "Enter")
    page.wait_for_url(f"{site.url}/")
    return page


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
    other.write_bytes(mediakit.picture(mediakit.grace_hopper(), "PNG"))
    many = []
    for n in range(6):  # with the others, more than a browser opens connections
        many.append(tmp_path / f"{n}.png")
        small = mediakit.resized(mediakit.astronaut(), 256 + n, 256)
        many[-1].write_bytes(mediakit.picture(small, "PNG"))
    page.set_input_files("#files", [video, other, *many])
    page.fill("#case_reference", "R-2026-7")
    page.fill("#source_url", "https://example.org/watch")
    page.fill("#note", "신고자가 보낸 링크")
    page.click("#send")
    expect(page.locator("#uploads li")).to_have_count(8)
    queue = page.context.new_page()
    queue.goto("/?tab=all&q=R-2026-7")
    done = page.locator("#uploads li[data-state=succeeded]")
    expect(done).to_have_count(8, timeout=120_000)
    # Rows of what ended while the page was open can be selected and have their pictures.
    expect(queue.locator(".queue input[name=job]")).to_have_count(8)
    expect(queue.locator(".queue .thumb img").first).to_be_attached()
    queue.close()
    done.filter(has_text="한 영상").get_by_role("link").click()
    expect(page.locator("section.answer h1")).to_be_visible()
    expect(page.locator("section.answer .rate").first).to_contain_text("인물·출처")

    expect(page.locator("main")).to_contain_text("신고자가 보낸 링크")
    face = page.locator("img.face").first
    face.scroll_into_view_if_needed()
    assert "blur" in face.evaluate("e => getComputedStyle(e).filter")
    page.check("#unveil")
    assert face.evaluate("e => getComputedStyle(e).filter") == "none"
    assert face.evaluate("e => e.complete && e.naturalWidth") > 100
    page.check("#grey")
    assert "grayscale" in face.evaluate("e => getComputedStyle(e).filter")
    page.check("#boxes")
    expect(page.locator("svg.box").first).to_be_visible()
    page.locator("#heat").fill("60")
    assert page.locator("img.heat").first.evaluate("e => e.style.opacity") == "0.6"

    page.locator("#player summary").click()
    player = page.locator("video")
    assert player.evaluate("v => v.muted")
    assert "blur" in player.evaluate("e => getComputedStyle(e).filter")
    player.evaluate("v => v.play()")
    expect(page.locator(".timeline .cursor")).to_be_visible()
    expect(page.locator("#over rect").first).to_be_attached()
    page.locator("#timeline circle").first.click()
    expect(page.locator("#readout")).to_contain_text("인물")

    page.check("input[name=decision][value=confirmed]")
    page.fill("#reason", "턱 경계가 어긋남")
    page.get_by_role("button", name="판단 저장").click()
    expect(page.locator("section:has(> #review)")).to_contain_text("턱 경계가 어긋남")

    with page.expect_download() as download:
        page.get_by_role("link", name="증거 묶음(ZIP)").click()
    download.value.save_as(tmp_path / "e.zip")
    site.command("keys", "signing", "publish", "--out", str(tmp_path / "keys"))
    output = site.command("verify", str(tmp_path / "e.zip"), "--pinned", str(tmp_path / "keys"))
    assert "reviewed: confirmed" in output

    page.get_by_role("link", name="유통신고·삭제요청").click()
    expect(page.locator("#occurrences")).to_contain_text("화면 캡처 없음")
    leave_checks_to_the_service(page)
    page.get_by_role("button", name="통지 작성").click()
    expect(page.get_by_role("alert")).to_contain_text("신고·요청인")
    expect(page.get_by_role("alert")).to_contain_text("화면 캡처")
    case = re.search(r"/cases/(\w+)/", page.url)
    assert case
    shot = tmp_path / "capture.png"
    shot.write_bytes(mediakit.picture(mediakit.resized(mediakit.astronaut(), 64, 64), "PNG"))
    page.fill("#f-statement", "캡처를 추가해도 적은 내용은 남습니다. 삭제를 요청합니다.")
    page.locator(".capture input[type=file]").first.set_input_files(shot)
    expect(page.locator(".capture").first).to_contain_text("저장")
    expect(page.locator("#f-statement")).to_have_value(re.compile("적은 내용은 남습니다"))
    expect(page.locator("input[name=occurrences]:checked")).to_have_count(1)
    page.check("input[name=captures][value=blurred]")
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
    page.select_option("#f-request", "deletion")
    page.select_option("#f-reason", "false_video")
    page.get_by_role("button", name="통지 작성").click()
    expect(page.locator("pre.notice")).to_contain_text("허위영상물")
    expect(page.locator("pre.notice")).to_contain_text("흐리게 처리함")
    page.get_by_role("link", name="수정").click()
    expect(page.locator("#f-statement")).to_have_value(re.compile("동의 없이"))
    page.fill("#f-reporter_phone", "02-765-4321")
    for name in ("signature", "signed_on"):  # belong to the notice that was signed
        expect(page.locator(f"#f-{name}")).to_have_value("")
    page.fill("#f-signature", "김신고")
    page.fill("#f-signed_on", "2026-01-03")
    page.get_by_role("button", name="통지 작성").click()
    expect(page.locator("pre.notice")).to_contain_text("02-765-4321")
    package = page.request.get(f"{page.url.partition('?')[0]}/package.zip").body()
    with zipfile.ZipFile(io.BytesIO(package)) as archive:  # with the report that it refers to
        folders = sorted(name.partition("/")[0] for name in archive.namelist())
        assert folders == ["contents.json", "notice.pdf", "notice.txt", "reports", "screenshots"]
        (report,) = (n for n in archive.namelist() if n.startswith("reports/"))
        assert archive.read(report).startswith(b"%PDF")
    page.goto(f"/cases/{case[1]}")  # the notice that it replaces is withdrawn
    states = page.locator("td:nth-child(2)", has_text=re.compile(r"^(초안\(미발송\)|철회됨)$"))
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
    page.get_by_role("button", name="접수 내용 저장").click()
    expect(page.locator("main")).to_contain_text("접수 2026-1")
    page.select_option("#outcome", "temporarily_blocked")
    page.get_by_role("button", name="결과 저장").click()
    expect(page.locator("main")).to_contain_text("임시 차단됨(심의 중)")
    page.context.close()


def test_a_refused_post_is_explained_in_the_language_of_the_page(
    site: Site, browser: Browser, key: str, job: dict[str, Any], tmp_path: Path
) -> None:
    (tmp_path / "capture.png").write_bytes(b"no picture")
    for locale, url, picture, empty, time in (
        (
            "ko-KR",
            "게시물 URL: http:// 또는 https://로 시작하는",
            "WebP 사진을 올리십시오",
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


def paste(page: Page, text: str, into: str = "body") -> None:
    """Paste text, as a browser does when a person presses Ctrl+V in ``into``."""
    page.locator(into).first.evaluate(
        """(element, text) => {
          const clipboardData = new DataTransfer();
          clipboardData.setData("text/plain", text);
          const options = { clipboardData, bubbles: true, cancelable: true };
          element.dispatchEvent(new ClipboardEvent("paste", options));
        }""",
        text,
    )


def drop(page: Page, *paths: Path) -> None:
    """Drop files or folders on the page, as a person does who drags them from a file manager."""
    box = page.locator("#drop").bounding_box()
    assert box
    session = page.context.new_cdp_session(page)
    data = {"items": [], "files": [str(path) for path in paths], "dragOperationsMask": 1}
    for kind in ("dragEnter", "dragOver", "drop"):
        event = {"type": kind, "x": box["x"] + 9, "y": box["y"] + 9, "data": data}
        session.send("Input.dispatchDragEvent", event)


LOWEST_ERROR = """() => document.activeElement.nextElementSibling.getBoundingClientRect().bottom"""
TOP_OF_BAR = """() => document.querySelector(".sendbar").getBoundingClientRect().top"""


def test_a_folder_and_a_table_are_checked_sent_and_found_after_a_reload(
    site: Site, browser: Browser, key: str, tmp_path: Path
) -> None:
    page = signed_in(browser, site, key, timezone_id="Asia/Seoul")
    sent: list[str] = []
    page.on("request", lambda r: sent.append(r.url) if r.url.endswith("/v1/videos") else None)
    folder = tmp_path / "chosen"
    (folder / "sub").mkdir(parents=True)
    for n, name in enumerate(("a.png", "sub/나.png", ".hidden.png")):
        small = mediakit.resized(mediakit.astronaut(), 300 + n, 256)
        (folder / name).write_bytes(mediakit.picture(small, "PNG"))
    (folder / "broken.mp4").write_bytes(b"no video")
    (folder / "empty.mp4").write_bytes(b"")
    table = "file,source_url,note,captured_at\r\n" + "".join(
        f"{line}\r\n"
        for line in (
            'a.png,t.me/1,"말, 말",2026-01-31 오후 9:05',
            "sub/나.png,https://example.org/2,,",
            "sub/나.png,https://example.org/3,,",
            "later.png,https://example.org/4,,",
        )
    )
    (folder / "table.csv").write_bytes(table.encode("cp949"))  # as Excel saves it in Korea
    page.goto("/submit")
    page.set_input_files("#folder", folder)
    names = page.locator("#batch tbody .path bdi")
    expect(names).to_have_text(["a.png", "broken.mp4", "empty.mp4", "sub/나.png", "sub/나.png"])

    def cell(row: int, name: str) -> Any:
        return page.locator("#batch tbody tr").nth(row).locator(f"[name={name}]")

    expect(cell(0, "note")).to_have_value("말, 말")
    expect(cell(0, "captured_at")).to_have_value("2026-01-31 21:05+09:00")
    expect(cell(4, "source_url")).to_have_value("https://example.org/3")
    expect(cell(0, "source_url")).to_have_attribute("aria-invalid", "true")
    expect(page.locator("#batch tbody tr").nth(2)).to_contain_text("비어 있습니다")
    expect(page.locator("#problems")).to_contain_text("later.png")
    page.click("#send")
    expect(page.locator("#problems")).to_be_focused()
    violations = Axe().run(page).response["violations"]
    assert [v["id"] for v in violations if v["impact"] in SERIOUS] == []
    (tmp_path / "later.png").write_bytes(
        mediakit.picture(mediakit.resized(mediakit.astronaut(), 310, 256), "PNG")
    )
    page.set_input_files("#files", tmp_path / "later.png")  # the line was waiting for it
    expect(page.locator("#problems")).to_be_hidden()
    expect(cell(5, "source_url")).to_have_value("https://example.org/4")
    page.set_viewport_size({"width": 1280, "height": 420})
    page.evaluate("scrollTo(0, 0)")
    page.click("#send")
    expect(cell(0, "source_url")).to_be_focused()
    assert page.evaluate(LOWEST_ERROR) < page.evaluate(TOP_OF_BAR)
    page.set_viewport_size({"width": 1280, "height": 720})
    expect(page.locator("#summary")).to_contain_text("2개 행에 오류가 있습니다(1, 3행)")
    assert sent == []
    # Cells from a spreadsheet fill those to the right and below.
    paste(page, "https://t.me/1\t텔레그램\nhttps://t.me/2\t텔레그램\n", "[name=source_url]")
    expect(cell(1, "platform")).to_have_value("텔레그램")
    page.locator("#batch tbody tr").nth(2).locator(".remove").click()
    expect(page.locator("#batch tbody tr").nth(2).locator(".remove")).to_be_focused()
    page.fill("#case_reference", "T-1")
    paste(page, "file\tcase_reference\nlater.png\tT-2\n")
    invalid = {"type": "x:invalid_request", "errors": [{"field": "note", "detail": "not this"}]}
    answers: list[dict[str, Any]] = [
        {"status": 429, "headers": {"Retry-After": "1"}, "json": {}},
        {"status": 422, "json": invalid},
    ]

    def answer(route: Route) -> None:
        if answers:
            route.fulfill(**answers.pop())
        else:
            route.abort()

    page.route("**/v1/videos", answer, times=3)
    page.click("#send")
    failed = page.locator("#batch tbody tr[data-state=failed]")
    expect(failed).to_have_count(2)
    expect(page.locator("#batch tbody tr")).to_have_count(2)  # the one that had to wait was sent
    refused = failed.filter(has=page.locator("[name=note][aria-invalid=true]"))
    expect(refused).to_contain_text("not this")
    refused.locator(".again").click()
    expect(failed).to_have_count(1)
    expect(failed).to_contain_text("연결이 끊겼습니다")
    full = {"type": "x:too_much_stored"}
    answers.append({"status": 429, "headers": {"Retry-After": "60"}, "json": full})
    page.route("**/v1/videos", answer, times=1)
    failed.locator(".again").click()
    expect(failed).to_contain_text("이 계정의 사건을 삭제하십시오")  # it does not wait for that
    asked: list[str] = []
    page.once("dialog", lambda dialog: (asked.append(dialog.type), dialog.dismiss()))
    page.evaluate("location.assign('/help')")
    expect(failed).to_be_visible()
    assert asked == ["beforeunload"]
    failed.locator(".again").click()
    rows = page.locator("#uploads li")
    ended = page.locator("#uploads li:not([data-waits])")
    expect(ended).to_have_count(4, timeout=120_000)  # the two posts of one file are one item
    page.reload()
    expect(ended).to_have_count(4)
    expect(rows.filter(has_text="나.png")).to_contain_text("게시물 2건")
    expect(rows.filter(has_text="later.png")).to_contain_text("T-2")
    expect(rows.filter(has_text="broken.mp4")).to_contain_text("읽을 수 없는 파일")
    expect(rows.filter(has_text="a.png").locator(".verdict")).not_to_be_empty()
    stored = page.evaluate("JSON.stringify([{...sessionStorage}, {...localStorage}])")
    assert not re.search(r"png|mp4|T-1|example", stored)

    # A file that was sent before is not deleted from here; one that waits is, after a question.
    (tmp_path / "waiting").mkdir()
    for n in range(5):
        (tmp_path / "waiting" / f"{n}.mp4").write_bytes(clip(20 + n))
    drop(page, tmp_path / "waiting", folder / "a.png")
    expect(names).to_have_text([*(f"{n}.mp4" for n in range(5)), "a.png"])
    page.fill("#case_reference", "T-1")
    page.click("#send")
    expect(rows).to_have_count(9, timeout=60_000)
    expect(rows.filter(has_text="a.png").locator(".cancel")).to_have_count(0)
    waiting = rows.filter(has=page.locator(".cancel")).last
    job_id = (waiting.get_attribute("id") or "").removeprefix("job-")
    row = page.locator(f"#job-{job_id}")
    row.locator(".cancel").click()
    expect(page.locator("#cancelling")).to_contain_text("사건은 남습니다")
    page.get_by_role("button", name="계속 검사").click()
    expect(row.locator(".cancel")).to_be_focused()
    page.keyboard.press("Enter")
    page.get_by_role("button", name="취소하고 삭제").click()
    expect(row).to_have_attribute("data-state", "cancelled")
    with site.client_of(key) as client:
        assert client.get(f"/v1/jobs/{job_id}").status_code == 404
    page.context.close()


READ_TABLES = """async (texts) => {
  const { readTable } = await import("/static/delimited.js");
  return texts.map((text) => {
    try { return readTable(text, () => false).lines; } catch (error) { return error.kind; }
  });
}"""
TIMES = """async (texts) => {
  const { completeTime } = await import("/static/delimited.js");
  return texts.map(completeTime);
}"""
DECODE = """async (tables) => {
  const { decode, split } = await import("/static/delimited.js");
  return tables.map((bytes) => {
    try { return split(decode(new Uint8Array(bytes))); } catch (error) { return error.kind; }
  });
}"""


def read_by_command(table: str, folder: Path) -> list[dict[str, str]] | None:
    """Return the lines that ``deepfake submit --manifest`` reads; ``None`` if it refuses them."""
    manifest = folder / "m.csv"
    manifest.write_bytes(table.encode())
    with contextlib.suppress(InvalidManifest):
        rows = read_manifest(manifest, folder, {})
        return [{"file": row.name, **row.fields} for row in rows]
    return None


def test_the_page_reads_the_tables_that_the_command_line_reads(
    site: Site, browser: Browser, tmp_path: Path
) -> None:
    cells = ["a,b", 'say "no"', "c;d", "", " 가 ", "'", '"']
    tables = []
    for separator, ending in (*zip(",;\t", ("\n", "\r\n", "\n"), strict=True), (",", "\r\n")):
        out = io.StringIO()
        writer = csv.writer(out, delimiter=separator, lineterminator=ending)
        writer.writerows([["file", "note", "account"], ["a.mp4", "", ""], []])
        pairs = [[note, other] for note in cells for other in cells if note or other]
        writer.writerows(["a.mp4", *pair] for pair in pairs)
        tables.append("\ufeff" + out.getvalue())
    tables += ["", "file\n", "file,color\na.mp4,x\n", "file,note,note\n", "file,note\na.mp4,1,2\n",
               'file,note\na.mp4,"x\n', 'file,note\na.mp4,"x"y\n']  # fmt: skip
    (tmp_path / "a.mp4").write_bytes(b"x")
    page = browser.new_page(base_url=site.url, timezone_id="Asia/Seoul")
    page.goto("/sign-in")
    for table, lines in zip(tables, page.evaluate(READ_TABLES, tables), strict=True):
        expected = read_by_command(table, tmp_path)
        assert (expected is None) == isinstance(lines, str), (table, lines)
        if expected is not None:
            assert [{n: v for n, v in line["cells"].items() if v} for line in lines] == expected
            assert [line["line"] for line in lines][:2] == [2, 4]  # the third one is empty

    text = "파일,뙜"  # the second word is in CP949 only, not in KS X 1001
    encoded = [text.encode(name) for name in ("utf-8-sig", "utf-8", "cp949", "utf-16")]
    read = page.evaluate(DECODE, [list(data) for data in [*encoded, b"\xff\xff\x80"]])
    assert read == [[{"line": 1, "cells": ["파일", "뙜"]}]] * 4 + ["encoding"]
    assert page.evaluate(
        TIMES,
        ["2026-01-31 21:00", "2026. 1. 31. 오후 9:05:07", "2026/1/31 12:30 AM", "2026-01-31",
         "2026-01-31T21:00Z", "yesterday"],
    ) == [
        "2026-01-31 21:00+09:00", "2026-01-31 21:05:07+09:00", "2026-01-31 00:30+09:00",
        "2026-01-31", "2026-01-31T21:00Z", "yesterday",
    ]  # fmt: skip
    page.close()


def test_items_are_reviewed_by_keyboard_from_the_queue(
    site: Site, browser: Browser, key: str
) -> None:
    with site.client_of(key) as client:
        for n in range(2):
            small = mediakit.resized(mediakit.grace_hopper(), 300 + n, 300)
            answer = client.post(
                "/v1/videos",
                files={"file": (f"keyboard-{n}.png", mediakit.picture(small, "PNG"))},
                data={"case_reference": "K-1", "platform": "example.org"},
            )
            site.wait(answer.json()["id"])
    page = signed_in(browser, site, key)
    page.keyboard.press("/")
    page.keyboard.type("BOARD-")  # part of a name, in another case of letters
    page.keyboard.press("Enter")
    rows = page.locator(".queue tbody tr")
    expect(rows).to_have_count(2)
    assert "blur" in rows.first.locator("img").evaluate("e => getComputedStyle(e).filter")
    page.keyboard.press("Escape")
    page.locator("h1").click()
    # The letter under j, while Korean is typed.
    page.locator("body").dispatch_event("keydown", {"key": "ㅓ", "code": "KeyJ", "bubbles": True})
    name = page.evaluate("document.activeElement.textContent")
    page.keyboard.press("Enter")
    expect(page.locator("p.file")).to_have_text(name)
    expect(page.locator(".still rect").first).to_be_attached()
    page.wait_for_load_state()
    page.keyboard.press("j")
    expect(page.locator("p.file")).not_to_have_text(name)
    page.wait_for_load_state()
    page.keyboard.press("r")
    page.keyboard.type("원본과 같음")
    page.keyboard.press("Control+Enter")
    expect(page.locator("#sure")).to_contain_text("원본과 같음")
    box = page.locator("#sure").bounding_box()
    assert box
    assert abs(box["y"] + box["height"] / 2 - 360) < 2  # in the middle of the window
    page.keyboard.press("Enter")
    page.wait_for_url("**/items/*#review")
    expect(page.locator("section:has(> #review)")).to_contain_text("원본과 같음")
    page.keyboard.press("q")
    page.wait_for_url(f"{site.url}/")
    page.goto("/?q=keyboard-")
    for _ in range(2):
        page.keyboard.press("j")
        page.keyboard.press("x")
    page.keyboard.press("b")
    page.wait_for_url("**/reviews?*")
    page.keyboard.press("u")
    page.keyboard.type("원본을 기다림")
    page.keyboard.press("Control+Enter")  # goes to the box to tick
    page.keyboard.press("Space")
    page.keyboard.press("Enter")
    expect(page.locator("[role=status] li")).to_have_count(2)
    page.goto("/?tab=done")
    expect(page.locator(".queue")).to_contain_text("keyboard-")
    page.context.close()


def paths(job: dict[str, Any]) -> list[str]:
    return [
        "/", "/submit", f"/items/{job['id']}", f"/cases/{job['case_id']}",
        f"/cases/{job['case_id']}/notices/us-take-it-down", "/overdue", "/help", "/admin",
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
        "API", "AUC", "CLIP", "CSV", "DOWN", "DSA", "DU", "EU", "HTTP", "ID", "IT", "JPEG", "KiB",
        "MTCNN", "MiB", "GiB", "ONNX", "PDF", "PNG", "Act", "TAKE", "URL", "US", "UTC", "VIDEO",
        "WebP", "XMP", "ZIP", "px", "SHA", "GMT", "age", "deepfake", "submit", "DMCA", "PA",
        "PDQ", "bicubic", "log", "json", "hashes", "onnxruntime", "numpy", "pillow", "python",
        "av", "machine", "service",
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


SHORTEN_TABLES = """() => {
  const alike = document.querySelectorAll(".scroll tbody tr:nth-child(n+6)");
  const cells = [...alike].flatMap((row) => [...row.cells]);
  for (const row of alike) row.remove();
  return cells.length;
}"""
"""Remove the rows of text and numbers after the fifth of each table, for an audit of six thousand
elements takes ten seconds."""
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
        if path == "/admin/model-card" and language == "ko-KR":  # the English one is audited whole
            assert page.evaluate(SHORTEN_TABLES) > 1000
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


def test_a_review_needs_no_mouse(
    site: Site, browser: Browser, key: str, job: dict[str, Any]
) -> None:
    page = signed_in(browser, site, key)
    page.goto(f"/items/{job['id']}")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    seen = set()
    for _ in range(60):
        page.keyboard.press("Tab")
        name = page.evaluate(
            "(e => e.id || e.name || e.getAttribute('href') || e.textContent.trim())"
            "(document.activeElement)"
        )
        seen.add(name)
        if name == "unveil":
            page.keyboard.press("Space")
        if name == "decision":
            page.keyboard.press("Space")
        if name == "reason":
            page.keyboard.type("by keyboard")
            page.keyboard.press("Tab")
            page.keyboard.press("Enter")
            break
    assert {"unveil", "grey", "heat", "decision", "reason"} <= seen
    expect(page.locator("section:has(> #review)")).to_contain_text("by keyboard")
    page.context.close()


def test_what_pages_send_to_the_browser(site: Site, job: dict[str, Any]) -> None:
    with site.browser() as client:
        assert client.get("/").headers["location"].startswith("/sign-in?next=/")
        wrong = client.post("/sign-in", data={"key": "dfk_wrong"})
        assert wrong.status_code == 401
        away = client.post("/sign-in", data={"key": ADMIN_KEY, "next": "//evil.example/"})
        assert away.headers["location"] == "/"
        cookie = away.headers["set-cookie"].lower()
        assert "httponly" in cookie
        assert "samesite=strict" in cookie
        item = client.get(f"/items/{job['id']}")
        assert "default-src 'none'" in item.headers["content-security-policy"]
        assert "unsafe" not in item.headers["content-security-policy"]
        assert item.headers["cache-control"] == "no-store"
        loaded = [item.content] + [
            client.get(path).content
            for path in re.findall(r'(?:href|src)="(/static/[^"]+)"', item.text)
        ]
        assert sum(map(len, loaded)) < 200_000
        assert "<script>document" not in item.text
        assert "http" not in re.sub(r"https?://(example\.org|www\.w3\.org)", "", item.text)

        review = {"decision": "rejected", "reason": "x"}
        for path in (f"/items/{job['id']}/review", f"/cases/{job['case_id']}/minor", "/sign-out"):
            assert client.post(path, data=review).status_code == 403, path
        path = f"/v1/jobs/{job['id']}/reviews"
        assert client.post(path, json=review).status_code == 403
        token = re.search(r'name="csrf" content="(\w+)"', item.text)
        assert token
        with_token = {"X-CSRF-Token": token[1]}
        cross = {**with_token, "Sec-Fetch-Site": "cross-site"}
        assert client.post(path, json=review, headers=cross).status_code == 403
        undecided = {"decision": "undecided", "reason": "x"}
        assert client.post(path, json=undecided, headers=with_token).status_code == 201
        table = client.get("/results.csv?days=1").text
        assert table.splitlines()[0].startswith("\ufeffjob,case,case_reference,state,verdict")
        assert job["id"] in table
        assert job["id"] not in client.get("/results.csv?finding=rejected").text
        assert client.get("/", params={"reference": EVIL}).text.count('href="/items/') == 1
        assert client.get("/", params={"reference": "nothing"}).text.count("/items/") == 0
        assert client.get("/?cursor=x").status_code == 422

        media = f"/v1/cases/{job['case_id']}/media/{job['media_id']}/content"
        part = client.get(media, headers={"Range": "bytes=10-19"})
        assert (part.status_code, len(part.content)) == (206, 10)
        assert part.headers["content-range"] == f"bytes 10-19/{job['size']}"
        assert part.content == client.get(media).content[10:20]
        assert client.get(media, headers={"Range": "bytes=999999999-"}).status_code == 416
        out = client.post("/sign-out", data={"csrf": token[1]})
        assert out.status_code == 303
        client.cookies.set("session", "x" * 43)
        assert client.get(f"/v1/jobs/{job['id']}").status_code == 401


def test_a_refused_form_keeps_its_content(site: Site) -> None:
    job = site.wait(site.submit(clip(6, SHORT))["id"])
    with site.browser() as client:
        client.post("/sign-in", data={"key": ADMIN_KEY})
        page = client.get(f"/items/{job['id']}").text
        token = re.search(r'name="csrf" content="(\w+)"', page)
        assert token
        lines = "\r\n".join(["줄"] * 1900)
        form = {"csrf": token[1], "decision": "confirmed", "reason": lines}
        incomplete = client.post(f"/items/{job['id']}/review", data={**form, "decision": ""})
        assert (incomplete.status_code, "줄\n줄" in incomplete.text) == (422, True)
        assert client.post(f"/items/{job['id']}/review", data=form).status_code == 303
        undecided = {**form, "decision": "undecided"}
        client.post(f"/items/{job['id']}/review", data=undecided)
        words = "동의 없이 얼굴이 합성된 영상입니다. " * 100
        notice = {"csrf": token[1], "asked": "yes", "explanation": words, "notifier_name": "김",
                  "notifier_email": "a@example.org", "good_faith": "yes", "language": "ko",
                  }  # fmt: skip
        with site.client as api:
            seen = {"source_url": (None, "https://example.org/6")}
            path = f"/v1/cases/{job['case_id']}/occurrences"
            notice["occurrences"] = api.post(path, files=seen).json()["id"]
        path = f"/cases/{job['case_id']}/notices/eu-dsa-16"
        refused = client.post(path, data=notice)
        assert (refused.status_code, words.strip() in refused.text) == (409, True)
        flood = "&".join(f"f{n}=x" for n in range(20_000))
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        assert client.post("/sign-in", content=flood, headers=headers).status_code == 413


def test_the_same_bytes_show_the_same_person(site: Site, key: str) -> None:
    other = site.create_key("another analyst", "analyst")
    video = clip(7, SHORT)
    first = site.wait(site.submit(video)["id"])
    with site.client_of(key) as ann:
        assert ann.put(f"/v1/cases/{first['case_id']}/minor").status_code == 204
    with site.client_of(other) as bob:
        again = bob.post("/v1/videos", files={"file": ("v", video)}).json()
        site.wait(again["id"])
        assert bob.get(f"/v1/jobs/{again['id']}/faces/1.png").status_code == 403
        content = f"/v1/cases/{again['case_id']}/media/{again['media_id']}/content"
        assert bob.get(content).status_code == 403
        assert bob.delete(f"/v1/cases/{again['case_id']}/minor").status_code == 403
        assert bob.get(f"/v1/jobs/{first['id']}").status_code == 404


def test_each_role_sees_its_pages(site: Site, key: str, job: dict[str, Any]) -> None:
    auditor = site.create_key("auditor", "auditor")
    for who, path, status in (
        (key, "/admin", 403), (key, "/audit", 403), (auditor, f"/items/{job['id']}", 403),
        (auditor, "/audit", 200), (ADMIN_KEY, "/admin", 200),
    ):  # fmt: skip
        with site.browser() as client:
            client.post("/sign-in", data={"key": who})
            assert client.get(path).status_code == status, path


def test_accounts_and_keys_are_created_and_revoked(site: Site) -> None:
    with site.browser() as client:
        client.post("/sign-in", data={"key": ADMIN_KEY})
        page = client.get("/admin").text
        token = re.search(r'name="csrf" content="(\w+)"', page)
        assert token
        form = {"csrf": token[1], "name": "new", "role": "pipeline", "kind": "system"}
        page = client.post("/admin/accounts", data=form).text
        link = re.search(r"/invitation/[\w-]{43}", page)
        assert link
        with site.browser() as invited:
            assert "dfk_" not in invited.get(link[0]).text
            created = invited.post(link[0]).text
        new = re.search(r"dfk_[0-9a-f]{12}_[\w-]{43}", created)
        assert new
        headers = {"Authorization": f"Bearer {new[0]}"}
        assert httpx.get(f"{site.url}/v1/jobs", headers=headers).status_code == 200
        revoke = {"csrf": token[1], "revoke": new[0].split("_")[1], "sure": "yes"}
        assert client.post("/admin/keys", data=revoke).status_code == 200
        assert httpx.get(f"{site.url}/v1/jobs", headers=headers).status_code == 401
        assert client.post("/admin/accounts", data={**form, "role": "king"}).status_code == 422


def test_the_page_about_the_api_runs_under_its_policy(site: Site, browser: Browser) -> None:
    page = browser.new_page()
    complaints: list[str] = []
    loaded: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("request", lambda request: loaded.append(request.url))
    page.goto(f"{site.url}/docs")
    page.locator("#operations-videos-submit_video").click()
    page.get_by_role("button", name="Try it out").click()
    expect(page.get_by_role("button", name="Execute")).to_be_visible()
    assert complaints == []
    own = (f"{site.url}/", "data:")
    assert [url for url in loaded if not url.startswith(own)] == []
    page.close()
