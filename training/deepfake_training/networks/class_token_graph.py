"""The form in which the class tokens of a transformer are exported.

It computes what ``ClassTokens.class_tokens`` does, in fewer and larger steps: attention is one
operator of onnxruntime, linear layers read all tokens of a batch as one matrix, and the last block
computes the class token alone, since nothing reads its other tokens.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from deepfake_training.networks.class_token_head import ClassTokens

ATTENTION = "MultiHeadAttention"
"""Operator of onnxruntime's domain ``com.microsoft``, with kernels for CPU and CUDA. Its inputs are
queries, keys and values, (N, T, C) each."""


def served_class_tokens(model: ClassTokens, x: torch.Tensor) -> torch.Tensor:
    """Return the class tokens (N, blocks * C) of normalised crops ``x``, (N, 3, S, S).

    It is for tracing: it has no gradient.
    """
    return model.class_tokens(x, _block)


def _block(block: Any, x: torch.Tensor, class_token_only: bool) -> torch.Tensor:
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
    return x + _rows(block.mlp, block.norm2(x))


def _linear(layer: nn.Linear, x: torch.Tensor, outputs: slice = slice(None)) -> torch.Tensor:
    """Apply ``layer``, or only its ``outputs``, to ``x`` (N, T, C)."""
    weight, bias = layer.weight[outputs], layer.bias[outputs]
    return _rows(lambda rows: F.linear(rows, weight, bias), x)


def _rows(layer: Callable[[torch.Tensor], torch.Tensor], x: torch.Tensor) -> torch.Tensor:
    """Apply ``layer``, a function of matrices, to ``x`` (N, T, C).

    onnxruntime adds the bias within an integer product, and the products of outliers onto it, only
    for matrices.
    """
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
