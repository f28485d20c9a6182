"""A frozen vision transformer, of which the class tokens of several blocks are read.

The last block describes the content of a picture and has often lost the traces of a manipulation;
blocks halfway up describe its appearance. RINE (Koutlis and Papadopoulos 2024, arXiv:2402.19091)
reads the class tokens of all blocks of a frozen CLIP through a small network. Here a head reads
those of selected blocks, and the blocks after the last of them are removed.

A class token is a sum of its initial value and the outputs of each block's attention and MLP. The
output of attention is a sum over the tokens that it attends to, so the direct contribution of each
token to a linear function of the class tokens is known exactly (direct effects of image tokens,
Gandelsman et al. 2024, arXiv:2310.05916).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from timm.layers.attention import Attention
from torch import nn
from torch.nn import functional as F

from deepfake_training.errors import ConfigError

ATTENTION = "MultiHeadAttention"
"""Operator of onnxruntime's domain ``com.microsoft``, with kernels for CPU and CUDA. Its inputs are
queries, keys and values, (N, T, C) each."""


class ClassTokens(nn.Module):
    """The timm transformer ``vit`` up to the last of ``blocks``, numbered from 1; ``ConfigError``
    if ``vit`` is not a plain transformer with a class token, or ``blocks`` are not ascending
    numbers of its blocks."""

    def __init__(self, vit: nn.Module, blocks: Sequence[int], name: str) -> None:
        super().__init__()
        own = getattr(vit, "blocks", None)
        if own is None or getattr(vit, "cls_token", None) is None:
            raise ConfigError(
                f"backbone.blocks: {name} is not a transformer with a class token. Choose one."
            )
        if max(blocks) > len(own) or min(blocks) < 1 or sorted(set(blocks)) != list(blocks):
            raise ConfigError(
                f"backbone.blocks: List numbers from 1 to {len(own)} in ascending order, which are "
                f"the blocks of {name}."
            )
        if not all(_is_plain(block) for block in own):
            raise ConfigError(
                f"backbone.blocks: The attention of {name} is not supported. Choose a plain "
                "vision transformer."
            )
        self.taken = [block - 1 for block in blocks]
        self.vit: Any = vit
        network: Any = vit
        network.prune_intermediate_layers(self.taken, prune_norm=True, prune_head=True)
        self.num_prefix_tokens: int = network.num_prefix_tokens
        self.num_features: int = network.num_features * len(blocks)

    def blocks(self) -> Sequence[Any]:
        """Return the blocks that are computed."""
        return self.vit.blocks  # type: ignore[no-any-return]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the class tokens (N, blocks * C) of normalised crops (N, 3, S, S)."""
        return self._tokens(x, lambda block, tokens, _last: block(tokens))

    def served(self, x: torch.Tensor) -> torch.Tensor:
        """Return what ``forward`` does, in fewer and larger steps, for tracing; without a gradient.

        Attention is one operator of onnxruntime, linear layers read all tokens of a batch as one
        matrix, and the last block computes the class token alone.
        """
        return self._tokens(x, _served_block)

    def _tokens(
        self, x: torch.Tensor, run: Callable[[Any, torch.Tensor, bool], torch.Tensor]
    ) -> torch.Tensor:
        vit = self.vit
        # timm has no public name for this step. Tests compare the tokens with its own.
        placed = vit._pos_embed(vit.patch_embed(x))  # noqa: SLF001
        x = vit.norm_pre(vit.patch_drop(placed))
        tokens = []
        last = len(vit.blocks) - 1
        for number, block in enumerate(vit.blocks):
            x = run(block, x, number == last)
            if number in self.taken:
                tokens.append(x[:, 0])
        return torch.cat(tokens, dim=1)

    def directions(self, weight: NDArray[np.float64]) -> list[NDArray[np.float32]]:
        """Return for each block the direction (heads, channels of a head) along which the values of
        its attention move the linear function ``weight`` (blocks * C,) of the class tokens."""
        parts = weight.reshape(len(self.taken), -1)
        directions = []
        for number, block in enumerate(self.vit.blocks):
            # A block's output remains in the residual stream: every later selected block reads it.
            readers = [place for place, taken in enumerate(self.taken) if taken >= number]
            projection = block.attn.proj.weight.detach().numpy().astype(np.float64)
            back = (parts[readers].sum(0) @ projection).reshape(block.attn.num_heads, -1)
            directions.append(back.astype(np.float32))
        return directions


