"""ONNX graphs of networks, by tracing what they do with an example.

A head is fitted on features that come out of the very graph that is shipped (``feature_graph``),
with its rounding, and not on those of the network in torch.
"""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import nn

from deepfake_models.bundle.spec import InputSpec
from deepfake_models.classifier import CROPS
from deepfake_training.config import Config
from deepfake_training.networks.backbone import Normalise, create_backbone
from deepfake_training.networks.class_tokens import ClassTokens
from deepfake_training.networks.int8 import activation_ranges, in_int8, smooth

OPSET = 17
FEATURES = "features"


class _Features(nn.Module):
    """uint8 crops (N, S, S, 3) to what a head reads, (N, F) float32."""

    def __init__(self, network: ClassTokens, spec: InputSpec) -> None:
        super().__init__()
        self.normalise, self.model = Normalise(spec), network

    def forward(self, crops: torch.Tensor) -> torch.Tensor:
        return self.model.served(self.normalise(crops))


def feature_graph(config: Config, samples: NDArray[np.uint8]) -> onnx.ModelProto:
    """Return the graph from ``crops`` (N, S, S, 3) uint8 RGB to ``features`` (N, F) float32.

    It is that of the config's network with its initial weights, in the arithmetic of
    ``config.bundle.arithmetic``; activation ranges are measured on ``samples``, (M, S, S, 3).
    """
    network = create_backbone(config.backbone, config.bundle.input).eval()
    assert isinstance(network, ClassTokens)  # the config requires blocks
    features = _Features(network, config.bundle.input).eval()
    if config.bundle.arithmetic == "float32":
        return traced_on_crops(features, config.bundle.input.height, [FEATURES])
    smooth(network, features.normalise, torch.from_numpy(samples))
    graph = traced_on_crops(features, config.bundle.input.height, [FEATURES])
    return in_int8(graph, activation_ranges(graph, samples))


def traced_on_crops(module: nn.Module, size: int, outputs: Sequence[str]) -> onnx.ModelProto:
    """Return the graph of ``module``, which maps ``crops`` (N, size, size, 3) uint8 RGB to
    ``outputs``. The first axis of each is ``batch``, of any length."""
    with (
        tempfile.TemporaryDirectory() as scratch,
        torch.no_grad(),
        warnings.catch_warnings(),
    ):
        # The tracing exporter is deprecated, but the new one needs another package.
        warnings.simplefilter("ignore")
        path = Path(scratch) / "graph.onnx"
        torch.onnx.export(
            module,
            (torch.zeros((2, size, size, 3), dtype=torch.uint8),),
            path,
            dynamo=False,
            opset_version=OPSET,
            input_names=[CROPS],
            output_names=list(outputs),
            dynamic_axes={name: {0: "batch"} for name in (CROPS, *outputs)},
        )
        model = onnx.load(str(path))
    _name_tensors_directly(model.graph)
    onnx.checker.check_model(model)
    return model


def _name_tensors_directly(graph: onnx.GraphProto) -> None:
    """Remove nodes that only copy a constant: torch writes equal tensors once, with such copies."""
    constants = {tensor.name for tensor in graph.initializer}
    copies = {
        node.output[0]: node.input[0]
        for node in graph.node
        if node.op_type == "Identity" and node.input[0] in constants
    }
    kept = [node for node in graph.node if node.output[0] not in copies]
    for node in kept:
        node.input[:] = [copies.get(name, name) for name in node.input]
    del graph.node[:]
    graph.node.extend(kept)
