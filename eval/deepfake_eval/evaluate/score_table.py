"""Scores of any detector in a CSV table, as predictions that are measured like those of a bundle.

The table has a row for each medium, or for each frame of it. Columns:

- ``media``: any name of the medium, unique in its data set.
- ``label``: ``real`` or ``fake``.
- ``score``: a number that is higher for more suspect media; empty if the detector abstained.
- ``frame`` (optional): the number or time of a frame, each once. The score of a medium is then the
  mean of those of its frames.
- ``method``, ``dataset``, ``group``, ``kind`` (``picture`` or ``video``), ``fitted`` (``file``,
  ``picture`` or ``no``, as a run of a bundle writes it): optional. Without ``kind``, a medium is of
  the kind that the ending of its name says, and one with frames a video.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePath
from typing import Any

import pandas as pd

from deepfake_eval.analysis.summary import Subject
from deepfake_eval.datasets import base
from deepfake_eval.errors import RunError
from deepfake_eval.inference.fitted_media import NOT_FITTED, SAME_FILE, SAME_PICTURE
from deepfake_eval.options import DetectorOptions
from deepfake_models.bundle.results import VerdictCode
from deepfake_models.bundle.spec import ConditionsSpec

KINDS = {"picture": "image", "image": "image", "video": "video"}
REQUIRED = ("media", "label", "score")
DATASET = "scores"
"""The data set of media without one: the same in all tables, so that two of them compare."""


def subject(path: Path, options: DetectorOptions) -> Subject:
    """Return what results files say of the detector whose scores are in the table ``path``."""
    limits = {} if options.threshold is None else {"likely_manipulated": options.threshold}
    return Subject(
        facts={
            "bundle": options.name or path.stem,
            "version": "",
            "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
            "terms": "",
        },
        prior=0.5 if options.prior is None else options.prior,
        min_groups=ConditionsSpec().min_groups,
        thresholds=dict.fromkeys(("picture", "video"), limits) if limits else {},
    )


def require_classes(labels: Iterable[str], options: DetectorOptions) -> None:
    """Raise ``RunError`` if all media have one label and no threshold is given."""
    found = set(labels)
    if len(found) == 1 and options.threshold is None:
        raise RunError(
            f"All media are {found.pop()}, so that nothing can be measured without a threshold. "
            "Add media of the other label, or pass a --threshold."
        )


def fitted_media(options: DetectorOptions) -> set[tuple[str, str]]:
    """Return the data set (empty for any) and the name of each medium that the detector was fitted
    on, as far as that is known; ``RunError`` if the list of them is malformed."""
    listed = base.read_table(options.fitted, ("media",), RunError)[1] if options.fitted else ()
    return {(line.get("dataset") or "", line["media"]) for _, line in listed}


def read(path: Path, options: DetectorOptions, *, grouped: bool = False) -> pd.DataFrame:
    """Return the predictions in the table ``path``, with rows of the levels ``item`` and ``frame``.

    With several data sets, groups are kept apart by the name of their data set, except where people
    are the same (see ``namespace``), and unless they are ``grouped`` so already.

    Raises:
        RunError: a column is missing, a medium occurs twice, or a value is not what its column
            needs; the message names the line.
    """
    fitted = fitted_media(options)
    by_media: dict[tuple[str, str], dict[str | None, dict[str, Any]]] = {}
    for number, line in base.read_table(path, REQUIRED, RunError)[1]:
        where = f"{path.name}, line {number}"
        row = _labels(line, where)
        if options.fitted:
            found = not fitted.isdisjoint((("", row["media"]), (row["dataset"], row["media"])))
            row["fitted"] = SAME_FILE if found else NOT_FITTED
        row["rank"] = _score(row["score"], where, options)
        frame = row["frame"]
        frames = by_media.setdefault((row["dataset"], row["media"]), {})
        if frames and (frame is None or None in frames):
            raise RunError(
                f"In {where}, {row['media']} occurs twice. Give each row of a medium its frame in "
                "a column named frame."
            )
        if frame in frames:
            raise RunError(
                f"In {where}, the frame {frame} of {row['media']} occurs twice. Leave one out."
            )
        above = next(iter(frames.values()), row)
        if any(above[c] != row[c] for c in ("label", "method", "group")):
            raise RunError(
                f"In {where}, {row['media']} has another label, method or group than in a line "
                "above. Correct one of them."
            )
        frames[frame] = row
    if not by_media:
        raise RunError(f"{path.name} has no rows below its header. Add one for each medium.")
    lines = [line for frames in by_media.values() for line in _lines([*frames.values()], options)]
    table = pd.DataFrame(lines)
    if table["dataset"].nunique() > 1 and not grouped:
        table["group"] = table["dataset"].map(base.namespace) + table["group"]
    return table


def _labels(line: dict[str, str], where: str) -> dict[str, Any]:
    label, media = base.checked_label(line["label"], where, RunError), line["media"]
    kind = line.get("kind") or ""
    if not media:
        raise RunError(f"In {where}, the column media is empty. Name the medium.")
    if kind and kind not in KINDS:
        raise RunError(f"In {where}, the kind must be picture or video, not {kind!r}.")
    fitted = line.get("fitted") or None
    if fitted not in (None, SAME_FILE, SAME_PICTURE, NOT_FITTED):
        raise RunError(f"In {where}, fitted must be file, picture or no, or empty, not {fitted!r}.")
    frame = _frame(line.get("frame", ""))
    return {
        "media": media,
        "label": label,
        "method": line.get("method") or ("original" if label == "real" else "fake"),
        "dataset": line.get("dataset") or DATASET,
        "split": line.get("split") or "test",
        "group": line.get("group") or media,
        "kind": KINDS.get(kind) or ("video" if frame else _kind(media)),
        "fitted": fitted,
        "score": line["score"],
        "frame": frame,
    }


def _kind(media: str) -> str:
    suffix = PurePath(media).suffix.lower()
    return "video" if suffix in base.VIDEO_SUFFIXES else "image" * (suffix in base.PICTURE_SUFFIXES)


def _frame(text: str) -> str | None:
    """Return the name of a frame, ``None`` without one; 7, 007 and 7.0 are one frame."""
    name = text.strip()
    try:
        number = float(name)
    except ValueError:
        return name or None
    return f"{number:.0f}" if number.is_integer() else repr(number)


def _score(text: str, where: str, options: DetectorOptions) -> float:
    if not text.strip():
        return math.nan
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise RunError(f"In {where}, the score must be a number, or empty, not {text!r}.")
    if options.probabilities and not 0.0 <= value <= 1.0:
        raise RunError(f"In {where}, a probability must be from 0 to 1, not {text}.")
    return value


def _lines(frames: list[dict[str, Any]], options: DetectorOptions) -> Iterator[dict[str, Any]]:
    first = {k: v for k, v in frames[0].items() if k not in ("score", "frame", "rank")}
    scored = [f["rank"] for f in frames if math.isfinite(f["rank"])]
    if frames[0]["frame"] is not None:
        for place, frame in enumerate(frames):
            values = _values(frame["rank"], options)
            named = {"frame": frame["frame"], "time_s": float(place)}
            yield {"level": "frame", **first, **named, **values}
    rank = sum(scored) / len(scored) if scored else math.nan
    yield {
        "level": "item",
        **first,
        "time_s": math.nan,
        **_values(rank, options),
        "verdict": _verdict(rank, options),
        "reason": None,
        "leaning": None,
        "sampled": len(frames),
        "with_face": len(scored),
        "failed": 0,
    }


def _values(rank: float, options: DetectorOptions) -> dict[str, float]:
    return {
        "rank": rank,
        "score": rank if options.probabilities else math.nan,
        "log_likelihood_ratio": math.nan,
    }


def _verdict(rank: float, options: DetectorOptions) -> str:
    if not math.isfinite(rank):
        return str(VerdictCode.UNABLE_TO_EVALUATE)
    if options.threshold is None:
        return str(VerdictCode.INCONCLUSIVE)
    fake = rank >= options.threshold
    return str(VerdictCode.LIKELY_MANIPULATED if fake else VerdictCode.NO_MANIPULATION_FOUND)
