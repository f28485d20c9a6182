"""Long campaigns, run by ``make soak``. The suite contains short ones with fixed seeds."""

from __future__ import annotations

import contextlib
import http.client
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.support.footage import clip
from tests.support.servers import ADMIN_KEY, Site, Watch, campaign, wait_until

GIB = 1024**3


pytestmark = pytest.mark.server


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with Site(tmp_path) as private:
        yield private


def test_fifty_kills_while_twenty_jobs_run(site: Site) -> None:
    campaign(site, jobs=20, kills=50, seed=int(os.environ.get("SOAK_SEED", "1")))


def test_two_gibibytes_arrive_in_little_memory(site: Site) -> None:
    service = site.serve("--no-worker")
    with Watch(service.popen.pid) as watch:
        status = upload(site.url, 2 * GIB)
    sys.stderr.write(f"\n2 GiB: peak of {watch.peak / 1024**2:.0f} MiB\n")
    assert status == 202
    assert watch.peak < 400 * 1024**2


def upload(url: str, size: int) -> int:
    """Send ``size`` bytes that begin like a video and return the status of the answer."""
    address = urlsplit(url)
    connection = http.client.HTTPConnection(str(address.hostname), address.port, timeout=600)
    head, block = clip(frames=2), os.urandom(1024 * 1024)

    def body() -> Iterator[bytes]:
        yield head
        for start in range(len(head), size, len(block)):
            yield block[: size - start]

    with contextlib.closing(connection):
        connection.request(
            "POST", "/v1/videos", body=body(),
            headers={"Authorization": f"Bearer {ADMIN_KEY}", "Content-Type": "video/mp4",
                     "Content-Length": str(size)},
        )  # fmt: skip
        answer = connection.getresponse()
        answer.read()
        return answer.status


def test_the_queue_keeps_its_order_under_load(site: Site) -> None:
    site.serve()
    low = [site.submit(clip(n), priority="low")["id"] for n in range(6)]
    wait_until(lambda: any(site.job(j)["state"] == "running" for j in low))
    live = site.submit(clip(9), priority="live")["id"]
    site.wait(live)
    waiting = [site.job(j)["state"] for j in low]
    assert "queued" in waiting, "the live job must precede jobs of low priority"
    for job_id in low:
        site.wait(job_id)
