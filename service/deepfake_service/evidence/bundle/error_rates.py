"""The measured error rates that apply to one examination."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from statistics import median
from typing import Any

from deepfake_models.bundle.bundle import BundleSpec
from deepfake_models.bundle.results import Face, Verdict


def error_rates(
    record: Verdict, people: Collection[int], spec: BundleSpec, reliability: dict[str, Any]
) -> dict[str, Any]:
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
    of = "picture" if still else "item"
    level = reliability.get(f"level_{of}") or {}
    rates = level.get("overall", {}).values()  # which must rest on media of both classes
    whole = level if rates and all(rate["value"] is not None for rate in rates) else None
    by_part = reliability.get("level_face" if still else "level_track", {})
    measured = (whole or by_part).get("overall", {})
    scored: dict[int, list[Face]] = {}
    for face in record.faces:
        if face.logit is not None:
            scored.setdefault(face.track, []).append(face)
    return {
        "level": "face" if still else "item",
        "likely_manipulated_from": thresholds.likely_manipulated,
        "no_manipulation_found_below": thresholds.no_manipulation_found,
        "calibration": {"samples": calibration.samples, "groups": calibration.groups},
        "decision": {
            # Model bundles made before whole media were measured have rates of their parts only.
            **({"of": of} if whole else {}),
            "unseen": spec.unseen,
            "false_positive_rate": measured.get("false_positive_rate"),
            "true_positive_rate": measured.get("true_positive_rate"),
            "stated_with_thresholds": {
                "false_positive_rate": thresholds.false_positive_rate,
                "false_positive_rate_upper": thresholds.false_positive_rate_upper,
                "true_positive_rate": thresholds.true_positive_rate,
                "miss_rate": thresholds.miss_rate,
            },
        },
        "people": [_rates_of_person(i, scored[i], spec, reliability) for i in people],
    }


def _rates_of_person(
    track: int, faces: Sequence[Face], spec: BundleSpec, reliability: dict[str, Any]
) -> dict[str, Any]:
    width = median(f.quality.face_px for f in faces)
    sharpness = median(f.quality.sharpness for f in faces)
    person: dict[str, Any] = {
        "track": track,
        "face_px": round(width, 1),
        "sharpness": round(sharpness, 2),
        "blockiness": round(median(f.quality.blockiness for f in faces), 3),
    }
    conditions = spec.conditions
    condition = conditions.find(width, sharpness)
    if condition is not None:
        row, column, measured = condition
        by = "face_px_and_sharpness"
        bin_ = {
            "face_px": _range(conditions.face_px_edges, row),
            "sharpness": _range(conditions.sharpness_edges, column),
        }
        rates = measured.model_dump()
    else:
        parts = reliability.get("level_face", {}).get("by_face_width", [])
        like = (p for p in parts if p["face_px"][0] <= width < (p["face_px"][1] or math.inf))
        rates = next(like, {})
        if not rates:
            return {**person, "by": None, "bin": None}
        by, bin_ = "face_px", {"face_px": list(rates["face_px"])}
    for name in ("false_positive_rate", "true_positive_rate"):
        rate = rates[name]
        person[name] = {**rate, "indicative": rate["groups"] < conditions.min_groups}
    return {**person, "by": by, "bin": bin_}


def _range(edges: tuple[float, ...], index: int) -> list[float | None]:
    return [edges[index - 1] if index else 0.0, edges[index] if index < len(edges) else None]
