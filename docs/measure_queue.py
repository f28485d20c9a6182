"""Measure the pages of a large queue: ``python docs/measure_queue.py [ITEMS]``.

Stores cases with one examined item each in a temporary installation with SQLite, and prints how
long the console takes for pages of the queue: the first, one in the middle, and searches.
"""

from __future__ import annotations

import functools
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

from deepfake_service.casework.core.listings import ListedResult, begin_listing, end_listing
from deepfake_service.casework.triage import Asked, Tab, Triage
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
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(data_dir=Path(folder), log_format="console")
        database = open_database(settings)
        accounts = Accounts(database)
        accounts.create("analyst", "person", Role.ANALYST)
        caller = accounts.authenticate(accounts.create_key("analyst").text)
        keys = open_keys(settings)
        blobs = open_blobs(settings.blob_url, settings.data_dir / BLOB_FOLDER)
        vault = Vault(blobs, open_case_keys(settings, keys, database.clock))
        for start in range(0, items, BATCH):
            _fill(database, vault, caller, range(start, min(start + BATCH, items)))
        triage = Triage(database, vault)
        middle = None
        for _ in range(items // 400):
            middle = triage.page(caller, Asked(limit=200, cursor=middle)).next
        pages = {
            "first page, worst first": Asked(),
            "page in the middle": Asked(cursor=middle),
            "all items, newest first": Asked(Tab.ALL),
            "search that finds a page": Asked(Tab.ALL, text="clip-1"),
            "search that finds nothing": Asked(Tab.ALL, text="nothing"),
        }
        for name, asked in pages.items():
            _report(name, functools.partial(triage.page, caller, asked))
        _report("counts of the tabs", functools.partial(triage.counts, caller))


def _fill(database: Database, vault: Vault, caller: Caller, numbers: range) -> None:
    with database.write() as session:
        for number in numbers:
            case_id, at = new_id(), database.clock() - timedelta(minutes=number)
            key, wrapped = vault.new_case_key(case_id)
            case = Case(
                id=case_id, account_id=caller.account_id, wrapped_key=wrapped, created_at=at
            )
            seal_json(key, case, {"reference": f"2026-{number:05}"})
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


def _report(name: str, act: Callable[[], object]) -> None:
    seconds, busy = [], []
    for _ in range(REPEATS):
        begun, processor = time.perf_counter(), time.process_time()
        act()
        seconds.append(time.perf_counter() - begun)
        busy.append(time.process_time() - processor)
    sys.stdout.write(
        f"{name:28} median {1000 * statistics.median(seconds):6.0f} ms, "
        f"longest {1000 * max(seconds):6.0f} ms, "
        f"processor {1000 * statistics.median(busy):6.0f} ms\n"
    )


if __name__ == "__main__":
    main()
