"""Folders and tables on the page that submits, read as the command line reads them."""

from __future__ import annotations

import csv
import hashlib
import io
import re
from pathlib import Path
from typing import Any

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, Route, expect

from tests.support import footage
from tests.support.console import NEEDS_CHROMIUM, SERIOUS, choose_early, signed_in
from tests.support.footage import clip
from tests.support.servers import WAIT_S, Site

pytestmark = NEEDS_CHROMIUM


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


def test_a_file_that_is_chosen_while_the_page_still_loads_is_taken(
    site: Site, browser: Browser, key: str, tmp_path: Path
) -> None:
    picture = tmp_path / "early.png"
    picture.write_bytes(footage.picture(footage.astronaut(), "PNG"))
    page = signed_in(browser, site, key)
    choose_early(page, "/submit", "submit.js", "#files", picture)
    expect(page.locator("#batch tbody tr")).to_have_count(1)
    expect(page.locator("#case_reference")).to_be_visible()


def test_a_table_of_links_that_is_chosen_while_the_page_still_loads_is_read(
    site: Site, browser: Browser, key: str, tmp_path: Path
) -> None:
    table = tmp_path / "links.csv"
    table.write_text("https://example.org/1\n", encoding="utf-8")
    page = signed_in(browser, site, key)
    choose_early(page, "/submit", "case.js", "#links-file", table)
    expect(page.locator("#links")).to_have_value("https://example.org/1\n")


def test_a_folder_and_a_table_are_checked_sent_and_found_after_a_reload(
    site: Site, browser: Browser, key: str, tmp_path: Path
) -> None:
    page = signed_in(browser, site, key, timezone_id="Asia/Seoul")
    sent: list[str] = []
    page.on("request", lambda r: sent.append(r.url) if r.url.endswith("/v1/videos") else None)
    folder = tmp_path / "chosen"
    (folder / "sub").mkdir(parents=True)
    for n, name in enumerate(("a.png", "sub/나.png", ".hidden.png")):
        small = footage.resized(footage.astronaut(), 300 + n, 256)
        (folder / name).write_bytes(footage.picture(small, "PNG"))
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
        footage.picture(footage.resized(footage.astronaut(), 310, 256), "PNG")
    )
    page.set_input_files("#files", tmp_path / "later.png")  # the line was waiting for it
    expect(page.locator("#problems")).to_be_hidden()
    expect(cell(5, "source_url")).to_have_value("https://example.org/4")
    page.set_viewport_size({"width": 1280, "height": 420})
    page.evaluate("scrollTo(0, 0)")
    page.route("**/v1/videos", lambda route: route.abort())
    page.click("#send")
    expect(cell(0, "source_url")).to_be_focused()
    assert page.evaluate(LOWEST_ERROR) < page.evaluate(TOP_OF_BAR)
    page.set_viewport_size({"width": 1280, "height": 720})
    expect(page.locator("#summary")).to_contain_text("2개 행에 오류가 있습니다(1, 3행)")
    # The others were sent, and the connection failed.
    expect(page.locator("#batch tbody tr[data-state=failed]")).to_have_count(4)
    assert len(sent) == 4
    page.unroute("**/v1/videos")
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
    full = {"type": "x:disk_full", "detail": "No space."}  # the service translates it
    answers.append({"status": 503, "headers": {"Retry-After": "60"}, "json": full})
    page.route("**/v1/videos", answer, times=1)
    failed.locator(".again").click()
    expect(failed).to_contain_text("No space.")  # it does not wait for that
    asked: list[str] = []
    page.once("dialog", lambda dialog: (asked.append(dialog.type), dialog.dismiss()))
    page.evaluate("location.assign('/help')")
    expect(failed).to_be_visible()
    assert asked == ["beforeunload"]
    failed.locator(".again").click()
    rows = page.locator("#uploads li")
    ended = page.locator("#uploads li:not([data-waits])")
    expect(ended).to_have_count(4)  # the two posts of one file are one item
    page.reload()
    expect(ended).to_have_count(4)
    expect(rows.filter(has_text="나.png")).to_contain_text("게시물 2건")
    expect(rows.filter(has_text="later.png")).to_contain_text("T-2")
    expect(rows.filter(has_text="broken.mp4")).to_contain_text("읽을 수 없는 파일")
    expect(rows.filter(has_text="a.png").locator(".verdict")).not_to_be_empty()
    stored = page.evaluate("JSON.stringify([{...sessionStorage}, {...localStorage}])")
    assert not re.search(r"[.](png|mp4)|T-1|example", stored)

    # A file that was sent before is not deleted from here; one that waits is, after a question.
    (tmp_path / "waiting").mkdir()
    for n in range(5):
        (tmp_path / "waiting" / f"{n}.mp4").write_bytes(clip(20 + n))
    site.hold()
    drop(page, tmp_path / "waiting", folder / "a.png")
    expect(names).to_have_text([*(f"{n}.mp4" for n in range(5)), "a.png"])
    page.fill("#case_reference", "T-1")
    page.click("#send")
    expect(rows).to_have_count(9)
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
    site.release()
    page.context.close()


