"""The real service and its workers as processes, which tests call, watch, stop and kill."""

from __future__ import annotations

import contextlib
import os
import random
import re
import signal
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import httpx
from pydantic import SecretStr
from sqlalchemy import Engine, event, select

from deepfake_service.accounts.accounts import Accounts, Kind, Role
from deepfake_service.audit.log import Action, verify
from deepfake_service.audit.records import authenticate_rows
from deepfake_service.platform.clock import utc_now
from deepfake_service.platform.db import AuditEntry, Database
from deepfake_service.platform.settings import Settings
from deepfake_service.platform.storage import open_keys, open_vault
from deepfake_service.platform.storage.vault import LONGEST_UPLOAD
from deepfake_service.retention.orphans import COMMITTED_WITHIN, delete_orphans
from tests.support import forking
from tests.support.footage import clip
from tests.support.programs import held_jobs
from tests.support.small_bundles import small_bundle_dir

ADMIN_KEY = "an-administrators-key-for-tests-0123456789"
WAIT_S = 240.0
"""A start or a job takes a second or two on an idle machine. A busy one needs longer, and
what hangs never ends."""
POLL_S, POLL_JOB_S = 0.05, 0.2
"""How often a condition, and the end of a job, are looked for: looking takes processor time from
what is awaited."""
NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""Given to each client, as services under test speak plain HTTP: by default a client loads all
authorities that are trusted, which takes longer than a request."""


def wait_until(
    condition: Callable[[], Any],
    explain: Callable[[], str] = str,
    *,
    every_s: float = POLL_S,
    within_s: float = WAIT_S,
) -> Any:
    """Return the first true result of ``condition``, which is called every ``every_s`` seconds.

    Raises ``AssertionError`` with the text of ``explain()`` after ``within_s`` seconds.
    """
    deadline = time.monotonic() + within_s
    while not (result := condition()):
        assert time.monotonic() < deadline, explain()
        time.sleep(every_s)
    return result


@dataclass
class Process:
    """A process of the service, in a group of its own so that its decoders are killed with it."""

    popen: subprocess.Popen[bytes] | forking.ForkedProcess
    log_path: Path

    @property
    def log(self) -> str:
        """What it has written to standard output and standard error."""
        return self.log_path.read_text()

    @property
    def alive(self) -> bool:
        return self.popen.poll() is None

    def kill(self) -> None:
        """``kill -9`` the process and its children."""
        with contextlib.suppress(ProcessLookupError):  # it has ended by itself
            os.killpg(self.popen.pid, signal.SIGKILL)
        self.popen.wait()

    def stop(self) -> int:
        """Ask it to stop and return its exit code."""
        self.popen.send_signal(signal.SIGTERM)
        return self.popen.wait(90)

    def wait_for_log(self, pattern: str) -> str:
        """Wait until a line of the log matches ``pattern`` and return the match's first group."""

        def matched() -> re.Match[str] | None:
            match = re.search(pattern, self.log)
            assert match or self.alive, self.log
            return match

        match: re.Match[str] = wait_until(matched, lambda: self.log)
        return match[1]


