"""Reviews that need no mouse, and the viewer of a medium."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, expect

from tests.support import footage
from tests.support.console import NEEDS_CHROMIUM, SHORT, signed_in
from tests.support.footage import clip
from tests.support.servers import Site, wait_until

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
    expect(page.locator("#over rect").first).to_be_attached()
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


UNDER = """([x, y]) => {
  const box = document.querySelector(".plane").getBoundingClientRect();
  const { width, height } = document.getElementById("viewer").dataset;
  return [((x - box.x) / box.width) * width, ((y - box.y) / box.height) * height];
}"""
"""The pixel of the file that is shown at a point of the window."""


def video_page(page: Page, site: Site, seed: int) -> None:
    """Examine a video of its own and open its page in a small window."""
    job = site.wait(site.submit(clip(seed, SHORT))["id"])
    page.set_viewport_size({"width": 1366, "height": 768})
    page.goto(f"/items/{job['id']}")
    expect(page.locator("#at")).to_contain_text("0.00 / ")


def test_a_medium_is_looked_at_and_decided_on_one_screen(
    site: Site, browser: Browser, key: str
) -> None:
    page = signed_in(browser, site, key)
    video_page(page, site, 31)
    video, viewer = page.locator("#viewer video"), page.locator("#viewer")
    for place in ("#viewer", "#play", "#unveil", "#reason", ".save button", "[role=tab]"):
        expect(page.locator(place).first).to_be_in_viewport(ratio=1)
    blur = "e => getComputedStyle(e).filter"
    for sight in ("blur(18px)", "blur(0px)", "blur(18px)"):
        assert sight in video.evaluate(blur)
        page.keyboard.press("v")

    assert video.evaluate("v => v.muted")
    frame_s = float(viewer.get_attribute("data-frame") or 0)
    assert frame_s == 0.04  # 25 frames a second
    for press, frame in (("ArrowRight", 1), (".", 2), (".", 3), ("ArrowLeft", 2), (",", 1)):
        page.keyboard.press(press)  # to the middle of a frame
        expect(page.locator("#at")).to_have_text(f"{(frame + 0.5) * frame_s:.2f} / 0.48")
    page.keyboard.press("Space")
    expect(page.locator("#at")).to_have_text("0.48 / 0.48")

    expect(page.locator("#zoom")).to_have_text("100%")
    page.keyboard.press("+")
    expect(page.locator("#zoom")).to_have_text("150%")
    page.keyboard.press("0")
    expect(page.locator("#zoom")).to_have_text("100%")
    box = viewer.bounding_box()
    assert box
    point = [box["x"] + box["width"] / 2 + 40, box["y"] + box["height"] / 2 + 30]
    before = page.evaluate(UNDER, point)
    page.mouse.move(*point)
    for _ in range(12):
        page.mouse.wheel(0, -100)
    expect(page.locator("#zoom")).to_have_text("800%")
    after = page.evaluate(UNDER, point)
    assert max(abs(a - b) for a, b in zip(before, after, strict=True)) < 0.5
    assert page.locator(".plane").evaluate("e => getComputedStyle(e).imageRendering") == "pixelated"
    page.mouse.down()
    page.mouse.move(point[0] - 80, point[1])
    page.mouse.up()
    panned = page.evaluate(UNDER, point)
    assert abs(panned[0] - before[0] - 10) < 0.5  # 80 pixels of the screen
    page.mouse.dblclick(*point)
    expect(page.locator("#zoom")).to_have_text("100%")

    expect(page.locator("#over g rect").first).to_be_visible()
    page.uncheck("#boxes")
    expect(page.locator("#over g rect").first).to_be_hidden()
    page.keyboard.press("m")
    page.mouse.move(point[0] - 60, point[1] - 60)
    page.mouse.down()
    page.mouse.move(*point)
    page.mouse.up()
    expect(page.locator("#over .mark")).to_have_attribute("width", "60")

    for number, tab in enumerate(page.locator("[role=tabpanel]").all(), start=1):
        page.keyboard.press(str(number))
        expect(tab).to_be_visible()
        expect(page.locator("[role=tabpanel]:visible")).to_have_count(1)
    page.keyboard.press("1")
    cells = page.locator(".sheet-of-faces button")
    page.keyboard.press("0")
    cells.first.press("Enter")
    expect(page.locator("#zoom")).not_to_have_text("100%")
    expect(viewer).to_be_in_viewport(ratio=1)
    _, _, (left, top, right, bottom), _ = json.loads(viewer.get_attribute("data-faces") or "")[0]
    box = viewer.bounding_box()
    assert box
    middle = page.evaluate(UNDER, [box["x"] + box["width"] / 2, box["y"] + box["height"] / 2])
    assert abs(middle[0] - (left + right) / 2) < 0.5
    assert abs(middle[1] - (top + bottom) / 2) < 0.5
    page.keyboard.press("ArrowRight")
    expect(cells.nth(1)).to_be_focused()
    page.check("#contact input")
    expect(cells.first.locator("canvas")).to_have_count(2)
    page.keyboard.press("3")
    page.locator("#views .cut").click()
    expect(page.locator(".places canvas").first).to_be_visible()
    page.route("**/sheet?around=*", lambda route: route.fulfill(json={"faces": [], "omitted": 0}))
    page.locator("#views .cut").click()
    expect(page.locator(".places")).to_have_text("이 시점에는 검사한 얼굴이 없습니다.")
    page.unroute("**/sheet?around=*")
    page.keyboard.press("2")
    page.locator("#changes .measure").click()
    page.locator("#changes svg").click()
    expect(page.locator("#contact .around button").first).to_be_visible()  # the faces' part

    page.keyboard.press("u")
    page.keyboard.type("원본을 기다림")
    page.keyboard.press("Escape")  # back to the keys of the page
    page.keyboard.press("r")
    page.keyboard.press("Escape")
    page.keyboard.press("Control+Enter")
    page.keyboard.press("Enter")
    page.wait_for_url("**/items/*#review")
    expect(page.locator("section.answer")).to_contain_text("원본을 기다림")
    page.keyboard.press("n")
    page.wait_for_url(lambda url: "#review" not in url)
    page.context.close()


def test_what_a_browser_cannot_play_is_shown_frame_by_frame(
    site: Site, browser: Browser, key: str
) -> None:
    page = signed_in(browser, site, key)
    page.route("**/content", lambda route: route.fulfill(content_type="video/mp4", body=b"no"))
    video_page(page, site, 32)
    expect(page.locator("#unplayable")).to_be_visible()
    image = page.locator("#viewer img")
    expect(image).to_have_js_property("naturalWidth", 320)
    assert "blur(18px)" in image.evaluate("e => getComputedStyle(e).filter")
    first = image.get_attribute("src")
    page.keyboard.press("ArrowRight")
    expect(page.locator("#at")).to_contain_text("0.04 / ")
    expect(image).not_to_have_attribute("src", first or "")
    expect(image).to_have_js_property("naturalWidth", 320)

    whole = page.url
    page.get_by_role("button", name="모든 프레임 검사").click()
    page.wait_for_url(lambda url: url != whole)
    assert site.wait(page.url.split("/")[-1])["around_s"] == 0.04
    expect(page.locator("section.answer")).to_contain_text("0.0초부터 0.5초까지만 검사했습니다")
    page.locator(f"a[href='{whole[whole.index('/items/') :]}']").click()
    expect(page.get_by_text("0.04초 전후 5초씩")).to_be_visible()
    page.context.close()


BRIGHTNESS = """c => {
  const { data } = c.getContext("2d").getImageData(130, 130, 260, 260);
  return data.reduce((sum, value, n) => sum + (n % 4 < 3 ? value : 0), 0) / (data.length * 0.75);
}"""
"""How bright the middle of a canvas is, of 255."""


def test_a_kept_original_is_compared_without_its_being_examined(
    site: Site, browser: Browser, key: str, tmp_path: Path
) -> None:
    (tmp_path / "original.png").write_bytes(footage.picture(footage.astronaut(), "PNG"))
    item = footage.picture(footage.resized(footage.astronaut(), 360, 360), "PNG")
    job = site.wait(site.submit(item, case_reference="ORIGINAL")["id"])
    page = signed_in(browser, site, key)
    page.goto(f"/items/{job['id']}")
    page.keyboard.press("4")
    page.locator("#tab-side summary").click()
    page.set_input_files("#file-side", tmp_path / "original.png")
    page.fill("#note-side", "본인 계정의 원본")
    page.get_by_role("button", name="사건에 보관").click()
    page.wait_for_url("**/items/*?done=compared#tab-side")
    expect(page.get_by_role("tab", name="나란히 보기")).to_have_attribute("aria-selected", "true")
    own, other = page.locator("#side canvas").all()
    expect(page.locator("#side option")).to_have_text(["", "본인 계정의 원본 · 검사하지 않음"])
    for canvas in (own, other):
        assert "blur(18px)" in canvas.evaluate("e => getComputedStyle(e).filter")
    page.select_option("#side select", index=1)
    wait_until(lambda: other.evaluate(BRIGHTNESS) not in (0, 128))  # empty, then grey
    page.keyboard.press("v")
    assert "blur(0px)" in other.evaluate("e => getComputedStyle(e).filter")
    drawn = "c => c.toDataURL()"
    for switched in (False, True):
        assert (own.evaluate(drawn) == other.evaluate(drawn)) == switched
        page.keyboard.press("b")
    page.keyboard.press("d")
    aligned = own.evaluate(BRIGHTNESS)
    assert aligned < 6  # where the original shows what the item shows, the difference is black
    page.keyboard.down("Shift")
    other.hover()
    page.mouse.down()
    page.mouse.move(600, 300)
    page.mouse.up()
    page.mouse.wheel(0, -100)
    page.keyboard.up("Shift")
    wait_until(lambda: own.evaluate(BRIGHTNESS) > 2 * aligned)
    page.context.close()


def test_a_key_takes_over_the_finding_of_the_original(
    site: Site, browser: Browser, key: str
) -> None:
    known, copy = (
        site.wait(site.submit(clip(33, SHORT), case_reference=f"COPY-{n}")["id"]) for n in range(2)
    )
    edge = {"code": "edge", "time_s": 0.2, "rect": [10.0, 20.0, 110.0, 200.0]}
    with site.client_of(key) as client:
        said = {"decision": "body_generated", "signs": [edge, {"code": "teeth"}]}
        client.post(f"/v1/jobs/{known['id']}/reviews", json=said).raise_for_status()
        page = signed_in(browser, site, key)
        page.set_viewport_size({"width": 1366, "height": 768})
        page.goto(f"/items/{copy['id']}")
        expect(page.locator(".desk > :first-child a")).to_have_attribute(
            "href", f"/items/{known['id']}"
        )
        for place in ("#take-over", "#viewer", "#reason", ".save button"):
            expect(page.locator(place).first).to_be_in_viewport(ratio=1)
        page.keyboard.press("s")
        page.locator("[data-code=hands]").check()
        page.locator("body").dispatch_event(
            "keydown", {"key": "ㅛ", "code": "KeyY", "bubbles": True}
        )
        expect(page.locator("[name=decision][value=body_generated]")).to_be_checked()
        expect(page.locator("#reason")).to_be_focused()
        expect(page.locator("#reason")).to_have_value("")  # a second reviewer would read it
        expect(page.locator("#signs summary output")).to_have_text("3")
        answer = client.get(f"/v1/jobs/{copy['id']}/reviews").json()
        assert answer["reviews"] == []  # a person saves it
        page.keyboard.press("Control+Enter")
        page.keyboard.press("Enter")
        page.wait_for_url("**/items/*#review")
        (stated,) = client.get(f"/v1/jobs/{copy['id']}/reviews").json()["reviews"]
    assert stated["decision"] == "body_generated"
    assert [sign["code"] for sign in stated["signs"]] == ["edge", "teeth", "hands"]
    assert stated["signs"][0] == edge
    page.context.close()


def test_what_is_written_outlives_the_session(site: Site, browser: Browser, key: str) -> None:
    page = signed_in(browser, site, key)
    video_page(page, site, 34)
    item = page.url
    page.keyboard.press("s")
    page.keyboard.press("ArrowRight")
    expect(page.locator("#at")).not_to_contain_text("0.00 / ")
    page.locator("[data-code=edge]").check()
    stated = page.locator("[data-code=edge]").input_value()
    page.keyboard.press("u")
    page.keyboard.type("원본을 기다림")
    page.fill("[name=awaited]", "원본")
    page.locator(".private summary").click()
    page.fill("textarea[name=note]", "제보자에게 전화함")
    page.context.clear_cookies()
    page.get_by_role("button", name="결론 저장").first.click()
    page.fill("#key", key)
    page.press("#key", "Enter")
    page.wait_for_url(item)
    expect(page.locator("#reason")).to_have_value("원본을 기다림")
    expect(page.locator("[name=awaited]")).to_have_value("원본")
    expect(page.locator("textarea[name=note]")).to_have_value("제보자에게 전화함")
    expect(page.locator("[data-code=edge]")).to_be_checked()
    expect(page.locator("#signs summary output")).to_have_text("1")
    assert page.locator("[data-code=edge]").input_value() == stated
    assert '"time_s":null' not in stated
    expect(page.locator("[name=decision]:checked")).to_have_count(0)  # is made anew
    page.check("[name=decision][value=rejected]")
    page.get_by_role("button", name="결론 저장").first.click()
    page.wait_for_url("**?done=reviewed#review")
    for place in ("#reason", "[name=awaited]", "textarea[name=note]"):
        expect(page.locator(place)).to_have_value("")
    page.goto(item)
    expect(page.locator("#reason")).to_have_value("")
    expect(page.locator("#signs :checked")).to_have_count(0)
    page.context.close()
