"""Take the screenshots of both READMEs: ``make screenshots``.

Starts the service with the shipped model, submits clips made from NASA's public-domain portrait
of Eileen Collins (from scikit-image), and photographs three pages in each language with headless
Chromium.
"""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright
from tests.support.footage import clip
from tests.support.servers import ADMIN_KEY, Site

from deepfake_models.bundle.bundle import default_bundle_dir

DOCS = Path(__file__).parent
VIEWPORT = {"width": 1200, "height": 800}


@dataclass(frozen=True, slots=True)
class Language:
    """The screenshots of one language."""

    locale: str
    out: Path
    issuer: str
    reason: str
    """Why the reviewer decided as they did."""
    notice: str
    """The kind of notice that is shown."""


LANGUAGES = (
    Language(
        "en-US",
        DOCS / "images",
        "Example Response Center",
        "No seam and no flicker in any frame.",
        "eu-dsa-16",
    ),
    Language(
        "ko-KR",
        DOCS / "images" / "ko",
        "예시 디지털성범죄 피해자지원센터",
        "모든 장면에서 합성 경계나 깜박임이 보이지 않습니다.",
        "kr-tba-22-5",
    ),
)


def main() -> None:
    """Write ``{queue,item,notice}.png`` for each language."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        raise SystemExit("Chromium is required: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium, args=["--no-sandbox", "--disable-background-networking"]
        )
        for language in LANGUAGES:
            _take(browser, language)
        browser.close()


def _take(browser: Browser, language: Language) -> None:
    """Write the screenshots of one language, of a service of its own."""
    settings = {
        "DEEPFAKE_ISSUER": language.issuer,
        "DEEPFAKE_BUNDLE_DIR": str(default_bundle_dir()),
    }
    with tempfile.TemporaryDirectory() as folder, Site(Path(folder), settings) as site:
        site.serve()
        job = _examined_case(site, language.reason)
        language.out.mkdir(exist_ok=True)
        page = browser.new_page(base_url=site.url, locale=language.locale, viewport=VIEWPORT)
        _photograph(page, job, language)


def _examined_case(site: Site, reason: str) -> dict[str, str]:
    """Submit clips to three cases and return the last job, which a reviewer has decided on."""
    jobs = [
        site.wait(
            site.submit(
                clip(number),
                case_reference=f"2026-{117 + number:04}",
                source_url=f"https://example.org/posts/{number}",
                platform="example.org",
            )["id"]
        )
        for number in range(3)
    ]
    with site.client as client:
        review = {"decision": "rejected", "reason": reason}
        client.post(f"/v1/jobs/{jobs[-1]['id']}/reviews", json=review).raise_for_status()
    return jobs[-1]


def _photograph(page: Page, job: dict[str, str], language: Language) -> None:
    page.goto("/sign-in")
    page.fill("#key", ADMIN_KEY)
    page.press("#key", "Enter")
    page.wait_for_url("**/")
    page.wait_for_load_state("networkidle")
    page.screenshot(path=language.out / "queue.png")
    page.goto(f"/items/{job['id']}")
    page.check("#unveil")
    page.evaluate("scrollTo(0, 0)")
    page.set_viewport_size({**VIEWPORT, "height": 1150})
    page.screenshot(path=language.out / "item.png")
    page.set_viewport_size(VIEWPORT)
    page.goto(f"/cases/{job['case_id']}/notices/{language.notice}")
    page.screenshot(path=language.out / "notice.png")


if __name__ == "__main__":
    main()
