"""Compute logits and activation maps of face crops, in batches."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from deepfake_models.errors import BundleError
from deepfake_models.session import Session
from deepfake_models.spec import InputSpec

LOGIT = "logit"
ACTIVATION_MAP = "activation_map"
DEFAULT_BATCH = 8
"""Crops of one batch. onnxruntime keeps the buffers of the largest batch that it ever ran, some
500 MB for 32 crops of 224 px, and a CPU gains nothing from more than a few."""


class Classifier:
    """The classifier graph, which turns uint8 RGB crops into one logit and one map each."""

    def __init__(self, session: Session, spec: InputSpec, *, batch: int = DEFAULT_BATCH) -> None:
        self._session = session
        self._spec = spec
        self._batch = batch

    def logits(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return ``(N,)`` float32 logits, higher = more probably manipulated.

        ``crops`` is ``(N, height, width, 3)`` uint8 RGB; N may be 0.
        """
        return self._run(crops, LOGIT, ()).reshape(len(crops))

    def activation_maps(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return ``(N, h, w)`` float32 activation maps on the network's coarse grid.

        Higher means more towards manipulated. The bundle's ``training.map_method`` names what a
        cell holds: its share of the logit (Zhou et al. 2016, CVPR), its direct contribution to the
        logit, or the head's output for that cell.
        """
        return self._run(crops, ACTIVATION_MAP, (0, 0))

    def _run(
        self, crops: NDArray[np.uint8], output: str, empty: tuple[int, ...]
    ) -> NDArray[np.float32]:
        expected = (self._spec.height, self._spec.width, 3)
        if crops.dtype != np.uint8 or crops.shape[1:] != expected:
            raise ValueError(
                f"crops must be uint8 (N, {expected[0]}, {expected[1]}, 3), "
                f"not {crops.dtype} {crops.shape}"
            )
        if not len(crops):
            return np.zeros((0, *empty), dtype=np.float32)
        parts = [
            self._session.run([output], {"crops": crops[start : start + self._batch]})[0]
            for start in range(0, len(crops), self._batch)
        ]
        values: NDArray[np.float32] = np.concatenate(parts).astype(np.float32)
        if not np.isfinite(values).all():
            raise BundleError("classifier.onnx: the network returned a value that is not finite")
        return values
