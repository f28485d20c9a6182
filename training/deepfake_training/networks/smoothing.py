"""Smooth the activations of a transformer before its products are computed in 8-bit integers.

A few channels of each layer norm's output are many times larger than the others, and would take up
the whole range of 8 bits. Dividing a channel in the layer norm and multiplying the weights that
read it leaves the network's function unchanged, and moves part of the difficulty from activations,
which have one range for a whole tensor, to weights, which have one for each column (SmoothQuant,
Xiao et al. 2023, arXiv:2211.10438).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import torch
from torch import nn

from deepfake_training.networks.class_token_head import ClassTokens

STRENGTH: Final = 0.7
"""How much of the difficulty the weights take: the exponent alpha of the paper."""
_BATCH: Final = 8


@torch.no_grad()
def smooth(
    network: ClassTokens, normalise: Callable[[torch.Tensor], torch.Tensor], crops: torch.Tensor
) -> None:
    """Smooth what each layer norm of ``network`` gives to a linear layer, in place.

    The largest values are measured on ``crops``, (M, S, S, 3) uint8, which ``normalise`` converts.
    """
    pairs = [
        pair
        for block in network.vit.blocks
        for pair in ((block.norm1, block.attn.qkv), (block.norm2, block.mlp.fc1))
    ]
    largest = _largest([linear for _, linear in pairs], network, normalise, crops)
    for (norm, linear), values in zip(pairs, largest, strict=True):
        weights = linear.weight.abs().amax(dim=0)
        factors = values.clamp(min=1e-3) ** STRENGTH / weights.clamp(min=1e-4) ** (1.0 - STRENGTH)
        factors = factors / factors.log().mean().exp()
        norm.weight /= factors
        norm.bias /= factors
        linear.weight *= factors


def _largest(
    layers: list[Any],
    network: ClassTokens,
    normalise: Callable[[torch.Tensor], torch.Tensor],
    crops: torch.Tensor,
) -> list[torch.Tensor]:
    """Return for each of ``layers`` the largest absolute value of each channel that it reads."""
    largest = [torch.zeros(layer.in_features) for layer in layers]

    def measure(place: int) -> Callable[[nn.Module, tuple[torch.Tensor, ...]], None]:
        def hook(_: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
            values = inputs[0].abs().flatten(0, -2).amax(dim=0)
            largest[place] = torch.maximum(largest[place], values)

        return hook

    hooks = [layer.register_forward_pre_hook(measure(k)) for k, layer in enumerate(layers)]
    try:
        for start in range(0, len(crops), _BATCH):
            network.class_tokens(normalise(crops[start : start + _BATCH]))
    finally:
        for handle in hooks:
            handle.remove()
    return largest
