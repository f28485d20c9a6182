"""Withhold values from accounts of systems, whose keys could be used to search for adversarial
changes.

Such a search follows small differences between the values of nearly equal pictures. Verdicts,
leanings and the codes of reasons are answered to every account, and evidence always has the exact
values.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel

from deepfake_models.bundle.results import ReasonCode, coarse
from deepfake_service.http.schemas import ReasonOut
from deepfake_service.security.accounts import Caller
from deepfake_service.settings import ScoreDetail

Answer = TypeVar("Answer", bound=BaseModel)

_PARTS = ("faces", "tracks", "moments")
"""Fields that are lists of parts with values of their own."""
_WITHHELD = ("score", "peak_score", "kinds")
"""Fields that follow from the same network. A rounded score would be finer than a rounded log
likelihood ratio where it is near the prior."""

_BETWEEN_THRESHOLDS = (
    "the log10 likelihood ratio lies between the thresholds, where the error rates are too high to "
    "decide"
)
"""The detail of that reason without the value, which it has with two digits."""


def is_told_values(caller: Caller, detail: ScoreDetail) -> bool:
    """Return whether ``caller`` is told exact values if accounts of systems are told ``detail``."""
    return not caller.system or detail == "full"


def row_for(caller: Caller, row: Mapping[str, Any], detail: ScoreDetail) -> dict[str, Any]:
    """Return what ``caller`` is told of a row of a table, as ``answer_to`` does of an answer."""
    if is_told_values(caller, detail):
        return dict(row)
    changed = {name: None if name in _WITHHELD else value for name, value in row.items()}
    ratio = row["log_likelihood_ratio"]
    return changed | {"log_likelihood_ratio": coarse(ratio) if detail == "rounded" else None}


def answer_to(caller: Caller, answer: Answer, detail: ScoreDetail) -> Answer:
    """Return what ``caller`` is told of ``answer`` if accounts of systems are told ``detail``."""
    if is_told_values(caller, detail):
        return answer
    return _coarsened(answer, detail)


def _coarsened(part: Answer, detail: ScoreDetail) -> Answer:
    changed: dict[str, Any] = {}
    for name in type(part).model_fields:
        value = getattr(part, name)
        if name in _WITHHELD:
            changed[name] = None
        elif name == "log_likelihood_ratio":
            changed[name] = coarse(value) if detail == "rounded" else None
        elif name == "reasons":
            changed[name] = [_without_value(reason) for reason in value]
        elif name in _PARTS and not isinstance(value, int):
            changed[name] = [_coarsened(v, detail) for v in value]
    return part.model_copy(update=changed)


def _without_value(reason: ReasonOut) -> ReasonOut:
    if reason.code != ReasonCode.BETWEEN_THRESHOLDS:
        return reason
    return reason.model_copy(update={"detail": _BETWEEN_THRESHOLDS})
