"""The ONNX graph of a frozen network's features, which training and the exported bundle share.

A linear head is fitted on features that come out of the very graph that is shipped, with its
rounding, and not on those of the network in torch.
"""

from __future__ import annotations

import tempfile
import warnings
from pathlib import Path

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import nn

from deepfake_models.spec import InputSpec
from deepfake_training.config import Config
from deepfake_training.export.int8_arithmetic import activation_ranges, in_int8
from deepfake_training.networks.backbone import ExportGraph, create_backbone
from deepfake_training.networks.class_token_head import ClassTokens

OPSET = 17
FEATURES = "features"
CROPS = "crops"


class _Features(nn.Module):
    """uint8 crops (N, S, S, 3) to what the network's last layer reads, (N, F) float32."""

    def __init__(self, model: nn.Module, spec: InputSpec) -> None:
        super().__init__()
        self.graph = ExportGraph(model, spec)
        self.model = model

    def forward(self, crops: torch.Tensor) -> torch.Tensor:
        x = self.graph.normalise(crops)
        if isinstance(self.model, ClassTokens):
            return self.model.class_tokens(x)
        features = self.model.forward_features(x)  # type: ignore[operator]
        pooled: torch.Tensor = self.model.forward_head(features, pre_logits=True)  # type: ignore[operator]
        return pooled.flatten(1)


def feature_graph(config: Config, samples: NDArray[np.uint8]) -> onnx.ModelProto:
    """Return the graph from ``crops`` (N, S, S, 3) uint8 RGB to ``features`` (N, F) float32.

    It is that of the config's network with its initial weights, in the arithmetic of
    ``config.bundle.arithmetic``; activation ranges are measured on ``samples``, (M, S, S, 3).
    """
    model = create_backbone(config.backbone, config.bundle.input).eval()
    graph = traced(_Features(model, config.bundle.input).eval(), config.bundle.input, [FEATURES])
    if config.bundle.arithmetic == "int8":
        graph = in_int8(graph, activation_ranges(graph, samples))
    return graph


def traced(module: nn.Module, spec: InputSpec, outputs: list[str]) -> onnx.ModelProto:
    """Return the graph of ``module``, which maps crops (N, S, S, 3) uint8 to ``outputs``."""
    example = torch.zeros((2, spec.height, spec.width, 3), dtype=torch.uint8)
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
            (example,),
            path,
            dynamo=False,
            opset_version=OPSET,
            input_names=[CROPS],
            output_names=outputs,
            dynamic_axes={name: {0: "batch"} for name in (CROPS, *outputs)},
        )
        model = onnx.load(str(path))
    onnx.checker.check_model(model)
    return model
