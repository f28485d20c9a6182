"""How often the method is wrong on material like this: what was measured, for one examination."""

from __future__ import annotations

from statistics import median
from typing import Any

from deepfake_models.bundle import BundleSpec
from deepfake_models.decision.conditions import condition_of
from deepfake_models.results import Face, Verdict

INDICATIVE_BELOW = 10
"""Groups of people under which a rate says little: it is stated, and marked."""


def error_rates(verdict: Verdict, spec: BundleSpec, reliability: dict[str, Any]) -> dict[str, Any]:
    """The rates to state with a verdict: at its thresholds, and for each person's faces.

    ``decision`` is what was measured of whole videos by the verdicts they got (``of``: ``item``),
    of tracks where a bundle states no more, and of a picture's faces;
    ``people`` what was measured on faces of the width and sharpness of each track's median face.
    Rates are shares with a 95% interval, clustered by group, and the number of groups.
    """
    still = verdict.media is not None and verdict.media.kind == "image"
    level = "face" if still else "item"
    thresholds = spec.thresholds.face if still else spec.thresholds.item
    calibration = spec.calibration.face if still else spec.calibration.item
    whole = None if still else reliability.get("level_item")
    by_part = reliability.get("level_face" if still else "level_track", {})
    measured = (whole or by_part).get("overall", {})
    return {
        "level": level,
        "likely_manipulated_from": thresholds.likely_manipulated,
        "no_manipulation_found_below": thresholds.no_manipulation_found,
        "calibration": {"samples": calibration.samples, "groups": calibration.groups},
        "decision": {
            # Of bundles that were made before whole videos were measured, by track.
            **({"of": "item"} if whole else {}),
            "false_positive_rate": measured.get("false_positive_rate"),
            "true_positive_rate": measured.get("true_positive_rate"),
            "stated_with_thresholds": {
                "false_positive_rate": thresholds.false_positive_rate,
                "false_positive_rate_upper": thresholds.false_positive_rate_upper,
                "true_positive_rate": thresholds.true_positive_rate,
                "miss_rate": thresholds.miss_rate,
            },
        },
        "people": [
            _of_person(t.track, [f for f in verdict.faces if f.track == t.track and _judged(f)],
                       spec, reliability)
            for t in verdict.tracks if t.log_likelihood_ratio is not None
        ],
    }  # fmt: skip


def _judged(face: Face) -> bool:
    return face.logit is not None


def _of_person(
    track: int, faces: list[Face], spec: BundleSpec, reliability: dict[str, Any]
) -> dict[str, Any]:
    width = median(f.quality.face_px for f in faces)
    sharpness = median(f.quality.sharpness for f in faces)
    stated: dict[str, Any] = {
        "track": track,
        "face_px": round(width, 1),
        "sharpness": round(sharpness, 2),
        "blockiness": round(median(f.quality.blockiness for f in faces), 3),
    }
    found = condition_of(width, sharpness, spec.conditions)
    if found is not None:
        row, column, measured = found
        return {
            **stated,
            "by": "face_px_and_sharpness",
            "bin": {
                "face_px": _range(spec.conditions.face_px_edges, row),
                "sharpness": _range(spec.conditions.sharpness_edges, column),
            },
            "false_positive_rate": _marked(measured.false_positive_rate.model_dump()),
            "true_positive_rate": _marked(measured.true_positive_rate.model_dump()),
        }
    for part in reliability.get("level_face", {}).get("by_face_width", []):
        low, high = part["face_px"]
        if low <= width and (high is None or width < high):
            return {
                **stated,
                "by": "face_px",
                "bin": {"face_px": [low, high]},
                "false_positive_rate": _marked(part["false_positive_rate"]),
                "true_positive_rate": _marked(part["true_positive_rate"]),
            }
    return {**stated, "by": None, "bin": None}


def _range(edges: tuple[float, ...], index: int) -> list[float | None]:
    return [edges[index - 1] if index else 0.0, edges[index] if index < len(edges) else None]


def _marked(rate: dict[str, Any]) -> dict[str, Any]:
    return {**rate, "indicative": rate["groups"] < INDICATIVE_BELOW}
