"""Evidence, reviews, notices and matching through the real service."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from deepfake_service.platform.db import Notice
from tests.support import footage
from tests.support.footage import short_clip
from tests.support.servers import Site

pytestmark = pytest.mark.server


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    settings = {
        "DEEPFAKE_TWO_PERSON_REVIEW": "true",
        "DEEPFAKE_ISSUER": "Centre <b>",
    }
    with Site(tmp_path_factory.mktemp("evidence"), settings) as running:
        running.serve()
        yield running


@pytest.fixture(scope="module")
def keys(site: Site) -> dict[str, str]:
    """Return keys by the names of their accounts."""
    return {
        "ann": site.create_key("ann", "analyst"),
        "bea": site.create_key("bea", "analyst"),
        "robot": site.create_key("robot", "analyst", "system"),
        "pipe": site.create_key("pipe", "pipeline", "system"),
        "audrey": site.create_key("audrey", "auditor"),
    }


@pytest.fixture(scope="module")
def job(site: Site, keys: dict[str, str]) -> dict[str, Any]:
    """Submit a clip as the pipeline account, and return its job once it has its first evidence."""
    with site.client_of(keys["pipe"]) as pipe:
        answer = pipe.post(
            "/v1/videos",
            files={"file": ("v.mp4", short_clip(1))},
            data={"source_url": "https://example.org/1", "platform": "P"},
        )
        done = site.wait(answer.json()["id"])
        assert done["state"] == "succeeded"
        assert pipe.get(f"/v1/jobs/{done['id']}/evidence").status_code == 200
    return done


def test_evidence_from_the_service_verifies(
    site: Site, keys: dict[str, str], job: dict[str, Any], tmp_path: Path
) -> None:
    with site.client_of(keys["pipe"]) as pipe:
        answer = pipe.get(f"/v1/jobs/{job['id']}/evidence")
        assert answer.headers["content-type"] == "application/zip"
        assert answer.headers["cache-control"] == "no-store"
        (tmp_path / "e.zip").write_bytes(answer.content)
        report = pipe.get(f"/v1/jobs/{job['id']}/report.pdf?lang=en")
        assert report.content.startswith(b"%PDF")
        copy = pipe.get(f"/v1/jobs/{job['id']}/report.pdf?lang=en&faces=false").content
        assert copy.startswith(b"%PDF")
        assert len(copy) < len(report.content) - 20_000
        lined = pipe.get(f"/v1/jobs/{job['id']}/report.pdf?lang=en&signature_line=true").content
        assert lined.startswith(b"%PDF")
        assert lined != report.content
        assert pipe.get(f"/v1/jobs/{job['id']}/timeline.svg").content.startswith(b"<svg")
        for kind in ("faces", "heatmaps"):
            picture = pipe.get(f"/v1/jobs/{job['id']}/{kind}/1.png").content
            assert picture.startswith(b"\x89PNG")
        assert pipe.get(f"/v1/jobs/{job['id']}/faces/99.png").status_code == 404
        assert pipe.get(f"/v1/jobs/{job['id']}/evidence?edition=7").status_code == 404
        checked = pipe.post("/v1/verify", content=answer.content).json()
        assert checked["result"] == "verified"
        assert pipe.post("/v1/verify", content=b"x").json()["result"] == "failed"
    with zipfile.ZipFile(tmp_path / "e.zip") as archive:
        custody = json.loads(archive.read("data/custody.json"))
        assert archive.read("data/report-en.pdf") == report.content
    assert custody["entries"][0]["action"] == "media.submitted"
    assert "pipe" in {a["name"] for a in custody["accounts"].values()}
    site.command("keys", "signing", "publish", "--out", str(tmp_path / "keys"))
    (public,) = (tmp_path / "keys").glob("statement-*.pem")
    (tmp_path / "original").write_bytes(short_clip(1))
    bundle = str(tmp_path / "e.zip")
    output = site.command(
        "verify", bundle, "--public-key", str(public), "--rescore",
        "--media", str(tmp_path / "original"),
    )  # fmt: skip
    assert output.count("pass") == 9
    assert "verified" in output
    assert "signer unknown" in site.command("verify", bundle, expected=3)
    output = site.command("verify", bundle, "--pinned", str(tmp_path / "keys"), "--json")
    assert json.loads(output)["result"] == "verified"
    (tmp_path / "e.zip").write_bytes(answer.content[:-1] + b"x")
    assert "do not rely" in site.command("verify", bundle, expected=1)
    assert "holds no Ed25519 key" in site.command(
        "verify", bundle, "--public-key", bundle, expected=1
    )
    jwks = httpx.get(f"{site.url}/.well-known/jwks.json").json()
    assert {k["kty"] for k in jwks["keys"]} == {"OKP"}


def test_who_may_see_evidence(site: Site, keys: dict[str, str], job: dict[str, Any]) -> None:
    other = site.create_key("other", "pipeline")
    path = f"/v1/jobs/{job['id']}/evidence"
    for key, status in ((other, 404), (keys["audrey"], 403), ("", 401), (keys["bea"], 200)):
        with site.client_of(key or "nobody") as caller:
            assert caller.get(path).status_code == status
    with site.client_of(keys["pipe"]) as pipe:
        review = {"decision": "confirmed", "reason": "x"}
        assert pipe.post(f"/v1/jobs/{job['id']}/reviews", json=review).status_code == 403
        assert pipe.get("/v1/known-hashes").status_code == 403


def notice(job: dict[str, Any], occurrences: list[str], **fields: Any) -> dict[str, Any]:
    return {
        "kind": "us-take-it-down",
        "language": "en",
        "occurrence_ids": occurrences,
        "fields": {
            "depiction": "A video in which a face was swapped.",
            "good_faith_statement": "I believe in good faith that it is not consensual.",
            "signer_name": "Jane Roe",
            "signer_capacity": "authorized_person",
            "signature": "/s/ Jane Roe",
            "contact_email": "jane@example.org",
            **fields,
        },
    }


def test_reviews_notices_and_matches(
    site: Site, keys: dict[str, str], job: dict[str, Any], tmp_path: Path
) -> None:
    case, path = f"/v1/cases/{job['case_id']}", f"/v1/jobs/{job['id']}"
    with site.client_of(keys["ann"]) as ann, site.client_of(keys["bea"]) as bea:
        seen = [o["id"] for o in ann.get(case).json()["occurrences"]]

        def decide(who: httpx.Client, decision: str) -> Any:
            answer = who.post(f"{path}/reviews", json={"decision": decision, "reason": "seen"})
            assert answer.status_code == 201, answer.text
            return answer.json()["finding"]

        def asked() -> httpx.Response:
            return ann.post(f"{case}/notices", json=notice(job, seen))

        assert asked().status_code == 409
        assert decide(ann, "confirmed") == "awaiting_second"
        assert decide(ann, "confirmed") == "awaiting_second"  # two people, not two decisions
        assert asked().status_code == 409
        assert decide(bea, "confirmed") == "confirmed"
        made = asked()
        assert made.status_code == 201, made.text
        found = made.json()
        assert "Outcome of human review: confirmed" in found["text"]
        assert "/s/ Jane Roe" in found["text"]
        then = datetime.now(UTC) - timedelta(hours=49)
        with site.database() as database, database.write() as session:
            session.get_one(Notice, found["id"]).created_at = then
        sent = ann.patch(f"/v1/notices/{found['id']}", json={"sent_at": then.isoformat()})
        assert (sent.json()["state"], sent.json()["overdue"]) == ("sent", True)
        assert [n["id"] for n in bea.get("/v1/notices/overdue").json()["notices"]] == [found["id"]]
        assert "deepfake_notices_overdue 1.0" in httpx.get(f"{site.url}/metrics").text
        with site.client_of(keys["robot"]) as robot:
            review = {"decision": "confirmed", "reason": "x"}
            assert robot.post(f"{path}/reviews", json=review).status_code == 409
        assert len(bea.get("/v1/known-hashes").text.splitlines()) == 1
        assert ann.get(case).json()["reviewed_at"] is not None

        # The same content, encoded anew, by another account: linked for those who may see it.
        dimmer = [(f * 0.97).astype("uint8") for f in footage.panning(12, 320, 256)]
        again = site.submit(footage.encode(dimmer, options={"crf": "32"}))
        site.wait(again["id"])
        (match,) = bea.get(f"/v1/jobs/{again['id']}/matches").json()["matches"]
        assert match["case_id"] == job["case_id"]
        assert match["percent"] >= 80
        assert match["known_percent"] >= 80
        assert site.job(again["id"])["finding"] is None

        assert decide(bea, "rejected") == "undecided"
        (listed,) = ann.get(f"{case}/notices").json()["notices"]
        assert listed["withdraw"] is True
        assert bea.get("/v1/known-hashes").text == ""
        gone = ann.patch(f"/v1/notices/{found['id']}", json={"outcome": "withdrawn"}).json()
        assert (gone["state"], gone["withdraw"], gone["overdue"]) == ("withdrawn", False, False)
        assert decide(ann, "rejected") == "rejected"
        refused = ann.post(f"{case}/notices", json=notice(job, seen))
        assert refused.status_code == 409
        editions = ann.get(f"{path}/evidence/editions").json()["editions"]
        assert [e["edition"] for e in editions] == [6, 5, 4, 3, 2, 1]
        old = ann.get(f"{path}/evidence?edition=1").content
        assert ann.post("/v1/verify", content=old).json()["result"] == "superseded"
        (tmp_path / "old.zip").write_bytes(old)
        newest = ann.get(f"{path}/evidence").content
        with zipfile.ZipFile(io.BytesIO(newest)) as archive:
            document = json.loads(archive.read("data/verdict.json"))
        assert document["predecessor"] == editions[1]["sha256"]
        assert [r["decision"] for r in document["reviews"]][-1] == "rejected"
        assert document["result"]["verdict"] == job["verdict"]
    site.command("keys", "signing", "publish", "--out", str(tmp_path / "keys"))
    words = ("verify", str(tmp_path / "old.zip"), "--pinned", str(tmp_path / "keys"))
    assert "Superseded or withdrawn: unknown" in site.command(*words)
    # Anyone can fetch the list, without a key.
    listed = site.command(*words, "--revocations", f"{site.url}/v1/revocations", expected=4)
    assert "superseded" in listed


def test_nobody_sees_who_may_be_a_minor(
    site: Site, keys: dict[str, str], job: dict[str, Any]
) -> None:
    case, path = f"/v1/cases/{job['case_id']}", f"/v1/jobs/{job['id']}"
    with site.client_of(keys["ann"]) as ann, site.client_of(keys["pipe"]) as pipe:
        review = {"decision": "undecided", "reason": "so that an edition precedes the newest"}
        assert ann.post(f"{path}/reviews", json=review).status_code == 201
        assert ann.put(f"{case}/minor").status_code == 204
        with site.client_of(keys["bea"]) as bea:
            for hidden in (case, path, f"{path}/evidence", f"{path}/matches", f"{case}/notices"):
                assert bea.get(hidden).status_code == 404
                assert ann.get(hidden).status_code == 200  # who said so
            assert job["id"] not in {j["id"] for j in bea.get("/v1/jobs").json()["jobs"]}
            assert job["case_id"] not in {c["id"] for c in bea.get("/v1/cases").json()["cases"]}
        assert pipe.get(f"{path}/faces/1.png").status_code == 403
        assert pipe.get(f"{path}/heatmaps/1.png").status_code == 403
        assert pipe.get(f"{path}/evidence?edition=1").status_code == 403
        content = f"{case}/media/{job['media_id']}/content"
        assert pipe.get(content).status_code == 403
        recipient = {"recipient": "age1" + "q" * 58}
        export = ann.post(f"{case}/media/{job['media_id']}/export", json=recipient)
        assert export.status_code == 403
        newest = pipe.get(f"{path}/evidence").content
        with zipfile.ZipFile(io.BytesIO(newest)) as archive:
            assert not [n for n in archive.namelist() if n.endswith(".png")]
        assert pipe.post("/v1/verify", content=newest).json()["result"] == "verified"
    with site.client as admin:
        assert admin.delete(f"{case}/minor").status_code == 204
        assert admin.get(f"{path}/faces/1.png").status_code == 200


def test_notices_that_do_not_say_so_are_to_be_withdrawn(site: Site, keys: dict[str, str]) -> None:
    with site.client_of(keys["pipe"]) as pipe:
        sent = pipe.post(
            "/v1/videos",
            files={"file": ("v.mp4", short_clip(9))},
            data={"source_url": "https://example.org/9"},
        ).json()
        job = site.wait(sent["id"])
        case = f"/v1/cases/{job['case_id']}"
        seen = [o["id"] for o in pipe.get(case).json()["occurrences"]]
        with site.client_of(keys["ann"]) as ann, site.client_of(keys["bea"]) as bea:
            for who in (ann, bea):
                review = {"decision": "confirmed", "reason": "x"}
                assert who.post(f"/v1/jobs/{job['id']}/reviews", json=review).status_code == 201
            assert pipe.post(f"{case}/notices", json=notice(job, seen)).status_code == 201
            assert ann.put(f"{case}/minor").status_code == 204
        (listed,) = pipe.get(f"{case}/notices").json()["notices"]
        assert listed["withdraw"] is True
        again = pipe.post(f"{case}/notices", json=notice(job, seen)).json()
        assert "CyberTipline" in again["text"]


def test_what_cannot_be_examined_has_evidence_too(site: Site) -> None:
    job = site.submit(b"no media at all" * 100)
    assert site.wait(job["id"])["verdict"] == "unable_to_evaluate"
    with site.client as admin:
        content = admin.get(f"/v1/jobs/{job['id']}/evidence").content
        assert admin.post("/v1/verify", content=content).json()["result"] == "verified"


def test_keys_are_rotated_and_old_bundles_stay_verifiable(site: Site, job: dict[str, Any]) -> None:
    path = f"/v1/jobs/{job['id']}"
    with site.client as admin:
        before = admin.get(f"{path}/evidence").content
        assert "signed with" in site.command("keys", "signing", "rotate")
        review = {"decision": "undecided", "reason": "again"}
        assert admin.post(f"{path}/reviews", json=review).status_code == 201
        after = admin.get(f"{path}/evidence").content
        found = [admin.post("/v1/verify", content=c).json() for c in (before, after)]
        assert [f["result"] for f in found] == ["superseded", "verified"]
        assert found[0]["signer"] != found[1]["signer"]
    assert len(httpx.get(f"{site.url}/.well-known/jwks.json").json()["keys"]) == 2
    assert "retired" in site.command("keys", "signing", "list")
    site.command("keys", "signing", "revoke", str(found[0]["signer"])[:12])
    with site.client as admin:
        assert admin.post("/v1/verify", content=before).json()["result"] == "failed"
        assert admin.post("/v1/verify", content=after).json()["result"] == "verified"


def test_a_deleted_case_takes_its_evidence_with_it(site: Site) -> None:
    job = site.submit(short_clip(3))
    site.wait(job["id"])
    with site.client as admin:
        admin.get(f"/v1/jobs/{job['id']}/evidence")
        folder = site.root / "var" / "blobs" / "cases" / job["case_id"]
        assert list(folder.iterdir())
        assert admin.delete(f"/v1/cases/{job['case_id']}").status_code == 204
        assert not folder.exists() or not list(folder.iterdir())
        assert admin.get(f"/v1/jobs/{job['id']}/evidence").status_code == 404


def test_no_content_is_in_the_log(site: Site) -> None:
    log = site.processes[0].log
    for secret in ("example.org", "Jane", "log_likelihood"):
        assert secret not in log
