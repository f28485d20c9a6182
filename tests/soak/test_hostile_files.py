"""Thousands of mutated files and bundles through a running service, sent by several clients.

``SOAK_FILES``, ``SOAK_BUNDLES``, ``SOAK_CLIENTS`` and ``SOAK_SEED`` change the campaign.
"""

from __future__ import annotations

import json
import os
import random
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.fuzz.harnesses import corpus
from tests.support import footage
from tests.support.mutation import evidence, mutate
from tests.support.servers import ADMIN_KEY, WAIT_S, Site, Watch, wait_until

pytestmark = pytest.mark.server

FILES = int(os.environ.get("SOAK_FILES", "10000"))
BUNDLES = int(os.environ.get("SOAK_BUNDLES", "2000"))
CLIENTS = int(os.environ.get("SOAK_CLIENTS", "4"))
SEED = int(os.environ.get("SOAK_SEED", "1"))
BATCH = 8
"""Pictures in one request."""
EVERY = 10
"""One file in so many is submitted as a video, which becomes a job; the others as pictures."""
MAX_RESIDENT = 1536 << 20
"""Bytes of memory that the service may take, with the small model."""

UNSCORED = ("not_applicable", "unable_to_evaluate")
VIDEOS = ("mp4", "webm")


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    unlimited = "99999/second"
    settings = {
        "DEEPFAKE_SUBMISSIONS_PER_ACCOUNT": unlimited,
        "DEEPFAKE_READS_PER_ACCOUNT": unlimited,
    }
    with Site(tmp_path, settings) as private:
        yield private


