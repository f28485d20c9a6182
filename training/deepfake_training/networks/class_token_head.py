"""A linear head on the class tokens of several blocks of a vision transformer.

What tells a manipulated face is often gone from the last block, which holds what the picture is of;
blocks half-way up hold how it looks. RINE (Koutlis and Papadopoulos 2024, arXiv:2402.19091) reads
the class tokens of all blocks of a frozen CLIP through a small network; here a single linear layer
reads those of the blocks that are named, and what lies above the last of them is cut off.

A class token is a sum: what it started as, and what each block's attention and small network wrote
into it. Attention writes a sum over the places that it looks at, so the part of the logit that each
place wrote directly is known exactly (direct effects of image tokens, Gandelsman et al. 2024,
arXiv:2310.05916).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from timm.layers.attention import Attention
from torch import nn

from deepfake_training.errors import ConfigError


class ClassTokens(nn.Module):
    """The timm transformer ``vit`` up to the last of ``blocks``, numbered from 1, and a logit.

    It has the parts of a timm model that an export wants: ``forward_features`` gives the tokens
    (N, 1 + patches, len(blocks) * C), of each the named blocks' values side by side, and
    ``forward_head`` reads the first.

    Raises:
        ConfigError: ``vit`` is no plain transformer with a class token, or has not so many blocks.
    """

    def __init__(self, vit: nn.Module, blocks: Sequence[int], name: str) -> None:
        super().__init__()
        own = getattr(vit, "blocks", None)
        if own is None or getattr(vit, "cls_token", None) is None:
            raise ConfigError(f"backbone.blocks: {name} is no transformer with a class token")
        if max(blocks) > len(own) or min(blocks) < 1 or sorted(set(blocks)) != list(blocks):
            raise ConfigError(
                f"backbone.blocks: of the {len(own)} blocks of {name}, name some in ascending order"
            )
        if not all(_plain(block) for block in own):
            raise ConfigError(f"backbone.blocks: {name} has another attention than is read here")
        self._take = [block - 1 for block in blocks]
        self.vit: Any = vit
        network: Any = vit
        network.prune_intermediate_layers(self._take, prune_norm=True, prune_head=True)
        self.num_prefix_tokens: int = network.num_prefix_tokens
        self.num_features: int = network.num_features * len(blocks)
        self.head = nn.Linear(self.num_features, 1)

    @property
    def patch_embed(self) -> Any:
        """The transformer's patch embedding, which knows the size of its patches."""
        return self.vit.patch_embed

    def get_classifier(self) -> nn.Linear:
        """The layer that gives the logit."""
        return self.head

    def forward_features(self, x: torch.Tensor) -> torch.Tensor:
        """(N, 3, S, S) normalised to tokens (N, prefix + patches, len(blocks) * C)."""
        found = self.vit.forward_intermediates(
            x,
            indices=self._take,
            return_prefix_tokens=True,
            output_fmt="NLC",
            intermediates_only=True,
        )
        return torch.cat([torch.cat([prefix, rest], dim=1) for rest, prefix in found], dim=2)

    def forward_head(self, features: torch.Tensor, pre_logits: bool = False) -> torch.Tensor:
        """Tokens to the class tokens (N, len(blocks) * C), or to logits (N, 1)."""
        token = features[:, 0]
        return token if pre_logits else self.head(token)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, 3, S, S) normalised to logits (N, 1)."""
        return self.forward_head(self.forward_features(x))

    def with_effects(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(N, 3, S, S) normalised to logits (N, 1), and what each token, the class token first,
        wrote directly into the logit by way of attention (N, 1 + patches).

        The rest of the logit is the head's bias, what the class token started as, and what the
        blocks' small networks and the biases of their attention wrote.
        """
        vit = self.vit
        x = vit.norm_pre(vit.patch_drop(vit._pos_embed(vit.patch_embed(x))))
        parts = self.head.weight.reshape(len(self._take), -1)
        tokens, effects = [], torch.zeros(())
        for number, block in enumerate(vit.blocks):
            # What a block writes stays in the token, and is read from every later named block.
            reads = parts[[i for i, taken in enumerate(self._take) if taken >= number]].sum(dim=0)
            effects = effects + _written(block, x, reads)
            x = block(x)
            if number in self._take:
                tokens.append(x[:, 0])
        return self.head(torch.cat(tokens, dim=1)), effects


def _plain(block: nn.Module) -> bool:
    attention = getattr(block, "attn", None)
    return (
        type(attention) is Attention
        and isinstance(attention.norm, nn.Identity)
        and getattr(attention, "gate", None) is None
        and isinstance(block.ls1, nn.Identity)
    )


def _written(block: Any, x: torch.Tensor, reads: torch.Tensor) -> torch.Tensor:
    """Of the tokens (N, T, C) before ``block``, what its attention takes from each of them into the
    class token, along the direction ``reads`` (C,): (N, T)."""
    attention = block.attn
    count, length, _ = x.shape
    heads = (count, length, 3, attention.num_heads, attention.head_dim)
    query, key, value = attention.qkv(block.norm1(x)).reshape(heads).permute(2, 0, 3, 1, 4).unbind()
    query, key = attention.q_norm(query), attention.k_norm(key)
    looks = (query[:, :, :1] * attention.scale @ key.transpose(-2, -1)).softmax(dim=-1)
    # The projection is linear: pulled back through it, the direction is one a head.
    back = (reads @ attention.proj.weight).reshape(1, attention.num_heads, 1, -1)
    written: torch.Tensor = (looks[:, :, 0] * (value * back).sum(dim=-1)).sum(dim=1)
    return written
