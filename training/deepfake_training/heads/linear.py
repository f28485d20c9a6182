"""The head of the verdict: one linear layer, a shrunk discriminant of differences within sources.

A large network trained on much other material knows more about faces than a small data set can
teach it (linear probes on CLIP: Ojha et al. 2023, arXiv:2302.10174). What it knows includes the
page, camera or data set that a face comes from, and a head may learn that instead of the
manipulation. So where a source has both classes, only the difference within it is learnt.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from deepfake_models.classifier import LOGIT
from deepfake_training.config import Config
from deepfake_training.heads.head import INPUT, Array, Head, HeadGraph, Material, flat


@dataclass(frozen=True, slots=True)
class LinearHead(Head):
    """A logit: ``weight`` (R * F,) and ``bias`` ()."""

    output: ClassVar[str] = LOGIT
    weight: NDArray[np.float64]
    bias: NDArray[np.float64]

    @classmethod
    def fit(cls, material: Material, config: Config) -> LinearHead:
        """Fit a linear discriminant for each reading (Fisher 1936), with a shrunk covariance
        (Ledoit and Wolf 2004).

        The logit of a face is the mean over the readings, each scaled to the same deviation within
        the classes.
        """
        learnt = material.examples
        parts = []
        for v in range(learnt.features.shape[1]):
            values = learnt.features[:, v].astype(np.float32)
            mean, deviation = values.mean(axis=0), values.std(axis=0) + 1e-6
            values = (values - mean) / deviation
            # A view: pairs, which show two sources, come first.
            plain = values[-len(material.sources) :]
            _centre(plain, material.plain.truth, material.sources)
            weight, bias = _discriminant(
                values, learnt.truth, learnt.weights, config.probe.shrinkage
            )
            parts.append((weight / deviation, bias - float(weight @ (mean / deviation))))
        weight = np.concatenate([weight / len(parts) for weight, _ in parts])
        return cls(weight, np.array(sum(bias for _, bias in parts) / len(parts)))

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


def _centre(values: Array, truth: Array, sources: Array) -> None:
    """Subtract from the ``values`` (N, F) of each source with both classes the mean of their two
    means, in place."""
    for source in np.unique(sources):
        own = np.flatnonzero(sources == source)
        classes = [own[truth[own] == label] for label in (0, 1)]
        if all(map(len, classes)):
            values[own] -= np.mean([values[rows].mean(axis=0) for rows in classes], axis=0)


def _discriminant(
    values: NDArray[np.float32], truth: Array, weights: Array, shrinkage: float
) -> tuple[NDArray[np.float64], float]:
    """Return the direction (F,) and the bias of a linear discriminant of ``values`` (N, F), along
    which the classes have a deviation of one."""
    size = values.shape[1]
    within, means = np.zeros((size, size)), []
    for label in (0, 1):
        part, weight = values[truth == label], weights[truth == label]
        weight = (weight / weight.sum()).astype(np.float32)
        mean = (weight @ part).astype(np.float64)
        within += 0.5 * ((part * weight[:, None]).T @ part - np.outer(mean, mean))
        means.append(mean)
    ridge = shrinkage * np.trace(within) / size
    direction = np.linalg.solve(within + ridge * np.eye(size), means[1] - means[0])
    direction /= np.sqrt(direction @ within @ direction)
    return direction, -float(direction @ (means[0] + means[1])) / 2.0
