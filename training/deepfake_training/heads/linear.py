"""The head of the verdict: one linear layer, fitted by logistic regression.

A large network trained on much other material knows more about faces than a small data set can
teach it (linear probes on CLIP: Ojha et al. 2023, arXiv:2302.10174).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from deepfake_models.classifier import LOGIT
from deepfake_training.config import Config
from deepfake_training.heads.head import INPUT, Array, Head, HeadGraph, Material, flat, regression


@dataclass(frozen=True, slots=True)
class LinearHead(Head):
    """A logit: ``weight`` (V * F,) and ``bias`` ()."""

    output: ClassVar[str] = LOGIT
    weight: NDArray[np.float64]
    bias: NDArray[np.float64]

    @classmethod
    def fit(cls, material: Material, config: Config) -> LinearHead:
        """Fit a regression for each square.

        The logit of a face is the mean over the squares, each scaled to the same deviation.
        """
        learnt = material.examples
        squares = [
            learnt.features[:, v].astype(np.float32) for v in range(learnt.features.shape[1])
        ]
        strength = config.probe.inverse_regularisation
        parts = [regression(x, learnt.truth, learnt.weights, strength) for x in squares]
        deviations = np.array(
            [_deviation(x @ w[0], learnt.weights) for x, (w, _) in zip(squares, parts, strict=True)]
        )
        shares = deviations.mean() / deviations / len(parts)
        weight = np.concatenate([w[0] * s for (w, _), s in zip(parts, shares, strict=True)])
        return cls(weight, np.sum([b[0] * s for (_, b), s in zip(parts, shares, strict=True)]))

    def logits(self, features: Array) -> NDArray[np.float64]:
        """Return logits (N,) of features (N, V, F)."""
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


def _deviation(values: Array, weights: Array) -> float:
    mean = np.average(values, weights=weights)
    return float(np.sqrt(np.average((values - mean) ** 2, weights=weights)))
