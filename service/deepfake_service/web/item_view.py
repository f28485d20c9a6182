"""What the page of an item shows of the ``verdict.json`` in its evidence."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from deepfake_models.bundle.results import input_at_fault
from deepfake_models.faces.crops import square
from deepfake_service.evidence.report.reading import read, thresholds_of
from deepfake_service.evidence.report.summary import Person, reasons_of_people, summary_of
from deepfake_service.evidence.report.tables import tables_of
from deepfake_service.evidence.report.value_plot import value_plot
from deepfake_service.platform.texts.i18n import words
from deepfake_service.web.pages import evidence_time, safe
from deepfake_service.web.plots import log10_ratio, moments_plot

_UNKNOWN = 99.0
STRONGEST = 3
"""Pictures that are shown beside the verdict."""


def result_view(document: dict[str, Any], language: str) -> dict[str, Any]:
    """Return the result in an edition of evidence as the page shows it."""
    texts = words(language, polite=True)
    reading = read(document, texts)
    summary, tables = summary_of(reading), tables_of(reading, time=evidence_time)
    media = document["result"]["media"]
    codes = list(dict.fromkeys(r["code"] for r in document["result"]["reasons"]))
    pictures = _pictures(document)
    spread = value_plot(document, reading.thresholds, texts, width="100%")
    is_video = bool(media) and media["kind"] == "video"
    return {
        **asdict(summary),
        "verdict": document["result"]["verdict"],
        "leans": document["result"].get("leaning"),
        "codes": codes,
        "broken": any(map(input_at_fault, codes)),
        "bins": bins_of(document),
        "spread": safe(spread) if spread else None,
        "plot": safe(moments_plot(document, texts)) if is_video else None,
        "boxes": None if is_video or not media else _boxes(document),
        "people": summary.people if is_video else _by_value(summary.people),
        "people_reasons": reasons_of_people(document),
        "strongest": pictures[:STRONGEST],
        "pictures": pictures,
        "item": tables.item,
        "finding": tables.finding,
        "method": tables.method,
        "conditions": tables.conditions,
        "is_video": is_video,
        "sampled": document["result"]["frames"]["sampled"],
        "width": media["width"] if media else None,
        "height": media["height"] if media else None,
        "minor": document["case"]["minor"],
    }


def _pictures(document: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the faces that are shown, by falling value."""
    faces = document["exact"]["faces"]
    ranked = sorted(document["pictures"], key=lambda p: (-p["log_likelihood_ratio"], p["number"]))
    return [
        {
            "number": p["number"],
            "time_s": faces[p["face"]]["time_s"],
            "person": faces[p["face"]]["track"] + 1,
            "inner": _box_in_crop(faces[p["face"]], document["method"]["crop"]["scale"]),
            "llr": p["log_likelihood_ratio"],
        }
        for p in ranked
    ]


def _box_in_crop(face: dict[str, Any], scale: float) -> tuple[float, float, float, float]:
    """Return a face's box within its crop: x, y, width and height in per cent of the crop."""
    box = face["box"]
    x0, y0, side = square((box[0], box[1], box[2], box[3]), scale)
    x, y = 100 * (box[0] - x0) / side, 100 * (box[1] - y0) / side
    width, height = 100 * (box[2] - box[0]) / side, 100 * (box[3] - box[1]) / side
    for _ in range(face.get("turn", 0) // 90):
        x, y, width, height = 100 - y - height, x, height, width
    return round(x, 1), round(y, 1), round(width, 1), round(height, 1)


def _boxes(document: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the faces of a still by falling value: person, box in pixels, and value."""
    found = [
        {
            "person": face["track"] + 1,
            "x": face["box"][0],
            "y": face["box"][1],
            "width": face["box"][2] - face["box"][0],
            "height": face["box"][3] - face["box"][1],
            "llr": log10_ratio(document, face),
        }
        for face in document["exact"]["faces"]
    ]
    return sorted(found, key=lambda box: _UNKNOWN if box["llr"] is None else -box["llr"])


def _by_value(people: list[Person]) -> list[Person]:
    def value(person: Person) -> float:
        try:
            return float(person.llr.replace("\u2212", "-"))
        except ValueError:
            return -_UNKNOWN

    return sorted(people, key=value, reverse=True)


def bins_of(document: dict[str, Any]) -> dict[str, Any] | None:
    """Return how measured material spreads over the ranges between the thresholds.

    The rates measured at each threshold give the shares of material in each range, also where a
    model bundle carries no histogram of values. ``None`` for a result without a value.

    Returns:
        The ranges in ``bins``, from the lowest; ``here``, the index of the range of this value, and
        ``at``, where in it the value lies, 0 to 1; the value, the thresholds and ``below``, the
        share of authentic material in all ranges below the first one with a share.
    """
    value = document["result"]["log_likelihood_ratio"]
    if value is None:
        return None
    levels, edges = thresholds_of(document), thresholds_of(document).get("leaning")
    low, high = levels["no_manipulation_found"], levels["likely_manipulated"]
    fpr, tpr, miss = (
        levels[name] for name in ("false_positive_rate", "true_positive_rate", "miss_rate")
    )
    if edges:
        cuts = [low, edges["towards_untouched"], edges["towards_manipulated"], high]
        e_fpr, e_tpr, e_miss = (
            edges[name] for name in ("false_positive_rate", "true_positive_rate", "miss_rate")
        )
        tnr = edges["true_negative_rate"]
        names = ["clear", "towards_untouched", "neither", "towards_manipulated", "flagged"]
        real = [None, None, 1 - e_fpr - tnr, e_fpr - fpr, fpr]
        fake = [miss, e_miss - miss, 1 - e_tpr - e_miss, e_tpr - tpr, tpr]
        below = tnr
    else:
        cuts, names = [low, high], ["clear", "between", "flagged"]
        real, fake = [None, None, fpr], [miss, 1 - miss - tpr, tpr]
        below = 1 - fpr
    here = sum(value >= cut for cut in cuts)
    ends = [-max(abs(value), _limit(document)), *cuts, max(abs(value), _limit(document))]
    start, end = ends[here], ends[here + 1]
    return {
        "bins": [
            {"name": name, "real": _share(r), "fake": _share(f)}
            for name, r, f in zip(names, real, fake, strict=True)
        ],
        "cuts": cuts,
        "value": value,
        "here": here,
        "at": min(max((value - start) / (end - start), 0.05), 0.95) if end > start else 0.5,
        "below": below,
    }


def _limit(document: dict[str, Any]) -> float:
    media = document["result"]["media"]
    level = "face" if media and media["kind"] == "image" else "item"
    return float(document["method"]["calibration"][level]["limit"])


def _share(value: float | None) -> float | None:
    """Return a difference of rounded rates as a share."""
    return None if value is None else min(max(value, 0.0), 1.0)
