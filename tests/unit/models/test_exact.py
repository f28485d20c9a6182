"""Judging again from what an evidence bundle states."""

from __future__ import annotations

import io
import json

import pytest

from deepfake_models.decision.serialization import UnreadableRecord, dump_exact, judged_exact
from deepfake_models.errors import UndecodableMedia
from deepfake_models.results import unable
from deepfake_models.scorer import Scorer
from tests.support import mediakit


@pytest.fixture(scope="module")
def scorer() -> Scorer:
    return Scorer.open(threads=1)


@pytest.mark.parametrize("kind", ["video", "picture"])
def test_the_verdict_follows_from_its_record(scorer: Scorer, kind: str) -> None:
    if kind == "video":
        media = mediakit.encode(mediakit.panning(50, 320, 256))
    else:
        media = mediakit.picture(mediakit.astronaut(), "PNG")
    verdict = scorer.score(io.BytesIO(media))
    record = json.loads(json.dumps(dump_exact(verdict)))
    assert record["faces"]
    assert judged_exact(record, scorer.bundle.spec) == verdict
    record["faces"][0]["logit"] += 9.0
    changed = judged_exact(record, scorer.bundle.spec)
    assert changed is not None
    assert changed.log_likelihood_ratio != verdict.log_likelihood_ratio


def test_without_faces_there_is_nothing_to_judge(scorer: Scorer) -> None:
    assert judged_exact(dump_exact(unable(UndecodableMedia())), scorer.bundle.spec) is None


@pytest.mark.parametrize("damage", ["faces", "box", "extra"])
def test_a_damaged_record_is_an_error(scorer: Scorer, damage: str) -> None:
    verdict = scorer.score(io.BytesIO(mediakit.picture(mediakit.astronaut(), "PNG")))
    record = dump_exact(verdict)
    if damage == "faces":
        record["faces"] = None
    elif damage == "box":
        record["faces"][0]["box"] = [1, 2]
    else:
        record["media"]["more"] = 1
    with pytest.raises(UnreadableRecord):
        judged_exact(record, scorer.bundle.spec)
