"""The generated client drives the service, from a submission to its verified evidence."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TypeVar

import pytest

from deepfake_client import AuthenticatedClient
from deepfake_client.api.cases import add_occurrence, delete_case, get_case, list_cases
from deepfake_client.api.evidence import (
    get_evidence,
    get_face,
    get_public_keys,
    get_report,
    get_revocations,
    list_editions,
    review_job,
    verify_evidence,
)
from deepfake_client.api.frames import score_pictures
from deepfake_client.api.jobs import get_job, list_jobs
from deepfake_client.api.notices import create_notice, list_notice_kinds
from deepfake_client.api.operations import check_readiness
from deepfake_client.api.videos import submit_video
from deepfake_client.models import (
    CaseOut,
    CasesOut,
    Decision,
    EditionsOut,
    Finding,
    FramesOut,
    GetReportLang,
    JobOut,
    JobsOut,
    JobState,
    KindsOut,
    NoticeRequest,
    NoticeRequestFields,
    NoticeRequestKind,
    OccurrenceOut,
    OccurrenceUpload,
    Order,
    PictureUpload,
    Priority,
    ProblemOut,
    PublicKeysOut,
    ReadyOut,
    ReasonCode,
    ReviewIn,
    ReviewsOut,
    SignedListOut,
    VerdictCode,
    VerificationOut,
    VideoUpload,
)
from deepfake_client.types import File
from tests.support import mediakit
from tests.support.mediakit import clip
from tests.support.servekit import JOB_S, Site, wait_until

pytestmark = pytest.mark.server

T = TypeVar("T")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with Site(tmp_path_factory.mktemp("client")) as running:
        running.serve()
        yield running


@pytest.fixture
def client(site: Site) -> Iterator[AuthenticatedClient]:
    key = site.create_key(f"ann {datetime.now(UTC).timestamp()}", "analyst")
    with AuthenticatedClient(base_url=site.url, token=key) as opened:
        yield opened


def expect(kind: type[T], answer: object) -> T:
    """Return an answer of this type, and show any other."""
    assert isinstance(answer, kind), answer
    return answer


def wait(client: AuthenticatedClient, job_id: str) -> JobOut:
    def ended() -> JobOut | None:
        job = expect(JobOut, get_job.sync(job_id, client=client))
        return job if job.state not in (JobState.QUEUED, JobState.RUNNING) else None

    return expect(JobOut, wait_until(ended, JOB_S))


def test_a_pipeline_from_submission_to_verified_evidence(client: AuthenticatedClient) -> None:
    assert isinstance(check_readiness.sync(client=client), ReadyOut)
    upload = VideoUpload(
        file=File(io.BytesIO(clip(3)), "clip.mp4", "video/mp4"),
        case_reference="2026-0117",
        source_url="https://example.org/v/3",
        platform="Example",
        captured_at=datetime(2026, 1, 31, 12, tzinfo=UTC),
        priority=Priority.LIVE,
    )
    submitted = expect(JobOut, submit_video.sync(client=client, body=upload))
    assert submitted.created_at.tzinfo is not None
    job = wait(client, submitted.id)
    assert job.state is JobState.SUCCEEDED
    assert job.result
    assert job.verdict is job.result.verdict
    assert job.result.media
    assert job.result.media.kind == "video"
    assert job.result.faces
    assert all(isinstance(r.code, ReasonCode) for f in job.result.faces for r in f.reasons)
    assert job.finished_at
    assert job.finished_at >= job.created_at

    case = expect(CaseOut, get_case.sync(job.case_id, client=client))
    assert [o.captured_at for o in case.occurrences] == [upload.captured_at]
    seen = OccurrenceUpload(
        source_url="https://example.net/again",
        screenshot=File(io.BytesIO(mediakit.picture(mediakit.astronaut(), "PNG")), "screen.png"),
    )
    added = expect(OccurrenceOut, add_occurrence.sync(job.case_id, client=client, body=seen))
    assert added.screenshot

    evidence = expect(File, get_evidence.sync(job.id, client=client))
    content = evidence.payload.read()
    assert zipfile.is_zipfile(io.BytesIO(content))
    verified = expect(
        VerificationOut, verify_evidence.sync(client=client, body=File(io.BytesIO(content)))
    )
    assert (verified.result, verified.job) == ("verified", job.id)
    assert verified.verdict is job.verdict
    report = expect(File, get_report.sync(job.id, client=client, lang=GetReportLang.EN))
    assert report.payload.read(5) == b"%PDF-"
    assert expect(File, get_face.sync(job.id, 1, client=client)).payload.read(4) == b"\x89PNG"

    review = ReviewIn(decision=Decision.CONFIRMED, reason="seen by me")
    decided = expect(ReviewsOut, review_job.sync(job.id, client=client, body=review))
    assert decided.finding is Finding.CONFIRMED
    editions = expect(EditionsOut, list_editions.sync(job.id, client=client))
    assert [e.edition for e in editions.editions][-1] == 1
    kinds = expect(KindsOut, list_notice_kinds.sync(client=client))
    assert kinds.kinds
    empty = NoticeRequest(
        kind=NoticeRequestKind(kinds.kinds[0].kind.value),
        occurrence_ids=[added.id],
        fields=NoticeRequestFields(),
    )
    refused = expect(ProblemOut, create_notice.sync(job.case_id, client=client, body=empty))
    assert refused.status == 422
    assert refused.errors

    assert delete_case.sync_detailed(job.case_id, client=client).status_code == 204
    gone = expect(ProblemOut, get_job.sync(job.id, client=client))
    assert (gone.status, gone.type_) == (404, "urn:deepfake-service:problem:not_found")


def test_raw_bodies_pictures_lists_and_keys(client: AuthenticatedClient) -> None:
    body = File(io.BytesIO(clip(4)))
    job = expect(
        JobOut, submit_video.sync(client=client, body=body, case_reference="raw", frames=16)
    )
    assert job.frames == 16
    assert wait(client, job.id).state is JobState.SUCCEEDED
    query = {"case_reference": "raw", "sha256": job.sha256, "created_after": job.created_at}
    listed = expect(JobsOut, list_jobs.sync(client=client, order=Order.OLDEST, **query))
    assert [j.id for j in listed.jobs] == [job.id]
    assert isinstance(listed.jobs[0].score, float)
    assert expect(CasesOut, list_cases.sync(client=client, limit=1)).cases[0].id == job.case_id

    portrait = File(io.BytesIO(mediakit.picture(mediakit.astronaut(), "JPEG")), "a.jpg")
    noise = File(io.BytesIO(b"no picture"), "b.jpg")
    scored = expect(
        FramesOut, score_pictures.sync(client=client, body=PictureUpload(files=[portrait, noise]))
    )
    first, second = scored.frames
    assert len(first.faces) == 1
    assert second.verdict is VerdictCode.UNABLE_TO_EVALUATE

    keys = expect(PublicKeysOut, get_public_keys.sync(client=client))
    assert {key.kty for key in keys.keys} == {"OKP", "EC"}
    assert expect(SignedListOut, get_revocations.sync(client=client)).signatures
