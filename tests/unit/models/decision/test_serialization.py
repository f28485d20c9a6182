"""Stored records: judged again, examined in parts, and read as they were written."""

from __future__ import annotations

import copy
import io
import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from deepfake_models.bundle.results import (
    Face,
    MediaFacts,
    Quality,
    ReasonCode,
    Verdict,
    VerdictCode,
    unable,
)
from deepfake_models.decision.decide import ExaminedFrame, Part
from deepfake_models.decision.serialization import (
    ExactRecord,
    UnreadableRecord,
    dump_part,
    dump_timeline,
    dump_verdict,
    exact_record,
    judge_exact,
    load_part,
    load_timeline,
    load_verdict,
    unjudged,
)
from deepfake_models.errors import UndecodableMedia
from deepfake_models.media.decoder import InProcessDecoder
from deepfake_models.media.interface import SavedTimeline
from deepfake_models.scorer import Scorer
from tests.support import footage
from tests.support.judging import face, judge_picture, spec
from tests.support.small_bundles import small_bundle_dir

EXACT_RECORD = TypeAdapter(ExactRecord)


@pytest.fixture(scope="module")
def scorer() -> Scorer:
    return Scorer.open(small_bundle_dir(), threads=1)


@pytest.mark.parametrize("kind", ["video", "picture"])
def test_the_verdict_follows_from_its_exact_record(scorer: Scorer, kind: str) -> None:
    if kind == "video":
        media = footage.encode(footage.panning(50, 320, 256))
    else:
        media = footage.picture(footage.astronaut(), "PNG")
    verdict = scorer.score(io.BytesIO(media))
    record = EXACT_RECORD.validate_json(EXACT_RECORD.dump_json(exact_record(verdict)))
    assert record.faces
    assert judge_exact(unjudged(record), scorer.bundle.spec) == verdict
    first, *others = record.faces
    assert first.logit is not None
    higher = replace(record, faces=(replace(first, logit=first.logit + 9.0), *others))
    changed = judge_exact(unjudged(higher), scorer.bundle.spec)
    assert changed is not None
    assert changed.log_likelihood_ratio != verdict.log_likelihood_ratio


def test_without_faces_there_is_nothing_to_judge(scorer: Scorer) -> None:
    record = unjudged(exact_record(unable(UndecodableMedia())))
    assert judge_exact(record, scorer.bundle.spec) is None


@pytest.mark.parametrize("damage", ["faces", "box", "extra", "ratio"])
def test_a_damaged_record_is_an_error(damage: str) -> None:
    record = copy.deepcopy(EXACT)
    if damage == "faces":
        record["faces"] = None
    elif damage == "box":
        record["faces"][0]["box"] = [1, 2]
    elif damage == "ratio":  # what must follow from judging cannot be brought along
        record["faces"][0]["log_likelihood_ratio"] = 3.0
    else:
        record["media"]["more"] = 1
    with pytest.raises(ValidationError):
        EXACT_RECORD.validate_python(record)


def clip() -> bytes:
    face = footage.resized(footage.astronaut(), 256, 256)
    return footage.encode([face] * 30)


@pytest.mark.parametrize("frames", [None, 7])
def test_a_video_in_parts(scorer: Scorer, frames: int | None) -> None:
    raw = clip()
    whole = scorer.score(io.BytesIO(raw), frames=frames)
    kept: list[bytes] = []
    with InProcessDecoder().open(io.BytesIO(raw)) as media:
        timeline = load_timeline(dump_timeline(media))
        sampled = scorer.plan(timeline, frames)
    for start in range(0, len(sampled), 4):
        with InProcessDecoder().open(io.BytesIO(raw)) as media:
            kept.append(dump_part(scorer.examine(media, sampled[start : start + 4])))
    parts = [load_part(k) for k in kept]
    extra = scorer.plan_dense(timeline, sampled, parts) if frames is None else []
    with InProcessDecoder().open(io.BytesIO(raw)) as media:
        parts.append(scorer.examine(media, extra))
    verdict = scorer.conclude(timeline, sorted([*sampled, *extra]), parts)
    assert verdict.to_json() == whole.to_json()
    assert [f.box for f in verdict.faces] == [f.box for f in whole.faces]
    # In another batch the engine may sum in another order.
    for ours, theirs in zip(verdict.faces, whole.faces, strict=True):
        assert ours.logit == pytest.approx(theirs.logit, abs=1e-4)


def test_a_picture_has_one_part(scorer: Scorer) -> None:
    raw = footage.picture(footage.astronaut(), "PNG")
    with InProcessDecoder().open(io.BytesIO(raw)) as media:
        assert scorer.plan(media, 5) == [0]
        part = load_part(dump_part(scorer.examine(media, [0])))
        assert scorer.plan_dense(media, [0], [part]) == []
        assert scorer.conclude(media, [0], [part]) == scorer.score(io.BytesIO(raw))


@pytest.mark.parametrize("raw", [b"", b"[]", b'{"frames": [{}], "failed": 0}', b'{"frames": 1}'])
def test_a_malformed_checkpoint_is_an_error(raw: bytes) -> None:
    with pytest.raises(UnreadableRecord):
        load_part(raw)


