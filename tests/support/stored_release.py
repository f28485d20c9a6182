"""Make the stored data directory: what an installation of revision d94436f leaves behind.

    CHECKOUT/.venv/bin/python make_stored.py CHECKOUT OUT

``CHECKOUT`` is a checkout of that revision. Its service and the kits in its ``tests/`` folder
(servekit, mediakit and judgingkit) are used; for another revision, adapt the imports. The script
writes ``data-directory-VERSION.tar.xz`` and ``data-directory-VERSION.json`` into ``OUT``.

1. A tiny model bundle is made: ``evalkit.tiny_bundle`` with crops of 48 instead of 224 pixels, as
   an edition contains them three times. Its detectors are the shipped ones and are not stored.
2. ``deepfake serve --no-worker`` and a worker are started on a new data directory. An analyst
   submits the first job, which is examined (edition 1), confirms it (edition 2) and drafts a
   notice. The worker is stopped.
3. Two more jobs are submitted. A worker with ``DEEPFAKE_JOBS_AT_ONCE=1`` is started, and killed
   (SIGKILL) as soon as the database has the step ``look`` and one ``part`` of the second job. The
   third job is not begun. The service is stopped.
4. Every case is put under a legal hold, so that no sweep deletes anything.
5. The write-ahead log is merged, the host name is replaced, and the database is vacuumed.
6. A copy is opened by the same version and finished, to record the results of the open jobs.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import sqlite3
import sys
import tempfile
import time
import tomllib
from pathlib import Path
from typing import Any

CHECKOUT, OUT = (Path(word).resolve() for word in sys.argv[1:3])
sys.path.insert(0, str(CHECKOUT / "tests"))

import httpx  # noqa: E402
import judgingkit  # noqa: E402
import mediakit  # noqa: E402
import numpy as np  # noqa: E402
import onnx  # noqa: E402
from onnx import TensorProto, helper, numpy_helper  # noqa: E402
from packing import nothing_of_this_machine, packed, tidy  # noqa: E402
from PIL import Image  # noqa: E402
from servekit import Site  # noqa: E402

from deepfake_models.bundle.bundle import default_bundle_dir, load_bundle, seal  # noqa: E402

VERSION = "0.2.0"
# Keys of this directory only. They protect pictures in the public domain.
ADMIN_KEY = "a-stored-administrators-key-0123456789"
MASTER_KEY = "YSBtYXN0ZXIga2V5IGZvciB0ZXN0cywgbm8gc2VjcmU="  # "a master key for tests, no secre"
DETECTORS = ("pnet.onnx", "rnet.onnx", "onet.onnx")
CROP_PX = 48
RED, GREEN = (1.0, 0.75, 0.85), (0.85, 0.95, 0.9)
MOMENT_S = 0.005

SETTINGS = {
    "DEEPFAKE_ADMIN_KEY": ADMIN_KEY,
    "DEEPFAKE_ISSUER": "Stored Centre / 보관 센터",
    "DEEPFAKE_MATCHING": "true",
    "DEEPFAKE_KNOWN_HASH_DAYS": "36500",
    "DEEPFAKE_JOBS_AT_ONCE": "1",
    "DEEPFAKE_THREADS": "1",
}


def tiny_bundle(directory: Path) -> None:
    """Make ``evalkit.tiny_bundle`` with smaller crops: the logit is 0.15 × (red - green - 22)."""
    directory.mkdir(parents=True)
    for name in DETECTORS:
        shutil.copy(default_bundle_dir() / name, directory)
    gain = 0.15
    weights = np.array([gain, -gain, 0.0], dtype=np.float32).reshape(3, 1)
    constants = {
        "weights": weights,
        "offset": np.array([-22.0 * gain], dtype=np.float32),
        "last": np.array([3], dtype=np.int64),
    }
    nodes = [
        helper.make_node("Cast", ["crops"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["floats"], ["means"], axes=[1, 2], keepdims=0),
        helper.make_node("MatMul", ["means", "weights"], ["weighed"]),
        helper.make_node("Add", ["weighed", "offset"], ["logit"]),
        helper.make_node("MatMul", ["floats", "weights"], ["mapped"]),
        helper.make_node("ReduceSum", ["mapped", "last"], ["activation_map"], keepdims=0),
    ]
    shape = ["n", CROP_PX, CROP_PX]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("crops", TensorProto.UINT8, [*shape, 3])],
        [
            helper.make_tensor_value_info("logit", TensorProto.FLOAT, ["n", 1]),
            helper.make_tensor_value_info("activation_map", TensorProto.FLOAT, shape),
        ],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    onnx.save(model, directory / "classifier.onnx")
    (directory / "reliability.json").write_text("{}")
    (directory / "MODEL_CARD.md").write_text("For tests.\n")
    fields = judgingkit.bundle_fields()
    fields["crop"]["size"] = fields["input"]["height"] = fields["input"]["width"] = CROP_PX
    seal(directory, fields)


def clip(
    portrait: Any,
    window: tuple[int, int, int],
    count: int,
    tinted: range,
    *,
    rate: int,
    each: int = 1,
) -> bytes:
    """Encode a small clip of a portrait that moves every ``each`` frames.

    The bundle takes the frames in ``tinted`` for manipulated, because they are red.
    """
    image, frames = Image.fromarray(portrait), []
    for k in range(count):
        step = k // each
        left, top, side = window[0] + 2 * (step % 12), window[1] + step % 7, window[2]
        box = (left, top, left + side, top + side * 5 // 6)
        pixels = np.array(image.resize((192, 160), Image.Resampling.BILINEAR, box=box))
        tint = RED if k in tinted else GREEN
        frames.append((pixels * tint).astype(np.uint8))
    options = {"crf": "32", "preset": "veryslow"}
    return mediakit.encode(frames, rate=rate, gop=48, options=options)


def screenshot() -> bytes:
    page = np.full((24, 32, 3), 255, dtype=np.uint8)
    page[4:20, 6:26] = (40, 90, 160)
    return mediakit.picture(page, "PNG")


def client(site: Site, key: str) -> httpx.Client:
    return httpx.Client(base_url=site.url, headers={"Authorization": f"Bearer {key}"}, timeout=60)


def submit(who: httpx.Client, video: bytes, **fields: str) -> dict[str, Any]:
    answer = who.post("/v1/videos", files={"file": ("v.mp4", video)}, data=fields)
    assert answer.status_code == 202, answer.text
    return dict(answer.json())


def ended(who: httpx.Client, job_id: str) -> dict[str, Any]:
    deadline = time.monotonic() + 180
    while True:
        job = who.get(f"/v1/jobs/{job_id}").json()
        if job["state"] in ("succeeded", "failed", "cancelled", "expired"):
            return dict(job)
        assert time.monotonic() < deadline, job
        time.sleep(0.2)


def account(site: Site, name: str, role: str, kind: str) -> str:
    told = site.command("accounts", "create", name, "--role", role, "--kind", kind)
    return next(word for word in told.split() if word.startswith("dfk_"))


def steps(records: Path, job_id: str) -> tuple[str | None, list[str]]:
    """Return the state of a job's workflow, and the names of its stored steps."""
    with contextlib.closing(sqlite3.connect(f"file:{records}?mode=ro", uri=True)) as base:
        state = base.execute(
            "SELECT status FROM workflow_status WHERE workflow_uuid = ?", (job_id,)
        ).fetchone()
        kept = base.execute(
            "SELECT function_name FROM operation_outputs WHERE workflow_uuid = ? "
            "ORDER BY function_id", (job_id,),
        ).fetchall()  # fmt: skip
    return state and state[0], [name for (name,) in kept]