class LearntTokens(nn.Module):
    """``ClassTokens`` that learn, with a linear head for each of their B blocks, which reads them
    standardised. It gives logits (N, B)."""

    def __init__(self, tokens: ClassTokens) -> None:
        super().__init__()
        self.tokens, self.heads = tokens, _BlockHeads(len(tokens.taken), tokens.num_features)
        for block in tokens.blocks():
            # For 200 tokens, matrix products are a third faster on a CPU, forward and back.
            block.attn.fused_attn = False

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.heads(self.tokens(x).float())
        return logits


class _BlockHeads(nn.Module):
    """Linear functions of the class tokens (N, ``features``) of each of B ``blocks``."""

    def __init__(self, blocks: int, features: int) -> None:
        super().__init__()
        shape = blocks, features // blocks
        self.weight, self.bias = nn.Parameter(torch.zeros(shape)), nn.Parameter(torch.zeros(blocks))
        self.mean, self.deviation = nn.Buffer(torch.zeros(shape)), nn.Buffer(torch.ones(shape))

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        scaled = (tokens.reshape(-1, *self.weight.shape) - self.mean) / self.deviation
        return (scaled * self.weight).sum(dim=2) + self.bias

    @torch.no_grad()
    def begin(self, tokens: torch.Tensor, truth: torch.Tensor, shrinkage: float) -> None:
        """Begin as linear discriminants (Fisher 1936) of ``tokens`` of classes ``truth`` (N,) bool,
        with ``shrinkage`` of the mean variance added to the covariance within the classes."""
        tokens = tokens.reshape(-1, *self.weight.shape)
        self.mean.copy_(tokens.mean(dim=0))
        self.deviation.copy_(tokens.std(dim=0) + 1e-6)
        scaled = ((tokens - self.mean) / self.deviation).double()
        for block in range(len(self.bias)):
            real, fake = scaled[~truth, block], scaled[truth, block]
            within = (torch.cov(real.T) + torch.cov(fake.T)) / 2.0
            within += torch.eye(len(within)) * shrinkage * within.diagonal().mean()
            middle, away = (real.mean(0) + fake.mean(0)) / 2.0, fake.mean(0) - real.mean(0)
            weight = torch.linalg.solve(within, away)
            self.weight[block], self.bias[block] = weight, -weight @ middle


def _is_plain(block: nn.Module) -> bool:
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


def _served_block(block: Any, x: torch.Tensor, class_token_only: bool) -> torch.Tensor:
    attention, heads = block.attn, block.attn.num_heads
    channels = attention.proj.out_features  # a plain number, unlike a traced shape
    read = block.norm1(x)
    if class_token_only:
        x = x[:, :1]
        query = _linear(attention.qkv, read[:, :1], slice(channels))
        key, value = _linear(attention.qkv, read, slice(channels, None)).chunk(2, dim=-1)
    else:
        query, key, value = _linear(attention.qkv, read).chunk(3, dim=-1)
    attended: torch.Tensor = _Attention.apply(query, key, value, heads)  # type: ignore[no-untyped-call]
    x = x + _linear(attention.proj, attended)
    return x + rows(block.mlp, block.norm2(x))


def _linear(layer: nn.Linear, x: torch.Tensor, outputs: slice = slice(None)) -> torch.Tensor:
    """Apply ``layer``, or only its ``outputs``, to ``x`` (N, T, C)."""
    weight, bias = layer.weight[outputs], layer.bias[outputs]
    return rows(lambda rows: F.linear(rows, weight, bias), x)


def rows(layer: Callable[[torch.Tensor], torch.Tensor], x: torch.Tensor) -> torch.Tensor:
    """Apply ``layer``, a function of matrices, to ``x`` (N, T, C). onnxruntime adds the bias within
    an integer product, and the products of outliers onto it, only for matrices."""
    result = layer(x.reshape(-1, x.shape[-1]))
    return result.reshape(-1, x.shape[1], result.shape[-1])


class _Attention(torch.autograd.Function):
    """Attention that is exported as one node."""

    @staticmethod
    def forward(
        _: Any, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, heads: int
    ) -> torch.Tensor:
        q, k, v = (t.reshape(*t.shape[:2], heads, -1).transpose(1, 2) for t in (query, key, value))
        return F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)

    @staticmethod
    def symbolic(graph: Any, query: Any, key: Any, value: Any, heads: int) -> Any:
        node = graph.op(f"com.microsoft::{ATTENTION}", query, key, value, num_heads_i=heads)
        node.setType(query.type())
        return node
