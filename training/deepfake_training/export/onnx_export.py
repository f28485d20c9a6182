"""Write the classifier of a bundle as ONNX, and compare it with torch."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import nn

from deepfake_models.bundle import CLASSIFIER
from deepfake_models.classifier import ACTIVATION_MAP, LOGIT
from deepfake_models.session import OnnxSession
from deepfake_training.config import BackboneConfig, BundleConfig
from deepfake_training.errors import TrainingError
from deepfake_training.networks.backbone import ExportGraph, create_backbone

OPSET = 17
CROPS = "crops"
"""Name of a graph's input."""
PARITY_TOLERANCE = 1e-3
"""Largest absolute difference of logits between torch and onnxruntime on real crops."""


def traced(module: nn.Module, size: int, outputs: Sequence[str]) -> onnx.ModelProto:
    """Return the graph of ``module``, which maps ``crops`` (N, size, size, 3) uint8 RGB to
    ``outputs``."""
    example = torch.zeros((2, size, size, 3), dtype=torch.uint8)
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


def export_graph(model: nn.Module, size: int, path: Path) -> None:
    """Write an ONNX file to ``path`` that maps ``crops`` (N, size, size, 3) uint8 RGB to ``logit``
    (N,) and ``activation_map`` (N, h, w), float32."""
    onnx.save(traced(model, size, [LOGIT, ACTIVATION_MAP]), str(path))


def parity(model: ExportGraph, path: Path, crops: NDArray[np.uint8]) -> float:
    """Return the largest absolute difference of logits between torch and onnxruntime on ``crops``
    (N, S, S, 3) uint8 RGB.

    Raises:
        TrainingError: if it exceeds ``PARITY_TOLERANCE``.
    """
    session = OnnxSession(path.read_bytes(), name=path.name, device="cpu", threads=0)
    got = session.run([LOGIT], {CROPS: crops})[0]
    with torch.inference_mode():
        # The backbone's own forward pass, to detect a head that ExportGraph misinterprets.
        want = model.reference(torch.from_numpy(crops)).numpy()
    worst = float(np.abs(got - want).max())
    if not worst <= PARITY_TOLERANCE:
        raise TrainingError(f"{path.name}: logits differ from torch's by {worst:.2e}")
    return worst


def write_classifier(
    directory: Path, weights: dict[str, Any], backbone: BackboneConfig, bundle: BundleConfig
) -> ExportGraph:
    """Write ``classifier.onnx`` with the given ``weights`` into ``directory``; return its graph."""
    network = create_backbone(backbone, bundle.input, initial=False)
    network.load_state_dict(weights)
    graph = ExportGraph(network.eval(), bundle.input).eval()
    export_graph(graph, bundle.input.height, directory / CLASSIFIER)
    return graph
