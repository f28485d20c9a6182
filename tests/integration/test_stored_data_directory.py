"""A data directory of an earlier version opens after an upgrade, finishes its jobs and verifies.

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
import time
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from tests.support import short_leases
from tests.support.servekit import Site

STORED = Path(__file__).parents[1] / "assets" / "stored"
VERSIONS = sorted(STORED.glob("data-directory-*.tar.xz"))
DETECTORS = ("pnet.onnx", "rnet.onnx", "onet.onnx")
WITHIN_S = 120.0
SCORES_DIFFER = 0.01
"""Machines differ in the last digits of decoded pixels and of sums."""

Expected = dict[str, Any]
Rows = list[tuple[Any, ...]]


@pytest.fixture(scope="module", params=VERSIONS, ids=lambda p: p.name.removesuffix(".tar.xz"))
def opened(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Site, Expected, Rows]]:
    """Start the service on a stored directory.

    Yields the installation, what its JSON file says of it, and the steps that were stored.
    """
    archive: Path = request.param
    expected: Expected = json.loads(
        archive.with_name(archive.name.replace(".tar.xz", ".json")).read_text(encoding="utf-8")
    )
    root = tmp_path_factory.mktemp("stored")
    with tarfile.open(archive) as packed:
        packed.extractall(root, filter="data")
    _with_detectors(root / "bundle")
    site = Site(
        root,
        {
            **expected["settings"],
            "DEEPFAKE_ADMIN_KEY": expected["keys"]["admin"],
            "DEEPFAKE_BUNDLE_DIR": str(root / "bundle"),
        },
        program=short_leases.__name__,
    )
    kept = _kept(site)
    try:
        site.serve()
        yield site, expected, kept
    finally:
        site.close()


def _with_detectors(bundle: Path) -> None:
    """Add the detectors, which are not stored, from the shipped bundle with the same digests."""
    shipped = Path(str(files("deepfake_models") / "bundles" / "default"))
    digests = json.loads((bundle / "bundle.json").read_text())["files"]
    for name in DETECTORS:
        content = (shipped / name).read_bytes()
        assert hashlib.sha256(content).hexdigest() == digests[name], (
            f"{name} has changed: store the old one"
        )
        shutil.copy(shipped / name, bundle / name)


def _rows(site: Site, statement: str, *values: object) -> Rows:
    with contextlib.closing(sqlite3.connect(site.root / "var" / "records.sqlite")) as records:
        return records.execute(statement, values).fetchall()


def _kept(site: Site) -> Rows:
    return _rows(
        site,
        "SELECT workflow_uuid, function_id, function_name, output, completed_at_epoch_ms "
        "FROM operation_outputs ORDER BY workflow_uuid, function_id",
    )


def _finished(site: Site, expected: Expected, name: str) -> Expected:
    """Wait until a job of the directory has ended, and compare its result."""
    stored = expected["jobs"][name]
    deadline = time.monotonic() + WITHIN_S
    with site.client_of(expected["keys"]["analyst"]) as analyst:  # the stored key is still valid
        while True:
            answer = analyst.get(f"/v1/jobs/{stored['id']}")
            assert answer.status_code == 200, answer.text
            job: Expected = answer.json()
            if job["state"] not in ("queued", "running"):
                break
            assert time.monotonic() < deadline, _log(site)
            time.sleep(0.2)
    assert job["state"] == "succeeded", job
    for field in ("case_id", "media_id", "sha256", "size", "verdict"):
        assert job[field] == stored[field], field
    result = job["result"]
    assert result["score"] == pytest.approx(stored["score"], abs=SCORES_DIFFER)
    assert result["frames"]["sampled"] == stored["sampled"]
    assert len(result["tracks"]) == stored["tracks"]
    assert len(result["faces"]) == stored["faces"]
    return job


def _log(site: Site) -> str:
    """Return the end of the service's log, without requests."""
    lines = site.processes[-1].log.splitlines()
    return "\n".join(line for line in lines if '"event": "request"' not in line)[-3000:]


def _verify(site: Site, expected: Expected, job_id: str, query: str, folder: Path) -> bytes:
    """Verify an edition with the key that was published when the directory was stored."""
    with site.client_of(expected["keys"]["analyst"]) as analyst:
        answer = analyst.get(f"/v1/jobs/{job_id}/evidence{query}")
        assert answer.status_code == 200, answer.text
        checked = analyst.post("/v1/verify", content=answer.content).json()
        assert checked["result"] == "verified", checked
    (folder / "edition.zip").write_bytes(answer.content)
    (folder / "key.pem").write_text(expected["statement_key_pem"])
    output = site.command(
        "verify", str(folder / "edition.zip"), "--public-key", str(folder / "key.pem"),
        "--rescore", "--json",
    )  # fmt: skip
    verification = json.loads(output)
    assert verification["result"] == "verified", verification
    return answer.content


def test_the_database_is_migrated(opened: tuple[Site, Expected, Rows]) -> None:
    site, _, _ = opened
    versions = Path(str(files("deepfake_service"))).rglob("migrations/versions/[0-9]*.py")
    newest = max(path.name.partition("_")[0] for path in versions)
    assert _rows(site, "SELECT version_num FROM alembic_version") == [(newest,)]


