"""Bins of face width and sharpness whose edges follow the held-out faces.

Error rates by condition need enough groups of both classes in each bin. So the edges are quartiles
of both measurements, as many of them as leave nearly every face in a bin whose rates are known.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

MEASURED_SHARE = 0.95
"""Share of the judged faces of either class that should be in a bin with enough groups."""

_QUANTILES = (0.25, 0.5, 0.75)
_CLASSES = ["real", "fake"]
_MEASURES = (("face_px", 0), ("sharpness", 1))
"""The two measurements, and the decimals to which edges are rounded."""


@dataclass(frozen=True, slots=True)
class Edges:
    """Inner edges of bins, ascending, at least one of each measurement."""

    face_px: tuple[float, ...]
    sharpness: tuple[float, ...]

    @property
    def bins(self) -> int:
        """Return the number of bins."""
        return (len(self.face_px) + 1) * (len(self.sharpness) + 1)


def adaptive_edges(judged: pd.DataFrame, min_groups: int) -> Edges:
    """Return the edges that make the most bins with nearly every face in a measured one.

    A bin is measured if it has faces of at least ``min_groups`` groups of each class. Of all
    choices of quartiles, at least one of each measurement, those count that have
    ``MEASURED_SHARE`` of the real and of the manipulated faces in measured bins; without any, the
    choice with the largest share is returned. Of choices with equally many bins, that is so too.

    ``judged`` are held-out faces with the columns label, group, ``face_px`` and ``sharpness``.
    """
    face_px, sharpness = (_quantiles(judged, *measure) for measure in _MEASURES)
    options = [Edges(a, b) for a in _choices(face_px) for b in _choices(sharpness)]

    def merit(edges: Edges) -> tuple[float, ...]:
        share = _measured_share(judged, edges, min_groups)
        return (1.0, edges.bins, share) if share >= MEASURED_SHARE else (0.0, share, -edges.bins)

    return max(options, key=merit)


def _measured_share(judged: pd.DataFrame, edges: Edges, min_groups: int) -> float:
    """Return the share of faces in measured bins, of the class that has fewer in them."""
    if judged.empty:
        return 1.0
    row = np.searchsorted(edges.face_px, judged["face_px"], side="right")
    column = np.searchsorted(edges.sharpness, judged["sharpness"], side="right")
    place = pd.Series(row * (len(edges.sharpness) + 1) + column, index=judged.index)
    groups = judged.groupby([place, "label"])["group"].nunique().unstack(fill_value=0)
    measured = (groups.reindex(columns=_CLASSES, fill_value=0) >= min_groups).all(axis=1)
    return float(place.map(measured).groupby(judged["label"]).mean().min())


def _choices(edges: tuple[float, ...]) -> Iterator[tuple[float, ...]]:
    for count in range(1, len(edges) + 1):
        yield from itertools.combinations(edges, count)


def _quantiles(judged: pd.DataFrame, measure: str, digits: int) -> tuple[float, ...]:
    """Return the quartiles of a measurement, with equal weight for both classes and all groups."""
    values = judged[measure].to_numpy(np.float64)
    if not len(values):
        return (1.0,)
    order = np.argsort(values, kind="stable")
    share = np.cumsum(_weights(judged)[order])
    places = np.searchsorted(share, np.array(_QUANTILES) * share[-1])
    edges = np.unique(np.round(values[order][np.minimum(places, len(values) - 1)], digits))
    return tuple(float(e) for e in edges if e > 0.0) or (1.0,)


def _weights(judged: pd.DataFrame) -> NDArray[np.float64]:
    faces = judged.groupby(["label", "group"])["group"].transform("size").to_numpy(np.float64)
    groups = judged.groupby("label")["group"].transform("nunique").to_numpy(np.float64)
    weights: NDArray[np.float64] = 1.0 / (faces * groups)
    return weights
