"""Evidence from the real service, and its signing keys."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.footage import short_clip
from tests.support.servers import Site

pytestmark = pytest.mark.server


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with Site(tmp_path_factory.mktemp("evidence"), {"DEEPFAKE_ISSUER": "Centre <b>"}) as running:
        running.serve()
        yield running


@pytest.fixture(scope="module")
def pipeline(site: Site) -> str:
    """Return the key of an account that submits."""
    return site.create_key("pipe", "pipeline", "system")


@pytest.fixture(scope="module")
def job(site: Site, pipeline: str) -> dict[str, Any]:
    """Submit a clip as the pipeline account, and return its job once it has its first evidence."""
    with site.client_of(pipeline) as pipe:
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
    site: Site, pipeline: str, job: dict[str, Any], tmp_path: Path
) -> None:
    with site.client_of(pipeline) as pipe:
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


def test_no_content_is_in_the_log(site: Site) -> None:
    log = site.processes[0].log
    for secret in ("example.org", "log_likelihood"):
        assert secret not in log
