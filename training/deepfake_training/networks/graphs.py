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
from torch.nn import functional as F

from deepfake_models.classifier import CROPS
from deepfake_training.config import Config
from deepfake_training.errors import ConfigError
from deepfake_training.networks.backbone import Normalise, create_backbone, create_beside
from deepfake_training.networks.class_tokens import ClassTokens
from deepfake_training.networks.int8 import activation_ranges, in_int8, smooth

OPSET = 17
FEATURES = "features"
MOUTH_SIDE, MOUTH_BELOW = 0.443, 0.164
"""The square around the mouth: its side, and how far its centre lies below that of the face's box,
as multiples of the longer side of the box."""


class _Features(nn.Module):
    """The squares of faces, (N, V, S, S, 3) uint8 or (N, S, S, 3) if there is one, to what heads
    read, (N, R, F) float32: the class tokens of the first square, those of the part of the last one
    around the mouth, enlarged to the same size, and the moments of the last one.

    Patches of the enlarged part hold half as much of a face. Reenactments above all rank better by
    them (docs/research/mouth.csv).
    """

    def __init__(self, config: Config) -> None:
        super().__init__()
        spec, crop = config.bundle.input, config.bundle.crop
        self.size, self.several = (spec.height, spec.width), crop.views > 1
        scale = (crop.scale, *crop.further_scales)[-1]
        side, below = MOUTH_SIDE / scale, MOUTH_BELOW / scale
        self.mouth = tuple(
            slice(round((middle - side / 2) * edge), round((middle + side / 2) * edge))
            for middle, edge in zip((0.5 + below, 0.5), self.size, strict=True)
        )
        network = create_backbone(config.backbone, spec).eval()
        assert isinstance(network, ClassTokens)  # the config requires blocks
        self.normalise, self.network = Normalise(spec), network
        self.beside = None
        if config.beside:
            self.beside = create_beside(config.beside, spec).eval()
            self.normalise_beside = Normalise(self.beside.spec)
            if self.beside.num_features != network.num_features:
                raise ConfigError(
                    f"beside.blocks: They give {self.beside.num_features} numbers, and "
                    f"backbone.blocks {network.num_features}. Choose blocks that give as many."
                )

    def forward(self, crops: torch.Tensor) -> torch.Tensor:
        first, last = (crops[:, 0], crops[:, -1]) if self.several else (crops, crops)
        closer = self.normalise(last)[:, :, *self.mouth]
        mouth = F.interpolate(closer, self.size, mode="bicubic")
        # All squares, then all mouths: where only the squares are read, the mouths are left out.
        tokens = self.network.served(torch.cat([self.normalise(first), mouth]))
        features = tokens.reshape(2, -1, self.network.num_features).transpose(0, 1)
        if not self.beside:
            return features
        return torch.cat([features, self.beside(self.normalise_beside(last))[:, None]], dim=1)


def feature_graph(config: Config, samples: NDArray[np.uint8]) -> onnx.ModelProto:
    """Return the graph from ``crops``, the squares of N faces, to ``features`` (N, R, F) float32.

    It is that of the config's networks with their initial weights, in the arithmetic of
    ``config.bundle.arithmetic``; activation ranges are measured on ``samples``, which are crops.
    """
    features = _Features(config).eval()
    if config.bundle.arithmetic == "float32":
        return traced_on_crops(features, samples.shape[1:], [FEATURES])
    squares = torch.from_numpy(samples).reshape(-1, *samples.shape[-3:])
    smooth(features.network, features.normalise, squares)
    if features.beside:
        smooth(features.beside, features.normalise_beside, squares)
    graph = traced_on_crops(features, samples.shape[1:], [FEATURES])
    return in_int8(graph, activation_ranges(graph, samples))


def traced_on_crops(
    module: nn.Module, shape: Sequence[int], outputs: Sequence[str]
) -> onnx.ModelProto:
    """Return the graph of ``module``, which maps ``crops`` (N, *shape) uint8 RGB to ``outputs``.

    The first axis of each is ``batch``, of any length.
    """
    with tempfile.TemporaryDirectory() as scratch, torch.no_grad(), warnings.catch_warnings():
        # The tracing exporter is deprecated, but the new one needs another package.
        warnings.simplefilter("ignore")
        path = Path(scratch) / "graph.onnx"
        torch.onnx.export(
            module,
            (torch.zeros((2, *shape), dtype=torch.uint8),),
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
