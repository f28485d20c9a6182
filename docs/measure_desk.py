"""Measure an hour at the desk: ``PYTHONPATH=. python docs/measure_desk.py [FOLDER]``.

Starts the service with the small bundle of the tests and drives the console in headless Chromium:
an analyst submits thirty mixed files with a table, decides them by keyboard alone, confirming
three; a second person confirms these; a notice is made for one of them and is recorded as sent.
Prints how many steps and how long each part takes, for the machine: looking at the items is left
to people. A step is a key, a text that is typed or a file dialog. FOLDER keeps the installation.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from playwright.sync_api import Browser, Page, expect, sync_playwright
from tests.support import footage
from tests.support.servers import Site

STILLS, VIDEOS, COPIES = 12, 12, 2
UNREADABLE = {"text.mp4": b"no video\n", "zeros.jpg": bytes(4096), "cut.png": b"\x89PNG\r\n\x1a\n"}
CASES = 8
CONFIRMED = 3
SETTINGS = {
    "DEEPFAKE_ISSUER": "Example Response Center",
    "DEEPFAKE_TWO_PERSON_REVIEW": "true",
    "DEEPFAKE_SUBMITTER_CONFIRMS": "if_alone",
    "DEEPFAKE_MATCHING": "true",
}
WAIT_MS = 120_000
"""A loaded machine is slow, not wrong."""
ORGANISATION = {
    "name_ko": "대응센터", "name_en": "Example Response Center",
    "address": "1 Example Street, Seoul",
    "phone": "02-123-4567", "email": "desk@example.org",
}  # fmt: skip


@dataclass
class Desk:
    """Presses keys on a page, and counts them and the seconds by part of the work."""

    page: Page
    home: str
    """The address of the queue."""
    parts: dict[str, list[float]] = field(default_factory=dict)
    part: str = ""

    @contextmanager
    def doing(self, part: str) -> Iterator[None]:
        """Count what is done in the block as ``part``."""
        self.part, begun = part, time.monotonic()
        steps_and_seconds = self.parts.setdefault(part, [0, 0.0])
        yield
        steps_and_seconds[1] += time.monotonic() - begun

    def press(self, *keys: str) -> None:
        """Press keys, each a step."""
        for key in keys:
            self.page.keyboard.press(key)
            self.parts[self.part][0] += 1

    def type(self, text: str) -> None:
        """Type a text, as one step."""
        self.page.keyboard.insert_text(text)
        self.parts[self.part][0] += 1

    def tab_to(self, selector: str, key: str = "Tab") -> None:
        """Press Tab until what is focused matches ``selector``."""
        for _ in range(200):
            if self.page.evaluate("s => document.activeElement.matches(s)", selector):
                return
            self.press(key)
        raise AssertionError(f"{selector} is not reached with the keyboard")

    def back_to(self, selector: str) -> None:
        """Press Shift+Tab until what is focused matches ``selector``."""
        self.tab_to(selector, "Shift+Tab")

    def print(self) -> None:
        """Print the parts and their sum."""
        for part, (steps, seconds) in self.parts.items():
            sys.stdout.write(f"{part:46} {steps:5.0f} steps {seconds:7.1f} s\n")
        steps, seconds = (sum(values) for values in zip(*self.parts.values(), strict=True))
        sys.stdout.write(f"{'in all':46} {steps:5.0f} steps {seconds:7.1f} s\n")


def write_files(folder: Path) -> Path:
    """Write thirty mixed files and the table of their cases, and return the table's path."""
    folder.mkdir(parents=True)
    for n in range(STILLS):
        small = footage.resized(footage.astronaut(), 300 + 8 * n, 300)
        (folder / f"still-{n:02}.png").write_bytes(footage.picture(small, "PNG"))
    for n in range(VIDEOS):
        (folder / f"video-{n:02}.mp4").write_bytes(footage.clip(n))
    for n in range(COPIES):
        frames = footage.panning(24 + n, 320, 256, footage.grace_hopper())
        (folder / f"copy-{n}.mp4").write_bytes(footage.encode(frames, rate=20))
    sky = footage.resized(footage.astronaut()[400:420, :40], 320, 240)
    (folder / "no-face.png").write_bytes(footage.picture(sky, "PNG"))
    for name, content in UNREADABLE.items():
        (folder / name).write_bytes(content)
    names = sorted(path.name for path in folder.iterdir())
    assert len(names) == 30
    rows = [
        f"{name},2026-{200 + n % CASES:04},https://example.org/posts/{n},example.org\n"
        for n, name in enumerate(names)
    ]
    table = folder / "table.csv"
    table.write_text("file,case_reference,source_url,platform\n" + "".join(rows))
    return table


