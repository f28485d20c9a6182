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
from PIL import Image

from tests.support import footage
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


def test_fifteen_kills_while_six_long_jobs_run(site: Site) -> None:
    campaign(site, jobs=6, kills=15, seed=int(os.environ.get("SOAK_SEED", "2")), frames=96)


def test_sixty_four_pictures_beyond_the_limit_are_each_told_so_in_bounded_memory(
    site: Site,
) -> None:
    """A hundred megapixels each: together more than any machine has, were they decoded."""
    image = Image.fromarray(footage.astronaut()).resize((10_000, 10_000))
    large = footage.picture(image)
    service = site.serve("--no-worker")
    with Watch(service.popen.pid) as watch, site.client as client:
        files = [("files", (f"{n}.jpg", large)) for n in range(64)]
        answer = client.post("/v1/frames", files=files, timeout=600)
    assert answer.status_code == 200, answer.text
    reasons = [frame["reasons"] for frame in answer.json()["frames"]]
    assert [[r["code"] for r in each] for each in reasons] == [["too_large"]] * 64
    assert "50000000" in reasons[0][0]["detail"]
    peaks = watch.peak, watch.peak_of_child
    sys.stderr.write(f"\n64 x 100 MP: {[peak // 1024**2 for peak in peaks]} MiB\n")
    assert watch.peak < 1024**3
    assert watch.peak_of_child < 1024**3


def test_two_gibibytes_arrive_in_little_memory(site: Site) -> None:
    service = site.serve("--no-worker")
    with Watch(service.popen.pid) as watch:
        status = upload(site.url, 2 * GIB)
    sys.stderr.write(f"\n2 GiB: peak of {watch.peak / 1024**2:.0f} MiB\n")
    assert status == 202
    assert watch.peak < 400 * 1024**2


def upload(url: str, size: int) -> int:
    """Send a form of ``size`` bytes whose file begins like a video; return the status."""
    address = urlsplit(url)
    connection = http.client.HTTPConnection(str(address.hostname), address.port, timeout=600)
    part = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
    head, end, block = part + clip(frames=2), b"\r\n--b--\r\n", os.urandom(1024 * 1024)

    def body() -> Iterator[bytes]:
        yield head
        for start in range(len(head), size - len(end), len(block)):
            yield block[: size - len(end) - start]
        yield end

    with contextlib.closing(connection):
        connection.request(
            "POST", "/v1/videos", body=body(),
            headers={"Authorization": f"Bearer {ADMIN_KEY}", "Content-Length": str(size),
                     "Content-Type": "multipart/form-data; boundary=b"},
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
