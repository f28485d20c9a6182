"""Score face crops, and compute their activation maps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from deepfake_models.bundle.bundle import CLASSIFIER, BundleSpec
from deepfake_models.bundle.results import FaceScore
from deepfake_models.bundle.session import OnnxSession
from deepfake_models.errors import BundleError

CROPS = "crops"
"""Name of the input of a bundle's graphs."""
LOGIT = "logit"
"""Of each face: (N,), or (N, 2) with one for faces of videos and one for faces of pictures, which
are manipulated by other means."""
KIND_LOGITS = "kind_logits"
ACTIVATION_MAP = "activation_map"


class Classifier:
    """The classifier's graphs, which turn uint8 RGB crops into scores and maps.

    ``open_map`` opens the graph of the activation map, which few faces need: its memory is
    released after each call. Without it, the map is an output of the classifier's own graph.

    Scores are calculated in the threads of ``pool``, by default in one, one face in a run: a CPU
    gains nothing from batches, and each face needs some 20 MB of buffers.
    """

    def __init__(
        self,
        session: OnnxSession,
        spec: BundleSpec,
        *,
        open_map: Callable[[], OnnxSession] | None = None,
        pool: Executor | None = None,
    ) -> None:
        self._session = session
        self._kinds = bool(spec.kinds)
        self._open_map = open_map
        size, views = spec.input.height, spec.crop.views
        self.shape: tuple[int, ...] = (size, size, 3) if views == 1 else (views, size, size, 3)
        """Shape of the crop of one face; see ``faces.crops.cut_views``."""
        self._pool = pool or ThreadPoolExecutor(1, thread_name_prefix="classify")

    def scores(self, crops: Sequence[NDArray[np.uint8]], *, still: bool) -> list[FaceScore]:
        """Return the score of each of ``crops``, which are uint8 RGB of ``shape``, from a picture
        if ``still``, otherwise from a video. Must not be called in a thread of the pool."""
        return [score.result() for score in self.begin(crops, still=still)]

    def begin(self, crops: Sequence[NDArray[np.uint8]], *, still: bool) -> list[Future[FaceScore]]:
        """Begin to score ``crops``, as ``scores`` does; return the future of each one's score, in
        order. One that is cancelled in time is not run."""
        self._check(crops)
        return [self._pool.submit(self._score, crop, still) for crop in crops]

    def _score(self, crop: NDArray[np.uint8], still: bool) -> FaceScore:
        outputs = [LOGIT, KIND_LOGITS] if self._kinds else [LOGIT]
        logits, *kinds = self._finite(outputs, crop[np.newaxis], self._session)
        logit = logits.ravel().tolist()[-1 if still else 0]
        return FaceScore(logit, tuple(kinds[0][0].tolist()) if kinds else None)

    def activation_maps(
        self, crops: Sequence[NDArray[np.uint8]], *, still: bool
    ) -> NDArray[np.float32] | None:
        """Return (N, h, w) float32 maps of ``crops``, as ``scores`` takes them, on the network's
        grid over the first square; ``None`` if the bundle has no map.

        Higher means more towards manipulated. The bundle's ``training.map_method`` names what a
        cell holds: its share of the logit (Zhou et al. 2016, CVPR), its direct contribution to the
        logit, or the head's output for that cell.
        """
        self._check(crops)
        if not crops:
            return np.zeros((0, 0, 0), dtype=np.float32)
        session = self._open_map() if self._open_map else self._session
        if ACTIVATION_MAP not in session.output_names:
            return None
        maps = np.concatenate(
            [self._finite([ACTIVATION_MAP], crop[np.newaxis], session)[0] for crop in crops]
        )
        # (N, h, w), or (N, 2, h, w) where there are two logits
        return maps.reshape(len(maps), -1, *maps.shape[-2:])[:, -1 if still else 0]

    def _check(self, crops: Sequence[NDArray[np.uint8]]) -> None:
        for crop in crops:
            if crop.dtype != np.uint8 or crop.shape != self.shape:
                raise ValueError(f"crops must be uint8 {self.shape}, not {crop.dtype} {crop.shape}")

    @staticmethod
    def _finite(
        outputs: Sequence[str], crops: NDArray[np.uint8], session: OnnxSession
    ) -> list[NDArray[np.float32]]:
        values = [v.astype(np.float32) for v in session.run(outputs, {CROPS: crops})]
        if not all(np.isfinite(v).all() for v in values):
            raise BundleError(f"{CLASSIFIER}: the network returned a value that is not finite")
        return values
