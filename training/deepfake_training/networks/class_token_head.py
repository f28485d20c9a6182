"""A linear head on the class tokens of several blocks of a vision transformer.

The last block describes the content of a picture and has often lost the traces of a manipulation;
blocks halfway up describe its appearance. RINE (Koutlis and Papadopoulos 2024, arXiv:2402.19091)
reads the class tokens of all blocks of a frozen CLIP through a small network. Here a single linear
layer reads those of selected blocks, and the blocks after the last of them are removed.

A class token is a sum of its initial value and the outputs of each block's attention and MLP. The
output of attention is a sum over the tokens that it attends to, so the direct contribution of each
token to the logit is known exactly (direct effects of image tokens, Gandelsman et al. 2024,
arXiv:2310.05916).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from timm.layers.attention import Attention
from torch import nn

from deepfake_training.errors import ConfigError

RunBlock = Callable[[Any, torch.Tensor, bool], torch.Tensor]
"""Computes a block from its tokens (N, T, C). The flag is set for the last block, of which nothing
but the class token is read."""


def _whole(block: Any, x: torch.Tensor, _last: bool) -> torch.Tensor:
    tokens: torch.Tensor = block(x)
    return tokens


class ClassTokens(nn.Module):
    """The timm transformer ``vit`` up to the last of ``blocks``, numbered from 1, with one logit.

    It has the method of a timm model by which an export finds the grid of patches:
    ``forward_features`` returns the tokens (N, 1 + patches, len(blocks) * C), the values of the
    selected blocks concatenated.

    Raises:
        ConfigError: if ``vit`` is not a plain transformer with a class token, or ``blocks`` are not
            ascending numbers of its blocks.
    """

    def __init__(self, vit: nn.Module, blocks: Sequence[int], name: str) -> None:
        super().__init__()
        own = getattr(vit, "blocks", None)
        if own is None or getattr(vit, "cls_token", None) is None:
            raise ConfigError(f"backbone.blocks: {name} is not a transformer with a class token")
        if max(blocks) > len(own) or min(blocks) < 1 or sorted(set(blocks)) != list(blocks):
            raise ConfigError(
                f"backbone.blocks: list numbers from 1 to {len(own)} in ascending order, which are "
                f"the blocks of {name}"
            )
        if not all(_plain(block) for block in own):
            raise ConfigError(f"backbone.blocks: the attention of {name} is not supported")
        self.taken = [block - 1 for block in blocks]
        self.vit: Any = vit
        network: Any = vit
        network.prune_intermediate_layers(self.taken, prune_norm=True, prune_head=True)
        self.num_prefix_tokens: int = network.num_prefix_tokens
        self.num_features: int = network.num_features * len(blocks)
        self.head = nn.Linear(self.num_features, 1)

    @property
    def patch_embed(self) -> Any:
        """The transformer's patch embedding, from which an export reads the patch size."""
        return self.vit.patch_embed

    def get_classifier(self) -> nn.Linear:
        """Return the last layer."""
        return self.head

    def forward_features(self, x: torch.Tensor) -> torch.Tensor:
        """Return tokens (N, prefix + patches, len(blocks) * C) of normalised crops (N, 3, S, S)."""
        blocks = self.vit.forward_intermediates(
            x,
            indices=self.taken,
            return_prefix_tokens=True,
            output_fmt="NLC",
            intermediates_only=True,
        )
        return torch.cat([torch.cat([prefix, rest], dim=1) for rest, prefix in blocks], dim=2)

    def class_tokens(self, x: torch.Tensor, run: RunBlock = _whole) -> torch.Tensor:
        """Return what the head reads, (N, len(blocks) * C), of normalised crops (N, 3, S, S).

        ``run`` computes a block.
        """
        x = self.embedded(x)
        tokens = []
        last = len(self.vit.blocks) - 1
        for number, block in enumerate(self.vit.blocks):
            x = run(block, x, number == last)
            if number in self.taken:
                tokens.append(x[:, 0])
        return torch.cat(tokens, dim=1)

    def readers(self, number: int) -> list[int]:
        """Return which of ``taken``, by place, read what the block ``number``, from 0, adds.

        A block's output remains in the residual stream, so every later selected block has it.
        """
        return [place for place, taken in enumerate(self.taken) if taken >= number]

    def embedded(self, x: torch.Tensor) -> torch.Tensor:
        """Return the tokens (N, prefix + patches, C) that enter the first block."""
        vit = self.vit
        embedded: torch.Tensor = vit.norm_pre(vit.patch_drop(vit._pos_embed(vit.patch_embed(x))))
        return embedded

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return logits (N, 1) of normalised crops (N, 3, S, S)."""
        logits: torch.Tensor = self.head(self.class_tokens(x))
        return logits

    def with_effects(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return logits (N, 1) of normalised crops (N, 3, S, S), and each token's direct
        contribution to the logit through attention (N, 1 + patches), the class token first.

        The rest of the logit comes from the head's bias, the initial class token, the blocks' MLPs
        and the biases of their attention.
        """
        x = self.embedded(x)
        parts = self.head.weight.reshape(len(self.taken), -1)
        tokens, effects = [], torch.zeros(())
        for number, block in enumerate(self.vit.blocks):
            reads = parts[self.readers(number)].sum(dim=0)
            effects = effects + _attention_effects(block, x, reads)
            x = block(x)
            if number in self.taken:
                tokens.append(x[:, 0])
        return self.head(torch.cat(tokens, dim=1)), effects


def _plain(block: nn.Module) -> bool:
    """Return True if the block is timm's plain one: no layer scale, and attention without gates or
    normalised queries."""
    attention = getattr(block, "attn", None)
    return (
        type(attention) is Attention
        and isinstance(attention.norm, nn.Identity)
        and isinstance(attention.q_norm, nn.Identity)
        and isinstance(attention.k_norm, nn.Identity)
        and getattr(attention, "gate", None) is None
        and isinstance(block.ls1, nn.Identity)
        and isinstance(block.ls2, nn.Identity)
    )


def _attention_effects(block: Any, x: torch.Tensor, reads: torch.Tensor) -> torch.Tensor:
    """Return (N, T): what the attention of ``block`` moves from each of the tokens ``x`` (N, T, C)
    into the class token, along the direction ``reads`` (C,)."""
    attention = block.attn
    count, length, _ = x.shape
    heads = (count, length, 3, attention.num_heads, attention.head_dim)
    query, key, value = attention.qkv(block.norm1(x)).reshape(heads).permute(2, 0, 3, 1, 4).unbind()
    weights = (query[:, :, :1] * attention.scale @ key.transpose(-2, -1)).softmax(dim=-1)
    # The projection is linear, so the direction can be pulled back through it, once per head.
    back = (reads @ attention.proj.weight).reshape(1, attention.num_heads, 1, -1)
    effects: torch.Tensor = (weights[:, :, 0] * (value * back).sum(dim=-1)).sum(dim=1)
    return effects
