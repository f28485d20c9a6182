"""Take the README's screenshots: ``make screenshots``.

Starts the service with the shipped model, submits clips made from NASA's public-domain portrait
of Eileen Collins (from scikit-image), and photographs three pages with headless Chromium.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from playwright.sync_api import Page, sync_playwright
from tests.support.mediakit import clip
from tests.support.servekit import ADMIN_KEY, Site

from deepfake_models.bundle import default_bundle_dir

OUT = Path(__file__).parent / "images"
VIEWPORT = {"width": 1200, "height": 800}


def main() -> None:
    """Write ``images/{queue,item,notice}.png``."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        raise SystemExit("Chromium is required: apt-get install chromium")
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        settings = {
            "DEEPFAKE_ISSUER": "Example Response Center",
            "DEEPFAKE_BUNDLE_DIR": str(default_bundle_dir()),
        }
        site = Site(Path(folder), settings)
        browser = playwright.chromium.launch(
            executable_path=chromium, args=["--no-sandbox", "--disable-background-networking"]
        )
        try:
            site.serve()
            job = _examined_case(site)
            page = browser.new_page(base_url=site.url, locale="en-US", viewport=VIEWPORT)
            _photograph(page, job["id"], job["case_id"])
        finally:
            browser.close()
            site.close()


def _examined_case(site: Site) -> dict[str, str]:
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
        review = {"decision": "rejected", "reason": "No seam and no flicker in any frame."}
        client.post(f"/v1/jobs/{jobs[-1]['id']}/reviews", json=review).raise_for_status()
    return jobs[-1]


def _photograph(page: Page, job_id: str, case_id: str) -> None:
    page.goto("/sign-in")
    page.fill("#key", ADMIN_KEY)
    page.press("#key", "Enter")
    page.wait_for_url("**/")
    page.wait_for_load_state("networkidle")
    page.screenshot(path=OUT / "queue.png")
    page.goto(f"/items/{job_id}")
    page.check("#unveil")
    page.evaluate("scrollTo(0, 0)")
    page.set_viewport_size({**VIEWPORT, "height": 1150})
    page.screenshot(path=OUT / "item.png")
    page.set_viewport_size(VIEWPORT)
    page.goto(f"/cases/{case_id}/notices/eu-dsa-16")
    page.screenshot(path=OUT / "notice.png")


if __name__ == "__main__":
    main()
