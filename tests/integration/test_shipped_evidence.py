"""Evidence of the shipped model: a bundle verifies down to the original file."""

from __future__ import annotations

import io
from datetime import UTC, datetime

import pytest

from deepfake_models.media.credentials import Credentials, CredentialState
from deepfake_models.media.decoder import InProcessDecoder
from deepfake_models.scorer import Scorer
from deepfake_service.evidence.bundle.artifacts import Gatherer
from deepfake_service.evidence.bundle.builder import build
from deepfake_service.evidence.bundle.documents import About
from deepfake_service.evidence.bundle.steps import ExitCode, Outcome
from deepfake_service.evidence.bundle.trust_store import Trust
from deepfake_service.evidence.bundle.verification import verify
from tests.support import exhibits, footage

FRAMES = 6


@pytest.mark.shipped_model
def test_evidence_of_the_shipped_model_verifies_down_to_the_original() -> None:
    media = footage.encode(footage.panning(12, 320, 256))
    scorer = Scorer.open(threads=1)
    with InProcessDecoder().open(io.BytesIO(media)) as opened:
        sampled = scorer.plan(opened, FRAMES)
        part = scorer.examine(opened, sampled)
        verdict = scorer.conclude(opened, sampled, [part])
        times = [frame.time_s for frame in part.examined]
        claims = Credentials(state=CredentialState.ABSENT)
        about = About(mime="video/mp4", content_credentials=claims)
        examined_at = datetime(2026, 1, 2, tzinfo=UTC)
        gathering = Gatherer(scorer, verdict, times, examined_at, about)
        gathering.take(opened)
    material = gathering.material()
    job = exhibits.dossier(media).job.model_dump() | {"frames": FRAMES}
    content = build(exhibits.dossier(media, job=job), material, exhibits.signers())
    trust = Trust(keys=(exhibits.signers().statement.public_key(),))
    verified = verify(content, trust, scorer=scorer, original=io.BytesIO(media))
    assert verified.exit_code is ExitCode.VERIFIED, verified.published()
    skipped = [s.number for s in verified.steps if s.outcome is Outcome.SKIPPED]
    assert skipped == [9]  # no time stamp was requested
