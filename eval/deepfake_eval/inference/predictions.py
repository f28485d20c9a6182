"""Run a scorer over labelled media: one row a face, frame and item, never a filled-in score."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from deepfake_eval.inference.frame_folders import FrameFolder
from deepfake_models.bundle import BundleSpec
from deepfake_models.decision.calibration import LN10, mean_log_likelihood_ratio, probability
from deepfake_models.decision.conditions import time_weighted_mean
from deepfake_models.errors import UnreadableMedia
from deepfake_models.results import Verdict, unable
from deepfake_models.scorer import Scorer
from deepfake_models.spec import Calibration

LABELS = ("media", "label", "method", "dataset", "group")


def main_track(verdict: Verdict) -> int | None:
    """The track of the item's main person: the most face area over all its frames.

    A data set's label speaks of its main person; a bystander in a fake is real.
    """
    area: dict[int, float] = {}
    for face in verdict.faces:
        x0, y0, x1, y1 = face.box
        area[face.track] = area.get(face.track, 0.0) + (x1 - x0) * (y1 - y0)
    return max(area, key=lambda t: (area[t], -t), default=None)


def examine(scorer: Scorer, path: Path, frames: int | None) -> Verdict:
    """Score the file or folder of frames at ``path``; what cannot be read is said, not raised.

    Folders need a scorer whose decoder is a ``FrameFolderDecoder``.
    """
    if path.is_dir():
        return scorer.score(FrameFolder(path), frames=frames)
    try:
        with path.open("rb") as file:
            return scorer.score(file, frames=frames)
    except OSError:
        return unable(UnreadableMedia())


def face_records(verdict: Verdict, spec: BundleSpec) -> list[dict[str, Any]]:
    """A record a face: where, what was measured, its values; ``None`` where not judged."""
    main = main_track(verdict)
    return [
        {
            "track": face.track,
            "main": face.track == main,
            "time_s": face.time_s,
            "logit": face.logit,
            "rank": None if face.logit is None else _unlimited(face.logit, spec.calibration.face),
            "score": face.score,
            "log_likelihood_ratio": face.log_likelihood_ratio,
            "verdict": str(face.verdict),
            "reason": str(face.reasons[0].code) if face.reasons else None,
            **face.quality.to_json(),
        }
        for face in verdict.faces
    ]


def frame_records(faces: Sequence[dict[str, Any]], prior: float) -> list[dict[str, Any]]:
    """A record a frame with a face, from ``face_records`` of one item.

    A frame is valued as the bundle values a picture: by the mean of its judged faces' likelihood
    ratios. Where no face was judged, the values are ``None``.
    """
    by_time: dict[float, list[dict[str, Any]]] = {}
    for face in faces:
        by_time.setdefault(face["time_s"], []).append(face)
    records = []
    for time_s, found in sorted(by_time.items()):
        judged = [f for f in found if f["log_likelihood_ratio"] is not None]
        ratio = rank = None
        if judged:
            ratio = mean_log_likelihood_ratio([f["log_likelihood_ratio"] for f in judged])
            rank = mean_log_likelihood_ratio([f["rank"] for f in judged])
        records.append(
            {
                "time_s": time_s,
                "tracks": len(found),
                "judged": len(judged),
                "rank": rank,
                "score": None if ratio is None else probability(ratio, prior),
                "log_likelihood_ratio": ratio,
            }
        )
    return records


def item_record(verdict: Verdict, spec: BundleSpec) -> dict[str, Any]:
    """The record of a whole picture or video."""
    return {
        "kind": verdict.media.kind if verdict.media else "",
        "verdict": str(verdict.verdict),
        "score": verdict.score,
        "log_likelihood_ratio": verdict.log_likelihood_ratio,
        "rank": rank_value(verdict, spec),
        "reason": str(verdict.reasons[0].code) if verdict.reasons else None,
        "tracks": len(verdict.tracks),
        "sampled": verdict.frames.sampled,
        "with_face": verdict.frames.with_face,
        "failed": verdict.frames.failed,
    }


def rank_value(verdict: Verdict, spec: BundleSpec) -> float | None:
    """The item's log10 likelihood ratio before limits are put on it; ``None`` if not judged.

    ``log_likelihood_ratio`` stops at what the fitting material supports, so that clear cases tie;
    ROC curves need their order. The two are equal where no limit was met.
    """
    if verdict.log_likelihood_ratio is None or verdict.media is None:
        return None
    still = verdict.media.kind == "image"
    values = []
    for track in verdict.tracks:
        judged = [f for f in verdict.faces if f.track == track.track and f.logit is not None]
        if track.log_likelihood_ratio is None or not judged:
            continue
        logits = [f.logit for f in judged if f.logit is not None]
        if still:
            values.append(_unlimited(logits[0], spec.calibration.face))
        else:
            times = [f.time_s for f in judged]
            raw = time_weighted_mean(times, logits, spec.sampling.interval_s)
            values.append(_unlimited(raw, spec.calibration.track))
    mean = mean_log_likelihood_ratio(values)
    return mean if still else _unlimited(mean * LN10, spec.calibration.item)


def _unlimited(raw: float, calibration: Calibration) -> float:
    """log10 likelihood ratio of ``raw`` without ``calibration.limit``."""
    return (calibration.slope * raw + calibration.intercept) / LN10


def verdicts(
    scorer: Scorer,
    root: Path,
    rows: Sequence[dict[str, Any]],
    *,
    frames: int | None = 32,
    progress: Callable[[int, int], None] | None = None,
) -> list[tuple[dict[str, Any], Verdict]]:
    """Score every medium of ``rows``; return each row with its verdict."""
    judged = []
    for done, row in enumerate(rows, start=1):
        judged.append((row, examine(scorer, root / row["media"], frames)))
        if progress:
            progress(done, len(rows))
    return judged


def tables(
    judged: Iterable[tuple[dict[str, Any], Verdict]], spec: BundleSpec
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """(faces, items) of what ``verdicts`` gave.

    Faces: labels, ``kind`` and what ``face_records`` gives: ``track``, ``main`` (of the main
    track), ``time_s``, ``logit`` (NaN where not judged), ``score``, ``log_likelihood_ratio``,
    ``verdict`` and the measured quality. Items: labels and what ``item_record`` gives.
    """
    faces: list[dict[str, Any]] = []
    items: list[dict[str, Any]] = []
    for row, verdict in judged:
        labels = {c: row[c] for c in LABELS}
        item = item_record(verdict, spec)
        faces += [{**labels, "kind": item["kind"], **f} for f in face_records(verdict, spec)]
        items.append({**labels, **item})
    return pd.DataFrame(faces), pd.DataFrame(items)
