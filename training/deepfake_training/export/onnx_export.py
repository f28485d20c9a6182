"""Write the classifier of a bundle as ONNX, and compare it with torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import nn

from deepfake_models.bundle.bundle import CLASSIFIER
from deepfake_models.bundle.session import OnnxSession
from deepfake_models.bundle.spec import InputSpec
from deepfake_models.classifier import ACTIVATION_MAP, CROPS, LOGIT
from deepfake_training.config import BackboneConfig
from deepfake_training.errors import TrainingError
from deepfake_training.networks.backbone import ExportGraph, create_backbone
from deepfake_training.networks.tracing import traced_on_crops

PARITY_TOLERANCE = 1e-3
"""Largest absolute difference of logits between torch and onnxruntime on real crops."""


def export_graph(model: nn.Module, size: int, path: Path) -> None:
    """Write an ONNX file to ``path`` that maps ``crops`` (N, size, size, 3) uint8 RGB to ``logit``
    (N,) and ``activation_map`` (N, h, w), float32."""
    onnx.save(traced_on_crops(model, size, [LOGIT, ACTIVATION_MAP]), str(path))


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
    directory: Path, weights: dict[str, Any], backbone: BackboneConfig, spec: InputSpec
) -> ExportGraph:
    """Write ``classifier.onnx`` with the given ``weights`` into ``directory``; return its graph."""
    network = create_backbone(backbone, spec, initial=False)
    network.load_state_dict(weights)
    graph = ExportGraph(network.eval(), spec).eval()
    export_graph(graph, spec.height, directory / CLASSIFIER)
    return graph