def test_the_job_of_a_killed_worker_is_resumed(
    opened: tuple[Site, Expected, Rows], tmp_path: Path
) -> None:
    site, expected, kept = opened
    job = _finished(site, expected, "begun")
    before = [row for row in kept if row[0] == job["id"]]
    assert [row[2] for row in before] == expected["jobs"]["begun"]["steps"]
    deadline = time.monotonic() + WITHIN_S
    while True:
        now = [row for row in _kept(site) if row[0] == job["id"]]
        if now[-1][2] == "conclude":  # stored a moment after the job has ended
            break
        assert time.monotonic() < deadline, now
        time.sleep(0.2)
    assert now[: len(before)] == before  # stored steps are not repeated
    assert [row[2] for row in now] == expected["jobs"]["begun"]["all_steps"]
    with site.client_of(expected["keys"]["pipeline"]) as pipeline:
        case = pipeline.get(f"/v1/cases/{job['case_id']}").json()
        assert case["case_reference"] == "STORED-2"
        assert [o["source_url"] for o in case["occurrences"]] == ["https://example.org/stored/2"]
    _verify(site, expected, job["id"], "", tmp_path)


def test_a_job_that_was_never_begun_is_examined(
    opened: tuple[Site, Expected, Rows], tmp_path: Path
) -> None:
    site, expected, _ = opened
    job = _finished(site, expected, "queued")
    with site.client_of(expected["keys"]["analyst"]) as analyst:
        found = analyst.get(f"/v1/jobs/{job['id']}/matches").json()["matches"]
    # Hashes that the earlier version sealed are found.
    assert [m["case_id"] for m in found] == expected["jobs"]["queued"]["matches"]
    _verify(site, expected, job["id"], "", tmp_path)


def test_a_finished_job_is_read_as_before(opened: tuple[Site, Expected, Rows]) -> None:
    site, expected, _ = opened
    job = _finished(site, expected, "done")
    case = f"/v1/cases/{job['case_id']}"
    assert (job["finding"], job["media_kept"]) == ("confirmed", True)
    with site.client_of(expected["keys"]["analyst"]) as analyst:
        read = analyst.get(case).json()
        assert read["case_reference"] == expected["jobs"]["done"]["case_reference"]
        seen = {o["id"]: (o["source_url"], o["screenshot"]) for o in read["occurrences"]}
        assert seen == {
            n: (o["source_url"], o["screenshot"]) for n, o in expected["occurrences"].items()
        }
        (with_picture,) = (n for n, o in expected["occurrences"].items() if o["screenshot"])
        picture = analyst.get(f"{case}/occurrences/{with_picture}/screenshot").content
        assert hashlib.sha256(picture).hexdigest() == expected["screenshot_sha256"]
        medium = analyst.get(f"{case}/media/{job['media_id']}/content").content
        assert hashlib.sha256(medium).hexdigest() == job["sha256"]
        notice = analyst.get(f"/v1/notices/{expected['notice']}").json()
        assert (notice["state"], notice["withdraw"]) == ("drafted", False)
        assert notice["fields"]["signer_name"] == "Jane Roe"
        assert "https://example.org/stored/1b" in notice["text"]
        assert analyst.get(f"/v1/notices/{expected['notice']}/notice.pdf").content[:4] == b"%PDF"
        hashes = analyst.get("/v1/known-hashes").text.splitlines()
        assert len(hashes) == expected["known_hashes"]
        face = analyst.get(f"/v1/jobs/{job['id']}/faces/1.png").content
        assert face.startswith(b"\x89PNG")


def test_its_evidence_verifies_and_is_followed_by_new_editions(
    opened: tuple[Site, Expected, Rows], tmp_path: Path
) -> None:
    site, expected, _ = opened
    job_id = expected["jobs"]["done"]["id"]
    for number, digest in expected["editions"].items():
        content = _verify(site, expected, job_id, f"?edition={number}", tmp_path)
        assert hashlib.sha256(content).hexdigest() == digest
    newest = max(map(int, expected["editions"]))
    with site.client_of(expected["keys"]["analyst"]) as analyst:
        review = {"decision": "undecided", "reason": "Seen again by a later version."}
        answer = analyst.post(f"/v1/jobs/{job_id}/reviews", json=review)
        assert answer.status_code == 201, answer.text
        editions = analyst.get(f"/v1/jobs/{job_id}/evidence/editions").json()["editions"]
        assert [e["edition"] for e in editions] == list(range(newest + 1, 0, -1))
    # This version makes it from the material that the earlier one gathered.
    _verify(site, expected, job_id, "", tmp_path)


def test_its_audit_log_is_intact_and_continued(opened: tuple[Site, Expected, Rows]) -> None:
    site, expected, _ = opened
    now = re.search(r"(\d+) entries, last hash [0-9a-f]{64}", site.command("audit", "verify"))
    then = re.search(r"(\d+) entries, last hash ([0-9a-f]{64})", expected["audit"])
    assert now is not None
    assert then is not None
    assert int(now[1]) > int(then[1])
    assert _rows(site, "SELECT hash FROM audit WHERE number = ?", int(then[1])) == [(then[2],)]
    assert "active" in site.command("keys", "signing", "list")