def summary(job: dict[str, Any]) -> dict[str, Any]:
    result = job["result"]
    return {
        "verdict": job["verdict"],
        "score": result["score"],
        "tracks": len(result["tracks"]),
        "faces": len(result["faces"]),
        "sampled": result["frames"]["sampled"],
    }


def make(root: Path) -> dict[str, Any]:
    site = Site(root, {**SETTINGS, "DEEPFAKE_BUNDLE_DIR": str(root / "bundle")})
    tiny_bundle(root / "bundle")
    var = root / "var"
    var.mkdir(mode=0o700)
    (var / "master-key").write_text(MASTER_KEY + "\n")
    (var / "master-key").chmod(0o600)
    try:
        service = site.serve("--no-worker")
        keys = {
            "admin": ADMIN_KEY,
            "analyst": account(site, "stored-analyst", "analyst", "person"),
            "pipeline": account(site, "stored-pipeline", "pipeline", "system"),
        }
        worker = site.worker()
        with client(site, keys["analyst"]) as analyst, client(site, keys["pipeline"]) as pipeline:
            first = submit(
                analyst, clip(mediakit.astronaut(), (80, 10, 264), 18, range(18), rate=25),
                case_reference="STORED-1", source_url="https://example.org/stored/1",
                platform="Example", account="@somebody", captured_at="2026-01-01T00:00:00Z",
                note="보관 / stored",
            )  # fmt: skip
            done = ended(analyst, first["id"])
            assert done["state"] == "succeeded", done
            case = f"/v1/cases/{first['case_id']}"
            seen = analyst.post(
                f"{case}/occurrences",
                data={"media_id": first["media_id"], "source_url": "https://example.org/stored/1b"},
                files={"screenshot": ("s.png", screenshot())},
            )
            assert seen.status_code == 201, seen.text
            review = {"decision": "confirmed", "reason": "A reviewer's reason. / 검토 사유."}
            answer = analyst.post(f"/v1/jobs/{first['id']}/reviews", json=review)
            assert (answer.status_code, answer.json()["finding"]) == (201, "confirmed")
            occurrences = analyst.get(case).json()["occurrences"]
            assert [o["screenshot"] for o in occurrences] == [False, True]
            drafted = analyst.post(
                f"{case}/notices",
                json={
                    "kind": "us-take-it-down",
                    "language": "en",
                    "occurrence_ids": [o["id"] for o in occurrences],
                    "recipient": "Example, Inc.",
                    "fields": {
                        "depiction": "A video in which a face was swapped.",
                        "good_faith_statement": "I believe in good faith: not consensual.",
                        "signer_name": "Jane Roe",
                        "signer_capacity": "authorized_person",
                        "signature": "/s/ Jane Roe",
                        "contact_email": "jane@example.org",
                    },
                },
            )
            assert drafted.status_code == 201, drafted.text
            assert worker.stop() == 0
            editions = analyst.get(f"/v1/jobs/{first['id']}/evidence/editions").json()["editions"]
            (root / "editions").mkdir()
            for e in editions:
                path = f"/v1/jobs/{first['id']}/evidence?edition={e['edition']}"
                content = analyst.get(path).content
                (root / "editions" / f"{e['edition']}.zip").write_bytes(content)

            # Red for a while only, so that a dense plan follows the overview.
            second = submit(
                pipeline,
                clip(mediakit.grace_hopper(), (50, 40, 400), 96, range(40, 60), rate=1, each=16),
                case_reference="STORED-2", source_url="https://example.org/stored/2",
                priority="live",
            )  # fmt: skip
            third = submit(
                pipeline, clip(mediakit.astronaut(), (80, 10, 264), 10, range(0), rate=10),
                source_url="https://example.org/stored/3", priority="low",
            )  # fmt: skip
        records = var / "records.sqlite"
        doomed = site.start("worker")
        while (found := steps(records, second["id"]))[1][:2] != ["plan_overview", "examine_chunk"]:
            assert doomed.alive, doomed.log.read_text()
            time.sleep(MOMENT_S)
        doomed.kill()
        state, kept = steps(records, second["id"])
        assert (state, kept[:2]) == ("PENDING", ["plan_overview", "examine_chunk"]), found
        assert "plan_dense" not in kept, kept
        assert steps(records, third["id"]) == ("ENQUEUED", [])
        with client(site, ADMIN_KEY) as admin:
            made = {"done": first, "begun": second, "queued": third}
            jobs = {n: admin.get(f"/v1/jobs/{j['id']}").json() for n, j in made.items()}
            assert [j["state"] for j in jobs.values()] == ["succeeded", "running", "queued"]
            for job in jobs.values():
                answer = admin.put(f"/v1/cases/{job['case_id']}/hold")
                assert answer.status_code == 204, answer.text
            hashes = admin.get("/v1/known-hashes").text
        site.command("keys", "signing", "publish", "--out", str(root / "keys"))
        (public,) = (root / "keys").glob("statement-*.pem")
        assert service.stop() == 0
        audit = site.command("audit", "verify")
    finally:
        site.close()
    executor = tidy(records)
    with contextlib.closing(sqlite3.connect(records)) as base:
        (revision,) = base.execute("SELECT version_num FROM alembic_version").fetchone()
        (dbos,) = base.execute("SELECT max(version) FROM dbos_migrations").fetchone()
    expected = {
        "version": VERSION,
        "revision": revision,
        "dbos_migration": dbos,
        "settings": {k: v for k, v in SETTINGS.items() if k != "DEEPFAKE_ADMIN_KEY"},
        "keys": keys,
        "master_key": MASTER_KEY,
        "bundle_sha256": load_bundle(root / "bundle").sha256,
        "statement_key_pem": public.read_text(),
        "executor": executor,
        "audit": audit.splitlines()[0],
        "known_hashes": len(hashes.splitlines()),
        "notice": drafted.json()["id"],
        "occurrences": {
            o["id"]: {"source_url": o["source_url"], "screenshot": o["screenshot"]}
            for o in occurrences
        },
        "screenshot_sha256": hashlib.sha256(screenshot()).hexdigest(),
        "editions": {str(e["edition"]): e["sha256"] for e in reversed(editions)},
        "jobs": {
            name: {
                "id": job["id"],
                "case_id": job["case_id"],
                "media_id": job["media_id"],
                "state": job["state"],
                "sha256": job["sha256"],
                "size": job["size"],
                "steps": steps(records, job["id"])[1],
            }
            for name, job in jobs.items()
        },
    }
    expected["jobs"]["done"].update(summary(done), case_reference="STORED-1")
    expected["jobs"]["begun"]["case_reference"] = "STORED-2"
    return expected


