"""Run a scorer over labelled media: one row a face and one row an item, never a filled-in score."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from deepfake_models.scorer import Scorer
from deepfake_models.verdict import Verdict

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


def predict(
    scorer: Scorer,
    root: Path,
    rows: Sequence[dict[str, Any]],
    *,
    frames: int | None = 32,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Score every medium of ``rows``; return (faces, items).

    Faces: labels, ``kind``, ``track``, ``main`` (of the main track), ``time_s``, ``logit`` (NaN
    where not judged), ``score``, ``log_likelihood_ratio``, ``verdict`` and the measured quality.
    Items: labels, ``kind``, ``verdict``, ``score``, ``log_likelihood_ratio``, ``reason``, counts.
    """
    faces: list[dict[str, Any]] = []
    items: list[dict[str, Any]] = []
    for done, row in enumerate(rows, start=1):
        labels = {c: row[c] for c in LABELS}
        with (root / row["media"]).open("rb") as file:
            verdict = scorer.score(file, frames=frames)
        kind = verdict.media.kind if verdict.media else ""
        main = main_track(verdict)
        for face in verdict.faces:
            faces.append(
                {
                    **labels,
                    "kind": kind,
                    "track": face.track,
                    "main": face.track == main,
                    "time_s": face.time_s,
                    "logit": face.logit,
                    "score": face.score,
                    "log_likelihood_ratio": face.log_likelihood_ratio,
                    "verdict": str(face.verdict),
                    **face.quality.to_json(),
                }
            )
        items.append(
            {
                **labels,
                "kind": kind,
                "verdict": str(verdict.verdict),
                "score": verdict.score,
                "log_likelihood_ratio": verdict.log_likelihood_ratio,
                "reason": str(verdict.reasons[0].code) if verdict.reasons else None,
                "tracks": len(verdict.tracks),
                "sampled": verdict.frames.sampled,
                "failed": verdict.frames.failed,
            }
        )
        if progress:
            progress(done, len(rows))
    return pd.DataFrame(faces), pd.DataFrame(items)
