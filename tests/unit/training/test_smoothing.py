"""Smoothed activations: the same function, and channels of more similar size."""

from __future__ import annotations

import copy

import pytest
import torch

from deepfake_models.bundle.spec import InputSpec
from deepfake_training.config import BackboneConfig
from deepfake_training.networks.backbone import create_backbone
from deepfake_training.networks.int8 import smooth

pytestmark = pytest.mark.torch


def test_smoothing_evens_out_channels_and_changes_no_value() -> None:
    torch.manual_seed(0)
    config = BackboneConfig(name="vit_tiny_patch16_224", weights="none", blocks=(1, 2), tune="head")
    network = create_backbone(config, InputSpec(height=64, width=64)).eval()
    with torch.no_grad():
        for block in network.vit.blocks:
            block.norm1.weight[3] = 40.0
            block.norm2.bias[7] = -30.0
    crops = torch.randint(0, 256, (4, 64, 64, 3), dtype=torch.uint8)
    original = copy.deepcopy(network)

    def normalise(batch: torch.Tensor) -> torch.Tensor:
        return batch.permute(0, 3, 1, 2).float() / 127.5 - 1.0

    smooth(network, normalise, crops)
    x = normalise(crops)
    with torch.no_grad():
        before, after = original(x), network(x)
        assert torch.allclose(before, after, atol=1e-4 * float(before.abs().max()))
        for old, new in zip(original.vit.blocks, network.vit.blocks, strict=True):
            assert uneven(old.norm1, x, original) > 5 * uneven(new.norm1, x, network)
            assert uneven(old.norm2, x, original) > 5 * uneven(new.norm2, x, network)


def uneven(norm: torch.nn.Module, x: torch.Tensor, network: torch.nn.Module) -> float:
    """Return the largest value of ``norm``'s output over the median of its channels' largest."""
    seen: list[torch.Tensor] = []
    handle = norm.register_forward_hook(lambda _m, _i, out: seen.append(out) or None)
    network(x)
    handle.remove()
    largest = seen[0].abs().flatten(0, 1).amax(dim=0)
    return float(largest.max() / largest.median())
