"""Reviews that need no mouse."""

from __future__ import annotations

from typing import Any

from playwright.sync_api import Browser, expect

from tests.support import footage
from tests.support.console import NEEDS_CHROMIUM, signed_in
from tests.support.servers import Site

pytestmark = NEEDS_CHROMIUM


def test_items_are_reviewed_by_keyboard_from_the_queue(
    site: Site, browser: Browser, key: str
) -> None:
    with site.client_of(key) as client:
        for n in range(2):
            small = footage.resized(footage.grace_hopper(), 300 + n, 300)
            answer = client.post(
                "/v1/videos",
                files={"file": (f"keyboard-{n}.png", footage.picture(small, "PNG"))},
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
    expect(page.locator("section.answer")).to_contain_text("원본과 같음")
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
    page.locator("#reason").press("Control+Enter")
    expect(page.locator("[role=status] li")).to_have_count(2)
    page.goto("/?tab=on_hold")
    expect(page.locator(".queue")).to_contain_text("keyboard-")
    page.context.close()


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
    assert {"unveil", "grey", "boxes", "decision", "reason"} <= seen
    expect(page.locator("section.answer")).to_contain_text("by keyboard")
    page.context.close()
