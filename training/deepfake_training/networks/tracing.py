"""Write a network as an ONNX graph, by tracing what it does with an example."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import onnx
import torch
from torch import nn

from deepfake_models.classifier import CROPS

OPSET = 17


def traced(
    module: nn.Module,
    example: torch.Tensor,
    source: str,
    outputs: Sequence[str],
    axes: Mapping[str, Mapping[int, str]] | None = None,
) -> onnx.ModelProto:
    """Return the graph of ``module``, which maps ``source``, for instance ``example``, to
    ``outputs``.

    The first axis of each is ``batch``, of any length, and so are the further ``axes`` of a tensor,
    by its name, their numbers and their own names.
    """
    free = {name: {0: "batch", **(axes or {}).get(name, {})} for name in (source, *outputs)}
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
            input_names=[source],
            output_names=list(outputs),
            dynamic_axes=free,
        )
        return onnx.load(str(path))


def traced_on_crops(module: nn.Module, size: int, outputs: Sequence[str]) -> onnx.ModelProto:
    """Return the graph of ``module``, which maps ``crops`` (N, size, size, 3) uint8 RGB to
    ``outputs``."""
    example = torch.zeros((2, size, size, 3), dtype=torch.uint8)
    model = traced(module, example, CROPS, outputs)
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
