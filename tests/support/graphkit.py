"""ONNX graphs that stand in for a trained classifier."""

from __future__ import annotations

from pathlib import Path

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
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    onnx.save(model, path)
