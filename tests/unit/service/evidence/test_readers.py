"""Attacks by the ZIP, the reports and the pictures of a bundle of evidence."""

from __future__ import annotations

import io
import json
import time
import zlib
from collections.abc import Iterator
from contextlib import closing, nullcontext
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from typer.testing import CliRunner

from deepfake_models.errors import DecoderFailed, SandboxBusy, SandboxIncomplete
from deepfake_models.sandbox.confinement import Confinement, Layer
from deepfake_models.sandbox.pool import ConfinedProcess, ProcessPool, TaskBounds
from deepfake_models.sandbox.protocol import Options
from deepfake_service.cli.app import app
from deepfake_service.evidence.bundle import readers
from deepfake_service.evidence.bundle import zip_format as bag
from deepfake_service.evidence.bundle.builder import CERTIFICATES, MODEL_RATES, PUBLIC_KEY, build
from deepfake_service.evidence.bundle.documents import Failed
from deepfake_service.evidence.bundle.look_format import file_of
from deepfake_service.evidence.bundle.readers import BundleReaders
from deepfake_service.evidence.bundle.steps import ExitCode, Outcome
from deepfake_service.evidence.bundle.trust_store import Trust, certificates
from deepfake_service.evidence.bundle.verification import verify
from deepfake_service.platform import timestamps
from deepfake_service.platform.errors import SettingsError
from tests.support import attacks, exhibits, footage
from tests.support.small_bundles import small_bundle_dir


@pytest.fixture(scope="module")
def confined() -> Iterator[BundleReaders]:
    confined = BundleReaders(1)
    yield confined
    confined.close()


@pytest.fixture(scope="module")
def bundle() -> bytes:
    picture = footage.picture(footage.astronaut(), "PNG")
    return build(exhibits.dossier(picture), exhibits.material(picture), exhibits.signers())


def test_a_bundle_verifies_as_without_confinement(confined: BundleReaders, bundle: bytes) -> None:
    for trust in (Trust(), Trust(keys=(exhibits.signers().statement.public_key(),))):
        direct = verify(bundle, trust, scorer=exhibits.scorer())
        twice = [
            verify(bundle, trust, scorer=exhibits.scorer(), readers=confined) for _ in range(2)
        ]
        assert direct.exit_code is not ExitCode.FAILED
        assert [v.published() for v in twice] == [direct.published()] * 2


def test_a_damaged_bundle_fails_as_without_confinement(
    confined: BundleReaders, bundle: bytes
) -> None:
    for damaged in (b"", b"PK", bundle[:-1], bundle + b"x", bundle[:5000] + b"y" + bundle[5001:]):
        direct, there = (
            verify(damaged, Trust(), readers=reader) for reader in (BundleReaders(), confined)
        )
        assert there.published() == direct.published()
        assert there.exit_code is ExitCode.FAILED


def zeros(megabytes: int) -> bytes:
    """Return what ``zlib.compress`` makes of so many megabytes of zeros, without making them."""
    deflating = zlib.compressobj(9)
    first, each = (
        deflating.compress(bytes(1 << 20)) + deflating.flush(zlib.Z_FULL_FLUSH) for _ in range(2)
    )
    checksum = ((megabytes << 20) % 65521 << 16) + 1  # Adler-32
    return first + each * (megabytes - 1) + b"\x03\x00" + checksum.to_bytes(4, "big")


def slow_pdf(megabytes: int) -> bytes:
    """Return a PDF with a cross-reference stream (ISO 32000-2, 7.5.8) of so many megabytes."""
    rows = megabytes * (1 << 20) // 4
    table = zeros(megabytes)
    head = b"%PDF-1.7\n"
    stream = (
        b"1 0 obj\n<</Type/XRef/W[1 2 1]/Size %d/Root 2 0 R/Filter/FlateDecode"
        b"/Length %d>>\nstream\n" % (rows, len(table))
    )
    tail = b"\nendstream\nendobj\nstartxref\n%d\n%%%%EOF\n" % len(head)
    return head + stream + table + tail


