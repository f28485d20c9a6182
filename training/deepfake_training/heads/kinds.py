"""The head that tells the kinds of manipulation apart. It has no influence on the verdict."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar, Final

import numpy as np

from deepfake_models.classifier import KIND_LOGITS
from deepfake_training.config import Config
from deepfake_training.errors import TrainingError
from deepfake_training.heads.head import Head, Material, flat, regression

_INVERSE: Final = 0.003
"""Inverse of the strength of the regression's regularisation."""


def check_kinds(methods: Iterable[str], config: Config) -> None:
    """Check that each kind that heads tell apart has one of the ``methods`` to learn from;
    ``TrainingError`` if not."""
    learnt = set(methods)
    for kind in config.probe.kinds:
        if learnt.isdisjoint(config.cross_validation.families[kind]):
            raise TrainingError(
                f"No fake of the kind {kind} is left to train on. Add some, or take the kind out "
                "of probe.kinds."
            )


class KindHead(Head):
    """A logit for each of K kinds."""

    output: ClassVar[str] = KIND_LOGITS

    @classmethod
    def fit(cls, material: Material, config: Config) -> KindHead:
        """Fit a multinomial regression on the features of all readings of plain manipulated faces.

        Every kind has the same weight, and within it every source the root of its number of faces.
        ``TrainingError`` if no fake of one of the kinds is left to learn from.
        """
        kinds, plain = config.probe.kinds, material.plain
        of_method = {m: i for i, k in enumerate(kinds) for m in config.cross_validation.families[k]}
        number = material.labels["method"].map(of_method).to_numpy(np.float64)
        known = (plain.truth == 1) & ~np.isnan(number)
        kind = number[known].astype(np.int64)
        check_kinds(material.labels["method"][known], config)
        weights = plain.weights[known]
        weights = weights / np.bincount(kind, weights)[kind] / len(kinds)
        weight, bias = regression(flat(plain.features[known]), kind, weights, _INVERSE)
        if len(kinds) == 2:  # scikit-learn then has one row, for the second class
            weight, bias = np.concatenate([0.0 * weight, weight]), np.r_[0.0, bias]
        return cls(weight, bias)