def test_nothing_of_one_case_is_carried_into_the_next(
    site: Site, browser: Browser, key: str, tmp_path: Path
) -> None:
    page = signed_in(browser, site, key, timezone_id="Asia/Seoul")
    first, second, shot = tmp_path / "first.png", tmp_path / "second.png", tmp_path / "shot.png"
    for n, path in enumerate((first, second, shot)):
        small = footage.resized(footage.astronaut(), 320 + n, 256)
        path.write_bytes(footage.picture(small, "PNG"))
    (tmp_path / "empty.mp4").write_bytes(b"")
    page.goto("/submit")
    page.set_input_files("#files", [first, tmp_path / "empty.mp4"])
    given = {
        "case_reference": "A-1", "source_url": "https://example.org/A", "platform": "X",
        "account": "@a", "note": "about A", "captured_at": "2026-01-31 21:00",
    }  # fmt: skip
    for name, value in given.items():
        page.fill(f"#{name}", value)
    rows = page.locator("#batch tbody tr")
    rows.filter(has_text="first.png").locator("[name=screenshot]").set_input_files(shot)
    page.keyboard.press("Control+Enter")  # while the time is being edited
    expect(page.locator("#uploads li")).to_have_count(1)
    expect(rows).to_have_count(1)  # the empty file, which held up no other
    expect(rows.locator("[name=case_reference]")).to_have_value("A-1")
    page.set_input_files("#files", second)
    for name in given:
        expect(page.locator(f"#{name}")).to_have_value("")
        added = rows.filter(has_text="second.png").locator(f"[name={name}]")
        expect(added).to_have_value("")
        expect(added).to_have_attribute("placeholder", "")
    with site.client_of(key) as client:
        cases = client.get("/v1/cases", params={"case_reference": "A-1"}).json()["cases"]
        (seen,) = client.get(f"/v1/cases/{cases[0]['id']}/occurrences").json()["occurrences"]
    assert (seen["captured_at"], seen["note"]) == ("2026-01-31T12:00:00+00:00", "about A")
    assert (seen["screenshot"], seen["tool"]) == (True, "console")
    page.evaluate("document.querySelectorAll('#batch .remove').forEach((b) => b.click())")
    page.context.close()


PART = 2**20


def test_a_large_file_goes_on_after_a_broken_connection_and_a_reloaded_page(
    site: Site, browser: Browser, key: str, tmp_path: Path
) -> None:
    video = tmp_path / "secret-name.mp4"
    video.write_bytes(clip(11, 12, bytes(4 * PART)))
    size = video.stat().st_size
    page = signed_in(browser, site, key)
    offsets: list[int] = []

    def cut(route: Route) -> None:
        """Pass on what a connection that breaks would have, and break it."""
        offsets.append(int(route.request.headers["upload-offset"]))
        if len(offsets) < 3:
            part = video.read_bytes()[offsets[-1] : offsets[-1] + PART]
            headers = {
                n: v for n, v in route.request.all_headers().items() if n != "content-length"
            }
            page.request.fetch(route.request.url, method="PATCH", headers=headers, data=part)
            route.abort("connectionreset")
        elif len(offsets) == 3:
            pass  # it hangs, until the page is reloaded
        else:
            route.continue_()

    def lower_limit(route: Route) -> None:
        """Let files of this size be sent in parts, for which they would have to be large."""
        script = route.fetch().text()
        route.fulfill(
            body=script.replace("= 32 * 2 ** 20", f"= {PART}"), content_type="text/javascript"
        )

    page.route("**/static/resumed.js", lower_limit)
    page.route(
        "**/v1/uploads/*", lambda r: cut(r) if r.request.method == "PATCH" else r.continue_()
    )
    page.goto("/submit")
    page.set_input_files("#files", video)
    page.fill("#case_reference", "R-large")
    page.click("#send")
    expect(page.locator("#batch tbody tr")).to_have_count(1)
    for _ in range(int(10 * WAIT_S)):
        if len(offsets) == 3:
            break
        page.wait_for_timeout(100)
    assert offsets == [0, PART, 2 * PART]
    stored = page.evaluate("JSON.stringify(localStorage)")
    assert "/v1/uploads/" in stored
    assert "secret" not in stored
    assert "R-large" not in stored
    page.goto("/submit")
    page.set_input_files("#files", video)
    page.fill("#case_reference", "R-large")
    page.click("#send")
    expect(page.locator("#uploads li")).to_have_count(1)
    assert offsets == [0, PART, 2 * PART, 2 * PART]
    assert "/v1/uploads/" not in page.evaluate("JSON.stringify(localStorage)")
    with site.client_of(key) as client:
        (job,) = client.get("/v1/jobs", params={"case_reference": "R-large"}).json()["jobs"]
    assert job["size"] == size
    assert job["sha256"] == hashlib.sha256(video.read_bytes()).hexdigest()
    # The answer is lost, and then another case gets the file, not the job of the first one.
    queued: list[int] = []
    page.route("**/v1/uploads/*/job", lambda route: queued.append(route.fetch().status))
    for reference in ("R-lost", "R-other"):
        page.goto("/submit")
        page.set_input_files("#files", video)
        page.fill("#case_reference", reference)
        page.click("#send")
        with site.client_of(key) as client:
            for _ in range(int(10 * WAIT_S)):
                page.wait_for_timeout(100)
                listed = client.get("/v1/jobs", params={"case_reference": reference}).json()
                if listed["jobs"]:
                    break
        assert [each["sha256"] for each in listed["jobs"]] == [job["sha256"]], reference
        page.unroute("**/v1/uploads/*/job")
    assert queued == [202]
    page.context.close()


