"""Measure the pages of a large queue: ``PYTHONPATH=. python docs/measure_queue.py [ITEMS]``.

Stores cases with one examined item each in a temporary installation with SQLite, starts the
service on it, and prints how long the console takes for pages of the queue over HTTP: the first,
one in the middle, filters, searches, an item, and the counts of the tabs alone.
"""

from __future__ import annotations

import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

from tests.support.servekit import Site

from deepfake_service.casework.core.blind_index import BlindIndex
from deepfake_service.casework.core.listings import ListedResult, begin_listing, end_listing
from deepfake_service.casework.triage import Asked, Triage
from deepfake_service.db import Case, Database, Job, Media, new_id
from deepfake_service.db.enums import JobState, Role
from deepfake_service.security.accounts import Accounts, Caller
from deepfake_service.security.records import open_database
from deepfake_service.settings import Settings
from deepfake_service.storage import (
    BLOB_FOLDER,
    Vault,
    open_blobs,
    open_case_keys,
    open_keys,
    seal_json,
)

ITEMS, REPEATS, BATCH = 10_000, 7, 500


def main() -> None:
    """Fill a queue and print the median and the longest time of each page, in milliseconds."""
    items = int(sys.argv[1]) if len(sys.argv) > 1 else ITEMS
    with tempfile.TemporaryDirectory() as folder, Site(Path(folder)) as site:
        settings = Settings(data_dir=site.root / "var")
        database = open_database(settings)
        accounts = Accounts(database)
        accounts.create("analyst", "person", Role.ANALYST)
        key = accounts.create_key("analyst").text
        caller = accounts.authenticate(key)
        keys = open_keys(settings)
        blobs = open_blobs(settings.blob_url, settings.data_dir / BLOB_FOLDER)
        vault = Vault(blobs, open_case_keys(settings, keys, database.clock))
        index = BlindIndex(database, keys)
        for start in range(0, items, BATCH):
            _fill(database, (vault, index), caller, range(start, min(start + BATCH, items)))
        triage = Triage(database, vault)
        middle, job = None, ""
        for _ in range(items // 400):
            page = triage.page(caller, Asked(limit=200, cursor=middle))
            middle, job = page.next, page.jobs[0]["id"]
        _report("counts of the tabs, without HTTP", lambda: triage.counts(caller))
        service = site.serve().popen.pid
        with site.browser() as browser:
            browser.post("/sign-in", data={"key": key})
            for name, path, query in (
                ("first page, worst first", "/", {}),
                ("page in the middle", "/", {"cursor": middle}),
                ("tab of what to look at first", "/", {"tab": "first"}),
                ("tab of later items", "/", {"tab": "later"}),
                ("all items, newest first", "/", {"tab": "all"}),
                ("filter by verdict", "/", {"verdict": "likely_manipulated"}),
                ("filter by age and account", "/", {"days": "7", "whose": "mine"}),
                ("search that finds a page", "/", {"q": "clip-1"}),
                ("search for a whole reference", "/", {"q": f"2026-{items // 2:05}"}),
                ("search that finds nothing", "/", {"q": "nothing"}),
                ("an item", f"/items/{job}", {}),
                ("the next item to review", f"/items/{job}/next", {}),
                ("notices", "/notices", {}),
            ):
                busy = _busy_s(service)
                _report(name, lambda: browser.get(path, params=query))  # noqa: B023
                busy = (_busy_s(service) - busy) / REPEATS
                sys.stdout.write(f"{'':34} processor of the service {1000 * busy:4.0f} ms\n")
        sys.stdout.write(f"load of this machine: {os.getloadavg()[0]:.1f}\n")


def _fill(
    database: Database, sealing: tuple[Vault, BlindIndex], caller: Caller, numbers: range
) -> None:
    vault, index = sealing
    with database.write() as session:
        for number in numbers:
            reference = f"2026-{number:05}"
            case_id, at = new_id(), database.clock() - timedelta(minutes=number)
            key, wrapped = vault.new_case_key(case_id)
            case = Case(
                id=case_id, account_id=caller.account_id, wrapped_key=wrapped, created_at=at,
                reference=index.of("reference", caller.account_id, reference),
            )  # fmt: skip
            seal_json(key, case, {"reference": reference})
            media = Media(id=new_id(), case_id=case_id, sha256="0" * 64, size=10**6, created_at=at)
            llr = random.uniform(-1.8, 1.8)  # noqa: S311
            verdict = "likely_manipulated" if llr > 1.5 else "inconclusive"
            job = Job(
                id=new_id(), case_id=case_id, media_id=media.id, account_id=caller.account_id,
                kind="video", state=JobState.SUCCEEDED, priority="batch", bundle_sha256="0" * 64,
                retention="standard", created_at=at, verdict=verdict,
                leaning="towards_manipulated" if llr > 0.5 else "neither",
            )  # fmt: skip
            for row in (case, media, job):
                session.add(row)
                session.flush()
            begin_listing(session, key, job.id, f"clip-{number}.mp4", "example.org")
            values = {"llr": llr, "low": -0.5, "high": 1.5, "limit": 1.8, "duration_s": 12.0}
            end_listing(session, key, job, ListedResult(values, bytes(500)))


def _busy_s(pid: int) -> float:
    """Return the processor time of a process of Linux, in seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _report(name: str, act: Callable[[], object]) -> None:
    seconds = []
    for _ in range(REPEATS):
        begun = time.perf_counter()
        act()
        seconds.append(time.perf_counter() - begun)
    sys.stdout.write(
        f"{name:34} median {1000 * statistics.median(seconds):6.0f} ms, "
        f"longest {1000 * max(seconds):6.0f} ms\n"
    )


if __name__ == "__main__":
    main()
