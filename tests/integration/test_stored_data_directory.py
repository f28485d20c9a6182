"""A data directory of an earlier release opens after an upgrade, finishes its jobs and verifies.

``tests/support/stored_release.py`` makes such a directory in ``tests/assets/stored``. The tests use
the service from outside only, as an upgraded installation would.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import shutil
import sqlite3
import tarfile
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from tests.support.programs import short_leases
from tests.support.servers import Site, wait_until
from tests.support.stored_release import DETECTORS, site_of, steps

STORED = Path(__file__).parents[1] / "assets" / "stored"
RELEASES = sorted(STORED.glob("data-directory-*.tar.xz"))
SCORES_DIFFER = 0.01
"""Machines differ in the last digits of decoded pixels and of sums."""

Opened = tuple[Site, dict[str, Any]]


@pytest.fixture(scope="module", params=RELEASES, ids=lambda p: p.name.removesuffix(".tar.xz"))
def opened(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Opened]:
    """Start the service on a stored directory, and yield what its JSON file says of it as well."""
    archive: Path = request.param
    said = Path(str(archive).replace(".tar.xz", ".json")).read_text(encoding="utf-8")
    root = tmp_path_factory.mktemp("stored")
    with tarfile.open(archive) as packed:
        packed.extractall(root, filter="data")
    bundle = root / "bundle"
    digests = json.loads((bundle / "bundle.json").read_text())["files"]
    for name in DETECTORS:
        shipped = Path(str(files("deepfake_models"))) / "bundles" / "default" / name
        digest = hashlib.sha256(shipped.read_bytes()).hexdigest()
        assert digest == digests[name], f"{name} has changed: store the old one"
        shutil.copy(shipped, bundle)
    with site_of(root) as site:
        site.program = short_leases.__name__
        site.serve()
        yield site, json.loads(said)


def finished(site: Site, stored: dict[str, Any]) -> dict[str, Any]:
    """Wait until a job of the directory has ended, and compare its result."""
    job = site.wait(stored["id"])
    for name in ("case_id", "media_id", "sha256", "size", "verdict"):
        assert job[name] == stored[name], name
    assert job["result"]["score"] == pytest.approx(stored["score"], abs=SCORES_DIFFER)
    assert len(job["result"]["faces"]) == stored["faces"]
    return job


def verify(site: Site, expected: dict[str, Any], job_id: str, query: str, folder: Path) -> str:
    """Verify an edition with the key that was published then, and return its SHA-256."""
    with site.client_of(expected["key"]) as analyst:
        content = analyst.get(f"/v1/jobs/{job_id}/evidence{query}").content
    (folder / "edition.zip").write_bytes(content)
    (folder / "key.pem").write_text(expected["statement_key_pem"])
    words = ("verify", str(folder / "edition.zip"), "--public-key", str(folder / "key.pem"))
    output = site.command(*words, "--rescore", "--json")
    assert json.loads(output)["result"] == "verified", output
    return hashlib.sha256(content).hexdigest()


def test_the_job_of_a_killed_worker_is_resumed(opened: Opened, tmp_path: Path) -> None:
    site, expected = opened
    job = finished(site, expected["jobs"]["begun"])
    records = site.root / "var" / "records.sqlite"
    # The last step follows the end of the job.
    wait_until(lambda: steps(records, job["id"])[-1] == "issue_evidence")
    assert steps(records, job["id"])[: len(expected["steps"])] == expected["steps"]
    verify(site, expected, job["id"], "", tmp_path)


def test_a_job_that_was_never_begun_is_examined(opened: Opened, tmp_path: Path) -> None:
    site, expected = opened
    verify(site, expected, finished(site, expected["jobs"]["queued"])["id"], "", tmp_path)


def test_evidence_of_then_verifies_and_is_followed_by_new_editions(
    opened: Opened, tmp_path: Path
) -> None:
    site, expected = opened
    job = finished(site, expected["jobs"]["done"])
    assert (job["finding"], job["media_kept"]) == ("confirmed", True)
    for number, digest in expected["editions"].items():
        assert verify(site, expected, job["id"], f"?edition={number}", tmp_path) == digest
    with site.client_of(expected["key"]) as analyst:
        case = f"/v1/cases/{job['case_id']}"
        medium = analyst.get(f"{case}/media/{job['media_id']}/content").content
        assert hashlib.sha256(medium).hexdigest() == job["sha256"]
        assert analyst.get(case).json()["occurrences"][0]["note"] == "보관"
        review = {"decision": "undecided", "reason": "Seen again by a later version."}
        assert analyst.post(f"/v1/jobs/{job['id']}/reviews", json=review).status_code == 201
        editions = analyst.get(f"/v1/jobs/{job['id']}/evidence/editions").json()["editions"]
    assert len(editions) == len(expected["editions"]) + 1
    verify(site, expected, job["id"], "", tmp_path)


def test_its_audit_log_is_intact_and_continued(opened: Opened) -> None:
    site, expected = opened
    now, then = (
        re.search(r"(\d+) entries, last hash ([0-9a-f]{64})", text)
        for text in (site.command("audit", "verify"), expected["audit"])
    )
    assert now is not None
    assert then is not None
    assert int(now[1]) > int(then[1])
    with contextlib.closing(sqlite3.connect(site.root / "var" / "records.sqlite")) as records:
        query = "SELECT hash FROM audit WHERE number = ?"
        assert records.execute(query, (int(then[1]),)).fetchone() == (then[2],)
