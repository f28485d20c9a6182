"""The linear last layer that is fitted on the features of a frozen network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray


def _none() -> NDArray[np.float64]:
    return np.zeros((0, 0))


@dataclass(frozen=True, slots=True)
class Head:
    """The weights of a logit, and of one logit for each kind of manipulation.

    They apply to the features of all squares of a face, (V * F,), one square after the other.
    """

    weight: NDArray[np.float64]
    """(V * F,)."""
    bias: float
    kind_weight: NDArray[np.float64] = field(default_factory=_none)
    """(K, V * F); empty where no kinds are told apart."""
    kind_bias: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    """(K,)."""

    @property
    def kinds(self) -> int:
        """The number of kinds."""
        return len(self.kind_bias)

    def logits(self, features: NDArray[Any]) -> NDArray[np.float64]:
        """Return (N,) logits of features (N, V, F)."""
        flat = features.reshape(-1, len(self.weight)).astype(np.float32)
        return (flat @ self.weight.astype(np.float32)).astype(np.float64) + self.bias

    def kind_logits(self, features: NDArray[Any]) -> NDArray[np.float64]:
        """Return (N, K) logits of the kinds for features (N, V, F)."""
        if not self.kinds:
            return np.zeros((len(features), 0))
        flat = features.reshape(-1, len(self.weight)).astype(np.float32)
        return (flat @ self.kind_weight.T.astype(np.float32)).astype(np.float64) + self.kind_bias

    def state(self) -> dict[str, torch.Tensor]:
        """Return the tensors that a run saves."""
        return {
            "weight": torch.from_numpy(self.weight),
            "bias": torch.tensor(self.bias, dtype=torch.float64),
            "kind_weight": torch.from_numpy(self.kind_weight),
            "kind_bias": torch.from_numpy(self.kind_bias),
        }

    @classmethod
    def of(cls, state: Mapping[str, torch.Tensor]) -> Head:
        """Return the head that ``state`` was made from."""
        return cls(
            state["weight"].numpy(),
            float(state["bias"]),
            state["kind_weight"].numpy(),
            state["kind_bias"].numpy(),
        )
