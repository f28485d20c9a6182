"""How much a person has to do, from a file to a sent notice under Article 22-5."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from tests.support import footage
from tests.support.console import NEEDS_CHROMIUM, TIMEOUT_MS
from tests.support.servers import Site

pytestmark = NEEDS_CHROMIUM

CENTRE = {
    "name_ko": "서울지원센터", "name_en": "Seoul Centre", "phone": "02-815-0382",
    "email": "help@example.org", "address": "서울 중구 1", "address_en": "1 Jung-gu, Seoul",
    "statements": {"kr-tba-22-5.statement": "동의 없이 얼굴을 합성한 허위영상물입니다."},
}  # fmt: skip
MOST_ACTIONS = 18
SETTINGS = {"DEEPFAKE_SUBMITTER_CONFIRMS": "if_alone"}  # as an installation has it


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with Site(tmp_path_factory.mktemp("centre"), SETTINGS) as running:
        running.serve()
        yield running


@dataclass
class Hand:
    """Does what a person does on a page, and counts it."""

    page: Page
    actions: list[str] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)

    def click(self, place: Locator, what: str) -> None:
        place.click()
        self.actions.append(what)

    def choose(self, place: Locator, path: Path, what: str) -> None:
        place.set_input_files(path)
        self.actions.append(what)

    def write(self, place: str, text: str) -> None:
        self.page.fill(place, text)
        self.texts.append(place)


def hand_of(browser: Browser) -> Hand:
    page = browser.new_context(locale="ko-KR", timezone_id="Asia/Seoul").new_page()
    page.set_default_timeout(TIMEOUT_MS)
    return Hand(page)


def sign_in(hand: Hand, site: Site, key: str) -> None:
    hand.page.goto(f"{site.url}/sign-in")
    hand.write("#key", key)
    hand.click(hand.page.locator("main form button"), "sign in")


def decide(hand: Hand, reason: str) -> None:
    hand.click(hand.page.locator("input[name=decision][value=confirmed]"), "choose the decision")
    hand.write("#reason", reason)
    hand.click(hand.page.get_by_role("button", name="결론 저장"), "save the decision")
    expect(hand.page.locator("main")).to_contain_text(reason)


def open_awaiting(hand: Hand, path: str) -> None:
    hand.click(hand.page.locator(f"a[href='{path}']"), "open the item")


def submit(hand: Hand, file: Path, screenshot: Path) -> None:
    page = hand.page
    hand.click(page.locator("nav a[href='/submit']"), "go to the page that submits")
    hand.choose(page.locator("#files"), file, "choose the file")
    for name, text in {
        "case_reference": "2026-0117", "source_url": "https://t.me/channel/17",
        "captured_at": "2026-01-31 21:00",
    }.items():  # fmt: skip
        hand.write(f"#{name}", text)
    of_post = page.locator("#batch tbody [name=screenshot]")
    hand.choose(of_post, screenshot, "choose the screenshot")
    hand.click(page.locator("#send"), "submit")
    ended = page.locator("#uploads li[data-state=succeeded]")
    expect(ended).to_have_count(1)


def send_notice(hand: Hand) -> None:
    page = hand.page
    hand.click(page.get_by_role("tab", name="증거와 통지"), "go to the evidence and the notices")
    hand.click(page.get_by_role("link", name=re.compile("유통신고·삭제요청")), "begin the notice")
    expect(page.locator("#f-statement")).to_have_value(re.compile("동의 없이 얼굴을 합성한"))
    expect(page.locator("#recipient")).to_have_value("Telegram")
    hand.write("#f-signature", "서울지원센터")
    hand.click(page.get_by_role("button", name="통지 작성"), "make the notice")
    expect(page.locator("pre.notice")).to_contain_text("검토 결론: 조작으로 확인됨(검토자 2명)")
    with page.expect_popup() as pdf:
        hand.click(page.locator("a[href$='notice.pdf']"), "look at the PDF")
    pdf.value.close()
    with page.expect_download():
        hand.click(page.locator("a[href$='package.zip']"), "download what is sent")
    hand.click(page.get_by_role("button", name="발송 완료로 표시"), "record that it was sent")
    expect(page.locator("main")).to_contain_text("기한")


def test_a_notice_takes_at_most_eighteen_actions(
    site: Site, browser: Browser, tmp_path: Path
) -> None:
    keys = [site.create_key(name, "analyst") for name in ("이지은", "김수진")]
    with site.client as admin:
        admin.put("/v1/organisation", json=CENTRE).raise_for_status()
    file, screenshot = tmp_path / "제보.png", tmp_path / "게시물.png"
    file.write_bytes(footage.picture(footage.astronaut(), "PNG"))
    screenshot.write_bytes(footage.picture(footage.resized(footage.astronaut(), 320, 640), "PNG"))
    first, second = (hand_of(browser) for _ in keys)
    sign_in(first, site, keys[0])
    submit(first, file, screenshot)
    first.click(first.page.locator("#uploads li .name a"), "open the item")
    decide(first, "당사자가 제출한 원본과 얼굴이 다름")
    item = first.page.url.partition("?")[0]
    sign_in(second, site, keys[1])
    open_awaiting(second, item.removeprefix(site.url))
    decide(second, "원본과 비교하여 같은 결론")
    send_notice(first)
    assert len(first.actions) <= MOST_ACTIONS, first.actions
    assert len(second.actions) <= 5, second.actions
    assert (len(first.texts), len(second.texts)) == (6, 2)
    for hand in (first, second):
        hand.page.context.close()
