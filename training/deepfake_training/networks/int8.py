"""Compute the large matrix products of a graph in 8-bit integers.

Activations are rounded by fixed ranges, measured once on real crops, so a crop's result depends
neither on the other crops of its batch nor on the order of requests. Some products have a few input
channels with values much larger than all others, which would take up the range (Dettmers et al.
2022, arXiv:2208.07339): the products of these channels remain in floating point. Before that, the
channels of a transformer are smoothed (see ``smooth``).

Weights have seven bits. Processors without VNNI add two products of an unsigned and a signed byte
in 16 bits with saturation; with seven bits the sum fits, so every processor gives the same integer.

The graph has the standard operators QuantizeLinear and DequantizeLinear around each product.
onnxruntime replaces them by integer kernels on a CPU, and computes the same in floating point
elsewhere. The head, calibration and thresholds of a bundle are fitted on what this graph computes.

onnxruntime.quantization (1.32) would need fewer lines here, but rounds a product as a whole: it
leaves out no channels, and smooths by a package that it does not bring. With the networks of the
shipped bundle, logits of 60 faces differ from those in floating point by 0.10 on average (at most
0.34) by this module, by 0.24 (0.77) by its fixed ranges after ``smooth``, 0.28 (1.08) without, and
0.22 (0.92) by ranges of each batch, in which a face changes the logit of another by up to 0.36. Its
files are as large, and a face takes 0.8 to 0.95 of the time on two threads.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper, numpy_helper
from torch import nn

from deepfake_models.bundle.session import OnnxSession
from deepfake_models.classifier import CROPS
from deepfake_training.networks.class_tokens import ClassTokens
from deepfake_training.networks.moments import Moments

STRENGTH: Final = 0.7
"""How much of the difficulty ``smooth`` moves to the weights: the exponent alpha of the paper."""
OUTLIERS: Final = 16
"""Input channels of a product, with the largest values, that remain in floating point."""
OUTLYING: Final = 1.5
"""They do so if the largest of their values is this many times that of any other channel."""
_WEIGHT_LIMIT: Final = 63
_LEVELS: Final = 255
_BIAS_LIMIT: Final = 2**30
_BATCH: Final = 8


@torch.no_grad()
def smooth(
    network: ClassTokens | Moments,
    normalise: Callable[[torch.Tensor], torch.Tensor],
    crops: torch.Tensor,
) -> None:
    """Smooth what each layer norm of ``network`` gives to a linear layer, in place.

    A few channels of a layer norm's output are many times larger than the others, and would take up
    the whole range of 8 bits. Dividing a channel in the layer norm and multiplying the weights that
    read it leaves the network's function unchanged, and moves part of the difficulty from
    activations, which have one range for a whole tensor, to weights, which have one for each column
    (SmoothQuant, Xiao et al. 2023, arXiv:2211.10438).

    The largest values are measured on ``crops``, (M, S, S, 3) uint8, which ``normalise`` converts.
    """
    pairs = [
        pair
        for block in network.blocks()
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
    network: ClassTokens | Moments,
    normalise: Callable[[torch.Tensor], torch.Tensor],
    crops: torch.Tensor,
) -> list[torch.Tensor]:
    """Return for each of ``layers`` the largest absolute value of each channel that it reads."""
    largest = [torch.zeros(layer.in_features) for layer in layers]

    def measure(place: int, _: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        values = inputs[0].abs().flatten(0, -2).amax(dim=0)
        largest[place] = torch.maximum(largest[place], values)

    hooks = [layer.register_forward_pre_hook(partial(measure, k)) for k, layer in enumerate(layers)]
    try:
        for start in range(0, len(crops), _BATCH):
            network(normalise(crops[start : start + _BATCH]))
    finally:
        for handle in hooks:
            handle.remove()
    return largest


@dataclass(frozen=True, slots=True)
class Ranges:
    """The smallest and the largest value of each channel of one activation: (C,) float64 each."""

    low: NDArray[np.float64]
    high: NDArray[np.float64]


def products(model: onnx.ModelProto) -> list[NodeProto]:
    """Return the ``Gemm`` nodes of ``model`` that multiply by a constant matrix and add a constant
    vector, as torch exports linear layers."""
    constants = {t.name for t in model.graph.initializer}
    return [
        n for n in model.graph.node if n.op_type == "Gemm" and constants.issuperset(n.input[1:])
    ]


def activation_ranges(model: onnx.ModelProto, crops: NDArray[np.uint8]) -> dict[str, Ranges]:
    """Measure the inputs of all ``products`` of ``model`` on ``crops``, (N, ...) uint8; by name of
    the product's node."""
    observed = onnx.ModelProto()
    observed.CopyFrom(model)
    names = sorted({node.input[0] for node in products(model)})
    if not names:
        return {}
    observed.graph.output.extend(
        helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in names
    )
    session = OnnxSession(observed.SerializeToString(), device="cpu", threads=0)
    low: dict[str, NDArray[np.float64]] = {}
    high: dict[str, NDArray[np.float64]] = {}
    for start in range(0, len(crops), _BATCH):
        values = session.run(names, {CROPS: crops[start : start + _BATCH]})
        for name, value in zip(names, values, strict=True):
            rows = value.reshape(-1, value.shape[-1])
            low[name] = np.minimum(low.get(name, np.inf), rows.min(axis=0))
            high[name] = np.maximum(high.get(name, -np.inf), rows.max(axis=0))
    return {n.name: Ranges(low[n.input[0]], high[n.input[0]]) for n in products(model)}


