"""How far a face that is scored again may differ from its record."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest

from deepfake_models.bundle.results import FaceScore
from deepfake_models.scorer import Scorer
from deepfake_service.evidence.bundle.documents import Failed, VerdictDocument
from deepfake_service.evidence.bundle.rescoring import LOGIT_TOLERANCE, ratio_tolerance, rescore
from tests.support.small_bundles import small_bundle


def difference(recorded: list[float], computed: list[float], noise: float) -> float:
    """Score faces with the ``recorded`` logits again, by a model that gives the ``computed``."""
    spec = small_bundle().spec.model_copy(update={"logit_noise": noise})
    scorer = SimpleNamespace(
        bundle=SimpleNamespace(spec=spec),
        classifier=SimpleNamespace(scores=lambda _, still: [FaceScore(z) for z in computed]),
    )
    document = SimpleNamespace(
        result=SimpleNamespace(media=SimpleNamespace(kind="image")),
        pictures=[
            SimpleNamespace(crop=f"crops/{i}.png", crops=(f"crops/{i}.png",), face=i, logit=z)
            for i, z in enumerate(recorded)
        ],
        exact=SimpleNamespace(faces=[SimpleNamespace(kind_logits=None) for _ in recorded]),
    )
    files = {f"data/crops/{i}.png": b"" for i in range(len(recorded))}
    return rescore(
        cast(VerdictDocument, document),
        files,
        cast(Scorer, scorer),
        lambda _, size: np.zeros((*size, 3), np.uint8),
    )


def test_a_model_in_floating_point_must_give_the_recorded_logit() -> None:
    assert difference([1.0], [1.0 + LOGIT_TOLERANCE / 2], 0.0) == pytest.approx(0.005)
    with pytest.raises(Failed, match=r"crops/0\.png: logit 1\.0200, recorded 1\.0000"):
        difference([1.0], [1.02], 0.0)


def test_8_bit_arithmetic_may_differ_by_its_measured_noise_and_no_more() -> None:
    assert difference([1.0, -1.0], [1.4, -1.2], 0.5) == pytest.approx(0.4)
    with pytest.raises(Failed, match="logit"):
        difference([1.0], [3.1], 0.5)
    # Each alone may be chance, but not all of them.
    with pytest.raises(Failed, match="root mean square"):
        difference([1.0, -1.0, 0.0], [2.5, -2.5, 1.5], 0.5)


def test_the_tolerance_of_an_item_follows_that_of_its_faces() -> None:
    spec = small_bundle().spec
    assert ratio_tolerance(spec) == LOGIT_TOLERANCE
    noisy = spec.model_copy(update={"logit_noise": 0.5})
    assert ratio_tolerance(noisy) == pytest.approx(2.0 * spec.calibration.face.slope / np.log(10.0))
