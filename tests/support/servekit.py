"""The real service and its workers as processes, to be asked, stopped and killed."""

from __future__ import annotations

import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from sqlalchemy import select

from deepfake_service.db import AuditEntry, Database
from deepfake_service.security.audit_log import Action, verify
from tests.support.bundlekit import small_bundle_dir
from tests.support.mediakit import clip

ADMIN_KEY = "an-administrators-key-for-tests-0123456789"
START_S = 120.0
"""A start takes two seconds here; a loaded machine may take long, and a hung one for ever."""


@dataclass
class Process:
    """One process of the service, in a group of its own so that its decoders die with it."""

    popen: subprocess.Popen[bytes]
    log: Path

    def kill(self) -> None:
        """``kill -9`` of the process and its children."""
        os.killpg(self.popen.pid, signal.SIGKILL)
        self.popen.wait()

    def stop(self) -> int:
        """Ask it to stop; its exit code."""
        self.popen.send_signal(signal.SIGTERM)
        return self.popen.wait(90)

    @property
    def alive(self) -> bool:
        return self.popen.poll() is None


@dataclass
class Site:
    """An installation: a data directory, a folder for temporary files, and what runs on them."""

    root: Path
    settings: Mapping[str, str] = field(default_factory=dict)
    processes: list[Process] = field(default_factory=list)
    url: str = ""

    @property
    def environment(self) -> dict[str, str]:
        """What a process of this site runs in."""
        kept = {k: v for k, v in os.environ.items() if not k.startswith("DEEPFAKE_")}
        return {
            **kept,
            "TMPDIR": str(self.root / "tmp"),
            "DEEPFAKE_DATA_DIR": str(self.root / "var"),
            "DEEPFAKE_PORT": "0",
            "DEEPFAKE_ADMIN_KEY": ADMIN_KEY,
            "DEEPFAKE_BUNDLE_DIR": str(small_bundle_dir()),
            "DEEPFAKE_DECODE_WORKERS": "1",
            "DEEPFAKE_THREADS": "1",
            **self.settings,
        }

    def command(self, *words: str, expected: int = 0) -> str:
        """Run ``deepfake WORDS`` to its end; what it printed, standard output first."""
        done = subprocess.run(
            [sys.executable, "-m", "deepfake_service", *words], env=self.environment,
            stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == expected, done.stdout + done.stderr
        return done.stdout + done.stderr

    def start(self, *words: str) -> Process:
        """Start ``deepfake WORDS`` on this site."""
        (self.root / "tmp").mkdir(parents=True, exist_ok=True)
        log = self.root / f"log-{len(self.processes)}"
        with log.open("wb") as file:
            popen = subprocess.Popen(
                [sys.executable, "-m", "deepfake_service", *words],
                env=self.environment, stdin=subprocess.DEVNULL, stdout=file, stderr=file,
                start_new_session=True,
            )  # fmt: skip
        process = Process(popen, log)
        self.processes.append(process)
        return process

    def serve(self, *words: str) -> Process:
        """Start the service and wait until it takes requests."""
        process = self.start("serve", *words)
        self.url = self._wait_for(process, r"Serving on (http://\S+)")
        deadline = time.monotonic() + START_S
        while True:
            try:
                if httpx.get(f"{self.url}/readyz").status_code == 200:
                    return process
            except httpx.HTTPError:
                pass
            assert process.alive, process.log.read_text()
            assert time.monotonic() < deadline, process.log.read_text()
            time.sleep(0.05)

    def worker(self) -> Process:
        """Start a worker and wait until it works."""
        process = self.start("worker")
        self._wait_for(process, r"(worker_started)")
        return process

    def _wait_for(self, process: Process, pattern: str) -> str:
        deadline = time.monotonic() + START_S
        while not (found := re.search(pattern, process.log.read_text())):
            assert process.alive, process.log.read_text()
            assert time.monotonic() < deadline, process.log.read_text()
            time.sleep(0.05)
        return found[1]

    @property
    def client(self) -> httpx.Client:
        return httpx.Client(
            base_url=self.url, headers={"Authorization": f"Bearer {ADMIN_KEY}"}, timeout=60
        )

    def submit(self, video: bytes, **fields: str) -> dict[str, Any]:
        """Submit a video; the job."""
        with self.client as client:
            answer = client.post("/v1/videos", files={"file": ("v.mp4", video)}, data=fields)
        assert answer.status_code in (200, 202), answer.text
        job: dict[str, Any] = answer.json()
        return job

    def job(self, job_id: str) -> dict[str, Any]:
        with self.client as client:
            answer = client.get(f"/v1/jobs/{job_id}")
        assert answer.status_code == 200, answer.text
        job: dict[str, Any] = answer.json()
        return job

    def wait(self, job_id: str, *states: str, within_s: float = 120.0) -> dict[str, Any]:
        """Wait until a job is in one of ``states`` (by default: over)."""
        wanted = states or ("succeeded", "failed", "cancelled", "expired")
        deadline = time.monotonic() + within_s
        while True:
            job = self.job(job_id)
            if job["state"] in wanted:
                return job
            assert time.monotonic() < deadline, (
                f"{job} {self.processes[-1].log.read_text()[-3000:]}"
            )
            time.sleep(0.1)

    def files_with(self, needle: bytes) -> list[Path]:
        """Files that the service could write to which hold ``needle``."""
        return [
            path
            for folder in ("var", "tmp")
            for path in (self.root / folder).rglob("*")
            if path.is_file() and needle in path.read_bytes()
        ]

    def close(self) -> None:
        for process in self.processes:
            if process.alive:
                process.kill()


def database(site: Site) -> Database:
    return Database(f"sqlite:///{site.root}/var/records.sqlite")


def finished(site: Site) -> list[str]:
    """Ids of jobs in the order in which the audit log says that they ended."""
    with database(site).read() as session:
        verify(session)
        entries = session.scalars(
            select(AuditEntry).where(AuditEntry.action == str(Action.JOB_FINISHED))
        )
        return [str(e.subject) for e in entries]


def campaign(site: Site, *, jobs: int, kills: int, seed: int) -> None:
    """Kill the service ``kills`` times while ``jobs`` jobs run; all end, once each."""
    rng = random.Random(seed)
    marker = b"known-bytes-of-the-media-9876543210"
    service = site.serve()
    submitted = [site.submit(clip(n, marker=marker))["id"] for n in range(jobs)]
    for _ in range(kills):
        time.sleep(rng.uniform(0.0, 3.0))
        service.kill()
        service = site.serve()
    for job_id in submitted:
        job = site.wait(job_id)
        assert job["state"] == "succeeded", job
    ended = finished(site)
    assert sorted(ended) == sorted(submitted)
    service.stop()
    assert not site.files_with(marker)
