"""The ONNX graph of a frozen network's features, which training and the exported bundle share.

A linear head is fitted on features that come out of the very graph that is shipped, with its
rounding, and not on those of the network in torch.
"""

from __future__ import annotations

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import nn

from deepfake_models.bundle.spec import InputSpec
from deepfake_training.config import Config
from deepfake_training.networks.backbone import ExportGraph, create_backbone
from deepfake_training.networks.class_token_graph import served_class_tokens
from deepfake_training.networks.class_token_head import ClassTokens
from deepfake_training.networks.int8_arithmetic import activation_ranges, in_int8
from deepfake_training.networks.smoothing import smooth
from deepfake_training.networks.tracing import traced_on_crops

FEATURES = "features"


class _Features(nn.Module):
    """uint8 crops (N, S, S, 3) to what the network's last layer reads, (N, F) float32."""

    def __init__(self, model: ClassTokens, spec: InputSpec) -> None:
        super().__init__()
        self.graph = ExportGraph(model, spec)
        self.model = model

    def forward(self, crops: torch.Tensor) -> torch.Tensor:
        return served_class_tokens(self.model, self.graph.normalise(crops))


def feature_graph(config: Config, samples: NDArray[np.uint8]) -> onnx.ModelProto:
    """Return the graph from ``crops`` (N, S, S, 3) uint8 RGB to ``features`` (N, F) float32.

    It is that of the config's network with its initial weights, in the arithmetic of
    ``config.bundle.arithmetic``; activation ranges are measured on ``samples``, (M, S, S, 3).
    """
    model = create_backbone(config.backbone, config.bundle.input).eval()
    assert isinstance(model, ClassTokens)  # the config requires blocks
    features = _Features(model, config.bundle.input).eval()
    if config.bundle.arithmetic == "int8":
        smooth(model, features.graph.normalise, torch.from_numpy(samples))
    graph = traced_on_crops(features, config.bundle.input.height, [FEATURES])
    if config.bundle.arithmetic == "int8":
        graph = in_int8(graph, activation_ranges(graph, samples))
    return graph
