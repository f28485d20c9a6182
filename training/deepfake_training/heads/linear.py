"""The head of the verdict: one linear layer, shrunk discriminants of differences within sources.

A large network trained on much other material knows more about faces than a small data set can
teach it (linear probes on CLIP: Ojha et al. 2023, arXiv:2302.10174). What it knows includes the
page, camera or data set that a face comes from, and a head may learn that instead of the
manipulation. So where a source has both classes, only the difference within it is learnt, and what
tells the real material of sources apart counts as noise.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from deepfake_models.classifier import LOGIT
from deepfake_training.config import Config
from deepfake_training.heads.head import (
    INPUT,
    Array,
    Examples,
    Head,
    HeadGraph,
    Material,
    flat,
)


@dataclass(frozen=True, slots=True)
class LinearHead(Head):
    """A logit: ``weight`` (R * F,) and ``bias`` ()."""

    output: ClassVar[str] = LOGIT
    weight: NDArray[np.float64]
    bias: NDArray[np.float64]

    @classmethod
    def fit(cls, material: Material, config: Config) -> LinearHead:
        """Fit two linear discriminants for each reading (Fisher 1936), with a shrunk covariance
        (Ledoit and Wolf 2004): one to plain faces, which carry what real material does, and one to
        pairs, whose halves share subject, source and coding.

        The logit of a face is the mean of both over the readings, each scaled to the same deviation
        of plain faces, within the classes of a source and between sources.
        """
        readings = material.plain.features.shape[1]
        weights, bias = [], 0.0
        for v in range(readings):
            plain = material.plain.features[:, v].astype(np.float32)
            mean, deviation = plain.mean(axis=0), plain.std(axis=0) + 1e-6
            plain = (plain - mean) / deviation
            between = _between_sources(plain, material)
            _centre(plain, material.plain.truth, material.sources)
            within, *classes = _moments(plain, material.plain)
            spread, weight = within + between, np.zeros(len(mean))
            pairs = (material.pairs.features[:, v].astype(np.float32) - mean) / deviation
            of_pairs = _moments(pairs, material.pairs)
            for noise, real, fake in ((spread, *classes), of_pairs):
                direction = _discriminant(noise, fake - real, config.probe.shrinkage)
                direction /= 2.0 * np.sqrt(direction @ spread @ direction)
                weight += direction
                bias -= float(direction @ (real + fake)) / 2.0 / readings
            weights.append(weight / deviation / readings)
            bias -= float(weights[-1] @ mean)
        return cls(np.concatenate(weights), np.array(bias))

    def logits(self, features: Array) -> NDArray[np.float64]:
        """Return logits (N,) of features (N, R, F)."""
        if not len(features):
            return np.zeros(0)
        return (flat(features) @ self.weight.astype(np.float32)).astype(np.float64) + self.bias

    def export(self) -> HeadGraph:
        """Return the graph that computes ``logits``."""
        tensors = [
            numpy_helper.from_array(self.weight.astype(np.float32)[:, None], "head.weight"),
            numpy_helper.from_array(np.array([self.bias], np.float32), "head.bias"),
            numpy_helper.from_array(np.array([-1]), "head.flat"),
        ]
        nodes = [
            helper.make_node("MatMul", [INPUT, "head.weight"], ["head.product"]),
            helper.make_node("Add", ["head.product", "head.bias"], ["head.column"]),
            helper.make_node("Reshape", ["head.column", "head.flat"], [LOGIT]),
        ]
        return HeadGraph(nodes, tensors, ["batch"])

    def direction(self) -> NDArray[np.float64]:
        """Return the weights."""
        return self.weight


def _between_sources(values: NDArray[np.float32], material: Material) -> NDArray[np.float64]:
    """Return the covariance (F, F), between sources, of the means of real faces among the plain
    faces' ``values`` (N, F)."""
    real = material.plain.truth == 0
    _, source = np.unique(material.sources[real], return_inverse=True)
    weight = np.eye(source.max() + 1)[source] * material.plain.weights[real, None]
    means = (weight / weight.sum(axis=0)).T @ values[real]
    covariance: NDArray[np.float64] = np.cov(means.T, aweights=weight.sum(axis=0), ddof=0)
    return covariance


def _centre(values: Array, truth: Array, sources: Array) -> None:
    """Subtract from the ``values`` (N, F) of each source with both classes the mean of their two
    means, in place."""
    for source in np.unique(sources):
        own = np.flatnonzero(sources == source)
        classes = [own[truth[own] == label] for label in (0, 1)]
        if all(map(len, classes)):
            values[own] -= np.mean([values[rows].mean(axis=0) for rows in classes], axis=0)


def _moments(
    values: NDArray[np.float32], examples: Examples
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return the covariance (F, F) of ``values`` (N, F) within the classes of ``examples``, and the
    means (F,) of the real and of the manipulated ones."""
    size = values.shape[1]
    within, means = np.zeros((size, size)), []
    for label in (0, 1):
        part, weight = values[examples.truth == label], examples.weights[examples.truth == label]
        weight = (weight / weight.sum()).astype(np.float32)
        mean = (weight @ part).astype(np.float64)
        within += 0.5 * ((part * weight[:, None]).T @ part - np.outer(mean, mean))
        means.append(mean)
    return within, means[0], means[1]


def _discriminant(
    within: NDArray[np.float64], difference: NDArray[np.float64], shrinkage: float
) -> NDArray[np.float64]:
    """Return the direction (F,) of a linear discriminant of classes with the covariance ``within``
    whose means differ by ``difference``."""
    ridge = shrinkage * np.trace(within) / len(within)
    solved: NDArray[np.float64] = np.linalg.solve(within + ridge * np.eye(len(within)), difference)
    return solved
