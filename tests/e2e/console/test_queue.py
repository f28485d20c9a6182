"""The queue while it is open."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, expect

from tests.support.console import NEEDS_CHROMIUM, signed_in
from tests.support.programs import constants
from tests.support.servers import Site

pytestmark = NEEDS_CHROMIUM

PAGE = 5


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A site whose queue has short pages: to examine what fills a real one takes half a minute."""
    settings = {constants.VARIABLE: json.dumps({"deepfake_service.web.queue.PAGE": PAGE})}
    root = tmp_path_factory.mktemp("console")
    with Site(root, settings, program=constants.__name__) as running:
        running.serve()
        yield running


def test_a_queue_that_outgrows_its_page_leads_to_the_next(site: Site, browser: Browser) -> None:
    key = site.create_key("many", "pipeline")  # it sees only what it has submitted itself
    with site.client_of(key) as client:

        def submit(number: int) -> str:
            answer = client.post(
                "/v1/videos", files={"file": ("a.mp4", b"no film")},
                data={"case_reference": f"many-{number}"},
            )  # fmt: skip
            answer.raise_for_status()
            return str(answer.json()["case_id"])

        def wait() -> None:
            for job in client.get("/v1/jobs", params={"limit": 200}).json()["jobs"]:
                site.wait(job["id"])

        cases = [submit(number) for number in range(PAGE)]
        wait()
        page = signed_in(browser, site, key, clock=True)
        rows = page.locator(".queue tbody tr")
        expect(rows).to_have_count(PAGE)
        expect(page.get_by_text("파일 더 보기")).to_have_count(0)
        cases.append(submit(PAGE))
        wait()
        page.clock.fast_forward(60_000)  # the page looks for changes by itself
        expect(page.get_by_text("파일 더 보기")).to_be_visible()
        expect(rows).to_have_count(PAGE)
        for case in cases:
            client.delete(f"/v1/cases/{case}").raise_for_status()
        page.context.close()


def test_tabs_have_their_numbers_again_after_a_queue_was_empty(
    site: Site, browser: Browser
) -> None:
    """A number that was sent before the queue was empty was not shown when it was sent again."""
    key = site.create_key("few", "pipeline")
    with site.client_of(key) as client:

        def submit(number: int) -> str:
            content = b"no film %d" % number
            sent = client.post("/v1/videos", files={"file": ("a.mp4", content)}).raise_for_status()
            site.wait(sent.json()["id"])
            return f"/v1/cases/{sent.json()['case_id']}"

        first = submit(0)
        page = signed_in(browser, site, key, clock=True)
        count = page.locator('.tabs a[href*="tab=all"] .count')
        expect(count).to_have_text("1")
        page.evaluate("document.querySelector('.tabs').id = 'as-loaded'")
        page.clock.fast_forward(60_000)
        expect(page.locator("#as-loaded")).to_have_count(0)
        client.delete(first).raise_for_status()
        page.clock.fast_forward(60_000)
        expect(count).to_have_text("0")
        second, third = submit(1), submit(2)
        page.clock.fast_forward(60_000)
        expect(count).to_have_text("2")
        client.delete(second).raise_for_status()
        page.clock.fast_forward(60_000)
        expect(count).to_have_text("1")
        client.delete(third).raise_for_status()
        page.context.close()


def test_a_queue_stays_current_while_one_moves_in_it(site: Site, browser: Browser) -> None:
    key = site.create_key("moving", "pipeline")
    with site.client_of(key) as client:

        def submit(number: int) -> dict[str, Any]:
            file = {"file": ("a.mp4", b"nothing %d" % number)}
            return site.wait(client.post("/v1/videos", files=file).json()["id"])

        jobs = [submit(0)]
        page = signed_in(browser, site, key, clock=True)
        page.keyboard.press("j")
        jobs.append(submit(1))
        page.clock.fast_forward(60_000)
        expect(page.locator(".queue tbody tr")).to_have_count(2)
        expect(page.locator(f"#job-{jobs[0]['id']} .name a")).to_be_focused()
        # Nor does it stand still, as if nothing happened, once one is signed out.
        page.goto("/?tab=later")
        page.context.clear_cookies()
        page.clock.fast_forward(60_000)
        page.wait_for_url("**/sign-in?next=/%3Ftab%3Dlater")
        page.context.close()
        for job in jobs:
            client.delete(f"/v1/cases/{job['case_id']}").raise_for_status()


def test_all_items_of_a_page_are_selected_at_once(site: Site, browser: Browser, key: str) -> None:
    page = signed_in(browser, site, key)
    with site.client_of(key) as client:
        for number in range(3):
            content = b"no media %d" % number
            sent = client.post("/v1/videos", files={"file": ("a.mp4", content)}).raise_for_status()
            site.wait(sent.json()["id"])
    page.goto("/")
    count = page.locator("#selected")
    expect(count).to_be_hidden()
    page.click("#select-all")
    expect(count).to_have_text("3")
    page.locator("input[name=job]").first.uncheck()
    expect(count).to_have_text("2")
    page.click("#select-all")
    page.click("#select-all")
    expect(count).to_be_hidden()
    page.click("#select-all")
    page.get_by_role("button", name="선택한 파일 검토").click()
    page.wait_for_url("**/reviews?*")
    expect(page.locator("form.card input[name=job]")).to_have_count(3)
    page.context.close()