@dataclass
class Site:
    """An installation: a data directory, a folder for temporary files, and its processes.

    It runs the small bundle unless ``settings`` name another. Leaving the ``with`` block kills
    the processes.
    """

    root: Path
    settings: Mapping[str, str] = field(default_factory=dict)
    processes: list[Process] = field(default_factory=list)
    url: str = ""
    program: str = forking.MODULE
    """The module that its processes run."""
    namespace: str | None = None
    """The network in which its processes run; see ``machines``."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Kill the processes that still run."""
        for process in self.processes:
            if process.alive:
                process.kill()

    @property
    def environment(self) -> dict[str, str]:
        """The environment variables of this site's processes."""
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("DEEPFAKE_")}
        return {
            **inherited,
            "TMPDIR": str(self.root / "tmp"),
            "DEEPFAKE_DATA_DIR": str(self.root / "var"),
            "DEEPFAKE_PORT": "0",
            "DEEPFAKE_ADMIN_KEY": ADMIN_KEY,
            "DEEPFAKE_BUNDLE_DIR": str(small_bundle_dir()),
            # Most tests submit and review with the administrator's key.
            "DEEPFAKE_SUBMITTER_CONFIRMS": "always",
            **self.settings,
        }

    @contextlib.contextmanager
    def database(self) -> Iterator[Database]:
        """Open the site's database beside its processes."""
        sqlite = f"sqlite:///{self.root}/var/records.sqlite"
        opened = Database(self.settings.get("DEEPFAKE_DATABASE_URL", sqlite))
        with contextlib.closing(opened):
            authenticate_rows(opened, self._key_settings())
            yield opened

    def _key_settings(self) -> Settings:
        """Return what says where the data and the master key are."""
        master_key = self.settings.get("DEEPFAKE_MASTER_KEY")
        return Settings(
            data_dir=self.root / "var", master_key=SecretStr(master_key) if master_key else None
        )

    def command(self, *words: str, expected: int = 0) -> str:
        """Run ``deepfake WORDS`` and return its standard output followed by its standard error."""
        done = forking.run(words, self.environment)
        assert done.returncode == expected, done.stdout + done.stderr
        return done.stdout + done.stderr

    def create_key(self, name: str, role: str, kind: Kind = "person") -> str:
        """Create an account and return a key of it, without the cost of two commands."""
        with self.database() as database:
            accounts = Accounts(database)
            accounts.create(name, kind, Role(role))
            return accounts.create_key(name).text

    def start(self, *words: str, program: str | None = None, **settings: str) -> Process:
        """Start ``deepfake WORDS`` on this site, with ``settings`` of its own.

        ``program`` is the module that is run, if it is not the site's.
        """
        (self.root / "tmp").mkdir(parents=True, exist_ok=True)
        log = self.root / f"log-{len(self.processes)}"
        environment = {**self.environment, **settings}
        with log.open("wb") as file:
            popen = forking.start(
                words, environment, (file, file),
                program=program or self.program, namespace=self.namespace,
            )  # fmt: skip
        process = Process(popen, log)
        self.processes.append(process)
        return process

    def serve(self, *words: str) -> Process:
        """Start the service and wait until it accepts requests."""
        process = self.start("serve", *words)
        self.url = process.wait_for_log(r"Serving on (http://\S+)")

        def ready() -> bool:
            assert process.alive, process.log
            return self.is_ready()

        wait_until(ready, lambda: process.log)
        return process

    def is_ready(self) -> bool:
        """Return whether it accepts requests."""
        with contextlib.suppress(httpx.HTTPError):
            return httpx.get(f"{self.url}/readyz", verify=NO_TLS).status_code == 200
        return False

    def worker(self, program: str | None = None, **settings: str) -> Process:
        """Start a worker, with ``settings`` of its own, and wait until it takes jobs."""
        process = self.start("worker", program=program, **settings)
        process.wait_for_log(r"(worker_started)")
        return process

    def hold(self) -> None:
        """Let the examinations and captures of its ``held_jobs`` stop half-way."""
        self._held.parent.mkdir(parents=True, exist_ok=True)
        self._held.touch()

    def release(self) -> None:
        """Let them go on."""
        self._held.unlink()

    @property
    def holds(self) -> bool:
        """Return whether they are to stop."""
        return self._held.exists()

    @property
    def _held(self) -> Path:
        return self.root / "tmp" / held_jobs.HOLD

    @property
    def client(self) -> httpx.Client:
        """A new client with the administrator's key."""
        return self.client_of(ADMIN_KEY)

    def client_of(self, key: str) -> httpx.Client:
        """Return a new client that sends ``key``."""
        return httpx.Client(
            base_url=self.url,
            headers={"Authorization": f"Bearer {key}"},
            timeout=120,
            verify=NO_TLS,
        )

    def browser(self) -> httpx.Client:
        """Return a new client that says where its requests come from, as a browser does."""
        return httpx.Client(
            base_url=self.url, headers={"Origin": self.url}, timeout=60, verify=NO_TLS
        )

    def submit(self, video: bytes, **fields: str) -> dict[str, Any]:
        """Submit a video and return the job."""
        with self.client as client:
            answer = client.post("/v1/videos", files={"file": ("v.mp4", video)}, data=fields)
        assert answer.status_code in (200, 202), answer.text
        job: dict[str, Any] = answer.json()
        return job

    def job(self, job_id: str) -> dict[str, Any]:
        """Return a job as the service describes it."""
        with self.client as client:
            answer = client.get(f"/v1/jobs/{job_id}")
        assert answer.status_code == 200, answer.text
        job: dict[str, Any] = answer.json()
        return job

    def wait(self, job_id: str, *states: str) -> dict[str, Any]:
        """Wait until a job is in one of ``states`` (by default: has ended) and return it."""
        awaited = states or ("succeeded", "failed", "cancelled", "expired")

        def reached() -> dict[str, Any] | None:
            job = self.job(job_id)
            return job if job["state"] in awaited else None

        def explain() -> str:
            return f"{self.job(job_id)} {self.processes[-1].log[-3000:]}"

        # Who waits for a state on the way to the end acts while the job is in it.
        every_s = POLL_S if states else POLL_JOB_S
        job: dict[str, Any] = wait_until(reached, explain, every_s=every_s)
        return job

    def wait_until_begun(self, job_id: str) -> None:
        """Wait until the first chunk of a held job has been examined."""

        def begun() -> bool:
            job = self.job(job_id)
            assert job["state"] in ("queued", "running"), job
            return bool(job["progress"]["done"] >= held_jobs.CHUNK_FRAMES)

        wait_until(begun, lambda: self.processes[-1].log[-3000:])

    def metric(self, name: str) -> float:
        """Return the value of a metric without labels."""
        with self.client as client:
            text = client.get("/metrics").text
        match = re.search(rf"^{name} (\S+)$", text, re.MULTILINE)
        assert match, text
        return float(match[1])

    def blobs(self) -> list[Path]:
        """Return the files in the store of media and results."""
        return files_in(self.root / "var" / "blobs")

    def delete_orphans(self) -> None:
        """Delete what a killed process had begun to write, as the worker does hours later."""
        settings = self._key_settings()
        vault = open_vault(settings, open_keys(settings))
        with self.database() as database:
            database.clock = lambda: utc_now() + 2 * (LONGEST_UPLOAD + COMMITTED_WITHIN)
            delete_orphans(database, vault)

    def files_containing(self, needle: bytes) -> list[Path]:
        """Return the files that contain ``needle``, of all that the service can write."""
        folders = (self.root / "var", self.root / "tmp")
        return [path for folder in folders for path in files_containing(folder, needle)]

    def finished_jobs(self) -> list[str]:
        """Verify the audit log and return the jobs' ids in the order in which they ended."""
        with self.database() as database, database.read() as session:
            verify(session)
            entries = session.scalars(
                select(AuditEntry).where(AuditEntry.action == str(Action.JOB_FINISHED))
            )
            return [str(e.subject) for e in entries]


