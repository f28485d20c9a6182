"""The shipped bundle from a request to evidence; elsewhere a small bundle takes its place."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from deepfake_models.bundle.bundle import MANIFEST, default_bundle_dir
from tests.support import footage
from tests.support.servers import Site

pytestmark = [pytest.mark.shipped_model, pytest.mark.server]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    settings = {"DEEPFAKE_BUNDLE_DIR": str(default_bundle_dir())}
    with Site(tmp_path_factory.mktemp("shipped"), settings) as running:
        running.serve()
        yield running


def test_evidence_of_a_video_is_verified_with_its_medium_and_its_scores(
    site: Site, tmp_path: Path
) -> None:
    video = footage.clip(1, frames=8)
    job = site.wait(site.submit(video)["id"])
    assert job["state"] == "succeeded"
    with site.client as client:
        evidence = client.get(f"/v1/jobs/{job['id']}/evidence")
    (tmp_path / "evidence.zip").write_bytes(evidence.content)
    with zipfile.ZipFile(tmp_path / "evidence.zip") as archive:
        manifest = archive.read("data/model/bundle.json")
    assert manifest == (default_bundle_dir() / MANIFEST).read_bytes()
    (tmp_path / "video.mp4").write_bytes(video)
    site.command("keys", "signing", "publish", "--out", str(tmp_path / "keys"))
    output = site.command(
        "verify", str(tmp_path / "evidence.zip"), "--pinned", str(tmp_path / "keys"),
        "--media", str(tmp_path / "video.mp4"), "--rescore", "--json",
    )  # fmt: skip
    verification = json.loads(output)
    assert verification["result"] == "verified"
    outcomes = [step["outcome"] for step in verification["steps"]]
    assert outcomes.count("pass") == 9, verification
    assert outcomes.count("skipped") == 2, "neither a certificate nor a time stamp"
