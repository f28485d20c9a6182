"""The steps of an examination: what they open, and what another worker makes of their results."""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import signal
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, BinaryIO

import pytest
from sqlalchemy import text
from structlog.testing import capture_logs

from deepfake_models.decision.decide import Part
from deepfake_models.decision.serialization import dump_part
from deepfake_models.media.decoder import InProcessDecoder
from deepfake_models.media.interface import OpenMedia
from deepfake_models.sandbox.decoder import ProcessDecoder
from deepfake_models.scorer import Scorer
from deepfake_service.accounts.accounts import Accounts
from deepfake_service.audit.log import SERVICE
from deepfake_service.audit.records import open_database
from deepfake_service.cases.cases import material_of
from deepfake_service.container import Services
from deepfake_service.evidence.bundle import artifacts
from deepfake_service.evidence.bundle.artifacts import Material
from deepfake_service.evidence.bundle.builder import VERDICT
from deepfake_service.evidence.bundle.documents import FrameHashes, VerdictDocument, read
from deepfake_service.evidence.bundle.perceptual_hashes import hash_media
from deepfake_service.evidence.bundle.steps import Outcome
from deepfake_service.evidence.bundle.trust_store import Trust
from deepfake_service.evidence.bundle.verification import verify
from deepfake_service.evidence.bundle.zip_format import member
from deepfake_service.evidence.report.reading import Reading
from deepfake_service.evidence.report.summary import summary_of
from deepfake_service.examination import steps
from deepfake_service.examination.steps import (
    TIMELINE,
    Examination,
    JobFiles,
)
from deepfake_service.examination.submissions import Submission
from deepfake_service.examination.workflow import JobOver
from deepfake_service.platform.db import Case, Job
from deepfake_service.platform.enums import JobState, Role
from deepfake_service.platform.errors import InvalidRequest, RecordAltered
from deepfake_service.platform.findings import Decision
from deepfake_service.platform.metrics import Metrics
from deepfake_service.platform.settings import Settings
from deepfake_service.platform.texts.i18n import words
from deepfake_service.review.reviews import Judgement
from tests.support import evaluation, footage


class CountingDecoder(InProcessDecoder):
    """Counts how often media are opened."""

    def __init__(self) -> None:
        super().__init__()
        self.openings = 0

    @contextlib.contextmanager
    def open(self, source: BinaryIO, *, stills_only: bool = False) -> Iterator[OpenMedia]:
        self.openings += 1
        with super().open(source, stills_only=stills_only) as media:
            yield media


@dataclass
class Worker:
    """The steps of examinations on an installation of their own."""

    services: Services
    steps: Examination
    decoder: CountingDecoder
    caller: Any

    def submit(self, content: bytes, **options: Any) -> str:
        async def chunks() -> AsyncIterator[bytes]:
            yield content

        async def submitted() -> str:
            submissions = self.services.submissions
            sealed = await submissions.seal(chunks())
            return (await submissions.accept(self.caller, Submission(**options), sealed)).job_id

        return asyncio.run(submitted())

    def openings(self, step: str, *arguments: Any) -> tuple[Any, int]:
        """Do a step; return its result and how often it opened the media."""
        before = self.decoder.openings
        result = getattr(self.steps, step)(*arguments)
        return result, self.decoder.openings - before

    def job(self, job_id: str) -> Job:
        with self.services.database.read() as session:
            return session.get_one(Job, job_id)

    def blobs(self, job_id: str) -> list[str]:
        """Return the names of what the job's steps left."""
        moment = datetime.now(UTC) + timedelta(days=1)
        return list(self.services.vault.blobs.older_than(f"work/{job_id}/", moment))


@pytest.fixture(scope="module")
def scorer(tmp_path_factory: pytest.TempPathFactory) -> Scorer:
    bundle = evaluation.tiny_bundle(tmp_path_factory.mktemp("bundle") / "tiny")
    return Scorer.open(bundle.directory, threads=1)


@pytest.fixture
def worker(scorer: Scorer, tmp_path: Path) -> Iterator[Worker]:
    with working(scorer, tmp_path, CountingDecoder()) as worker:
        yield worker


@pytest.fixture
def confined(scorer: Scorer, tmp_path: Path) -> Iterator[Worker]:
    """A worker that decodes in a confined process."""
    with (
        contextlib.closing(ProcessDecoder(workers=1)) as decoder,
        working(scorer, tmp_path, decoder) as worker,
    ):
        yield worker