def finish(root: Path, expected: dict[str, Any]) -> None:
    """Record the results of the open jobs by the same version, in a copy."""
    site = Site(root, {**SETTINGS, "DEEPFAKE_BUNDLE_DIR": str(root / "bundle")})
    try:
        site.serve()
        with client(site, ADMIN_KEY) as admin:
            for name in ("begun", "queued"):
                job = ended(admin, expected["jobs"][name]["id"])
                assert job["state"] == "succeeded", job
                expected["jobs"][name].update(summary(job))
            matches = admin.get(f"/v1/jobs/{expected['jobs']['queued']['id']}/matches").json()
            expected["jobs"]["queued"]["matches"] = [m["case_id"] for m in matches["matches"]]
        begun = expected["jobs"]["begun"]
        while (found := steps(root / "var" / "records.sqlite", begun["id"]))[0] != "SUCCESS":
            time.sleep(MOMENT_S)  # the last step is stored a moment after the job ended
        begun["all_steps"] = found[1]
    finally:
        site.close()


def main() -> None:
    os.umask(0o022)
    OUT.mkdir(parents=True, exist_ok=True)
    program = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]["version"]
    with tempfile.TemporaryDirectory() as folder:
        root, kept = Path(folder) / "made", Path(folder) / "kept"
        root.mkdir()
        expected = make(root)
        expected["program_version"] = program
        kept.mkdir()
        for name in ("var", "bundle"):
            shutil.copytree(root / name, kept / name)
        finish_in = Path(folder) / "finished"
        shutil.copytree(kept, finish_in)
        for name in DETECTORS:
            (kept / "bundle" / name).unlink()
        nothing_of_this_machine(kept, CHECKOUT)
        archive = packed(kept)
        for path in sorted(kept.rglob("*")):
            if path.is_file():
                print(f"{path.stat().st_size:8} {path.relative_to(kept)}")
        for path in sorted((root / "editions").iterdir()):
            print(f"{path.stat().st_size:8} (edition) {path.name}")
        finish(finish_in, expected)
    stem = OUT / f"data-directory-{VERSION}"
    stem.with_name(stem.name + ".tar.xz").write_bytes(archive)
    stem.with_name(stem.name + ".json").write_text(
        json.dumps(expected, indent=2, ensure_ascii=False) + "\n", encoding="utf-8"
    )
    print(f"{len(archive)} bytes: {stem}.tar.xz")


if __name__ == "__main__":
    main()
