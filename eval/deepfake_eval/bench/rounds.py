"""Time things that are compared in alternating rounds, so that a busy moment hits all of them."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Measure = Callable[[], float]
"""Does the work once and returns what is measured, such as seconds."""


@dataclass(frozen=True, slots=True)
class Samples:
    """Repeated measurements of one figure, at least one."""

    values: tuple[float, ...]
    unit: str = "s"

    @property
    def median(self) -> float:
        """The median."""
        return statistics.median(self.values)

    def to_json(self) -> dict[str, Any]:
        """Return the figure with its spread."""
        return {
            "unit": self.unit,
            "median": self.median,
            "min": min(self.values),
            "max": max(self.values),
            "values": list(self.values),
        }


def alternate(contenders: Mapping[str, Measure], rounds: int) -> dict[str, Samples]:
    """Measure each of ``contenders`` once in each of ``rounds`` rounds.

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


def percentile(values: Sequence[float], share: float) -> float:
    """Return the smallest of ``values`` that at least ``share`` of them do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, -int(-share * len(ordered) // 1) - 1))]