@contextlib.contextmanager
def working(scorer: Scorer, tmp_path: Path, decoder: Any) -> Iterator[Worker]:
    settings = Settings(data_dir=tmp_path / "var")
    with (
        contextlib.closing(open_database(settings)) as database,
        contextlib.closing(
            Services(settings, database, scorer.bundle.sha256, decoder, Metrics())
        ) as services,
    ):
        accounts = Accounts(database)
        accounts.create("tester", "person", Role.ANALYST)
        caller = accounts.authenticate(accounts.create_key("tester").text)
        steps = Examination(
            database,
            services.vault,
            scorer,
            decoder,
            services.evidence_store,
            services.hash_bank,
            services.minor_flags,
            Metrics(),
            timedelta(days=1),
        )
        yield Worker(services, steps, decoder, caller)


VIDEO = footage.encode([evaluation.portrait("real", 1, size=192)] * 32)
"""As many frames as the overview takes: two chunks."""


def test_a_video_is_scanned_once_for_its_plan(worker: Worker) -> None:
    job_id = worker.submit(VIDEO)
    worker.steps.claim_job(job_id)
    assert worker.openings("plan_overview", job_id) == (2, 1)
    assert worker.blobs(job_id)
    assert worker.openings("examine_chunk", job_id, 0) == (None, 1)
    assert worker.openings("examine_chunk", job_id, 1) == (None, 1)
    assert worker.openings("plan_dense", job_id, 2) == (0, 0)
    # Evidence needs the pixels of the faces that it shows; the verdict needs nothing more.
    assert worker.openings("conclude", job_id, 2) == (None, 1)
    job = worker.job(job_id)
    assert job.state == JobState.SUCCEEDED
    assert job.verdict == "no_manipulation_found"
    assert worker.blobs(job_id) == []


