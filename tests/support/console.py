"""The console in Chromium: the pages after signing in, and what they may contain."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from tests.support.servers import WAIT_S, Site

SHELL = "chromium-headless-shell"
"""Starts in half the time of a browser with windows."""
CHROMIUM = next(filter(None, map(shutil.which, (SHELL, "chromium", "chromium-browser"))), None)
NEEDS_CHROMIUM = [
    pytest.mark.browser,
    pytest.mark.server,
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed"),
]
"""The marks of every test of the console."""

EVIL = "<script>document.title='owned'</script>" + "가" * 60
WORSE = EVIL + "\u202egnp.exe\u0000" + "나" * 3000
"""Allowed in a note; references and names of platforms must be printable."""
SERIOUS = {"serious", "critical"}

SHORT = 12
"""Frames of a video in which a face is seen long enough to be judged."""

TIMEOUT_MS = 1000 * WAIT_S
expect.set_options(timeout=TIMEOUT_MS)


def assert_static_file(request: Any) -> None:
    if "/static/" in request.url:
        assert request.response().status == 200, request.url


def signed_in(
    browser: Browser, site: Site, key: str, *, clock: bool = False, **options: Any
) -> Page:
    """Return a page on which the owner of ``key`` has signed in; ``clock`` gives it a clock that
    tests move (``page.clock``)."""
    context = browser.new_context(**{"locale": "ko-KR", **options}, base_url=site.url)
    page = context.new_page()
    page.set_default_timeout(TIMEOUT_MS)
    page.on("pageerror", lambda error: pytest.fail(f"a script failed: {error}"))
    page.on("requestfinished", assert_static_file)
    if clock:
        page.clock.install()
    page.goto("/")
    assert "/sign-in" in page.url
    page.fill("#key", key)
    page.press("#key", "Enter")
    page.wait_for_url(f"{site.url}/")
    return page


def choose_early(page: Page, address: str, script: str, into: str, path: Path) -> None:
    """Open a page and choose a file on it before its script runs."""
    held: list[Route] = []
    page.route(f"**/static/{script}", lambda route: held.append(route))
    with page.expect_request(f"**/static/{script}"):
        page.goto(address, wait_until="commit")
    page.set_input_files(into, path)
    held[0].continue_()
