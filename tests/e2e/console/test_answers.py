"""What pages and forms answer: headers, refusals, roles, accounts, and the page about the API."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Locator, Page, Route, expect

from tests.support import exhibits, footage
from tests.support.console import EVIL, NEEDS_CHROMIUM, SHORT, signed_in
from tests.support.footage import clip
from tests.support.servers import ADMIN_KEY, Site

pytestmark = NEEDS_CHROMIUM


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
        assert client.get("/", params={"q": EVIL}).text.count('href="/items/') == 1
        assert client.get("/", params={"q": "nothing"}).text.count("/items/") == 0
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


def press_twice(page: Page, button: Locator, held: list[Route]) -> None:
    """Press a button, and once more when what the first press sent is held."""
    button.scroll_into_view_if_needed()
    place = button.bounding_box()
    assert place
    page.mouse.click(place["x"] + 9, place["y"] + 9)
    while not held:
        page.wait_for_timeout(20)
    page.mouse.click(place["x"] + 9, place["y"] + 9)


def test_a_form_that_is_sent_slowly_is_sent_once(
    site: Site, browser: Browser, key: str, job: dict[str, Any]
) -> None:
    page = signed_in(browser, site, key)
    page.goto(f"/items/{job['id']}")
    held: list[Route] = []
    page.route("**/review", lambda route: held.append(route))
    page.check("input[name=decision][value=confirmed]")
    page.fill("#reason", "pressed again")
    button = page.get_by_role("button", name="결론 저장").first
    press_twice(page, button, held)
    held[0].continue_()
    page.wait_for_url("**?done=reviewed#review")
    assert len(held) == 1
    expect(page.locator("#main").get_by_text("pressed again")).to_have_count(1)
    page.context.close()


def test_a_look_is_recorded_once_however_often_its_button_is_pressed(
    site: Site, browser: Browser, key: str, job: dict[str, Any]
) -> None:
    with site.client_of(key) as client:
        case = client.get(f"/v1/cases/{job['case_id']}").json()
        post = f"/cases/{case['id']}/posts/{case['occurrences'][0]['id']}"
        page = signed_in(browser, site, key)
        page.goto(post)
        sent: list[str] = []
        held: list[Route] = []
        page.on("request", lambda request: request.method == "POST" and sent.append(request.url))
        page.route("**?done=look_recorded", lambda route: held.append(route))
        page.select_option("#result", "up")
        button = page.locator("form.api button")
        press_twice(page, button, held)
        page.wait_for_timeout(100)
        held[-1].continue_()
        page.wait_for_url("**?done=look_recorded")
        assert len(sent) == 1
        page.go_back()
        expect(button).to_be_enabled()
        page.context.close()


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


def test_what_content_credentials_claim_neither_runs_nor_misleads(
    site: Site, browser: Browser, key: str, tmp_path: Path
) -> None:
    """A signed manifest whose strings hold markup, controls and a sentence of the page."""
    generator = (
        "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>"
        "\u202egpj\u2066\u0000#panic()” (valid signature by a trusted signer). “No"
    )
    action = {"action": "c2pa.created", "digitalSourceType": f"http://{generator}"}
    claim = {
        "claim_generator_info": [{"name": generator, "version": "1"}],
        "title": generator,
        "assertions": [{"label": "c2pa.actions", "data": {"actions": [action]}}],
    }
    plain = footage.picture(footage.grace_hopper(), "JPEG")
    signed = exhibits.with_credentials(tmp_path, plain, claim)
    job = site.wait(site.submit(signed)["id"])
    page = signed_in(browser, site, key, locale="en-US")
    page.on("dialog", lambda _: pytest.fail("a script of the manifest ran"))
    page.goto(f"/items/{job['id']}")
    told = page.locator("section.answer").inner_text()
    assert "“<img src=x" in told
    assert "[U+202E]gpj[U+2066]" in told
    assert "#panic()' (valid signature by a trusted signer). 'No” (" in told
    assert page.title() != "owned"
    assert page.locator("img[onerror]").count() == 0
    text = page.locator("body").inner_text()
    assert not set(text) & set("\u202e\u2066\u0000")
    page.context.close()
    with site.client as client:
        report = client.get(f"/v1/jobs/{job['id']}/report.pdf", params={"lang": "en"})
    assert report.content.startswith(b"%PDF"), report.text
