"""ONNX graphs that stand in for a trained classifier."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SIDE = 224
"""Side of a crop, in pixels."""
CELLS = 14
"""Side of the activation map, in cells: as coarse as a vision transformer's."""


def save_color_classifier(path: Path, *, gain: float, offset: float, tilt: float = 0.0) -> None:
    """Write a graph whose logit is ``gain`` × (red − green − ``offset``), in means over a crop.

    With ``tilt``, the top row weighs 1 + ``tilt`` and the bottom row 1 − ``tilt``, so that a crop
    turned upside down gets another logit. Inputs and outputs are those of a trained classifier:
    uint8 NHWC crops in, a logit and an activation map out.
    """
    cell = SIDE // CELLS
    constants = {
        "weights": np.array([gain, -gain, 0.0], dtype=np.float32).reshape(3, 1),
        "offset": np.array([-offset * gain], dtype=np.float32),
        "channel": np.array([3], dtype=np.int64),
        "cells": np.array([-1, CELLS, cell, CELLS, cell], dtype=np.int64),
        "rows": np.linspace(1 + tilt, 1 - tilt, CELLS, dtype=np.float32).reshape(CELLS, 1),
    }
    nodes = [
        helper.make_node("Cast", ["crops"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("MatMul", ["floats", "weights"], ["pixels"]),
        helper.make_node("ReduceSum", ["pixels", "channel"], ["plane"], keepdims=0),
        helper.make_node("Reshape", ["plane", "cells"], ["blocks"]),
        helper.make_node("ReduceMean", ["blocks"], ["means"], axes=[2, 4], keepdims=0),
        helper.make_node("Mul", ["means", "rows"], ["activation_map"]),
        helper.make_node("ReduceMean", ["activation_map"], ["sums"], axes=[2], keepdims=0),
        helper.make_node("ReduceMean", ["sums"], ["mean"], axes=[1], keepdims=1),
        helper.make_node("Add", ["mean", "offset"], ["logit"]),
    ]
    graph = helper.make_graph(
        nodes,
        "color",
        [helper.make_tensor_value_info("crops", TensorProto.UINT8, ["n", SIDE, SIDE, 3])],
        [
            helper.make_tensor_value_info("logit", TensorProto.FLOAT, ["n", 1]),
            helper.make_tensor_value_info("activation_map", TensorProto.FLOAT, ["n", CELLS, CELLS]),
        ],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    onnx.save(_model(graph), path)


WEIGHTS = "weights.bin"
SQUARE_SHARES = (0.7, 0.3)
"""Shares of two squares in the logit of ``save_two_square_classifier``: unequal, so that squares
in another order give another logit."""
KIND_FACTORS = (1.0, -0.5)


def save_two_square_classifier(folder: Path, *, gain: float, offset: float) -> None:
    """Write ``classifier.onnx`` and ``map.onnx``, and the tensors that they share.

    The classifier takes uint8 crops (N, 2, S, S, 3). Its logit is ``gain`` × (red − green −
    ``offset``), in means over each square, weighted by ``SQUARE_SHARES``; its logits of two kinds
    are multiples of it, by ``KIND_FACTORS``. The map holds ``gain`` × (red − green) in means over
    each cell of the first square.
    """
    cell = SIDE // CELLS
    channels = np.array([gain, -gain, 0.0], dtype=np.float32).reshape(3, 1)
    logits = {
        "shares": np.array(SQUARE_SHARES, dtype=np.float32).reshape(2, 1),
        "offset": np.array([-offset * gain], dtype=np.float32),
        "factors": np.array(KIND_FACTORS, dtype=np.float32).reshape(1, 2),
    }
    cells = {
        "first": np.array(0, dtype=np.int64),
        "cells": np.array([-1, CELLS, cell, CELLS, cell], dtype=np.int64),
    }
    (folder / WEIGHTS).write_bytes(channels.tobytes())
    crops = helper.make_tensor_value_info("crops", TensorProto.UINT8, ["n", 2, SIDE, SIDE, 3])

    def save(name: str, nodes: list[Any], constants: dict[str, Any], **outputs: list[Any]) -> None:
        infos = [
            helper.make_tensor_value_info(output, TensorProto.FLOAT, shape)
            for output, shape in outputs.items()
        ]
        tensors = [numpy_helper.from_array(value, key) for key, value in constants.items()]
        shared = TensorProto(name="channels", dims=channels.shape, data_type=TensorProto.FLOAT)
        shared.data_location = TensorProto.EXTERNAL
        place = {"location": WEIGHTS, "offset": "0", "length": str(channels.nbytes)}
        for key, value in place.items():
            shared.external_data.add(key=key, value=value)
        graph = helper.make_graph(nodes, name, [crops], infos, [*tensors, shared])
        (folder / name).write_bytes(_model(graph).SerializeToString())

    save(
        "classifier.onnx",
        [
            helper.make_node("Cast", ["crops"], ["floats"], to=TensorProto.FLOAT),
            helper.make_node("MatMul", ["floats", "channels"], ["pixels"]),
            helper.make_node("ReduceMean", ["pixels"], ["means"], axes=[2, 3, 4], keepdims=0),
            helper.make_node("MatMul", ["means", "shares"], ["sum"]),
            helper.make_node("Add", ["sum", "offset"], ["logit"]),
            helper.make_node("Mul", ["logit", "factors"], ["kind_logits"]),
        ],
        logits,
        logit=["n", 1],
        kind_logits=["n", 2],
    )
    save(
        "map.onnx",
        [
            helper.make_node("Gather", ["crops", "first"], ["square"], axis=1),
            helper.make_node("Cast", ["square"], ["floats"], to=TensorProto.FLOAT),
            helper.make_node("MatMul", ["floats", "channels"], ["pixels"]),
            helper.make_node("Reshape", ["pixels", "cells"], ["blocks"]),
            helper.make_node("ReduceMean", ["blocks"], ["activation_map"], axes=[2, 4], keepdims=0),
        ],
        cells,
        activation_map=["n", CELLS, CELLS],
    )


def _model(graph: Any) -> Any:
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    if not any(tensor.external_data for tensor in graph.initializer):
        onnx.checker.check_model(model)  # it looks for external data in the current directory
    return model
