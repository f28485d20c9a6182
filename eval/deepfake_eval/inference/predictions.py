"""Turn verdicts into tables with a row for each face, frame and item, and read those of a run.

Rows that were not judged have no score: nothing is filled in.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from deepfake_eval.datasets import Row
from deepfake_eval.errors import RunError
from deepfake_eval.inference.corruptions import ORIGINAL, Variant, degraded
from deepfake_eval.inference.frame_folders import open_medium
from deepfake_models.bundle.bundle import BundleSpec
from deepfake_models.bundle.results import Face, Verdict, unable
from deepfake_models.decision import level
from deepfake_models.decision.decide import uncapped_item_ratio
from deepfake_models.errors import MediaError
from deepfake_models.sandbox.decoder import Decoder
from deepfake_models.scorer import Scorer

LABELS = ("media", "label", "method", "dataset", "group")


def main_track(faces: Iterable[Face]) -> int | None:
    """Return the track of the main person of one medium's ``faces``: the one with the most face
    area over all frames.

    The label of a medium describes its main person; a bystander in a fake is real.
    """
    area: dict[int, float] = {}
    for face in faces:
        x0, y0, x1, y1 = face.box
        area[face.track] = area.get(face.track, 0.0) + (x1 - x0) * (y1 - y0)
    return max(area, key=lambda t: (area[t], -t), default=None)


def examine(
    scorer: Scorer,
    path: Path,
    decoder: Decoder,
    *,
    frames: int | None,
    variant: Variant = ORIGINAL,
) -> Verdict:
    """Score the file or folder of frames at ``path``, degraded by ``variant``.

    ``frames`` is as in ``Scorer.score``. A medium that cannot be read or decoded gives the verdict
    ``unable_to_evaluate`` with the reason, never an exception.
    """
    try:
        with open_medium(path, decoder) as media:
            return scorer.score_media(degraded(media, variant), frames=frames)
    except MediaError as error:
        return unable(error)


def face_records(verdict: Verdict, spec: BundleSpec) -> list[dict[str, Any]]:
    """Return a record for each face: its place, quality and values, ``None`` if not judged."""
    main = main_track(verdict.faces)
    unlimited = level.Criteria.of(spec).face.uncapped()
    return [
        {
            "track": face.track,
            "main": face.track == main,
            "time_s": face.time_s,
            "logit": face.logit,
            "rank": None if face.logit is None else unlimited.ratio(face.logit),
            "score": face.score,
            "log_likelihood_ratio": face.log_likelihood_ratio,
            "verdict": str(face.verdict),
            "leaning": face.leaning and str(face.leaning),
            "reason": str(face.reasons[0].code) if face.reasons else None,
            **face.quality.to_json(),
        }
        for face in verdict.faces
    ]


def frame_records(faces: Sequence[dict[str, Any]], prior: float) -> list[dict[str, Any]]:
    """Return a record for each frame with a face, from the ``face_records`` of one item.

    A frame gets the value that the bundle would give a picture: the mean of the likelihood ratios
    of its judged faces. The values are ``None`` if no face was judged.
    """
    by_time: dict[float, list[dict[str, Any]]] = {}
    for face in faces:
        by_time.setdefault(face["time_s"], []).append(face)
    records = []
    for time_s, in_frame in sorted(by_time.items()):
        judged = [f for f in in_frame if f["log_likelihood_ratio"] is not None]
        ratio = rank = None
        if judged:
            ratio = level.mean_log_likelihood_ratio([f["log_likelihood_ratio"] for f in judged])
            rank = level.mean_log_likelihood_ratio([f["rank"] for f in judged])
        records.append(
            {
                "time_s": time_s,
                "tracks": len(in_frame),
                "judged": len(judged),
                "rank": rank,
                "score": None if ratio is None else level.probability(ratio, prior),
                "log_likelihood_ratio": ratio,
            }
        )
    return records


def item_record(verdict: Verdict, spec: BundleSpec) -> dict[str, Any]:
    return {
        "kind": kind_of(verdict),
        "verdict": str(verdict.verdict),
        "leaning": verdict.leaning and str(verdict.leaning),
        "score": verdict.score,
        "log_likelihood_ratio": verdict.log_likelihood_ratio,
        "rank": uncapped_item_ratio(verdict, level.Criteria.of(spec)),
        "reason": str(verdict.reasons[0].code) if verdict.reasons else None,
        "tracks": len(verdict.tracks),
        "sampled": verdict.frames.sampled,
        "with_face": verdict.frames.with_face,
        "failed": verdict.frames.failed,
    }


def assemble(labelled: Iterable[tuple[Row, dict[str, Any]]], prior: float) -> pd.DataFrame:
    """Return one table of all levels; the column ``level`` is ``face``, ``frame`` or ``item``.

    A record holds ``item_record`` under ``item`` and ``face_records`` under ``faces``. Values that
    were not judged are NaN; a person's attribute has the column ``attribute_<name>``.
    """
    lines: list[dict[str, Any]] = []
    for row, record in labelled:
        labels = {k: v for k, v in dataclasses.asdict(row).items() if k != "attributes"}
        labels |= {f"attribute_{k}": v for k, v in row.attributes}
        labels |= {"kind": record["item"]["kind"], "fitted": record["item"].get("fitted")}
        lines += [{"level": "face", **labels, **f} for f in record["faces"]]
        frames = frame_records(record["faces"], prior)
        lines += [{"level": "frame", **labels, **f} for f in frames]
        lines.append({"level": "item", **labels, **record["item"]})
    table = pd.DataFrame(lines)
    for column in ("rank", "score", "log_likelihood_ratio", "logit", "time_s"):
        table[column] = table.get(column, pd.Series(index=table.index)).astype("float64")
    return table


def face_table(judged: Iterable[tuple[dict[str, Any], Verdict]], spec: BundleSpec) -> pd.DataFrame:
    """Return a table with one row per face of media, each given by its row and its verdict.

    It has the columns of ``LABELS``, ``kind``, and those of ``face_records``, with NaN for a logit
    or score that was not judged.
    """
    return pd.DataFrame(
        [
            {**{c: row[c] for c in LABELS}, "kind": kind_of(verdict), **face}
            for row, verdict in judged
            for face in face_records(verdict, spec)
        ]
    )


def kind_of(verdict: Verdict) -> str:
    """Return ``video`` or ``image``; empty for a medium that could not be decoded."""
    return verdict.media.kind if verdict.media else ""


def read_run(path: Path, columns: Iterable[str]) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Return the predictions in ``path``, which have ``columns``, and the metrics beside them.

    Raises:
        RunError: a file is unreadable, or was not written by ``deepfake-eval run``.
    """
    metrics_path = path.with_name("metrics.json")
    if not path.parent.is_dir():
        raise RunError(f"There is no folder {path.parent}. Give that of a run.")
    try:
        table = pd.read_parquet(path)
        metrics: dict[str, Any] = json.loads(metrics_path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RunError(
            f"{path} or {metrics_path.name} beside it is not readable. Give the results of "
            "deepfake-eval run."
        ) from error
    if not set(columns) <= set(table.columns) or "degradation" in table.columns:
        raise RunError(
            f"{path} was not written by deepfake-eval run. Only its results can be used."
        )
    return table, metrics
