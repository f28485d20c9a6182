"""What a head is, and what it may learn from."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, Final, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from deepfake_training.config import Config

Array = NDArray[Any]
INPUT: Final = "head.features"
"""The features (N, R * F) of all readings of each face, one after the other, in the graph."""
_MAX_ITERATIONS: Final = 2000


@dataclass(frozen=True, slots=True)
class Examples:
    """Faces to learn from: ``features`` (N, R, F) of R readings each, ``truth`` (N,) with 1 =
    manipulated, and ``weights`` (N,) that sum to one, half of it in either class."""

    features: Array
    truth: NDArray[np.int64]
    weights: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Material:
    """What a run may learn from."""

    pairs: Examples
    """Halves of augmented pairs."""
    blended: Array
    """Whether the manipulated half of each half's pair was blended from real faces, (N,)."""
    pictures: Array
    """Whether it is a picture that a tool made, (N,)."""
    plain: Examples
    """Faces without augmentation, cut as the service cuts them."""
    labels: pd.DataFrame
    """The labels of the plain faces, with the columns of a manifest."""
    sources: Array
    """The source of each plain face, (N,)."""


class HeadGraph(NamedTuple):
    """The nodes from ``INPUT`` to a head's output, their constants, and the description of the
    output, whose first axis is "batch"."""

    nodes: list[NodeProto]
    tensors: list[TensorProto]
    output: ValueInfoProto


@dataclass(frozen=True, slots=True)
class Head(ABC):
    """K logits that are linear in the features of a face: ``weight`` (K, R * F), along which maps
    are drawn, and ``bias`` (K,)."""

    output: ClassVar[str]
    """The output of ``classifier.onnx`` that it gives: ``LOGIT`` or another one."""
    weight: NDArray[np.float64]
    bias: NDArray[np.float64]

    @classmethod
    @abstractmethod
    def fit(cls, material: Material, config: Config) -> Head:
        """Fit the head of a run of ``config``; ``TrainingError`` if there is nothing to fit."""

    def logits(self, features: Array) -> NDArray[np.float64]:
        """Return logits (N, K) of features (N, R, F)."""
        if not len(features):
            return np.zeros((0, len(self.bias)))
        return (flat(features) @ self.weight.T.astype(np.float32)).astype(np.float64) + self.bias

    def export(self) -> HeadGraph:
        """Return the graph that computes ``logits``."""
        weight, bias, product = (f"{self.output}.{n}" for n in ("weight", "bias", "product"))
        tensors = [
            numpy_helper.from_array(self.weight.T.astype(np.float32), weight),
            numpy_helper.from_array(self.bias.astype(np.float32), bias),
        ]
        nodes = [
            helper.make_node("MatMul", [INPUT, weight], [product]),
            helper.make_node("Add", [product, bias], [self.output]),
        ]
        shape: list[str | int | None] = ["batch", len(self.bias)]
        value = helper.make_tensor_value_info(self.output, TensorProto.FLOAT, shape)
        return HeadGraph(nodes, tensors, value)

    def state(self) -> dict[str, Array]:
        """Return the arrays that a run saves, from which the constructor makes the head again."""
        return {"weight": self.weight, "bias": self.bias}


def flat(features: Array) -> NDArray[np.float32]:
    """Return features (N, R, F) as (N, R * F)."""
    return features.reshape(len(features), -1).astype(np.float32)


def regression(
    values: NDArray[np.float32], truth: Array, weights: Array, inverse_regularisation: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Fit a logistic regression of ``truth`` (N,) on standardised ``values`` (N, D); return weights
    (K, D) and biases (K,) for plain values, where K is 1 for two classes."""
    scaler = StandardScaler()
    scaled = scaler.fit_transform(values)
    model = LogisticRegression(C=inverse_regularisation, max_iter=_MAX_ITERATIONS)
    model.fit(scaled, truth, sample_weight=weights * len(scaled))
    weight = model.coef_.astype(np.float64) / scaler.scale_
    bias: NDArray[np.float64] = model.intercept_ - weight @ scaler.mean_
    return weight, bias