def test_media_that_take_long_to_open_are_opened_less_often(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A GIF of 75 kB, each of whose openings takes ten minutes, held a worker for nine hours."""
    job_id = worker.submit(VIDEO)
    worker.steps.claim_job(job_id)
    now = iter(range(0, 300, 31))
    monkeypatch.setattr(steps, "time", SimpleNamespace(monotonic=lambda: next(now)))
    assert worker.steps.plan_overview(job_id) == 2
    now = iter(range(0, 300, 32))
    assert worker.steps.plan_overview(job_id) == 1


def test_media_that_cannot_be_decoded_are_opened_once(worker: Worker) -> None:
    job_id = worker.submit(b"neither a picture nor a video")
    worker.steps.claim_job(job_id)
    assert worker.openings("plan_overview", job_id) == (0, 1)
    assert worker.openings("conclude", job_id, 0) == (None, 0)
    assert worker.job(job_id).verdict == "unable_to_evaluate"


def test_a_video_of_which_one_chunk_takes_too_long_gets_that_verdict(
    confined: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    examine, calls = Scorer.examine, []

    def late(scorer: Scorer, media: Any, indices: Any, **options: Any) -> Part:
        calls.append(indices)
        media._process.connection.left_s = 0.0
        return examine(scorer, media, indices, **options)

    monkeypatch.setattr(Scorer, "examine", late)
    job_id = confined.submit(VIDEO)
    confined.steps.claim_job(job_id)
    for number in range(confined.steps.plan_overview(job_id)):
        confined.steps.examine_chunk(job_id, number)
    assert confined.steps.plan_dense(job_id, 2) == 0
    confined.steps.conclude(job_id, 2)
    job = confined.job(job_id)
    assert (job.state, job.verdict) == (JobState.SUCCEEDED, "unable_to_evaluate")
    # A slow file does not take the time of others again.
    assert len(calls) == 1
    assert confined.blobs(job_id) == []


def examined(worker: Worker) -> Material:
    """Examine a video, and return the material of its evidence."""
    return finish(worker, worker.submit(VIDEO))


def finish(worker: Worker, job_id: str) -> Material:
    """Examine what was submitted, and return the material of its evidence."""
    worker.steps.claim_job(job_id)
    chunks = worker.steps.plan_overview(job_id)
    for number in range(chunks):
        worker.steps.examine_chunk(job_id, number)
    worker.steps.conclude(job_id, chunks)
    job = worker.job(job_id)
    assert job.verdict == "no_manipulation_found"
    with worker.services.database.read() as session:
        key = worker.services.vault.case_key(session.get_one(Case, job.case_id))
    return Material.unpack(worker.services.vault.read(material_of(job), key))


def test_frames_that_take_too_long_to_hash_leave_the_pictures_and_the_true_reason(
    confined: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempts = []

    def hash_late(media: Any) -> Any:
        attempts.append(media)
        media._process.connection.left_s = 0.0
        return hash_media(media)

    monkeypatch.setattr(artifacts, "hash_media", hash_late)
    material = examined(confined)
    assert material.pictures
    assert material.examination.hashes == FrameHashes(pdq=None, reason=artifacts.TOO_SLOW)
    assert words("ko").stored(artifacts.TOO_SLOW) != artifacts.TOO_SLOW
    # What was too slow once is not tried again: others wait for the process.
    assert len(attempts) == 1


def test_a_part_is_examined_frame_by_frame_and_stated_in_evidence(worker: Worker) -> None:
    film = footage.encode([evaluation.portrait("real", 1, size=192)] * 36, rate=2)
    whole = worker.submit(film, frames=4)
    with pytest.raises(InvalidRequest, match="that was examined"):  # not yet
        worker.submit(film, repeats=whole, frames=4, around_s=12.0)
    finish(worker, whole)
    with pytest.raises(InvalidRequest, match="that was examined"):
        worker.submit(film, repeats=whole, frames=600, around_s=18.2)
    worker.steps.issue_evidence(whole)
    _, first = worker.services.evidence_store.read(worker.caller, whole)
    assert b"within_s" not in member(first, VERDICT)
    told = {}
    for most in (600, 7):
        job_id = worker.submit(film, repeats=whole, frames=most, around_s=12.0)
        assert worker.submit(film, repeats=whole, frames=most, around_s=12.0) == job_id
        found = finish(worker, job_id).examination
        assert found.within_s == (7.0, 17.0)
        assert found.examined_s[0] == 7.0
        assert found.examined_s[-1] == 17.0
        assert len(found.examined_s) == (21 if most == 600 else 7)
        worker.steps.issue_evidence(job_id)
        _, edition = worker.services.evidence_store.read(worker.caller, job_id)
        again = verify(
            edition, Trust(), scorer=worker.steps._scorer, original=io.BytesIO(film)
        ).steps[10]
        assert (again.number, again.outcome) == (11, Outcome.PASS), again
        document = read(VerdictDocument, member(edition, VERDICT), VERDICT)
        assert document.verbal is None
        told[most] = summary_of(Reading(document, words("en"), str))["reasons"][0]
    assert "only the part from 7.0 s to 17.0 s was examined" in told[600]
    assert "every frame of it" in told[600]
    assert "7 frames, spread evenly over it" in told[7]
    assert "do not hold for a chosen part" in told[7]
    assert worker.services.evidence_store.read(worker.caller, whole)[1] == first


@pytest.mark.parametrize("failures", [1, 3])
def test_a_decoder_that_dies_while_hashing_takes_nothing_else_with_it(
    confined: Worker, monkeypatch: pytest.MonkeyPatch, failures: int
) -> None:
    attempts = []

    def hash_in_danger(media: Any) -> Any:
        attempts.append(media)
        if len(attempts) <= failures:
            os.kill(media._process.pid, signal.SIGKILL)
        return hash_media(media)

    monkeypatch.setattr(artifacts, "hash_media", hash_in_danger)
    material = examined(confined)
    assert material.pictures
    hashes = material.examination.hashes
    if failures == 1:
        assert hashes.pdq
        assert len(attempts) == 2
    else:
        assert hashes == FrameHashes(pdq=None, reason=artifacts.DECODER_ENDED)
        assert words("ko").stored(artifacts.DECODER_ENDED) != artifacts.DECODER_ENDED


def test_the_picture_of_a_face_is_of_the_frame_that_was_shown_then(scorer: Scorer) -> None:
    shown, after = (evaluation.portrait("real", k, size=192) for k in (1, 2))
    pts = [*range(0, 120, 40), *range(9000, 9120, 40)]
    film = footage.encode([shown] * 3 + [after] * 3, pts=pts, gop=1)
    with footage.opened(film) as media:
        faces = scorer.score_media(media).faces
        times = [face.time_s for face in faces]
        assert times == pytest.approx([0, 0.04, 0.08, 2.08, 4.08, 6.08, 9, 9.04, 9.08], abs=0.01)
        files = [artifacts._pictures(media, faces, [k], scorer)[1] for k in (2, 4)]
    assert files[0] == files[1]
    # It is not shown again for each time that it counts: others would have no place.
    assert [round(faces[k].time_s, 2) for k in artifacts.suspect_faces(faces)] == [0.04, 2.08, 9.04]


class PlainVault:
    """A vault of plain bytes."""

    def __init__(self) -> None:
        self.content: dict[str, bytes] = {}

    def write(self, name: str, _: bytes, content: bytes) -> None:
        self.content[name] = content

    def read(self, name: str, _: bytes) -> bytes:
        return self.content[name]


OLD, NEW = "aa" * 32, "bb" * 32


def test_a_part_of_another_model_is_not_used() -> None:
    vault: Any = PlainVault()
    files = JobFiles(vault, "j", b"")
    files.save_part(1, Part((), 0), OLD)
    assert files.part(1, OLD) == Part((), 0)
    assert files.part(1, NEW) is None
    # The first workers did not save which model a part is of.
    vault.content["work/j/part-0"] = dump_part(Part((), 0))
    assert files.part(0, NEW) is None


def test_what_another_version_stored_is_made_again_at_the_last_step(worker: Worker) -> None:
    verdicts = []
    for newer in (False, True):
        job_id = worker.submit(VIDEO, frames=20 + newer)
        worker.steps.claim_job(job_id)
        assert worker.steps.plan_overview(job_id) == 2
        for number in range(2):
            worker.steps.examine_chunk(job_id, number)
        if newer:
            files = worker.steps._open(job_id).files
            model = bytes.fromhex(worker.steps.model)
            files.save("part-1", model + b'{"failed":0,"frames":[],"newer":1}')
            files.save(TIMELINE, b'{"newer":1}\n')
        worker.steps.conclude(job_id, 2)
        verdicts.append((worker.job(job_id).state, worker.job(job_id).verdict))
    assert verdicts[0] == verdicts[1]
    assert verdicts[1][0] == JobState.SUCCEEDED


def test_a_worker_that_was_cut_off_leaves_a_job_that_another_model_took_over(
    worker: Worker,
) -> None:
    job_id = worker.submit(VIDEO)
    worker.steps.claim_job(job_id)
    worker.steps.plan_overview(job_id)
    with worker.services.database.write() as session:
        session.get_one(Job, job_id).bundle_sha256 = "f" * 64
    for step in (
        lambda: worker.steps.examine_chunk(job_id, 0),
        lambda: worker.steps.plan_dense(job_id, 2),
        lambda: worker.steps.conclude(job_id, 2),
    ):
        with pytest.raises(JobOver):
            step()
    assert worker.job(job_id).state == JobState.RUNNING
    # The queue never gives it such a job; if it did, that would stay the other worker's.
    with pytest.raises(JobOver):
        worker.steps.claim_job(job_id)
    job = worker.job(job_id)
    assert (job.state, job.failure) == (JobState.RUNNING, None)


def test_no_evidence_is_made_of_what_was_deleted_meanwhile(worker: Worker) -> None:
    job_id = worker.submit(VIDEO)
    with worker.services.database.write() as session:
        case = session.get_one(Case, session.get_one(Job, job_id).case_id)
        case.wrapped_key = None
    with capture_logs() as logged, pytest.raises(JobOver):
        worker.steps.issue_evidence(job_id)
    assert logged == []


def test_decisions_forged_in_the_database_are_not_signed(worker: Worker) -> None:
    """H7: three columns were altered, and the next edition stated them, signed."""
    services, database = worker.services, worker.services.database
    job_id = worker.submit(VIDEO)
    worker.steps.claim_job(job_id)
    for number in range(worker.steps.plan_overview(job_id)):
        worker.steps.examine_chunk(job_id, number)
    worker.steps.conclude(job_id, 2)
    worker.steps.issue_evidence(job_id)
    reviewer = Accounts(database).authenticate(Accounts(database).create_key("tester").text)
    services.reviews.decide(reviewer, job_id, Judgement(decision=Decision.CONFIRMED, reason="seen"))
    _, first = services.evidence_store.editions(reviewer, job_id)
    listed = services.revocation_list.current().editions
    assert {edition.sha256 for edition in listed} == {first.sha256}
    with database.engine.begin() as connection:
        later = (database.clock() + timedelta(minutes=1)).strftime("%Y-%m-%d %H:%M:%S.%f")
        connection.execute(text("UPDATE jobs SET finding = 'rejected'"))
        connection.execute(
            text("UPDATE reviews SET decision = 'rejected', created_at = :at"), {"at": later}
        )
    services.reviews.catch_up()
    with pytest.raises(RecordAltered):
        services.evidence_store.issue(job_id, SERVICE)
    assert len(services.evidence_store.editions(reviewer, job_id)) == 2


def test_progress_never_runs_backwards(worker: Worker) -> None:
    job_id = worker.submit(VIDEO)
    worker.steps.claim_job(job_id)
    worker.steps.plan_overview(job_id)
    worker.steps.examine_chunk(job_id, 0)
    seen: list[int] = []
    report = worker.steps._report

    def noted(*arguments: Any, **options: Any) -> None:
        report(*arguments, **options)
        seen.append(worker.job(job_id).done)

    worker.steps._report = noted  # type: ignore[method-assign]
    worker.steps.examine_chunk(job_id, 0)  # as after a worker that died
    worker.steps.examine_chunk(job_id, 1)
    assert len(seen) > 2
    assert seen == sorted(seen)
    assert (seen[0], seen[-1]) == (16, 32)
    job = worker.job(job_id)
    assert (job.overview, job.total) == (32, 32)
    worker.steps._report(job_id, "dense", 40, 96)
    job = worker.job(job_id)
    assert (job.overview, job.done, job.total) == (32, 40, 96)
