"""Store the matrices of a graph in 8 bits, with arithmetic in floating point.

The file of a large network shrinks to a quarter. Values are rounded by at most 1/254 of the largest
in their column, or not at all where the weights were stored in this way before. onnxruntime
restores the matrices once, when it loads the graph.

onnxruntime's own quantisers do something else: ``quantize_dynamic`` and ``quantize_static`` also
compute in 8 bits, which costs 0.03 of AUC here (docs/model-selection.md), and
``MatMulNBitsQuantizer`` scales blocks of rows, so that weights with a scale a column would be
rounded a second time.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

_MIN_ELEMENTS: Final = 1 << 16
"""Smallest number of elements of a matrix that is stored in 8 bits."""
_MAX_VALUE: Final = 127


def store_int8(path: Path) -> int:
    """Rewrite the ONNX file ``path`` with large matrices in int8 and a scale a column.

    Only right-hand sides of a ``MatMul`` are converted. Returns the number of matrices converted.
    """
    model = onnx.load(str(path))
    graph = model.graph
    used = {node.input[1] for node in graph.node if node.op_type == "MatMul"}
    dequantise, initializers = [], []
    for tensor in graph.initializer:
        if (
            tensor.name not in used
            or tensor.data_type != TensorProto.FLOAT
            or len(tensor.dims) != 2
            or np.prod(tensor.dims) < _MIN_ELEMENTS
        ):
            initializers.append(tensor)
            continue
        values, scale = _int8(numpy_helper.to_array(tensor))
        name = tensor.name
        initializers += [
            numpy_helper.from_array(values, f"{name}_int8"),
            numpy_helper.from_array(scale, f"{name}_scale"),
        ]
        dequantise += [
            helper.make_node("Cast", [f"{name}_int8"], [f"{name}_float"], to=TensorProto.FLOAT),
            helper.make_node("Mul", [f"{name}_float", f"{name}_scale"], [name]),
        ]
    nodes = [*dequantise, *graph.node]
    del graph.initializer[:], graph.node[:]
    graph.initializer.extend(initializers)
    graph.node.extend(nodes)
    onnx.checker.check_model(model)
    onnx.save(model, str(path))
    return len(dequantise) // 2


def _int8(matrix: NDArray[np.float32]) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Round ``matrix`` (K, N) to int8 of the same shape and scales (N,) float32."""
    scale = (np.abs(matrix).max(axis=0) / _MAX_VALUE).astype(np.float32)
    scale[scale == 0.0] = 1.0
    return np.rint(matrix / scale).clip(-_MAX_VALUE, _MAX_VALUE).astype(np.int8), scale