CHECKPOINT = (
    b'{"failed":1,"frames":[{"time_s":0.04,"signature":[0.25,0.10000000149011612],"faces":'
    b'[{"time_s":0.04,"track":0,"box":[1e-05,2.0,30.5,40.25],"confidence":0.99,'
    b'"quality":{"face_px":30.5,"sharpness":2.75,"blockiness":1.0,"exposure":0.5},'
    b'"logit":-1.2345678901234567,"reasons":[],"turn":0,"kind_logits":null},'
    b'{"time_s":0.04,"track":0,"box":[0.0,0.0,9.0,9.0],"confidence":0.9,'
    b'"quality":{"face_px":9.0,"sharpness":1.0,"blockiness":1.0,"exposure":0.5},"logit":null,'
    b'"reasons":[{"code":"face_too_small","detail":"the face is 9 px wide; at least 48 px are '
    b'needed"}],"turn":0,"kind_logits":null}]}]}'
)


def test_a_checkpoint_is_read_and_written_byte_for_byte() -> None:
    part = load_part(CHECKPOINT)
    assert part.failed == 1
    (frame,) = part.examined
    assert frame.faces[0].logit == -1.2345678901234567
    assert frame.faces[0].verdict is None
    assert frame.faces[1].reasons[0].code is ReasonCode.FACE_TOO_SMALL
    assert dump_part(part) == CHECKPOINT


EXACT: dict[str, Any] = {
    "media": {
        "kind": "video", "width": 640, "height": 360, "duration_s": 1.28, "frames": 32,
        "rotation": 90,
    },
    "frames": {"sampled": 32, "with_face": 1, "failed": 0, "longest_gap_s": 0.04},
    "faces": [
        {
            "time_s": 0.1, "track": 3, "box": [0.1, 0.2, 60.30000000000001, 80.0],
            "confidence": 0.9999,
            "quality": {"face_px": 60.2, "sharpness": 8.5, "blockiness": 1.1, "exposure": 0.4},
            "logit": 2.220446049250313e-16, "reasons": [], "turn": 0, "kind_logits": None,
        },
        {
            "time_s": 0.1, "track": 4, "box": [0.0, 0.0, 9.0, 9.0], "confidence": 0.9,
            "quality": {"face_px": 9.0, "sharpness": 8.5, "blockiness": 1.1, "exposure": 0.4},
            "logit": None, "reasons": [{"code": "face_too_small", "detail": "too small"}],
            "turn": 0, "kind_logits": None,
        },
    ],
}  # fmt: skip


def test_an_exact_record_is_read_and_written_as_it_was() -> None:
    record = EXACT_RECORD.validate_python(EXACT)
    assert json.dumps(EXACT_RECORD.dump_python(record, mode="json")) == json.dumps(EXACT)
    assert exact_record(unjudged(record)) == record


def test_a_turn_is_stored() -> None:
    verdict = unjudged(EXACT_RECORD.validate_python(EXACT))
    turned = replace(verdict, faces=(replace(verdict.faces[0], turn=270), verdict.faces[1]))
    record = exact_record(turned)
    assert [face.turn for face in record.faces] == [270, 0]
    assert unjudged(record) == turned
    assert load_verdict(dump_verdict(turned)) == turned
    part = load_part(CHECKPOINT)
    frame = replace(part.examined[0], faces=(replace(part.examined[0].faces[0], turn=90),))
    again = load_part(dump_part(replace(part, examined=(frame,))))
    assert again.examined[0].faces == frame.faces


@pytest.mark.parametrize("turn", [-90, 45, 360, "x", None])
def test_a_turn_that_is_no_quarter_turn_is_an_error(turn: object) -> None:
    face = {**EXACT["faces"][0], "turn": turn}
    with pytest.raises(ValidationError):
        EXACT_RECORD.validate_python({**EXACT, "faces": [face]})


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=8, max_size=8))
def test_floats_keep_every_digit(values: list[float]) -> None:
    x0, y0, x1, y1, confidence, width, logit, signed = values
    quality = Quality(width, signed, 1.0, 0.5)
    scored = Face(
        time_s=signed, box=(x0, y0, x1, y1), confidence=confidence, quality=quality, logit=logit
    )
    part = Part((ExaminedFrame(signed, (scored,), np.zeros(2, np.float32)),), 0)
    (frame,) = load_part(dump_part(part)).examined
    assert (frame.time_s, frame.faces) == (signed, (scored,))
    record = exact_record(Verdict(VerdictCode.NOT_APPLICABLE, faces=(scored,)))
    read = EXACT_RECORD.validate_json(EXACT_RECORD.dump_json(record))
    assert unjudged(read).faces == (scored,)


def test_a_whole_verdict_is_read_unrounded_and_from_its_published_form() -> None:
    faces = [face(0.0, 0.123456789), face(0.0, None)]
    verdict = judge_picture(MediaFacts("image", 640, 480, None, 1, 0), faces, spec())
    assert load_verdict(dump_verdict(verdict)) == verdict
    failed = unable(UndecodableMedia())
    assert load_verdict(json.dumps(failed.to_json(faces=True)).encode()) == failed


@pytest.mark.parametrize("raw", [b"", b"{}", b'{"verdict": "maybe"}', b'{"verdict": 1e999}'])
def test_a_malformed_verdict_is_an_error(raw: bytes) -> None:
    with pytest.raises(UnreadableRecord):
        load_verdict(raw)


def test_a_timeline_keeps_facts_and_times_exactly() -> None:
    facts = MediaFacts("video", 640, 360, 0.1 + 0.2, 3, 90)
    timeline = SavedTimeline(facts, np.array([0.0, 1 / 3, 0.7]))
    read = load_timeline(dump_timeline(timeline))
    assert read.facts == facts
    assert read.times.tolist() == timeline.times.tolist()


@pytest.mark.parametrize("raw", [b"", b"{}\n", b"torn"])
def test_a_malformed_timeline_is_an_error(raw: bytes) -> None:
    with pytest.raises(UnreadableRecord):
        load_timeline(raw)
