"""Moments of a Swin are those of its own blocks, in timm's arithmetic."""

from __future__ import annotations

import pytest
import timm
import torch
from torch import nn

from deepfake_models.bundle.spec import InputSpec
from deepfake_training.config import BesideConfig
from deepfake_training.errors import ConfigError
from deepfake_training.networks.moments import Moments
from tests.support.training import BESIDE, swin

pytestmark = pytest.mark.torch

SPEC = InputSpec(height=64, width=64)


def test_moments_are_those_of_the_tokens_after_the_named_blocks() -> None:
    network = swin().eval()
    for name, bias in network.named_parameters():
        if "relative_position" in name:
            nn.init.normal_(bias)  # zero at first, which would hide windows in another order
    seen: list[torch.Tensor] = []
    for stage, block in ((0, 0), (0, 1), (1, 0)):
        network.layers[stage].blocks[block].register_forward_hook(
            lambda _m, _i, tokens: seen.append(tokens.flatten(1, 2)) or None
        )
    x = torch.randn(3, 3, 64, 64)
    with torch.no_grad():
        network(x)
        got = Moments(network, BESIDE, SPEC)(x)
    parts = [[t.mean(dim=1), t.std(dim=1, unbiased=False)] for t in seen]
    expected = torch.cat([moment for part in parts for moment in part], dim=1)
    assert got.shape == (3, 2 * (48 + 48 + 96))
    assert torch.allclose(got, expected, atol=1e-4)


@pytest.mark.parametrize("blocks", [(5,), (2, 1), (0, 1)])
def test_blocks_that_it_does_not_have_are_named(blocks: tuple[int, ...]) -> None:
    config = BesideConfig.model_construct(name="swin", weights="none", blocks=blocks)
    with pytest.raises(ConfigError, match=r"beside\.blocks: List numbers from 1 to 4"):
        Moments(swin(), config, SPEC)


def test_another_network_and_another_size_are_refused() -> None:
    vit = timm.create_model("vit_tiny_patch16_224", pretrained=False)
    with pytest.raises(ConfigError, match=r"beside\.name: swin is not a Swin"):
        Moments(vit, BESIDE, SPEC)
    with pytest.raises(ConfigError, match=r"bundle\.input: .* does not divide"):
        Moments(swin(72), BESIDE, SPEC)
