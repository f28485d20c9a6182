"""Bundle fields and faces for tests of judging, without pixels or graphs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from deepfake_models.bundle.bundle import REQUIRED, BundleSpec
from deepfake_models.bundle.results import (
    Box,
    Face,
    FrameCounts,
    MediaFacts,
    Quality,
    Reason,
    Verdict,
)
from deepfake_models.bundle.spec import (
    AggregationSpec,
    Calibration,
    ConditionBin,
    ConditionsSpec,
    CropSpec,
    DetectorSpec,
    InputSpec,
    LevelThresholds,
    MeasuredRate,
    SamplingSpec,
    TrackSpec,
)
from deepfake_models.decision import decide
from deepfake_models.decision.decide import ExaminedFrame
from deepfake_models.decision.level import Criteria

LEVELS = ("face", "track", "item")


def bundle_fields() -> dict[str, Any]:
    """Return the fields of a manifest whose calibration does not change natural-log values."""
    calibration = Calibration(slope=1.0, intercept=0.0, limit=3.0, samples=100, groups=20)
    thresholds = LevelThresholds(
        likely_manipulated=1.0,
        no_manipulation_found=0.0,
        false_positive_rate=0.01,
        false_positive_rate_upper=0.03,
        true_positive_rate=0.8,
        miss_rate=0.1,
    )
    return {
        "name": "test",
        "version": "1",
        "created": "2026-01-01T00:00:00+00:00",
        "terms": "research-only",
        "sampling": SamplingSpec().model_dump(),
        "detector": DetectorSpec().model_dump(),
        "crop": CropSpec().model_dump(),
        "input": InputSpec().model_dump(),
        "tracks": TrackSpec().model_dump(),
        "aggregation": AggregationSpec().model_dump(),
        "calibration": {level: calibration.model_dump() for level in LEVELS},
        "thresholds": {level: thresholds.model_dump() for level in LEVELS},
        "training": {},
    }


def spec(**changes: Any) -> BundleSpec:
    """Return a manifest; ``changes`` replace fields."""
    files = dict.fromkeys(REQUIRED, "0" * 64)
    return BundleSpec.model_validate(
        {**bundle_fields(), "format_version": 1, "files": files, **changes}
    )


GOOD = Quality(face_px=120.0, sharpness=10.0, blockiness=1.0, exposure=0.5)
SCENE = np.full(64, 1 / 64, np.float32)


def face(
    time_s: float,
    logit: float | None,
    box: Box = (100.0, 100.0, 220.0, 240.0),
    reasons: tuple[Reason, ...] = (),
    quality: Quality = GOOD,
) -> Face:
    """Return a scored face, by default of one person who does not move."""
    return Face(
        time_s=time_s, box=box, confidence=0.99, quality=quality, logit=logit, reasons=reasons
    )


def frame(time_s: float, *faces: Face) -> ExaminedFrame:
    return ExaminedFrame(time_s, faces, SCENE)


def conditions(*groups: tuple[int, int]) -> ConditionsSpec:
    """Return four bins, (narrow, wide) x (blurred, sharp).

    ``groups`` are the numbers of real and of manipulated groups of each.
    """

    def rate(count: int) -> MeasuredRate:
        return MeasuredRate(value=0.0, low=0.0, high=1.0, samples=count, groups=count)

    bins = [
        ConditionBin(false_positive_rate=rate(r), true_positive_rate=rate(f)) for r, f in groups
    ]
    return ConditionsSpec(
        face_px_edges=(100.0,), sharpness_edges=(5.0,), bins=(tuple(bins[:2]), tuple(bins[2:]))
    )


def judge_picture(facts: MediaFacts, faces: Sequence[Face], bundle: BundleSpec) -> Verdict:
    return decide.judge_picture(facts, faces, Criteria.of(bundle))


def judge_video(
    facts: MediaFacts, frames: Sequence[ExaminedFrame], counts: FrameCounts, bundle: BundleSpec
) -> Verdict:
    return decide.judge_video(facts, frames, counts, Criteria.of(bundle))


def judge_again(verdict: Verdict, bundle: BundleSpec) -> Verdict:
    return decide.judge_again(verdict, Criteria.of(bundle))
