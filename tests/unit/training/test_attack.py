"""The attack with known weights: its crops are those of the scorer, and its changes are bounded."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from deepfake_models.bundle import default_bundle_dir, load_bundle
from deepfake_models.faces.crops import cut
from deepfake_models.results import Face, Quality
from deepfake_training.errors import TrainingError
from deepfake_training.evaluate.attack import crop_view, descend, head_of
from tests.support import bundlekit, mediakit

pytestmark = pytest.mark.torch


@pytest.mark.parametrize(
    ("box", "turn"),
    [
        ((180.3, 60.8, 290.1, 200.4), 0),  # scaled up
        ((20.5, 10.2, 420.7, 480.9), 90),  # scaled down, turned
        ((-60.4, -30.0, 150.0, 190.2), 0),  # partly outside the picture
        ((380.0, 300.0, 540.5, 505.5), 270),
    ],
)
@pytest.mark.parametrize("scale", [1.3, 0.8])
def test_crops_are_those_that_the_scorer_cuts(
    box: tuple[float, float, float, float], turn: int, scale: float
) -> None:
    spec = load_bundle(default_bundle_dir()).spec.crop
    picture = mediakit.astronaut()
    face = Face(
        time_s=0.0, box=box, confidence=1.0, quality=Quality(100.0, 20.0, 1.0, 0.5), turn=turn
    )
    ours = crop_view(torch.from_numpy(picture.copy()).permute(2, 0, 1).float(), face, scale, spec)
    theirs = cut(picture, box, spec.model_copy(update={"scale": scale}), turn)
    difference = ours.clamp(0, 255).permute(1, 2, 0).numpy() - theirs
    assert np.abs(difference).max() < 1.5


@pytest.mark.parametrize("upwards", [False, True])
def test_a_search_along_gradients_moves_the_logit_within_the_bound(upwards: bool) -> None:
    picture = mediakit.astronaut()[:64, :64]
    weight = torch.from_numpy(np.random.default_rng(1).normal(size=(3, 64, 64))).float()

    def logit(x: torch.Tensor) -> torch.Tensor:
        return (x * weight).mean()

    def value(pixels: mediakit.Pixels) -> float:
        return float(logit(torch.from_numpy(pixels.copy()).permute(2, 0, 1).float()))

    start, changed = descend(logit, picture, 2, 5, upwards=upwards, rng=np.random.default_rng(0))
    for result in (start, changed):
        assert np.abs(result.astype(int) - picture).max() == 2
    moved = value(changed) - value(picture)
    assert (moved > 0) is upwards
    assert abs(moved) > 5 * abs(value(start) - value(picture))


def test_the_head_is_that_of_the_bundle() -> None:
    weight, bias = head_of(load_bundle(default_bundle_dir()))
    assert weight.shape == (9216,)
    assert bias.ndim == 0
    with pytest.raises(TrainingError, match="no linear head"):
        head_of(load_bundle(bundlekit.small_bundle_dir()))
