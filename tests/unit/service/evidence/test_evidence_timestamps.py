"""Time stamps of evidence bundles and of the reports in them."""

from __future__ import annotations

import contextlib
import io
import random
import shutil
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from pyhanko.pdf_utils.reader import PdfFileReader

from deepfake_service.evidence.bundle import zip_format as bag
from deepfake_service.evidence.bundle.builder import STAMP, build, report_of
from deepfake_service.evidence.bundle.steps import ExitCode, Outcome
from deepfake_service.evidence.bundle.trust_store import Trust, certificates
from deepfake_service.evidence.bundle.verification import verify
from deepfake_service.platform import timestamps
from deepfake_service.platform.timestamps import PostQuery, TimestampFailed
from tests.support import exhibits
from tests.support.exhibits import OURS, failed_at, outcomes
from tests.support.loopback import serving


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """The URL of a time-stamp authority run with openssl, and the file of its root."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    with exhibits.time_stamp_authority(tmp_path_factory.mktemp("tsa")) as found:
        yield found


@pytest.fixture(scope="module")
def stamped(authority: tuple[str, Path]) -> bytes:
    return stamped_by(timestamps.poster(authority[0]))


def stamped_by(authority: PostQuery) -> bytes:
    signers = replace(exhibits.signers(), authority=authority)
    return build(exhibits.dossier(exhibits.video()), exhibits.material(exhibits.video()), signers)


def test_a_time_stamp_is_valid(stamped: bytes, authority: tuple[str, Path]) -> None:
    trusting = Trust(OURS.keys, certificates(authority[1]))
    for trust in (OURS, trusting):
        found = verify(stamped, trust)
        assert outcomes(found)[9] is Outcome.PASS
        assert found.exit_code is ExitCode.VERIFIED
    assert "trusted authority" in verify(stamped, trusting).steps[8].detail


def test_another_authoritys_time_stamp_is_refused(stamped: bytes, tmp_path: Path) -> None:
    exhibits.make_authority(tmp_path)
    trust = Trust(OURS.keys, certificates(tmp_path / "ca.crt"))
    found = outcomes(verify(stamped, trust))
    assert found[8] is found[9] is Outcome.FAIL


def test_a_missing_time_stamp_or_one_of_another_statement_is_caught(
    stamped: bytes, authority: Any
) -> None:
    assert failed_at(exhibits.reworked(stamped, lambda f: f.pop(STAMP) and None)) == 9
    other = timestamps.request(timestamps.poster(authority[0]), b"something else")
    assert failed_at(exhibits.reworked(stamped, lambda f: f.update({STAMP: other}))) == 9
    unasked = exhibits.reworked(exhibits.bundle(), lambda f: f.update({STAMP: other}))
    assert failed_at(unasked) == 9


def test_every_byte_of_a_time_stamp_counts(stamped: bytes) -> None:
    token = bag.unzipped(stamped)[STAMP]
    draw = random.Random(3)
    for at in draw.sample(range(len(token)), 60):
        changed = token[:at] + bytes([token[at] ^ 1]) + token[at + 1 :]
        tampered = exhibits.reworked(stamped, lambda f, c=changed: f.update({STAMP: c}))
        assert failed_at(tampered) == 9, at


def test_the_statement_says_that_the_authority_failed() -> None:
    down = timestamps.poster("http://127.0.0.1:1/")
    with pytest.raises(TimestampFailed):
        down(b"")
    found = verify(stamped_by(down), OURS)
    assert found.exit_code is ExitCode.VERIFIED
    assert "the authority failed" in found.steps[8].detail


def test_a_reports_signature_has_a_time_stamp(stamped: bytes, authority: tuple[str, Path]) -> None:
    """PAdES B-T: the signature is valid after its certificate has expired, too."""
    trusting = Trust(OURS.keys, certificates(authority[1]))
    for trust in (OURS, trusting):
        found = verify(stamped, trust)
        assert found.exit_code is ExitCode.VERIFIED, found.steps
        assert "time-stamped at" in found.steps[7].detail
    (signature,) = PdfFileReader(
        io.BytesIO(bag.unzipped(stamped)[report_of("en")])
    ).embedded_signatures
    stamps = [a for a in signature.signer_info["unsigned_attrs"]
              if a["type"].native == "signature_time_stamp_token"]  # fmt: skip
    assert len(stamps) == 1


def test_a_report_is_signed_without_a_time_stamp_if_the_authority_fails() -> None:
    for post in (timestamps.poster("http://127.0.0.1:1/"), lambda _: b"not a reply"):
        found = verify(stamped_by(post), OURS)
        assert found.exit_code is ExitCode.VERIFIED
        assert "time-stamped" not in found.steps[7].detail


def test_an_authority_that_answers_without_end_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """L8: the reply was read whole before its size was looked at, without a deadline."""

    class Endless(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.send_response(200)
            self.end_headers()
            with contextlib.suppress(OSError):
                while True:
                    self.wfile.write(bytes(64 * 1024))

        def log_message(self, *_: object) -> None:
            return

    with serving(HTTPServer(("127.0.0.1", 0), Endless)) as server:
        url = f"http://127.0.0.1:{server.server_port}/"
        with pytest.raises(TimestampFailed, match="too large"):
            timestamps.request(timestamps.poster(url), b"x")
        monkeypatch.setattr(timestamps, "DEADLINE_S", 0.0)
        with pytest.raises(TimestampFailed, match="too slowly"):
            timestamps.request(timestamps.poster(url), b"x")
