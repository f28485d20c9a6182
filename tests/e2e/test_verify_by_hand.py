"""The page on verifying evidence by hand: its commands run, and detect tampering."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from deepfake_service.evidence.bundle import zip_format as bag
from deepfake_service.evidence.bundle.dsse import public_pem
from deepfake_service.evidence.bundle.look_format import file_of
from tests.support import exhibits

PAGE = Path(__file__).parents[2] / "docs" / "verify-by-hand.md"
BLOCK = re.compile(r"^## (\d)\.[^\n]*\n(.*?)(?=^## )", re.MULTILINE | re.DOTALL)
FENCED = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)
MISSING = [t for t in ("unzip", "jq", "openssl", "pdfsig", "sha256sum") if not shutil.which(t)]

pytestmark = pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}")


def sections() -> dict[int, str]:
    """Return the commands of each numbered section."""
    text = PAGE.read_text(encoding="utf-8")
    return {int(n): "\n".join(FENCED.findall(body)) for n, body in BLOCK.findall(text)}


def run(folder: Path, script: str) -> subprocess.CompletedProcess[str]:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        ["bash", "-e", "-o", "pipefail", "-c", script], cwd=folder,
        env={**os.environ, "PATH": path}, capture_output=True, text=True, check=False,
    )  # fmt: skip


def write_files(folder: Path, bundle: bytes) -> Path:
    (folder / "bundle.zip").write_bytes(bundle)
    (folder / "issuer.pem").write_bytes(public_pem(exhibits.signers().statement.public_key()))
    (folder / "original").write_bytes(exhibits.video())
    return folder


def first_failure(folder: Path, bundle: bytes) -> int | None:
    """Return the number of the first section whose commands fail."""
    write_files(folder, bundle)
    for number, script in sections().items():
        if run(folder, script).returncode:
            return number
    return None


def test_every_section_passes(tmp_path: Path) -> None:
    write_files(tmp_path, exhibits.bundle())
    assert list(sections()) == [1, 2, 3, 4, 5, 6]
    output = {}
    for number, script in sections().items():
        done = run(tmp_path, script)
        assert done.returncode == 0, (number, done.stdout, done.stderr)
        output[number] = done.stdout
    assert "Verified Successfully" in output[3]
    assert output[4] == "original: OK\n"
    fingerprint, named = output[5].split("\n")[:2]
    assert fingerprint.split("=")[1].replace(":", "").lower() == named
    assert output[5].count("Signature is Valid") == 2
    assert output[5].count("Total document signed") == 2


def _verdict(f: dict[str, bytes]) -> None:
    f["data/verdict.json"] = f["data/verdict.json"].replace(b'"edition":1', b'"edition":2')


def _added(f: dict[str, bytes]) -> None:
    f["data/note.txt"] = b"x"


def _key(f: dict[str, bytes]) -> None:
    f["signatures/statement.dsse.json"] = bag.unzipped(exhibits.other_bundle())[
        "signatures/statement.dsse.json"
    ]


@pytest.mark.parametrize(("change", "section"), [(_verdict, 4), (_added, 2), (_key, 4)])
def test_tampering_is_detected(tmp_path: Path, change: object, section: int) -> None:
    assert callable(change)
    assert first_failure(tmp_path, exhibits.reworked(exhibits.bundle(), change)) == section


def test_manifests_that_do_not_match_are_detected(tmp_path: Path) -> None:
    files = bag.unzipped(exhibits.bundle())
    _verdict(files)
    assert first_failure(tmp_path, bag.zipped(files)) == 2


def test_another_signer_is_detected(tmp_path: Path) -> None:
    thief = exhibits.build(
        exhibits.dossier(exhibits.video()),
        exhibits.material(exhibits.video()),
        exhibits.signers("thief"),
    )
    assert first_failure(tmp_path, thief) == 3


def test_what_the_page_says_of_looks(tmp_path: Path) -> None:
    text = PAGE.read_text(encoding="utf-8").partition("## Looks at a post")[2]
    (digest,) = re.findall(r"`(jq [^`]+ looks\.json \| sha256sum)`", text)
    (tmp_path / "looks.json").write_bytes(file_of(exhibits.looks()))
    listed = json.loads((tmp_path / "looks.json").read_bytes())["looks"]
    first = run(tmp_path, digest).stdout.split()[0]
    assert first == listed[0]["sha256"]
    stated = json.loads(base64.b64decode(listed[1]["record"]["payload"]))["predicate"]
    assert stated["previous_sha256"] == first
    last = json.loads(base64.b64decode(listed[2]["record"]["payload"]))["predicate"]
    shown = hashlib.sha256(listed[2]["text"].encode()).hexdigest()
    assert (last["text_sha256"], last["result"]) == (shown, listed[2]["result"])


def test_the_page_ends_its_numbered_sections() -> None:
    assert "openssl ts -verify" in PAGE.read_text(encoding="utf-8")