def campaign(site: Site, *, jobs: int, kills: int, seed: int, frames: int = 40) -> None:
    """Kill the service ``kills`` times while ``jobs`` jobs run, and assert that each ends once and
    has one edition of its evidence, and that the audit log is whole.

    Each job examines all of a clip of this many ``frames``.
    """
    rng = random.Random(seed)
    marker = b"known-bytes-of-the-media-9876543210"
    videos = [clip(n, frames, marker) for n in range(jobs)]
    service = site.serve()
    submitted = [site.submit(video, frames=str(frames))["id"] for video in videos]
    for _ in range(kills):
        time.sleep(rng.uniform(0.0, 3.0))  # a random moment of the work, not a wait for it
        service.kill()
        service = site.serve()
    for job_id in submitted:
        job = site.wait(job_id)
        assert job["state"] == "succeeded", job
    assert sorted(site.finished_jobs()) == sorted(submitted)
    with site.client as client:
        listed = [job["id"] for job in client.get("/v1/jobs?limit=200").json()["jobs"]]
        assert sorted(listed) == sorted(submitted)
        for job_id in submitted:
            assert client.get(f"/v1/jobs/{job_id}/evidence").status_code == 200
            editions = client.get(f"/v1/jobs/{job_id}/evidence/editions").json()["editions"]
            assert [edition["edition"] for edition in editions] == [1]
    again = [site.submit(video, frames=str(frames))["id"] for video in videos]
    assert again == submitted
    service.stop()
    assert "intact" in site.command("audit", "verify")
    assert not site.files_containing(marker)


INTERVAL_S = 0.1


def resident(pid: int) -> int:
    """Return the resident memory of a process, in bytes; 0 if it has ended."""
    with contextlib.suppress(OSError):
        status = Path(f"/proc/{pid}/status").read_text()
        fields = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
        return int(fields.get("VmRSS", "0 kB").split()[0]) * 1024
    return 0


def files_in(folder: Path) -> list[Path]:
    """Return the files in ``folder`` and below it."""
    # Not rglob, which fails if a folder is deleted while it is listed.
    return [Path(parent, name) for parent, _, names in os.walk(folder) for name in names]


def files_containing(folder: Path, needle: bytes) -> list[Path]:
    """Return the files in ``folder`` that contain ``needle``."""
    found = []
    for path in files_in(folder):
        with contextlib.suppress(FileNotFoundError):  # deleted since it was listed
            if needle in path.read_bytes():
                found.append(path)
    return found


@contextlib.contextmanager
def statements(engine: Engine) -> Iterator[list[str]]:
    """Collect the SQL that is executed while the context lasts."""
    seen: list[str] = []

    def see(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        seen.append(statement)

    event.listen(engine, "before_cursor_execute", see)
    try:
        yield seen
    finally:
        event.remove(engine, "before_cursor_execute", see)


def children(pid: int) -> list[int]:
    """Return the processes that the threads of a process have started."""
    found: list[int] = []
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            with contextlib.suppress(OSError):
                found.extend(map(int, (task / "children").read_text().split()))
    return found


def running(pid: int) -> bool:
    """Return whether a process is there, and has not ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):  # the latter if it ends while it is read
        return False


class Watch:
    """Samples a process and its descendants while the context lasts."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.peak = 0
        """Largest resident memory of the process, in bytes."""
        self.peak_of_child = 0
        """Largest resident memory of one of its descendants, in bytes."""
        self.descendants: set[int] = set()
        """Every descendant that was seen."""

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(INTERVAL_S):
            self.peak = max(self.peak, resident(self._pid))
            for child in self.living():
                self.descendants.add(child)
                self.peak_of_child = max(self.peak_of_child, resident(child))

    def living(self) -> set[int]:
        """Return the descendants that run now."""
        found: set[int] = set()
        waiting = [self._pid]
        while waiting:
            new = set(children(waiting.pop())) - found
            found |= new
            waiting.extend(new)
        return found