def in_int8(model: onnx.ModelProto, ranges: Mapping[str, Ranges]) -> onnx.ModelProto:
    """Return ``model`` with the products that ``ranges`` names in 8-bit arithmetic. The same
    weights and ranges always give the same tensors, whatever else the graph computes."""
    tensors = {t.name: t for t in model.graph.initializer}
    nodes: list[NodeProto] = []
    created: list[TensorProto] = []
    for node in model.graph.node:
        if node.name not in ranges:
            nodes.append(node)
            continue
        matrix, bias = (
            numpy_helper.to_array(tensors[name]).astype(np.float64) for name in node.input[1:]
        )
        if any(attribute.name == "transB" and attribute.i for attribute in node.attribute):
            matrix = matrix.T
        new_nodes, new_tensors = _product(node, matrix, bias, ranges[node.name])
        nodes += new_nodes
        created += new_tensors
    result = onnx.ModelProto()
    result.CopyFrom(model)
    used = {name for node in nodes for name in node.input}
    kept = [t for t in model.graph.initializer if t.name in used]
    del result.graph.initializer[:], result.graph.node[:]
    result.graph.initializer.extend([*kept, *created])
    result.graph.node.extend(nodes)
    onnx.checker.check_model(result)
    return result


def _product(
    node: NodeProto, matrix: NDArray[np.float64], bias: NDArray[np.float64], ranges: Ranges
) -> tuple[list[NodeProto], list[TensorProto]]:
    """Return the nodes and tensors that replace ``node``, the product with ``matrix`` (K, N) to
    which ``bias`` (N,) is added."""
    largest = np.maximum(np.abs(ranges.low), np.abs(ranges.high))
    order = np.argsort(-largest, kind="stable")
    apart = len(order) > OUTLIERS and largest[order[0]] > OUTLYING * largest[order[OUTLIERS]]
    outliers = np.sort(order[: OUTLIERS if apart else 0])
    ordinary = np.setdiff1d(np.arange(len(largest)), outliers)
    low, high = min(ranges.low[ordinary].min(), 0.0), max(ranges.high[ordinary].max(), 0.0)
    scale = np.float32(max((high - low) / _LEVELS, 1e-9))
    zero = np.uint8(np.clip(round(-low / scale), 0, _LEVELS))
    rounded, scales = _seven_bits(matrix, outliers)
    sums = scale * scales
    at = node.name.strip("/").replace("/", ".")
    tensors = {
        "input_scale": scale,
        "input_zero": zero,
        "weight": rounded,
        "weight_scale": scales,
        "weight_zero": np.zeros(len(scales), np.int8),
        # In the units of the integer sums, to which it is added.
        "bias": np.rint(bias / sums).clip(-_BIAS_LIMIT, _BIAS_LIMIT).astype(np.int32),
        "bias_scale": sums,
        "bias_zero": np.zeros(len(scales), np.int32),
    }
    if apart:
        tensors["outliers"] = outliers.astype(np.int64)
        tensors["outlier_weight"] = matrix[outliers].astype(np.float32)
    name = {part: f"{at}.{part}" for part in tensors}
    source, target = node.input[0], node.output[0]
    quantisation = [name["input_scale"], name["input_zero"]]
    weights, biases = (
        [name[part], name[f"{part}_scale"], name[f"{part}_zero"]] for part in ("weight", "bias")
    )
    ordinary_sum = f"{at}.ordinary" if apart else target
    nodes = [
        helper.make_node("QuantizeLinear", [source, *quantisation], [f"{at}.q"]),
        helper.make_node("DequantizeLinear", [f"{at}.q", *quantisation], [f"{at}.x"]),
        helper.make_node("DequantizeLinear", weights, [f"{at}.w"], axis=1),
        helper.make_node("DequantizeLinear", biases, [f"{at}.b"], axis=0),
        helper.make_node("Gemm", [f"{at}.x", f"{at}.w", f"{at}.b"], [ordinary_sum]),
    ]
    if apart:
        picked = f"{at}.picked"
        nodes += [
            helper.make_node("Gather", [source, name["outliers"]], [picked], axis=-1),
            helper.make_node("Gemm", [picked, name["outlier_weight"], ordinary_sum], [target]),
        ]
    return nodes, [numpy_helper.from_array(np.asarray(v), name[k]) for k, v in tensors.items()]


def _seven_bits(
    matrix: NDArray[np.float64], outliers: Sequence[int] | NDArray[np.int64]
) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Round ``matrix`` (K, N), without the rows ``outliers``, to [-63, 63] and scales (N,)."""
    ordinary = matrix.copy()
    ordinary[outliers] = 0.0
    scales = (np.abs(ordinary).max(axis=0) / _WEIGHT_LIMIT).astype(np.float32)
    scales[scales == 0.0] = 1.0
    rounded = np.rint(ordinary / scales).clip(-_WEIGHT_LIMIT, _WEIGHT_LIMIT)
    return rounded.astype(np.int8), scales