class Campaign:
    """Sends mutants to a site, and counts what it answers."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self.statuses: Counter[str] = Counter()
        self.verdicts: Counter[str] = Counter()
        self.reasons: Counter[str] = Counter()
        self.jobs: list[str] = []
        self.bundle = b""

    def post(self, client: httpx.Client, path: str, **content: Any) -> httpx.Response:
        """Post until the service has time, and return the answer."""
        while True:
            answer = client.post(path, **content)
            self.statuses[f"{path} {answer.status_code}"] += 1
            if answer.status_code != 503:
                assert answer.status_code < 500, (path, answer.text)
                return answer
            assert answer.json()["type"].endswith(":overloaded"), answer.text
            time.sleep(float(answer.headers["Retry-After"]) / 10)

    def count(self, result: dict[str, Any]) -> None:
        """Count a verdict: one without a score for what was not scored, with a reason."""
        verdict = result["verdict"]
        assert (result["score"] is None) == (verdict in UNSCORED), result
        self.verdicts[verdict] += 1
        self.reasons.update(reason["code"] for reason in result["reasons"])

    def pictures(self, client: httpx.Client, numbers: range) -> None:
        """Send mutants of pictures in one request."""
        mutants = [self._mutant(number, videos=False) for number in numbers]
        parts = [("files", (f"{n}.jpg", m)) for n, m in zip(numbers, mutants, strict=True)]
        answer = self.post(client, "/v1/frames", files=parts)
        frames = answer.json()["frames"]
        assert len(frames) == len(mutants)
        for frame in frames:
            self.count(frame)

    def videos(self, client: httpx.Client, numbers: range) -> None:
        """Submit a mutant of a video."""
        for number in numbers:
            mutant = self._mutant(number, videos=True)
            answer = self.post(client, "/v1/videos", files={"file": ("v.mp4", mutant)})
            if answer.is_success:
                self.jobs.append(answer.json()["id"])

    def bundles(self, client: httpx.Client, numbers: range) -> None:
        """Send mutants of a bundle; none of them may be verified."""
        for number in numbers:
            mutant = evidence.mutant(self.bundle, random.Random(f"{SEED}/bundle/{number}"))
            answer = self.post(client, "/v1/verify", content=mutant)
            if answer.is_success:
                result = answer.json()["result"]
                assert result == "failed", (number, answer.json())
                last = next(s for s in answer.json()["steps"] if s["outcome"] == "fail")["number"]
                self.verdicts[f"bundle {result} in step {last}"] += 1

    def _mutant(self, number: int, *, videos: bool) -> bytes:
        rng = random.Random(f"{SEED}/file/{number}")
        # A picture may come as a video, and the reverse.
        odd = rng.random() < 0.05
        seeds = [s for s in corpus() if (s.parent.name in VIDEOS) == (videos != odd)]
        seed = rng.choice([s for s in seeds if s.parent.name != "json"])
        return mutate(seed.parent.name, seed.read_bytes(), rng)

    def run(self, work: Callable[[httpx.Client, range], None], numbers: list[range]) -> None:
        """Do ``work`` on all ``numbers`` with several clients at once."""
        waiting = iter(numbers)

        def client(_: int) -> None:
            with self._site.client_of(ADMIN_KEY) as connection:
                for some in waiting:
                    try:
                        work(connection, some)
                    except Exception as error:
                        error.add_note(f"{work.__name__}: {some} of seed {SEED}")
                        raise

        with ThreadPoolExecutor(CLIENTS) as pool:
            list(pool.map(client, range(CLIENTS)))
        sys.stderr.write(f"\n{work.__name__}: {json.dumps([self.statuses, self.verdicts])}\n")

    def finish_jobs(self) -> None:
        """Wait until every job has ended, and count the verdicts."""
        with self._site.client as client:

            def ended() -> bool:
                return not any(
                    client.get("/v1/jobs", params={"state": state, "limit": 1}).json()["jobs"]
                    for state in ("queued", "running")
                )

            wait_until(ended, within_s=WAIT_S + 10 * len(self.jobs))
            for job_id in self.jobs:
                job = client.get(f"/v1/jobs/{job_id}").json()
                assert job["state"] == "succeeded", job
                self.count(job["result"])


def batches(count: int, size: int) -> list[range]:
    """Return ``range(count)`` in pieces."""
    return [range(start, min(start + size, count)) for start in range(0, count, size)]


def test_mutated_files_and_bundles_harm_nothing(site: Site) -> None:
    service = site.serve()
    campaign = Campaign(site)
    job = site.wait(site.submit(footage.encode(footage.panning(10, 320, 256)))["id"])
    with site.client as client:
        answer = client.get(f"/v1/jobs/{job['id']}/evidence")
        assert answer.status_code == 200, answer.text
        campaign.bundle = answer.content
        verified = client.post("/v1/verify", content=campaign.bundle).json()
    assert verified["result"] == "verified", verified
    started, videos = time.monotonic(), FILES // EVERY
    with Watch(service.popen.pid) as watch:
        campaign.run(campaign.videos, batches(videos, 1))
        campaign.run(campaign.pictures, [
            range(r.start + videos, r.stop + videos) for r in batches(FILES - videos, BATCH)
        ])  # fmt: skip
        campaign.run(campaign.bundles, batches(BUNDLES, 1))
        campaign.finish_jobs()
        replaced = len(watch.descendants - watch.living())
    figures = {
        "files": FILES, "bundles": BUNDLES, "clients": CLIENTS, "seed": SEED,
        "seconds": round(time.monotonic() - started),
        "statuses": campaign.statuses, "verdicts": campaign.verdicts, "reasons": campaign.reasons,
        "child_processes_that_ended": replaced,
        "peak_mib": watch.peak >> 20, "peak_mib_of_a_child": watch.peak_of_child >> 20,
    }  # fmt: skip
    sys.stderr.write(f"\n{json.dumps(figures, indent=1, sort_keys=True)}\n")
    assert service.alive
    assert watch.peak < MAX_RESIDENT
    with site.client as client:
        assert client.get("/readyz").status_code == 200
        assert client.post("/v1/verify", content=campaign.bundle).json()["result"] == "verified"
    assert "Traceback" not in service.log
    assert service.stop() == 0