def test_a_text_among_the_files_is_not_taken_for_a_table(
    site: Site, browser: Browser, key: str, tmp_path: Path
) -> None:
    page = signed_in(browser, site, key)
    (tmp_path / "a.png").write_bytes(footage.picture(footage.astronaut(), "PNG"))
    (tmp_path / "statement.txt").write_text("It appeared last night.\n")
    page.goto("/submit")
    page.set_input_files("#files", [tmp_path / "a.png", tmp_path / "statement.txt"])
    problems = page.locator("#problems li")
    expect(problems).to_have_text(
        re.compile(r"^statement\.txt: 첫 줄에 .*하나도 쓰지 않았습니다\.$")
    )
    reference = page.locator("#batch tbody [name=case_reference]")
    expect(reference).to_have_value("")
    # Nor is a part of a table used if a column is not known.
    page.click("#discard")
    paste(page, "file\tcase_reference\tcolour\na.png\tT-0\tx\n")
    expect(problems).to_have_text(re.compile(r"“colour”.*하나도 쓰지 않았습니다\.$"))
    expect(reference).to_have_value("")
    page.click("#discard")
    # Without a header, names of files show that a text is a table.
    (tmp_path / "table.csv").write_text("a.png,T-1\n")
    page.set_input_files("#files", tmp_path / "table.csv")
    expect(reference).to_have_value("T-1")
    expect(page.locator("#problems")).to_be_hidden()
    page.evaluate("document.querySelector('#batch .remove').click()")  # nothing is left unsent
    page.context.close()