def test_certificates_of_a_bundle_are_parsed_where_its_reports_are(
    confined: BundleReaders, bundle: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    trust = Trust([exhibits.signers().statement.public_key()])
    confined.files(bundle)  # the process has its own modules
    monkeypatch.delattr(x509, "load_pem_x509_certificates")
    verification = verify(bundle, trust, readers=confined)
    assert verification.exit_code is ExitCode.VERIFIED, verification.steps


@pytest.mark.slow
def test_a_report_that_takes_forever_to_read_is_given_up(
    confined: BundleReaders, bundle: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = bag.unzipped(bundle)
    pdf = slow_pdf(64)
    assert len(pdf) < 1 << 20
    started = time.monotonic()
    with monkeypatch.context() as patch:
        patch.setattr(readers, "CPU_S", 1.0)
        with pytest.raises(Failed, match="too much time or memory"):
            confined.check_report(pdf, files[CERTIFICATES], exhibits.EXAMINED_AT)
    assert time.monotonic() - started < 60
    # The next bundle is verified by another process.
    assert confined.files(bundle) == files


def test_a_report_that_swells_in_memory_is_given_up(
    bundle: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readers, "MEMORY_BYTES", 700 << 20)
    confined, certificates = BundleReaders(1), bag.unzipped(bundle)[CERTIFICATES]
    try:
        with pytest.raises(Failed):
            confined.check_report(slow_pdf(512), certificates, exhibits.EXAMINED_AT)
    finally:
        confined.close()


class Liar:
    """A pool whose processes were taken over: they answer whatever they want."""

    def __init__(self, answer: bytes) -> None:
        self.answer = answer

    def run(self, *_: Any) -> bytes:
        return self.answer


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"[]",
        b"{}",
        b'{"data/verdict.json": 3}\nxyz',
        b'{"a": 1' + b', "a": 1' * 100_000 + b"}\n",
        json.dumps({f"f{i}": 0 for i in range(1000)}).encode() + b"\n",
    ],
)
def test_files_that_are_not_in_the_bundle_are_not_believed(
    confined: BundleReaders, bundle: bytes, answer: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(confined, "_pool", Liar(answer))
    with pytest.raises(Failed, match="too much time or memory"):
        confined.files(bundle)


def test_verification_that_finds_no_process_is_no_failure_of_the_bundle(
    confined: BundleReaders, bundle: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readers, "WAIT_S", 0.05)
    with confined._pool.process(), pytest.raises(SandboxBusy):
        verify(bundle, Trust(), readers=confined)


def test_nothing_is_imported_while_a_bundle_is_read(
    bundle: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    confined = BundleReaders(1)
    tasks = (*confined._pool._server._options.tasks, attacks.MODULES)
    confined._pool = ProcessPool(Options(tasks=tasks), 1)
    bounds = readers.TaskBounds(60.0, 3 << 30)
    try:
        with confined._pool.process() as process:
            # One process for everything, so that it can be asked afterwards.
            monkeypatch.setattr(confined._pool, "process", lambda *_: nullcontext(process))
            before = confined._pool.run(attacks.MODULES, io.BytesIO(), b"", bounds)
            result = verify(bundle, Trust(), scorer=exhibits.scorer(), readers=confined)
            assert Outcome.FAIL not in {step.outcome for step in result.steps}
            assert len(confined.looks(file_of(exhibits.looks()))) == 3
            assert confined._pool.run(attacks.MODULES, io.BytesIO(), b"", bounds) == before
    finally:
        confined.close()


def test_a_file_leaves_nothing_to_the_next_one() -> None:
    """Not even in the descriptors that the libraries need."""
    tasks = (readers.TASK, attacks.LEAVE, attacks.FIND)
    pool = ProcessPool(Options(tasks=tasks), 1)
    bounds = TaskBounds(timeout_s=60.0, memory_bytes=6 << 30)
    with closing(pool):
        for task in (attacks.LEAVE, attacks.FIND):
            assert pool.run(task, io.BytesIO(b"file"), b"", bounds) == b""
        with pool.process() as process:  # what both do where a process serves two files
            list(process.pieces(attacks.LEAVE, io.BytesIO(b"file"), b"", bounds, 0))
            (found,) = process.pieces(attacks.FIND, io.BytesIO(b"file"), b"", bounds, 0)
            assert b"left" in found


def test_a_crash_is_a_file_that_cannot_be_read(
    confined: BundleReaders, bundle: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(*_: Any) -> bytes:
        raise DecoderFailed

    monkeypatch.setattr(confined._pool, "run", crash)
    result = verify(bundle, Trust(), readers=confined)
    assert [step.outcome for step in result.steps] == [Outcome.FAIL]
    assert "crashed" in result.steps[0].detail


def test_a_time_stamp_is_parsed_in_a_confined_process(
    confined: BundleReaders, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The time, or the same error, comes from the process; this one parses no token."""
    data = b"a statement"
    with exhibits.time_stamp_authority(tmp_path) as (url, root):
        token = timestamps.request(timestamps.poster(url), data)
    roots = certificates(root)
    at = timestamps.verify(token, data, list(roots))

    def parse(*_: object) -> None:
        raise AssertionError("parsed in the process that has the keys")

    monkeypatch.setattr(timestamps, "decode_timestamp_response", parse)
    assert confined.stamp_time(token, data, roots) == at
    assert confined.stamp_time(token, data, ()) == at
    for hostile, covered in ((token, b"another"), (token[:-1], data), (b"\x30\x84" * 50, data)):
        with pytest.raises(Failed):
            confined.stamp_time(hostile, covered, roots)
    with pytest.raises(Failed, match="too large"):
        confined.stamp_time(bytes(timestamps.MAX_REPLY_BYTES + 1), data, roots)


@pytest.mark.parametrize("name", [PUBLIC_KEY, CERTIFICATES, MODEL_RATES])
def test_a_file_larger_than_a_verifier_parses_is_refused(bundle: bytes, name: str) -> None:
    swollen = b"[" * 3_000_000 if name == MODEL_RATES else b"\n" * (bag.MAX_PEM_BYTES + 1)
    result = verify(exhibits.reworked(bundle, lambda f: f.update({name: swollen})), Trust())
    failed = [step.detail for step in result.steps if step.outcome is Outcome.FAIL]
    assert any(d.startswith(name) for d in failed), failed


def test_commands_refuse_an_incomplete_sandbox_where_all_layers_are_required(
    bundle: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    picture = tmp_path / "picture.png"
    picture.write_bytes(footage.picture(footage.astronaut(), "PNG"))
    evidence = tmp_path / "bundle.zip"
    evidence.write_bytes(bundle)
    score = ["score", "--bundle", str(small_bundle_dir()), str(picture)]
    commands = (score, ["verify", str(evidence)])
    monkeypatch.setattr(ConfinedProcess, "await_ready", lambda _: Confinement((Layer.LANDLOCK,)))
    monkeypatch.setenv("DEEPFAKE_SANDBOX", "require")
    for words in commands:
        done = CliRunner().invoke(app, words)
        assert isinstance(done.exception, SandboxIncomplete)
        assert "landlock" in done.exception.message
        assert "DEEPFAKE_SANDBOX=require" in done.exception.message
    monkeypatch.setenv("DEEPFAKE_SANDBOX", "required")
    for words in commands:
        assert isinstance(CliRunner().invoke(app, words).exception, SettingsError)