def confirm_an_earlier_case(site: Site, keys: list[str]) -> None:
    """Submit the video that copies resemble, and let two people confirm it."""
    frames = footage.panning(24, 320, 256, footage.grace_hopper())
    answer = {"decision": "confirmed", "reason": "The original is known."}
    with site.client_of(keys[0]) as client:
        sent = client.post(
            "/v1/videos",
            files={"file": ("earlier.mp4", footage.encode(frames))},
            data={"case_reference": "2025-0999"},
        ).raise_for_status()
    job = site.wait(sent.json()["id"])
    for key in keys:
        with site.client_of(key) as client:
            client.post(f"/v1/jobs/{job['id']}/reviews", json=answer).raise_for_status()


def name_the_organisation(site: Site) -> None:
    """State once what the forms of notices are filled in with."""
    with site.client as client:
        client.put("/v1/organisation", json=ORGANISATION).raise_for_status()


def sign_in(browser: Browser, site: Site, key: str, locale: str = "en-US") -> Desk:
    """Return a desk on whose page the owner of ``key`` has signed in."""
    page = browser.new_context(locale=locale, base_url=site.url).new_page()
    page.set_default_timeout(WAIT_MS)
    desk = Desk(page, f"{site.url}/")
    with desk.doing("sign in"):
        page.goto("/sign-in")
        desk.tab_to("#key")
        desk.type(key)
        desk.press("Enter")
        page.wait_for_url(desk.home)
    return desk


def submit(desk: Desk, table: Path) -> None:
    """Choose the files with their table, and send them."""
    page = desk.page
    with desk.doing("submit 30 files with a table"):
        desk.tab_to("a[href='/submit']")
        desk.press("Enter")
        page.wait_for_url("**/submit")
        desk.tab_to("#files")
        with page.expect_file_chooser() as chooser:
            desk.press("Space")
        chooser.value.set_files(sorted(table.parent.iterdir()))
        desk.parts[desk.part][0] += 1
        expect(page.locator("#batch tbody tr")).to_have_count(30)
        desk.press("Control+Enter")
        expect(page.locator("#uploads li")).to_have_count(30)
    with desk.doing("wait for 30 verdicts"):
        expect(page.locator("#uploads li:not([data-waits])")).to_have_count(30, timeout=600_000)


def leave(page: Page, item: str) -> None:
    """Wait until the page is no longer that of an item."""
    path = item.partition("#")[0]
    page.wait_for_url(lambda url: not url.startswith(path))
    page.wait_for_load_state()


def record(desk: Desk, key: str, reason: str) -> None:
    """Decide about the item that is shown."""
    page = desk.page
    page.wait_for_load_state()  # before that, the keyboard does nothing
    desk.press(key)
    desk.type(reason)
    desk.press("Control+Enter")
    expect(page.locator("#sure")).to_be_visible()
    desk.press("Enter")
    page.wait_for_url("**/items/*#review")
    expect(page.locator("section:has(> #review) > p", has_text=reason)).to_be_visible()


