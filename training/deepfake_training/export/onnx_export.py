"""The graph of a bundle's classifier: written as ONNX, and compared with torch."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import nn

from deepfake_models.classifier import ACTIVATION_MAP, LOGIT
from deepfake_models.session import OnnxSession
from deepfake_training.config import Config
from deepfake_training.errors import TrainingError
from deepfake_training.export.weight_quantization import store_int8
from deepfake_training.networks.backbone import EnsembleGraph, ExportGraph, create_backbone

OPSET = 17
PARITY_TOLERANCE = 1e-3
"""Largest absolute difference of logits, torch against onnxruntime, on real crops."""
CLASSIFIER = "classifier.onnx"

Graph = ExportGraph | EnsembleGraph


def export_graph(model: nn.Module, size: int, path: Path) -> None:
    """Write ``classifier.onnx``: ``crops`` uint8 (N, size, size, 3) to ``logit`` and the map."""
    example = torch.zeros((2, size, size, 3), dtype=torch.uint8)
    with torch.no_grad(), warnings.catch_warnings():
        # The tracing exporter is deprecated, but needs no further package for a plain CNN.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            model,
            (example,),
            path,
            dynamo=False,
            opset_version=OPSET,
            input_names=["crops"],
            output_names=[LOGIT, ACTIVATION_MAP],
            dynamic_axes={"crops": {0: "batch"}, LOGIT: {0: "batch"}, ACTIVATION_MAP: {0: "batch"}},
        )
    onnx.checker.check_model(str(path))


def parity(model: Graph, path: Path, crops: NDArray[np.uint8]) -> float:
    """Largest absolute difference of logits between torch and onnxruntime on ``crops``.

    Raises:
        TrainingError: when it exceeds ``PARITY_TOLERANCE``.
    """
    session = OnnxSession(path.read_bytes(), name=path.name, device="cpu")
    got = session.run([LOGIT], {"crops": crops})[0]
    with torch.inference_mode():
        # The backbone's own forward, so that a head which ExportGraph misreads shows here.
        want = model.reference(torch.from_numpy(crops)).numpy()
    worst = float(np.abs(got - want).max())
    if not worst <= PARITY_TOLERANCE:
        raise TrainingError(f"{path.name}: logits differ from torch's by {worst:.2e}")
    return worst


def write_classifier(directory: Path, members: Sequence[dict[str, Any]], config: Config) -> Graph:
    """Write ``classifier.onnx`` of one network's weights, or of several's, into ``directory``."""
    graphs = []
    for weights in members:
        backbone = create_backbone(config.backbone, config.bundle.input, initial=False)
        backbone.load_state_dict(weights)
        graphs.append(ExportGraph(backbone.eval(), config.bundle.input).eval())
    mirrored = config.bundle.mirrored
    graph: Graph = graphs[0]
    if mirrored or len(graphs) > 1:
        graph = EnsembleGraph(graphs, mirrored=mirrored).eval()
    export_graph(graph, config.bundle.input.height, directory / CLASSIFIER)
    if config.bundle.stored == "int8":
        store_int8(directory / CLASSIFIER)
    return graph
