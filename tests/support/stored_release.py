"""Make the data directory that a release leaves behind, for later versions to open.

    python -m tests.support.stored_release tests/assets/stored

writes ``data-directory-VERSION.tar.xz`` and ``data-directory-VERSION.json``, which says what
``tests/integration/test_stored_data_directory.py`` finds in it. There are three jobs: ``done`` was
confirmed and has two editions of evidence, the worker of ``begun`` was killed (SIGKILL) after its
first chunk, and ``queued`` was not begun. Every case is under a legal hold, so that nothing
expires. The media are clips of a portrait in the public domain. The detectors of the small bundle
are the shipped ones and are left out. Every run makes other ids and keys: never replace one file
without the other, nor the files of an earlier release.
"""

from __future__ import annotations

import contextlib
import io
import json
import lzma
import shutil
import socket
import sqlite3
import sys
import tarfile
import tempfile
import tomllib
from pathlib import Path
from typing import Any

from tests.support import footage
from tests.support.programs import held_jobs
from tests.support.servers import Site, wait_until
from tests.support.small_bundles import small_bundle_dir

ROOT = Path(__file__).parents[2]
MASTER_KEY = "YSBtYXN0ZXIga2V5IGZvciB0ZXN0cywgbm8gc2VjcmU="  # "a master key for tests, no secre"
DETECTORS = ("pnet.onnx", "rnet.onnx", "onet.onnx")
SETTINGS = {"DEEPFAKE_ISSUER": "Stored Centre / 보관 센터", "DEEPFAKE_JOBS_AT_ONCE": "1"}
EPOCH = 1_767_225_600
"""2026-01-01, the time of every file in the archive."""


def site_of(root: Path) -> Site:
    return Site(root, {**SETTINGS, "DEEPFAKE_BUNDLE_DIR": str(root / "bundle")})


def clip(frames: int) -> bytes:
    return footage.encode(footage.panning(frames), options={"crf": "32"})


def steps(records: Path, job_id: str) -> list[str]:
    """Return the names of the steps of a job that are stored."""
    with contextlib.closing(sqlite3.connect(f"file:{records}?mode=ro", uri=True)) as base:
        query = "SELECT function_name FROM operation_outputs WHERE workflow_uuid = ? "
        return [name for (name,) in base.execute(f"{query} ORDER BY function_id", (job_id,))]


def summary(job: dict[str, Any]) -> dict[str, Any]:
    kept = ("id", "case_id", "media_id", "sha256", "size", "verdict")
    result = job["result"] or {}
    return {
        **{name: job[name] for name in kept},
        "score": result.get("score"),
        "faces": len(result.get("faces", ())),
    }


def make(root: Path) -> dict[str, Any]:
    shutil.copytree(small_bundle_dir(), root / "bundle")
    records = root / "var" / "records.sqlite"
    records.parent.mkdir(mode=0o700)
    (records.parent / "master-key").write_text(MASTER_KEY + "\n")
    with site_of(root) as site:
        service = site.serve("--no-worker")
        worker = site.worker()
        key = site.create_key("stored-analyst", "analyst")
        done = site.wait(site.submit(clip(5), case_reference="STORED-1", note="보관")["id"])
        with site.client_of(key) as analyst:
            review = {"decision": "confirmed", "reason": "A reviewer's reason. / 검토 사유."}
            path = f"/v1/jobs/{done['id']}"
            assert analyst.get(f"{path}/evidence").status_code == 200
            assert analyst.post(f"{path}/reviews", json=review).status_code == 201
            editions = analyst.get(f"{path}/evidence/editions").json()["editions"]
        assert worker.stop() == 0
        begun = site.submit(clip(24), case_reference="STORED-2")
        queued = site.submit(clip(6))
        site.hold()
        doomed = site.worker(program=held_jobs.__name__)
        wait_until(lambda: len(steps(records, begun["id"])) >= 2)
        doomed.kill()
        jobs = {"done": done, "begun": site.job(begun["id"]), "queued": site.job(queued["id"])}
        assert [j["state"] for j in jobs.values()] == ["succeeded", "running", "queued"]
        with site.client as admin:
            for job in jobs.values():
                assert admin.put(f"/v1/cases/{job['case_id']}/hold").status_code == 204
        site.command("keys", "signing", "publish", "--out", str(root / "keys"))
        (public,) = (root / "keys").glob("statement-*.pem")
        assert service.stop() == 0
        audit = site.command("audit", "verify").splitlines()[0]
    return {
        "settings": SETTINGS,
        "key": key,
        "statement_key_pem": public.read_text(),
        "audit": audit,
        "editions": {str(e["edition"]): e["sha256"] for e in editions},
        "jobs": {name: summary(job) for name, job in jobs.items()},
        "steps": steps(records, begun["id"]),
    }


def finish(root: Path, expected: dict[str, Any]) -> None:
    """Record the results of the open jobs by the same version, in a copy."""
    with site_of(root) as site:
        site.serve()
        for name in ("begun", "queued"):
            expected["jobs"][name] = summary(site.wait(expected["jobs"][name]["id"]))


def tidy(records: Path) -> None:
    """Merge everything into one small file without the name of this machine."""
    host = socket.gethostname()[:32]
    with contextlib.closing(sqlite3.connect(records)) as base:
        for table in ("workflow_status", "leases"):
            base.execute(
                f"UPDATE {table} SET executor_id = replace(executor_id, ?, 'stored')",
                (host,),
            )
        base.commit()
        base.execute("PRAGMA journal_mode = DELETE")
        base.execute("VACUUM")


def packed(root: Path) -> bytes:
    """Pack ``root`` into a tar archive whose bytes depend on its files only."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for path in sorted(root.rglob("*")):
            entry = archive.gettarinfo(path, str(path.relative_to(root)))
            entry.uid = entry.gid = 0
            entry.uname = entry.gname = ""
            entry.mtime = EPOCH
            with path.open("rb") if path.is_file() else contextlib.nullcontext() as file:
                archive.addfile(entry, file)
    return lzma.compress(buffer.getvalue(), preset=9 | lzma.PRESET_EXTREME)


def main() -> None:
    out = Path(sys.argv[1])
    out.mkdir(parents=True, exist_ok=True)
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    with tempfile.TemporaryDirectory() as folder:
        made, kept, copy = (Path(folder) / name for name in ("made", "kept", "copy"))
        made.mkdir()
        expected = {"version": version, **make(made)}
        tidy(made / "var" / "records.sqlite")
        for target in (kept, copy):
            for name in ("var", "bundle"):
                shutil.copytree(made / name, target / name)
        for name in DETECTORS:
            (kept / "bundle" / name).unlink()
        archive = packed(kept)
        finish(copy, expected)
    stem = out / f"data-directory-{version}"
    Path(f"{stem}.tar.xz").write_bytes(archive)
    text = json.dumps(expected, indent=2, ensure_ascii=False)
    Path(f"{stem}.json").write_text(text + "\n", encoding="utf-8")
    print(f"{stem}.tar.xz: {len(archive)} bytes")


if __name__ == "__main__":
    main()