def triage(desk: Desk) -> list[str]:
    """Decide thirty items by keyboard, and return the paths of those that were confirmed."""
    page = desk.page
    with desk.doing("decide unreadable files together"):
        desk.back_to("nav a[href='/']")
        desk.press("Enter")
        page.wait_for_url(desk.home)
        desk.tab_to(".tabs a[href*='tab=unreadable']")
        desk.press("Enter")
        page.wait_for_url("**tab=unreadable")
        unreadable = page.locator(".queue tbody tr").count()
        for _ in range(unreadable):
            desk.press("j", "x")
        desk.press("b")
        page.wait_for_url("**/reviews?*")
        desk.press("u")
        desk.type("The file cannot be read. The sender was asked for another copy.")
        desk.press("Control+Enter", "Space", "Enter")
        expect(page.locator("[role=status] li")).to_have_count(unreadable)
    confirmed: list[str] = []
    with desk.doing("decide the others one by one"):
        desk.tab_to("main a.button")
        desk.press("Enter")
        page.wait_for_url(desk.home)
        left = 30 - unreadable
        desk.press("j", "Enter")
        for n in range(left):
            page.wait_for_url("**/items/*")
            item = page.url
            if n < CONFIRMED:
                confirmed.append(item)
                record(desk, "c", "Seam at the jaw.")
            else:
                record(desk, "u" if n % 3 else "r", "Same as the original.")
            desk.press("n")
            leave(page, item)
        assert page.url == desk.home, page.url  # all are decided
    return [url.split("#")[0] for url in confirmed]


def second(desk: Desk) -> None:
    """Confirm, as a second person, what the first one confirmed."""
    page = desk.page
    with desk.doing("second person confirms three"):
        desk.tab_to(".tabs a[href*='tab=second']")
        desk.press("Enter")
        page.wait_for_url("**tab=second")
        expect(page.locator(".queue tbody tr")).to_have_count(CONFIRMED)
        desk.press("j", "Enter")
        for _ in range(CONFIRMED):
            page.wait_for_url("**/items/*")
            item = page.url
            record(desk, "c", "I see the seam as well.")
            desk.press("n")
            leave(page, item)


def send_notice(desk: Desk, item: str) -> str:
    """Make a notice for a confirmed item, record that it was sent, and return its path."""
    page = desk.page
    with desk.doing("write a notice and record that it was sent"):
        page.goto(item)
        desk.tab_to("a[href*='/notices/eu-dsa-16']")
        desk.press("Enter")
        page.wait_for_url("**/notices/eu-dsa-16*")
        desk.tab_to("#f-explanation")
        desk.type("The face of the person shown was put into this video without consent.")
        for name, value in {"notifier_name": "Kim", "notifier_email": "desk@example.org"}.items():
            if not page.input_value(f"#f-{name}"):
                desk.tab_to(f"#f-{name}")
                desk.type(value)
        desk.tab_to("#f-good_faith")
        desk.press("Space")
        desk.tab_to("form#notice > button")
        desk.press("Enter")
        expect(page.locator("pre.notice")).to_be_visible()
        desk.tab_to("#sent_at")
        desk.tab_to("form:has(#sent_at) button")
        desk.press("Enter")
        expect(page.locator("main")).to_contain_text("Sent on")
    return page.url


def main() -> None:
    """Measure and print."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        raise SystemExit("Chromium is required: apt-get install chromium")
    expect.set_options(timeout=WAIT_MS)
    with tempfile.TemporaryDirectory() as temporary, sync_playwright() as playwright:
        folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(temporary)
        site = Site(folder / "site", SETTINGS)
        browser = playwright.chromium.launch(
            executable_path=chromium, args=["--no-sandbox", "--disable-background-networking"]
        )
        try:
            site.serve()
            ann, bob, carol = (site.create_key(n, "analyst") for n in ("Ann", "Bob", "Carol"))
            name_the_organisation(site)
            confirm_an_earlier_case(site, [bob, carol])
            first = sign_in(browser, site, ann)
            submit(first, write_files(folder / "files"))
            confirmed = triage(first)
            other = sign_in(browser, site, bob)
            second(other)
            send_notice(first, confirmed[0])
            sys.stdout.write("The first person\n")
            first.print()
            sys.stdout.write("The second person\n")
            other.print()
        finally:
            browser.close()
            site.close()


if __name__ == "__main__":
    main()
