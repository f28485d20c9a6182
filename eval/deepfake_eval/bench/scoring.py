"""Time contenders in alternating rounds."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deepfake_eval.errors import EvalError
from deepfake_models.scorer import Scorer

Report = Callable[[str], None]
"""Called with the name of each case before it is measured."""


@dataclass(frozen=True, slots=True)
class Samples:
    """Repeated measurements of one figure, at least one."""

    values: tuple[float, ...]
    unit: str = "s"

    def to_json(self) -> dict[str, Any]:
        return {
            "unit": self.unit,
            "median": statistics.median(self.values),
            "min": min(self.values),
            "max": max(self.values),
            "values": list(self.values),
        }


def alternate(contenders: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, Samples]:
    """Measure each of ``contenders`` once in each round, so that a busy moment hits all of them.

    Every other round has the reverse order. Who needs a warm-up does it beforehand.
    """
    values: dict[str, list[float]] = {name: [] for name in contenders}
    for number in range(rounds):
        for name in list(contenders)[:: 1 if number % 2 == 0 else -1]:
            values[name].append(contenders[name]())
    return {name: Samples(tuple(v)) for name, v in values.items()}


def ratio(of: Samples, to: Samples) -> Samples:
    """Return ``of`` / ``to`` round by round, both of which were measured in the same rounds."""
    pairs = zip(of.values, to.values, strict=True)
    return Samples(tuple(a / b for a, b in pairs), unit="×")


def seconds_of(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def score(scorer: Scorer, path: Path, frames: int) -> None:
    """Score a file.

    Raises:
        EvalError: no face was found, so that nothing would be measured.
    """
    with path.open("rb") as file:
        verdict = scorer.score(file, frames=frames)
    if not (verdict.frames.with_face or verdict.faces):
        raise EvalError(
            f"No face was found in the generated file {path.name}, so it measures nothing. Use "
            "another bundle."
        )
