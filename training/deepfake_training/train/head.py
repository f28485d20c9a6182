"""The last layer that is fitted on the features of a frozen network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import logsumexp

from deepfake_training.errors import TrainingError


@dataclass(frozen=True, slots=True)
class Head:
    """Logits of a face, and of each kind of manipulation, from the features of its squares.

    The first row of weights of a square gives the log-odds of any manipulation against an untouched
    face, and carries over to tools that nothing was learnt from. The other rows, if there are any,
    give those of single kinds, and find more of the tools that are known. A face is manipulated if
    it is so in any way, so the kinds give a second logit: the log of the sum of their odds. The
    logit of a face is the sum of these logits over its squares, each with a factor.
    """

    weight: NDArray[np.float64]
    """(V, 1 + K, F): at each of V squares a row for any manipulation, and one for each kind."""
    bias: NDArray[np.float64]
    """(V, 1 + K)."""
    factor: NDArray[np.float64]
    """(V, 1) without kinds; (V, 2) with kinds, of which the second is for their logit."""
    kinds: int = 0
    """The number of kinds that have a name, which are the first of K."""

    def log_odds(self, features: NDArray[Any]) -> NDArray[np.float64]:
        """Return the log-odds (N, V, 1 + K) of all rows for features (N, V, F)."""
        views, rows, size = self.weight.shape
        odds = np.zeros((len(features), views, rows))
        for view, values in enumerate(features.reshape(-1, views, size).swapaxes(0, 1)):
            odds[:, view] = values.astype(np.float32) @ self.weight[view].T.astype(np.float32)
        return odds + self.bias

    @property
    def groups(self) -> tuple[int, ...]:
        """How many rows each logit of a square has: that of any manipulation, and that of kinds."""
        rows = self.weight.shape[1]
        return (1, rows - 1) if rows > 1 else (1,)

    def parts(self, features: NDArray[Any]) -> NDArray[np.float64]:
        """Return the logits that are summed, (N, V, 1) or (N, V, 2) as ``factor``, for features
        (N, V, F)."""
        odds = self.log_odds(features)
        starts = np.cumsum(self.groups)[:-1]
        return np.stack(
            [logsumexp(part, axis=2) for part in np.split(odds, starts, axis=2)], axis=2
        )

    def logits(self, features: NDArray[Any]) -> NDArray[np.float64]:
        """Return (N,) logits of features (N, V, F)."""
        logits: NDArray[np.float64] = (self.parts(features) * self.factor).sum(axis=(1, 2))
        return logits

    @property
    def shares(self) -> NDArray[np.float64]:
        """The share (V,) of each square in the logits of kinds."""
        factor = self.factor[:, -1]
        shares: NDArray[np.float64] = factor / factor.sum()
        return shares

    def kind_logits(self, features: NDArray[Any]) -> NDArray[np.float64]:
        """Return (N, ``kinds``) logits of the kinds with a name for features (N, V, F): means of
        their log-odds over the squares."""
        odds = self.log_odds(features)[:, :, 1 : 1 + self.kinds]
        logits: NDArray[np.float64] = (odds * self.shares[:, None]).sum(axis=1)
        return logits

    def state(self) -> dict[str, torch.Tensor]:
        """Return the tensors that a run saves."""
        return {
            "weight": torch.from_numpy(self.weight),
            "bias": torch.from_numpy(self.bias),
            "factor": torch.from_numpy(self.factor),
            "kinds": torch.tensor(self.kinds),
        }

    @classmethod
    def of(cls, state: Mapping[str, torch.Tensor]) -> Head:
        """Return the head that ``state`` was made from.

        Raises:
            TrainingError: if another version of this package fitted it.
        """
        if set(state) != {"weight", "bias", "factor", "kinds"}:
            raise TrainingError(
                "the run was fitted by another version of this package; fit it anew in a new folder"
            )
        weight, bias, factor = (state[n].numpy() for n in ("weight", "bias", "factor"))
        return cls(weight, bias, factor, int(state["kinds"]))
