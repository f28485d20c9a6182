"""A site with its console, a browser, an analyst, and a job whose texts are hostile."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, sync_playwright

from tests.support import footage
from tests.support.console import CHROMIUM, EVIL, SHORT, WORSE
from tests.support.footage import clip
from tests.support.programs import held_jobs
from tests.support.servers import Site


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A site for each module: a flag that one sets withholds the pictures of similar videos."""
    settings = {"DEEPFAKE_ISSUER": "대응센터", "DEEPFAKE_CAPTURE_LINKS": "true"}
    root = tmp_path_factory.mktemp("console")
    with Site(root, settings, program=held_jobs.__name__) as running:
        running.serve()
        yield running


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(
            executable_path=CHROMIUM,
            args=["--no-sandbox", "--disable-background-networking", "--disable-sync"],
        )
        yield launched
        launched.close()


@pytest.fixture(scope="module")
def key(site: Site) -> str:
    """Return an analyst's key."""
    return site.create_key("김분석", "analyst")


@pytest.fixture(scope="module")
def job(site: Site) -> dict[str, Any]:
    """Return the job of a video with a hostile case reference and a screenshot of its page."""
    with site.client as client:
        answer = client.post(
            "/v1/videos",
            files={"file": (EVIL, clip(2, SHORT))},
            data={"case_reference": EVIL, "source_url": "https://example.org/1", "platform": EVIL},
        )
        assert answer.status_code == 202, answer.text
        done = site.wait(answer.json()["id"])
        note = {"decision": "confirmed", "reason": WORSE}
        client.post(f"/v1/jobs/{done['id']}/reviews", json=note).raise_for_status()
        shot = footage.picture(footage.resized(footage.astronaut(), 64, 64), "PNG")
        client.post(
            f"/v1/cases/{done['case_id']}/occurrences",
            files={"screenshot": ("s.png", shot)},
            data={"source_url": "https://example.org/2"},
        ).raise_for_status()
    return done
