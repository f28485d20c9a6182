"""The measured error rates that apply to one examination."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from statistics import median

from deepfake_models.bundle.bundle import BundleSpec
from deepfake_models.bundle.results import Face, Verdict
from deepfake_models.bundle.spec import StatedRates
from deepfake_service.evidence.bundle.documents import (
    Condition,
    DecisionRates,
    ErrorRates,
    PersonRates,
    Range,
    Rate,
    Reliability,
    SampleSize,
)


def error_rates(
    record: Verdict, people: Collection[int], spec: BundleSpec, reliability: Reliability
) -> ErrorRates:
    """Return the error rates of an edition: of its decision, and of faces like each person's.

    ``record`` holds the scored faces of the examination, ``people`` are the numbers of the tracks
    that have a value, and ``reliability`` is the model's ``reliability.json``. A rate that rests on
    fewer groups of people than the model bundle's ``min_groups`` is marked as indicative.

    ``decision`` holds the rates measured on whole videos (``of``: ``item``) or pictures
    (``picture``); for bundles without those, on tracks and on faces. Its ``unseen`` tells what the
    model had not seen of the media that were measured (see ``BundleSpec.unseen``). ``people`` holds
    the rates measured on faces of the width and sharpness of each track's median face. Rates are
    shares, 0 to 1, with a 95% interval that is clustered by group, and the number of groups.
    """
    still = record.media is not None and record.media.kind == "image"
    thresholds = spec.thresholds.still if still else spec.thresholds.item
    calibration = spec.calibration.face if still else spec.calibration.item
    whole = (reliability.level_picture if still else reliability.level_item).overall
    rates = (whole.false_positive_rate, whole.true_positive_rate)
    # They must rest on media of both classes.
    is_whole = all(rate is not None and rate.value is not None for rate in rates)
    by_part = reliability.level_face if still else reliability.level_track
    measured = whole if is_whole else by_part.overall
    scored: dict[int, list[Face]] = {}
    for face in record.faces:
        if face.logit is not None:
            scored.setdefault(face.track, []).append(face)
    return ErrorRates(
        level="face" if still else "item",
        likely_manipulated_from=thresholds.likely_manipulated,
        no_manipulation_found_below=thresholds.no_manipulation_found,
        calibration=SampleSize(samples=calibration.samples, groups=calibration.groups),
        decision=DecisionRates(
            # Model bundles made before whole media were measured have rates of their parts only.
            of=("picture" if still else "item") if is_whole else None,
            unseen=spec.unseen,
            false_positive_rate=measured.false_positive_rate,
            true_positive_rate=measured.true_positive_rate,
            stated_with_thresholds=StatedRates(
                **thresholds.model_dump(include=set(StatedRates.model_fields))
            ),
        ),
        people=tuple(_rates_of_person(i, scored[i], spec, reliability) for i in people),
    )


def _rates_of_person(
    track: int, faces: Sequence[Face], spec: BundleSpec, reliability: Reliability
) -> PersonRates:
    width = median(f.quality.face_px for f in faces)
    sharpness = median(f.quality.sharpness for f in faces)
    person = PersonRates(
        track=track,
        face_px=round(width, 1),
        sharpness=round(sharpness, 2),
        blockiness=round(median(f.quality.blockiness for f in faces), 3),
    )
    conditions = spec.conditions
    condition = conditions.find(width, sharpness)
    if condition is not None:
        row, column, measured = condition
        by = "face_px_and_sharpness"
        bin_ = Condition(
            face_px=_range(conditions.face_px_edges, row),
            sharpness=_range(conditions.sharpness_edges, column),
        )
        rates = [
            Rate(**dict(rate))
            for rate in (measured.false_positive_rate, measured.true_positive_rate)
        ]
    else:
        parts = reliability.level_face.by_face_width
        like = (p for p in parts if p.face_px[0] <= width < (p.face_px[1] or math.inf))
        part = next(like, None)
        if part is None:
            return person
        by, bin_ = "face_px", Condition(face_px=part.face_px)
        rates = [part.false_positive_rate, part.true_positive_rate]
    false, true = (
        rate.model_copy(update={"indicative": rate.groups < conditions.min_groups})
        for rate in rates
    )
    stated = {"false_positive_rate": false, "true_positive_rate": true, "by": by, "bin": bin_}
    return person.model_copy(update=stated)


def _range(edges: tuple[float, ...], index: int) -> Range:
    return edges[index - 1] if index else 0.0, edges[index] if index < len(edges) else None