def test_a_table_is_read_by_the_headings_that_the_page_shows(
    site: Site, browser: Browser, key: str, tmp_path: Path
) -> None:
    page = signed_in(browser, site, key, timezone_id="Asia/Seoul")
    for n, name in enumerate(("a.png", "b.png")):
        small = footage.resized(footage.astronaut(), 330 + n, 256)
        (tmp_path / name).write_bytes(footage.picture(small, "PNG"))
    (tmp_path / "statement.docx").write_bytes(b"PK")
    page.goto("/submit")
    page.set_input_files(
        "#files", [tmp_path / name for name in ("a.png", "b.png", "statement.docx")]
    )
    rows, problems = page.locator("#batch tbody tr"), page.locator("#problems")
    expect(rows.nth(2)).to_contain_text("사진이나 영상이 아닙니다.")
    expect(page.locator("#summary")).to_contain_text("사건번호 없음 3개: 파일마다 새 사건")

    def filled(row: int) -> dict[str, str]:
        names = ("case_reference", "source_url", "platform", "account", "note", "captured_at")
        return {n: v for n in names if (v := rows.nth(row).locator(f"[name={n}]").input_value())}

    # In another order, in words of the headings, and with the zone that the page adds.
    heads = "비고\t계정\t파일\t캡처 일시 (KST)\tURL\t사건 번호\t플랫폼"
    cells = "상담 26번\t@ㄱ\tb.png\t2026-01-31 21:00\thttps://x.example/1\tK-1\tX"
    paste(page, f"{heads}\n{cells}\n")
    whole = {
        "case_reference": "K-1", "source_url": "https://x.example/1", "platform": "X",
        "account": "@ㄱ", "note": "상담 26번", "captured_at": "2026-01-31 21:00+09:00",
    }  # fmt: skip
    assert (filled(0), filled(1)) == ({}, whole)
    expect(rows.nth(1).locator("[name=account]")).to_be_editable()
    paste(page, "Posted by (account)\tCase reference\tFile\n@a\tK-2\ta.png\n", "#paste")
    assert filled(0) == {"account": "@a", "case_reference": "K-2"}
    # Nothing is filled by position before somebody says what the first line is.
    question, unclear = page.locator("#heading"), "메모\t일련번호\n상담 1번\t1\n상담 2번\t2\n"
    for answer in ("Escape", "예", "아니요"):
        paste(page, unclear)
        expect(question).to_contain_text("첫 줄이 열 이름입니까?")
        expect(question).to_contain_text("메모 · 일련번호")
        assert (filled(0)["case_reference"], filled(1)) == ("K-2", whole)
        if answer == "Escape":
            page.keyboard.press(answer)
            expect(problems).to_be_hidden()
            continue
        question.get_by_role("button", name=answer).click()
        if answer == "예":
            expect(problems.locator("li")).to_have_text(re.compile("“메모”"))
            page.keyboard.press("Control+Enter")
            expect(page.locator("#summary")).to_contain_text("아무것도 전송하지 않았습니다.")
            page.click("#discard")
    expect(rows.nth(1).locator("[name=case_reference]")).to_have_value("상담 1번")
    # Cells that were put into the column beside theirs are told by a time among the remarks.
    paste(page, "file\tnote\na.png\t2026-01-31 21:00\n")
    expect(problems.locator("li")).to_contain_text("1개 행의 비고가 일시입니다(1행).")
    page.click("#discard")
    paste(page, "파일\t사건번호\n파일\tx\n")
    expect(problems.locator("li")).to_have_text(
        "2번째 줄: 이름이 ‘파일’인 파일이 없거나 둘 이상입니다."
    )
    page.click("#discard")
    rows.nth(0).locator("[name=screenshot]").set_input_files(tmp_path / "b.png")
    expect(rows.nth(0).locator("[name=screenshot] + span")).to_have_text("b.png")
    violations = Axe().run(page).response["violations"]
    assert [v["id"] for v in violations if v["impact"] in SERIOUS] == []
    page.evaluate("document.querySelectorAll('#batch .remove').forEach((b) => b.click())")
    page.context.close()


READ_TABLES = """async (texts) => {
  const { namesOf, readTable } = await import("/static/delimited.js");
  return texts.map((text) => {
    try { return readTable(text, namesOf([]), () => false).lines; }
    catch (error) { return error.kind; }
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


def test_the_page_reads_tables_as_spreadsheets_write_them(site: Site, browser: Browser) -> None:
    cells = ["a,b", 'say "no"', "c;d", "", " 가 ", "'", '"']
    pairs = [[note, other] for note in cells for other in cells if note or other]
    tables = []
    for separator, ending in (*zip(",;\t", ("\n", "\r\n", "\n"), strict=True), (",", "\r\n")):
        out = io.StringIO()
        writer = csv.writer(out, delimiter=separator, lineterminator=ending)
        writer.writerows([["file", "note", "account"], ["a.mp4", "", ""], []])
        writer.writerows(["a.mp4", *pair] for pair in pairs)
        tables.append("\ufeff" + out.getvalue())
    wrong = ["", "file\n", "file,color\na.mp4,x\n", "file,note,note\n", "file,note\na.mp4,1,2\n",
             'file,note\na.mp4,"x\n', 'file,note\na.mp4,"x"y\n']  # fmt: skip
    page = browser.new_page(base_url=site.url, timezone_id="Asia/Seoul")
    page.goto("/sign-in")
    for lines in page.evaluate(READ_TABLES, tables):
        read = [[line["cells"].get(n) or "" for n in ("note", "account")] for line in lines]
        assert read == [["", ""], *([cell.strip() for cell in pair] for pair in pairs)]
        assert [line["line"] for line in lines][:2] == [2, 4]  # the third one is empty
    for table, lines in zip(wrong, page.evaluate(READ_TABLES, wrong), strict=True):
        assert isinstance(lines, str), (table, lines)

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
